"""Finds a TensorFlow 1 checkpoint among files: a graph (.meta) and the weights beside it (.index, .data)."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from optimizer.errors import InvalidModelError, InvalidOptionsError, UnsupportedModelError

_LOOKED_AT = 20_000
_STATE = re.compile(r'^model_checkpoint_path:\s*"([^"\n]+)"', re.MULTILINE)
_STATE_BYTES = 1 << 20
SAVE_WHOLE = (
    "Build the model in Python, restore the weights (load_weights, or tf.train.Checkpoint.restore), and save "
    "it whole: model.save('model.keras'), or tf.saved_model.save."
)


@dataclass(frozen=True)
class CheckpointFiles:
    """The names of a checkpoint's parts."""

    graph: str
    """The .meta file, or a graph (.pb, .pbtxt) that lies beside a checkpoint without one."""
    prefix: str
    """What the names of the files with weights begin with: `model.ckpt-7`; may be empty."""

    @property
    def place(self) -> str:
        """The folder of the files with weights."""
        return self.prefix.rpartition("/")[0]

    @property
    def name(self) -> str:
        """The prefix without its folder; empty where the files are called `.index` and `.data-...`."""
        return self.prefix.rpartition("/")[2]


def file_names(folder: Path) -> list[str]:
    """The files in a folder, and in the folders inside it, at most two deep."""
    patterns = ("*", "*/*", "*/*/*")
    found = itertools.chain.from_iterable(folder.glob(pattern) for pattern in patterns)
    return [p.relative_to(folder).as_posix() for p in itertools.islice(found, _LOOKED_AT) if p.is_file()]


def checkpoints(names: Iterable[str]) -> list[CheckpointFiles]:
    """The checkpoints that are complete, by the names of the files.

    >>> checkpoints(["m/model.ckpt.meta", "m/model.ckpt.index", "m/model.ckpt.data-00000-of-00001"])
    [CheckpointFiles(graph='m/model.ckpt.meta', prefix='m/model.ckpt')]
    """
    there = sorted(names)
    weights = [prefix for prefix in _prefixes(there, ".index") if _has_data(there, prefix)]
    weights += [prefix for prefix in _prefixes(there, ".meta") if prefix in there]  # one file, before 2017
    found = [CheckpointFiles(f"{prefix}.meta", prefix) for prefix in weights if f"{prefix}.meta" in there]
    graphs = [name for name in there if name.endswith((".pb", ".pbtxt", ".meta")) and not _is_other(name)]
    if not found and len(graphs) == 1:
        found = [CheckpointFiles(graphs[0], prefix) for prefix in weights]
    return found


def refuse_incomplete(shown_as: str, names: Sequence[str]) -> None:
    """Raise where files are part of a checkpoint or a SavedModel, and say what is missing.

    Raises:
        UnsupportedModelError: If the graph is missing.
        InvalidModelError: If the weights are.
    """
    last = {PurePosixPath(name).name for name in names}
    if "variables.index" in last:
        raise UnsupportedModelError(
            f"{shown_as} holds the variables of a SavedModel, but no saved_model.pb: the graph is missing.",
            hint="Give the folder above, with saved_model.pb and the folder variables.",
        )
    for prefix in _prefixes(names, ".index"):
        if not _has_data(names, prefix):
            raise InvalidModelError(
                f"{shown_as} holds {prefix}.index, but no {prefix}.data-...: the weights are missing.",
                hint="Give all files of the checkpoint.",
            )
        raise UnsupportedModelError(
            f"{shown_as} holds a checkpoint ({prefix}.index), which is weights alone: the graph is missing "
            f"(there is no {prefix}.meta).",
            hint=SAVE_WHOLE,
        )
    for prefix in _prefixes(names, ".meta"):
        raise InvalidModelError(
            f"{shown_as} holds {prefix}.meta, but no {prefix}.index and .data: the weights are missing.",
            hint="Give all files of the checkpoint.",
        )


def find_checkpoint(folder: Path) -> CheckpointFiles:
    """The checkpoint in a folder: the only one, or the one that the file `checkpoint` names as the latest.

    Raises:
        InvalidModelError: If there is none.
        InvalidOptionsError: If several could be meant.
    """
    found = checkpoints(file_names(folder))
    if not found:
        raise InvalidModelError(f"{folder.name} holds no checkpoint.", hint="Give all files of a checkpoint.")
    latest = [files for files in found if _latest(folder / files.place) == files.name]
    if len(latest) == 1:
        return latest[0]
    if len(found) > 1:
        listed = ", ".join(files.prefix for files in found[:5])
        raise InvalidOptionsError(
            f"{folder.name} holds {len(found)} checkpoints: {listed}.",
            hint="Give a folder with one, or with the file `checkpoint` that names the latest.",
        )
    return found[0]


def _prefixes(names: Iterable[str], ending: str) -> list[str]:
    return [name.removesuffix(ending) for name in names if name.endswith(ending)]


def _has_data(names: Iterable[str], prefix: str) -> bool:
    return any(name.startswith(f"{prefix}.data-") for name in names)


def _is_other(name: str) -> bool:
    return PurePosixPath(name).name in (
        "saved_model.pb",
        "saved_model.pbtxt",
        "keras_metadata.pb",
        "fingerprint.pb",
    )


def _latest(folder: Path) -> str | None:
    """The name of the latest checkpoint in a folder, as its text file `checkpoint` tells."""
    path = folder / "checkpoint"
    if not path.is_file() or path.stat().st_size > _STATE_BYTES:
        return None
    state = _STATE.search(path.read_text(encoding="utf-8", errors="replace"))
    return state[1].replace("\\", "/").rpartition("/")[2] if state else None
