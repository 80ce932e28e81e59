"""Applies a recipe: the one `match` over the union of steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from optimizer.calibrate import Ranges
from optimizer.errors import InvalidDataError
from optimizer.graph import simplify
from optimizer.model import Model, PassResult
from optimizer.quantize import convert_half, quantize_dynamic, quantize_static
from optimizer.steps import ConvertHalf, QuantizeDynamic, QuantizeStatic, Recipe, Simplify, Step


@dataclass(frozen=True)
class StepInputs:
    """What steps draw on beside the model; each room gets only what its function names."""

    ranges: Ranges | None = None
    """Activation ranges of the baseline; None without calibration."""


def apply_recipe(model: Model, recipe: Recipe, inputs: StepInputs) -> PassResult:
    """Apply the steps in order.

    Returns:
        The new model, and the changes and refusals of all steps.

    Raises:
        InvalidDataError: If a step needs calibration ranges and there are none.
        OptimizerError: Whatever a step raises; the model stays as it was.
    """
    result = PassResult(model)
    for step in recipe.steps:
        done = _apply_step(result.model, step, inputs)
        result = PassResult(done.model, (*result.changes, *done.changes), (*result.refusals, *done.refusals))
    return result


def _apply_step(model: Model, step: Step, inputs: StepInputs) -> PassResult:
    match step:
        case Simplify():
            return simplify(model)
        case QuantizeStatic():
            return quantize_static(model, step, _ranges(inputs))
        case QuantizeDynamic():
            return quantize_dynamic(model, step)
        case ConvertHalf():
            return convert_half(model, step)
    assert_never(step)


def _ranges(inputs: StepInputs) -> Ranges:
    if inputs.ranges is None:
        raise InvalidDataError(
            "Static INT8 needs activation ranges, and there is no calibration data.",
            hint="Give calibration data, or use dynamic INT8.",
        )
    return inputs.ranges
