"""Compares what the converted model and the upload computed from the same inputs.

    max-norm  = max|a - b| / max(max|b|, 1e-6)
    L2 error  = ||a - b|| / max(||b||, 1e-6)

where a is the converted model's output and b the upload's. What may differ depends on how the upload rounds:

    float32, float64           max-norm <= 1e-4
    float16                    max-norm <= 1e-2
    bfloat16                   max-norm <= 3e-2: it keeps 8 bits, and the converted model computes in float32
    INT8, fixed scales         max|a - b| <= 2 quantization steps of the output
    other INT8, INT4           L2 error <= 0.05, or >= 97 % of the answers equal (a weaker test)
    integers, bools, strings   equal

Where the upload's own float32 outputs move by more than that when the last bit of its inputs changes, 4 times
as much as they move may differ, up to 1e-3: no conversion can be nearer to a model than its own rounding.

The largest value and difference are taken over all runs. Where a Sigmoid computes the output, 1e-6 may differ
whatever the output's size: ONNX Runtime's kernel rounds relative to 1 (9e-8 seen where the output is 2e-4).
NaN and infinity have to stand in the same places.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from optimizer.convert.prepared import Converted
from optimizer.errors import UnsupportedModelError
from optimizer.results import OutputParity

Outputs = Mapping[str, NDArray[Any]]
Run = tuple[Outputs, Outputs]
"""What the converted model computed, and what the upload computed."""
Pair = tuple[NDArray[Any], NDArray[Any]]
"""The same for one output."""

FLOAT_TOLERANCE = 1e-4
HALF_TOLERANCE = 1e-2
BFLOAT16_TOLERANCE = 3e-2
NOISE_FACTOR = 4
MOST_NOISE_TOLERANCE = 1e-3
STEPS = 2
WEAK_L2 = 0.05
WEAK_AGREEMENT = 0.97
SIGMOID_ROUNDING = 1e-6
_SMALLEST = 1e-6


def compare(
    runs: Sequence[Run], converted: Converted, noise: Mapping[str, float] | None = None
) -> tuple[OutputParity, ...]:
    """Compare names, dtypes, shapes and values of all runs.

    Args:
        runs: At least one run.
        converted: How the upload rounds, and in which precision it computes.
        noise: By output, how far the upload's own values move with the last bit of its inputs.

    Raises:
        UnsupportedModelError: Naming the output that differs, the difference, and what is allowed.
    """
    noise = noise or {}
    for ours, theirs in runs:
        _require_same_form(ours, theirs)
    measured = tuple(
        _measure(name, [(ours[name], theirs[name]) for ours, theirs in runs], converted, noise.get(name, 0.0))
        for name in runs[0][0]  # in the order of the ONNX file: TensorFlow's own differs from run to run
    )
    for result in measured:
        if not _within(result):
            raise _differs(
                f"output {result.output}: {result.measure} is {result.value:.3g}, allowed "
                f"{'at least' if result.measure == 'agreement' else 'at most'} {result.tolerance:.3g}, "
                f"over {len(runs)} batches of inputs"
            )
    return measured


def _measure(name: str, pairs: Sequence[Pair], converted: Converted, noise: float) -> OutputParity:
    kind = pairs[0][1].dtype.kind
    step = converted.output_steps.get(name)
    if kind not in "fV" and step is None:
        return _result(name, "agreement", _equal_fraction(pairs), 1.0)
    itemsize = pairs[0][1].dtype.itemsize
    pairs = [_finite(name, pair) for pair in pairs]
    if converted.rounding == "dynamic":
        return _weak(name, pairs)
    scale = max(_largest(b) for _, b in pairs)
    tolerance = HALF_TOLERANCE if converted.half or itemsize == 2 else FLOAT_TOLERANCE
    if converted.bfloat16:
        tolerance = BFLOAT16_TOLERANCE
    if converted.rounding == "static":
        # Where no integer stands behind the output, the range that was seen has to serve.
        tolerance = STEPS * (step or _range([b for _, b in pairs]) / 255) / scale
    else:
        tolerance = max(tolerance, min(NOISE_FACTOR * noise / scale, MOST_NOISE_TOLERANCE))
    if converted.rounding != "static" and name in converted.sigmoids:
        tolerance = max(tolerance, SIGMOID_ROUNDING / scale)
    difference = max(_largest(a - b, 0.0) for a, b in pairs)
    return _result(name, "max_norm", difference / scale, tolerance)


def _weak(name: str, pairs: Sequence[Pair]) -> OutputParity:
    """The test for a model that rounds otherwise than its conversion, where one step decides many values."""
    ours = np.concatenate([a.ravel() for a, _ in pairs])
    theirs = np.concatenate([b.ravel() for _, b in pairs])
    error = float(np.linalg.norm(ours - theirs) / max(float(np.linalg.norm(theirs)), _SMALLEST))
    if error <= WEAK_L2 or pairs[0][1].ndim < 2 or pairs[0][1].shape[-1] < 2:
        return _result(name, "relative_l2", error, WEAK_L2)
    same = np.concatenate([(a.argmax(-1) == b.argmax(-1)).ravel() for a, b in pairs])
    return _result(name, "agreement", float(same.mean()), WEAK_AGREEMENT)


def _finite(name: str, pair: Pair) -> Pair:
    """Both as float64, with 0 where both have the same NaN or infinity."""
    a, b = pair[0].astype(np.float64), pair[1].astype(np.float64)
    for what, test in (("NaN", np.isnan), ("infinity", np.isposinf), ("-infinity", np.isneginf)):
        if (test(a) != test(b)).any():
            raise _differs(f"output {name}: {what} stands in other places")
    return np.where(np.isfinite(b), a, 0.0), np.where(np.isfinite(b), b, 0.0)


def _largest(values: NDArray[Any], least: float = _SMALLEST) -> float:
    return max(float(np.abs(values).max(initial=0.0)), least)


def _range(values: Sequence[NDArray[Any]]) -> float:
    flat = np.concatenate([value.ravel() for value in values])
    return float(np.ptp(flat)) if flat.size else 0.0


def _equal_fraction(pairs: Sequence[Pair]) -> float:
    same = [np.asarray(_text(a) == _text(b)).ravel() for a, b in pairs]
    flat = np.concatenate(same)
    return float(flat.mean()) if flat.size else 1.0


def _text(values: NDArray[Any]) -> NDArray[Any]:
    """TensorFlow gives strings as bytes, ONNX Runtime as str."""
    if values.dtype.kind not in "OSU":
        return values
    decoded = [value.decode(errors="replace") if isinstance(value, bytes) else value for value in values.flat]
    return np.array(decoded, dtype=object).reshape(values.shape)


def _require_same_form(ours: Outputs, theirs: Outputs) -> None:
    if set(ours) != set(theirs):
        raise _differs(f"its outputs are {sorted(ours)}, the upload's are {sorted(theirs)}")
    for name, b in theirs.items():
        a = ours[name]
        if a.shape != b.shape:
            raise _differs(f"output {name} has the shape {a.shape}, the upload's has {b.shape}")
        if a.dtype != b.dtype and not (a.dtype.kind in "OSU" and b.dtype.kind in "OSU"):
            raise _differs(f"output {name} is {a.dtype}, the upload's is {b.dtype}")


def _within(result: OutputParity) -> bool:
    if result.measure == "agreement":
        return result.value >= result.tolerance
    return result.value <= result.tolerance


def _result(
    name: str, measure: Literal["max_norm", "agreement", "relative_l2"], value: float, tolerance: float
) -> OutputParity:
    return OutputParity(output=name, measure=measure, value=value, tolerance=tolerance)


def _differs(how: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"The converted model does not compute what the upload computes: {how}.",
        hint="End the model before what differs (--outputs), or export it as ONNX and hand in that. "
        "A model that draws random numbers or keeps state between calls cannot be converted.",
    )
