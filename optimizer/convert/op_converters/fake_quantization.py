"""Converter of the per-channel fake quantization that quantization-aware training leaves in a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from tf2onnx import utils
from tf2onnx.handler import tf_op

from optimizer.convert.op_converters.formula import Formula, Operand


@tf_op("FakeQuantWithMinMaxVarsPerChannel")
class FakeQuantPerChannel:
    """DequantizeLinear(QuantizeLinear(x)) with one scale a channel, the last axis.

    scale = (max - min) / steps; zero = clip(round(-min / scale)); steps = 255, or 254 (1 to 255) where the
    range is narrow. As TensorFlow does, the range is moved so that 0 is one of its steps.
    """

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula = Formula(ctx)
        low, high = (node.inputs[index].get_tensor_value(as_list=False) for index in (1, 2))
        utils.make_sure(node.get_attr_value("num_bits", 8) == 8, "fake quantization has 8 bits in ONNX")
        narrow = bool(node.get_attr_value("narrow_range", False))
        scale, zero = _parameters(low, high, narrow=narrow)
        value: Operand = node.input[0]
        if narrow:  # the lowest integer is left out: what rounds to it stays at the next
            value = formula("Max", value, ((1 - zero.astype(np.float32)) * scale).astype(np.float32))
        axis = ctx.get_rank(node.input[0]) - 1
        quantized = formula("QuantizeLinear", value, scale, zero, axis=axis)
        ctx.set_dtype(quantized, onnx.TensorProto.UINT8)
        formula.replace(node, formula("DequantizeLinear", quantized, scale, zero, axis=axis))


def _parameters(
    low: NDArray[Any], high: NDArray[Any], *, narrow: bool
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    first = 1 if narrow else 0
    scale = (high - low).astype(np.float32) / np.float32(255 - first)
    scale = np.where(scale > 0, scale, np.float32(1))
    zero = np.floor(first - low / scale + np.float32(0.5))
    return scale.astype(np.float32), np.clip(zero, first, 255).astype(np.uint8)
