"""What is done with one model, each task in a process of its own that has imported TensorFlow and no more."""

from __future__ import annotations

import gc
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.conversion import plain
from benchmarks.conversion.records import Built, Converted, Plain
from zoo import MODELS, ZooModel

from optimizer.convert.plain import convert_plainly as plain_tf2onnx
from optimizer.data import generate_inputs, taken_scale
from optimizer.errors import OptimizerError
from optimizer.goal import Goal
from optimizer.model import file_bytes, first_line, sha256
from optimizer.results import Conversion
from optimizer.runtime import open_session
from optimizer.workspace import Workspace

_FAST_S = 1.0


def build(model: ZooModel, folder: Path) -> Built:
    """Write the upload, and its samples where it has some."""
    upload = model.build(folder)
    samples = model.write_samples(folder)
    return Built(
        upload=upload.name, samples=None if samples is None else samples.name, upload_bytes=file_bytes(upload)
    )


def convert(model: ZooModel, folder: Path, run: int) -> Converted:
    """Convert the upload as the stage does; the first run's files stay."""
    from optimizer.convert.convert import convert_model
    from optimizer.convert.detect import detect
    from optimizer.convert.scan import scan

    built = Built.read(folder, "build")
    upload, workspace = folder / built.upload, Workspace(folder / f"ours-{run}")
    workspace.folder.mkdir(exist_ok=True)
    samples = None if built.samples is None else folder / built.samples
    goal = Goal(signature=model.signature)
    try:
        format = detect(upload)
        scan(upload, format)
        conversion = convert_model(upload, format, workspace, goal, samples)
    except OptimizerError as error:
        return Converted(words=f"{type(error).__name__}: {error.message}")
    found = Converted(
        words=_parity(conversion),
        is_converted=True,
        notes=conversion.notes,
        sha256=sha256(workspace.converted),
        onnx_bytes=file_bytes(workspace.converted),
        peak_bytes=_peak_bytes(),
    )
    if run:
        workspace.converted.unlink()
    return found


def convert_plainly(model: ZooModel, folder: Path) -> Plain:
    """Convert with plain tf2onnx while ours is not imported; then time both in turns."""
    original = Workspace(folder / "ours-0").original
    if not original.exists():
        return Plain(words="nothing to convert: the upload could not be loaded")
    signature = model.signature or ("serving_default" if model.format == "savedmodel" else "serve")
    theirs, path = plain.registered(), folder / "plain.onnx"
    try:
        path.write_bytes(plain_tf2onnx(original, signature).SerializeToString())
        session = open_session(path)
        scale = taken_scale(session.inputs, session.run)
        session.run(generate_inputs(session.inputs, 1, 0, scale=scale))
    except Exception as error:  # whatever tf2onnx raises; the row shows it
        path.unlink(missing_ok=True)
        return Plain(words=f"{type(error).__name__}: {first_line(error)}")
    if "optimizer.convert.op_converters" in sys.modules:
        raise RuntimeError("our converters were imported, so that this was no plain tf2onnx")

    def plainly() -> Any:
        with plain.only(theirs):
            return plain_tf2onnx(original, signature)

    first_s = _cpu_s(_ours(original, signature))  # warms up
    repeats = 5 if first_s < _FAST_S else 3
    times = [(_cpu_s(plainly), _cpu_s(_ours(original, signature))) for _ in range(repeats)]
    theirs_s, ours_s = (statistics.median(column) for column in zip(*times, strict=True))
    return Plain(is_converted=True, plain_cpu_s=theirs_s, ours_cpu_s=ours_s)


def _ours(original: Path, signature: str) -> Callable[[], Any]:
    from optimizer.convert import tf2onnx_tool

    if original.is_dir():
        return lambda: tf2onnx_tool.convert_savedmodel(original, signature, original.with_name("bench.onnx"))

    def tflite() -> Any:
        from optimizer.convert.formats.tflite_file import read_tflite

        return tf2onnx_tool.convert_tflite(original, read_tflite(original).tensor_names)

    return tflite


def _cpu_s(conversion: Callable[[], Any]) -> float:
    gc.collect()
    start = time.process_time()
    conversion().SerializeToString()
    return time.process_time() - start


def _parity(conversion: Conversion) -> str:
    """The worst output, in proportion to what it may differ by."""
    if conversion.parity is None:
        return "not compared"
    outputs = conversion.parity.outputs
    float_like = [output for output in outputs if output.measure != "agreement"]
    if not float_like:
        return f"agreement {min(output.value for output in outputs):.4g}"
    worst = max(float_like, key=lambda output: output.value / output.tolerance)
    return f"{worst.measure} {worst.value:.1e} of {worst.tolerance:.1e}"


def _peak_bytes() -> int:
    """The most memory that this process had in use at once."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) << 10 if found else 0


def perform(task: str, name: str, folder: Path) -> None:
    """Do one task and write its record, which marks it done."""
    model = MODELS[name]
    folder.mkdir(parents=True, exist_ok=True)
    kind, _, run = task.partition("-")
    match kind:
        case "build":
            build(model, folder).write(folder, task)
        case "convert":
            convert(model, folder, int(run)).write(folder, task)
        case "plain":
            convert_plainly(model, folder).write(folder, task)
        case _:
            raise ValueError(task)
