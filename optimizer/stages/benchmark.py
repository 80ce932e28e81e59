"""Time ONNX models that are not part of an optimization."""

from __future__ import annotations

from pathlib import Path

from optimizer.benchmark import measure_alone, measure_pair
from optimizer.convert.detect import detect
from optimizer.convert.scan import scan
from optimizer.data import taken_scale
from optimizer.errors import InvalidOptionsError, OptimizerError
from optimizer.goal import Provider
from optimizer.isolation import Reporter
from optimizer.results import Measurement, Measurements
from optimizer.runtime import open_session
from optimizer.stages.launch import launcher, settings_for
from optimizer.workspace import StageRequest


def run(request: StageRequest, reporter: Reporter) -> None:
    """Write a row per model; each after the first is compared with the first.

    Raises:
        InvalidOptionsError: If a file is not ONNX.
        UnsafeModelError: If a file would touch others.
    """
    for path in request.readable:
        if detect(path) != "onnx":
            raise InvalidOptionsError(
                f"{path.name} is not an ONNX file.",
                hint=f"onnxpress convert {path.name} -o model.onnx makes one.",
            )
        scan(path, "onnx", custom_operators=request.goal.onnxruntime_extensions)
    first, *others = request.readable
    settings, launch = settings_for(request), launcher(request)
    if settings.samples is None:
        scales = [_scale_of(path, settings.provider) for path in request.readable]
        settings = settings.model_copy(update={"scale": max(scales)})
    rows: list[Measurement] = [measure_alone(first.name, first, settings, launch)]
    for number, path in enumerate(others, 1):
        reporter.progress(number / len(request.readable), path.name)
        rows.append(measure_pair(path.name, first, path, settings, launch))
    request.files.write("benchmark", Measurements(rows=tuple(rows)))


def _scale_of(path: Path, provider: Provider) -> int:
    try:
        session = open_session(path, provider)
    except OptimizerError:  # its launch says why
        return 1
    return taken_scale(session.inputs, session.run)
