"""Bring the upload into ONNX, and prove that both compute the same."""

from __future__ import annotations

import shutil

from optimizer.convert.convert import convert_model
from optimizer.convert.detect import detect
from optimizer.convert.scan import scan
from optimizer.convert.upload import prepare_upload
from optimizer.errors import InvalidOptionsError
from optimizer.isolation import Reporter
from optimizer.workspace import StageRequest


def run(request: StageRequest, reporter: Reporter) -> None:
    """Write the converted model, the upload as its own runtime loads it, and the proof.

    Raises:
        UnsafeModelError: If the upload would run code or touch files; nothing of it was loaded then.
        OptimizerError: If it is no valid model, cannot be converted, or does not compute the same.
    """
    files = request.files
    if request.upload is None:
        raise InvalidOptionsError("The stage convert needs an upload.")
    reporter.progress(0.0, "scanning")
    format = detect(request.upload)
    extracted = files.folder / "upload"
    shutil.rmtree(extracted, ignore_errors=True)  # of an attempt that was cut off
    upload = prepare_upload(request.upload, extracted)
    scan(upload, format, custom_operators=request.goal.onnxruntime_extensions)
    reporter.progress(0.1, f"converting from {format}")
    conversion = convert_model(upload, format, files, request.goal, request.calibration or request.evaluation)
    files.write("convert", conversion)
