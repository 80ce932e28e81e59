"""Look at an upload and its data before a job is accepted: what can be told without loading anything."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from optimizer.archives import extract_archive
from optimizer.convert.detect import detect
from optimizer.convert.upload import is_archive
from optimizer.data import DataLimits, NpzReader, shared_count
from optimizer.errors import InvalidDataError, InvalidOptionsError
from optimizer.goal import CONVERTED_OPSET, NEWEST_OPSET, Goal
from optimizer.isolation import Reporter
from optimizer.results import Format
from optimizer.workspace import StageRequest


def run(request: StageRequest, reporter: Reporter) -> None:
    """Raise where the upload, its data or the goal cannot be; there is no result.

    Raises:
        InvalidModelError: If it is no model.
        UnsupportedModelError: If it is one of a kind that cannot be converted.
        UnsafeModelError: If an archive's members would leave their folder.
        ResourceLimitError: If an archive is too large when extracted.
        InvalidDataError: If a data file is no .npz and no zip of such files, or if its arrays are pickled or
            hold different numbers of samples.
        InvalidOptionsError: If the goal contradicts the format.
    """
    if request.upload is None:
        raise InvalidOptionsError("The stage admit needs an upload.")
    format = detect(request.upload)
    if is_archive(request.upload):
        _try_to_extract(request.upload, request.workspace)
    for role, path in (("calibration", request.calibration), ("evaluation", request.evaluation)):
        if path is not None:
            _require_arrays(path, role)
    for path in request.readable:
        _require_arrays(path, "unlabelled")
    _require_fit(request.goal, format)


def _try_to_extract(path: Path, workspace: Path) -> None:
    with tempfile.TemporaryDirectory(dir=workspace) as folder:
        extract_archive(path, Path(folder) / "content")


def _require_arrays(path: Path, role: str) -> None:
    """An .npz is a zip of .npy files; a zip of .npz files holds those."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InvalidDataError(
            f"The {role} data {path.name} is no .npz file, nor a zip of such files.",
            hint="Write it with np.savez; `onnxpress inspect MODEL` prints the line.",
        ) from error
    if not any(name.endswith((".npy", ".npz")) for name in names):
        raise InvalidDataError(
            f"The {role} data {path.name} is a zip without any array in it.", hint="Write it with np.savez."
        )
    if any(name.endswith(".npy") for name in names):
        members = NpzReader(path, path.name, DataLimits()).members.values()
        shared_count([member for member in members if member.shape], path.name)


def _require_fit(goal: Goal, format: Format) -> None:
    if goal.signature is not None and format not in ("savedmodel", "tflite"):
        raise InvalidOptionsError(
            f"signature names a part of a SavedModel or TFLite file; the upload is of the format {format}.",
            hint="Leave signature out.",
        )
    if goal.opset is not None and goal.opset < CONVERTED_OPSET and format != "onnx":
        raise InvalidOptionsError(
            f"opset asks for operator set {goal.opset}; a converted model can have {CONVERTED_OPSET} to "
            f"{NEWEST_OPSET}.",
            hint=f"Choose one from {CONVERTED_OPSET} to {NEWEST_OPSET}, or leave it out.",
        )
