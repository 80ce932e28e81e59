"""Convert the upload with tf2onnx alone, as the reference that shows what the rest of the way gains."""

from __future__ import annotations

from optimizer.errors import OptimizerError, ToolError
from optimizer.isolation import Reporter, run_nested
from optimizer.model import file_bytes, first_line, write_atomically
from optimizer.results import Conversion, PlainConversion
from optimizer.workspace import StageRequest

TIMEOUT_S = 60.0
"""It is a row of the table, and no more."""

LARGEST_BYTES = 32 << 20
"""tf2onnx's optimizers copy the constants many times: 6.7 GB of memory for a model of 100 MB."""


def run(request: StageRequest, reporter: Reporter) -> None:
    """Write the file that tf2onnx alone makes, or why there is none; a failure costs that row alone."""
    files = request.files
    files.plain.unlink(missing_ok=True)
    conversion = files.read("convert", Conversion)
    reporter.progress(None, "converting with tf2onnx alone")
    files.write("plain", _convert(request, conversion))


def _convert(request: StageRequest, conversion: Conversion) -> PlainConversion:
    if conversion.runtime == "ONNX Runtime":
        return PlainConversion()  # nothing was converted
    size_bytes = file_bytes(request.files.converted)
    if size_bytes > LARGEST_BYTES:
        return PlainConversion(
            refused=f"tf2onnx alone was not tried on a model of {size_bytes / 1e6:.0f} MB: it would take "
            "gigabytes of memory"
        )
    if request.goal.fixed_shapes:
        return PlainConversion(refused="tf2onnx alone was not tried: it does not know the fixed shapes")
    nested = request.model_copy(update={"stage": "launch_plain"})
    try:
        return PlainConversion.model_validate(run_nested(nested, timeout_s=TIMEOUT_S))
    except OptimizerError as error:
        return PlainConversion(refused=error.message.rstrip("."))


def run_tf2onnx(request: StageRequest, reporter: Reporter) -> None:
    """Be the process that converts: it has imported none of our converters.

    Raises:
        OptimizerError: If tf2onnx fails, or ONNX Runtime does not load what it made.
    """
    from optimizer.convert.plain import convert_plainly
    from optimizer.runtime import open_session

    files = request.files
    signature = files.read("convert", Conversion).signature
    try:
        proto = convert_plainly(files.original, signature)
    except Exception as error:  # tf2onnx asserts, raises ValueError, KeyError, TypeError, ...
        raise ToolError(f"tf2onnx alone fails with {type(error).__name__}: {first_line(error)}.") from error
    write_atomically(files.plain, proto.SerializeToString())
    try:
        session = open_session(files.plain)
    except OptimizerError as error:
        files.plain.unlink()
        raise ToolError(f"what tf2onnx alone writes does not load: {error.message}") from error
    made = PlainConversion(inputs=tuple(spec.name for spec in session.inputs))
    reporter.result(made.model_dump(mode="json"))
