"""Protobuf's text form: tells it by its first field, and parses files of strangers within limits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from optimizer.errors import InvalidModelError, ResourceLimitError
from optimizer.model import first_line

if TYPE_CHECKING:
    from google.protobuf.message import Message

    Parsed = TypeVar("Parsed", bound=Message)

LIMIT_BYTES = 32 << 20
"""The parser is plain Python: it takes a second for 3 MB of text, and 100 bytes of memory for each."""

# At least four letters: the first bytes of a binary graph are a line feed, a length, and a number again.
_FIRST_FIELD = re.compile(rb"(?:\s|#[^\n]*\n)*([a-z_]{4,})\s*[:{<]")


def first_field(head: bytes) -> str:
    """The name of the first field, where the beginning of a file is protobuf's text form; else "".

    >>> first_field(b'# written by hand\\nnode {\\n  name: "x"')
    'node'
    >>> first_field(b"\\x0a\\x05")
    ''
    """
    found = _FIRST_FIELD.match(head.removeprefix(b"\xef\xbb\xbf"))
    return found[1].decode() if found else ""


def parse_text(path: Path, message: Parsed) -> Parsed:
    """Fill a message from a text file; returns it.

    Raises:
        InvalidModelError: If the text is no such message, or nested without end.
        ResourceLimitError: If it is longer than `LIMIT_BYTES`.
    """
    from google.protobuf import text_format

    if path.stat().st_size > LIMIT_BYTES:
        raise ResourceLimitError(
            f"{path.name} is a graph in text form of more than {LIMIT_BYTES >> 20} MB.",
            hint="Give it in binary form: google.protobuf.text_format.Parse, then SerializeToString.",
        )
    try:
        text_format.Parse(path.read_text(encoding="utf-8-sig"), message)
    except RecursionError as error:
        raise InvalidModelError(
            f"{path.name} cannot be parsed: its messages are nested too deeply.", hint="Export it again."
        ) from error
    except (text_format.ParseError, ValueError, OSError) as error:
        raise InvalidModelError(
            f"{path.name} cannot be parsed as text: {first_line(error)}.",
            hint="Check that the upload or download is complete.",
        ) from error
    return message
