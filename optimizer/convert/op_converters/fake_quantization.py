"""Converters of the fake quantization that quantization-aware training leaves in a model.

    q = clip(round(x / scale) + zero, first, last),  y = (q - zero) * scale
    scale = (max - min) / (last - first),  zero = clip(round(first - min / scale), first, last)

with last = 2^bits - 1, and first = 0, or 1 where the range is narrow. As TensorFlow does, the range is moved
so that 0 is one of its steps. Up to 8 bits this is QuantizeLinear and DequantizeLinear, with a Clip before
them where not all integers are used; more bits have no such operators in this opset, and are computed in
float.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from tf2onnx import utils
from tf2onnx.handler import tf_op

from optimizer.convert.op_converters.formula import Formula, Operand


@tf_op(["FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel"])
class FakeQuantWithMinMaxVars:
    """The range is two operands: one number each, or one for each channel, the last axis."""

    @classmethod
    def version_10(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        ends = node.inputs[1:3]
        utils.make_sure(all(end.is_const() for end in ends), "the range of fake quantization is computed")
        low, high = (end.get_tensor_value(as_list=False) for end in ends)
        _convert(ctx, node, low, high)


@tf_op("FakeQuantWithMinMaxArgs")
class FakeQuantWithMinMaxArgs:
    """The range is two attributes."""

    @classmethod
    def version_10(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        low, high = (np.float32(node.get_attr_value(name, default)) for name, default in _DEFAULT_RANGE)
        _convert(ctx, node, np.asarray(low), np.asarray(high))


_DEFAULT_RANGE = (("min", -6.0), ("max", 6.0))


def _convert(ctx: Any, node: Any, low: NDArray[Any], high: NDArray[Any]) -> None:
    formula, value = Formula(ctx), node.input[0]
    bits = int(node.get_attr_value("num_bits", 8))
    first = int(bool(node.get_attr_value("narrow_range", False)))
    last = 2**bits - 1
    scale, zero = _parameters(low, high, first, last)
    if bits > 8:
        formula.replace(node, _in_float(formula, value, (scale, zero), (first, last)))
        return
    axis = {"axis": ctx.get_rank(value) - 1} if scale.size > 1 else {}
    if (first, last) != (0, 255):
        value = _clip(formula, value, (first - zero) * scale, (last - zero) * scale)
    integer = zero.astype(np.uint8)
    quantized = formula("QuantizeLinear", value, scale, integer, **axis)
    ctx.set_dtype(quantized, onnx.TensorProto.UINT8)
    formula.replace(node, formula("DequantizeLinear", quantized, scale, integer, **axis))


def _in_float(
    formula: Formula,
    value: Operand,
    parameters: tuple[NDArray[np.float32], NDArray[np.float32]],
    ends: tuple[int, int],
) -> Operand:
    scale, zero = parameters
    steps = formula("Round", formula("Div", value, scale))
    return formula("Mul", _clip(formula, steps, ends[0] - zero, ends[1] - zero), scale)


def _clip(formula: Formula, value: Operand, low: NDArray[Any], high: NDArray[Any]) -> Operand:
    low, high = low.astype(np.float32), high.astype(np.float32)
    if low.size == 1:
        return formula("Clip", value, low.reshape(()), high.reshape(()))
    return formula("Min", formula("Max", value, low), high)


def _parameters(
    low: NDArray[Any], high: NDArray[Any], first: int, last: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    scale = (high - low).astype(np.float32) / np.float32(last - first)
    scale = np.where(scale > 0, scale, np.float32(1)).astype(np.float32)
    zero = np.floor(first - low / scale + np.float32(0.5))
    return scale, np.clip(zero, first, last).astype(np.float32)
