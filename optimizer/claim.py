"""Whose a workspace is: opening it, keeping others out, and marking it with what it is for."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from optimizer.errors import InvalidOptionsError, ToolError
from optimizer.goal import Goal
from optimizer.model import sha256
from optimizer.options import Options
from optimizer.workspace import Workspace


class Claim(Options):
    """What the stages in a workspace rest on; with anything else they may not be taken up again."""

    version: str
    machine: str
    """Ratios hold for the machine that measured them."""
    goal: Goal
    inputs: tuple[str, ...]
    """Hashes of the model and the data."""


@contextmanager
def open_workspace(
    folder: Path | None, goal: Goal, inputs: Sequence[Path | None]
) -> Iterator[tuple[Workspace, frozenset[str]]]:
    """A job's workspace: the folder asked for, which stays, or a temporary one, removed whatever happens.

    Args:
        folder: Where to work, and to resume; None takes a temporary folder.
        goal: What the job is for.
        inputs: The model and the data, None where there is none.

    Yields:
        The workspace, and the stages that are finished already, by the names of their results. They are
        looked up before any child runs: a result that a child writes for another stage does not count.

    Raises:
        InvalidOptionsError: If another process works in the folder, it cannot be made, or it holds something
            else than this very job.
    """
    if folder is not None:
        with _alone_in(folder):
            files = Workspace(folder.resolve())
            yield files, _claim(files, goal, inputs)
        return
    with tempfile.TemporaryDirectory(prefix="onnxpress-") as temporary:
        files = Workspace(Path(temporary).resolve())
        try:
            yield files, frozenset()  # nothing can be resumed here, so no input is hashed
        except ToolError as error:
            _keep_logs(files, error)
            raise


def _claim(files: Workspace, goal: Goal, inputs: Sequence[Path | None]) -> frozenset[str]:
    """Mark the folder as this job's, or find the stages that it has finished there."""
    claim = Claim(
        version=version("onnxpress"),
        machine=platform.node(),
        goal=goal,
        inputs=tuple(sha256(path) if path is not None else "" for path in inputs),
    )
    if not files.result("claim").exists():
        if any(files.folder.iterdir()):
            raise InvalidOptionsError(
                f"The folder {files.folder} is not empty, and holds no job of onnxpress.",
                hint="Name a new folder to work in.",
            )
        files.write("claim", claim)
        return frozenset()
    if files.read("claim", Claim) != claim:
        raise InvalidOptionsError(
            f"The workspace {files.folder} belongs to another model, data, goal, machine or version.",
            hint="Name a new folder to work in, or give the same inputs to resume.",
        )
    results = files.folder.rglob("*.json")
    return frozenset(path.relative_to(files.folder).with_suffix("").as_posix() for path in results)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise InvalidOptionsError(
            f"The folder {folder} cannot be worked in: {error.strerror}.", hint="Name another folder."
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidOptionsError(
                f"Another process works in the folder {folder}.", hint="Wait for it, or name another folder."
            ) from error
        yield
    finally:
        os.close(descriptor)


def _keep_logs(files: Workspace, error: ToolError) -> None:
    """Save the stages' logs from a workspace that goes, and let the error's hint name the new place."""
    logs = files.folder / "logs"
    if logs.is_dir():
        kept = tempfile.mkdtemp(prefix="onnxpress-logs-")
        shutil.copytree(logs, kept, dirs_exist_ok=True)
        error.hint = error.hint.replace(str(logs), kept) if error.hint else f"The logs are in {kept}."
