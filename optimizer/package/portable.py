"""Takes what names the user's machine out of texts that leave it: folders in other tools' messages."""

from __future__ import annotations

import re
import site
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from optimizer.results import Outcome
from optimizer.workspace import Workspace

Scrub = Callable[[str], str]


def path_scrub(outcome: Outcome, workspace: Workspace) -> Scrub:
    """Return a function that shortens this machine's folders in a text to words such as `<workspace>`.

    Only known folders are touched: names of ONNX nodes look like absolute paths too. The user's own folders
    are not known here: a stage's home, temporary and current folder lie in the workspace.
    """
    folders = {
        workspace.folder: "<workspace>",
        **{Path(folder): "<packages>" for folder in (*site.getsitepackages(), site.getusersitepackages())},
        Path(sys.prefix): "<python>",
        Path(sys.base_prefix): "<python>",
    }
    words = {str(path): word for folder, word in folders.items() for path in (folder, folder.resolve())}
    words = {path: word for path, word in words.items() if len(Path(path).parts) > 1}  # never "/"
    longest_first = sorted(words, key=len, reverse=True)
    known = re.compile("(" + "|".join(map(re.escape, longest_first)) + r")(?![\w.-])")
    # The upload's own folder is not known here; its name is. Names without a suffix could be a node's.
    upload = re.compile(r"(?:[A-Za-z]:)?[\\/][^\s'\"]*[\\/]" + re.escape(outcome.upload))

    def scrub(text: str) -> str:
        if "." in outcome.upload:
            text = upload.sub(lambda _: outcome.upload, text)
        return known.sub(lambda match: words[match[1]], text)

    return scrub


def plain(value: Any, scrub: Scrub) -> Any:
    """A record as JSON data: fields in their order, the keys of free dictionaries sorted, texts scrubbed."""
    match value:
        case BaseModel():
            return {name: plain(getattr(value, name), scrub) for name in type(value).model_fields}
        case dict():
            return {key: plain(value[key], scrub) for key in sorted(value)}
        case tuple() | list():
            return [plain(item, scrub) for item in value]
        case str():
            return scrub(value)
    return value


def portable(outcome: Outcome, workspace: Workspace) -> Outcome:
    """The outcome without this machine's folders in its texts; names of inputs and outputs stay."""
    scrubbed = Outcome.model_validate(plain(outcome, path_scrub(outcome, workspace)))
    conversion = scrubbed.conversion.model_copy(
        update={"inputs": outcome.conversion.inputs, "outputs": outcome.conversion.outputs}
    )
    return scrubbed.model_copy(update={"conversion": conversion, "goal": outcome.goal})
