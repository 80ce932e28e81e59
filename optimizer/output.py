"""Gives the user whole results or nothing: checks before the work, and writes that appear at once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optimizer.errors import InvalidOptionsError, ToolError
from optimizer.external_data import data_file, model_files
from optimizer.model import copy_model


def require_files(*paths: Path | None) -> None:
    """Raise InvalidOptionsError for a path that is not there."""
    for path in paths:
        if path is not None and not path.exists():
            raise InvalidOptionsError(f"There is no file {path}.", hint="Check the path.")


def require_empty(output: Path) -> None:
    """Raise InvalidOptionsError unless a new or empty folder can be written: nothing there is replaced."""
    if output.is_file():
        raise InvalidOptionsError(f"{output} is a file.", hint="Name a new folder with -o.")
    if output.is_dir() and any(output.iterdir()):
        raise InvalidOptionsError(
            f"The output folder {output} is not empty.", hint="Name a new folder with -o."
        )
    _require_writable_parent(output)


def require_file_place(output: Path) -> None:
    """Raise InvalidOptionsError unless a file can be written there."""
    if output.is_dir():
        raise InvalidOptionsError(f"{output} is a folder.", hint="Name a file with -o.")
    _require_writable_parent(output)


def publish(folder: Path, output: Path) -> None:
    """Copy a folder so that the output appears whole or not at all.

    Raises:
        ToolError: If it cannot be written after all.
    """
    with _partial_beside(output) as partial:
        shutil.copytree(folder, partial / "whole")
        (partial / "whole").replace(output)  # replaces an empty folder too


def publish_model(source: Path, target: Path) -> None:
    """Copy an ONNX model of one or two files; its graph appears last, when all that it names is there.

    Raises:
        ToolError: If it cannot be written after all.
    """
    with _partial_beside(target) as partial:
        copy_model(source, partial / target.name)
        weights = data_file(partial / target.name)
        if weights.exists():
            weights.replace(data_file(target))
        (partial / target.name).replace(target)
        if len(model_files(source)) == 1:
            data_file(target).unlink(missing_ok=True)  # of a model that was replaced


def _require_writable_parent(output: Path) -> None:
    """Found out before the work, which may take minutes."""
    parent = output.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InvalidOptionsError(f"{parent} cannot be written to.", hint="Name another place with -o.")


@contextmanager
def _partial_beside(output: Path) -> Iterator[Path]:
    """A folder on the output's own disk, removed afterwards."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as partial:
            yield Path(partial)
    except OSError as error:
        raise ToolError(
            f"The result could not be written to {output}: {error.strerror or error}.",
            hint="Make room there, or name another place with -o.",
        ) from error
