"""Converters of operations on bits, as integer arithmetic: ONNX has bitwise operators from opset 18 on."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from tf2onnx import utils
from tf2onnx.handler import tf_op

from optimizer.convert.op_converters.formula import Formula, Operand, dtype_of

_SIGN = np.int32(np.iinfo(np.int32).min)
_SAME_WIDTH = (
    {onnx.TensorProto.INT8, onnx.TensorProto.UINT8},
    {onnx.TensorProto.INT16, onnx.TensorProto.UINT16},
    {onnx.TensorProto.INT32, onnx.TensorProto.UINT32},
    {onnx.TensorProto.INT64, onnx.TensorProto.UINT64},
)


@tf_op("Bitcast")
class Bitcast:
    """Between signed and unsigned integers of one width a Cast; from float32, the sign bit alone.

    Keras 3 tests the sign bit in argmax, argmin and signbit: x < 0 or x = -0, which is min(x, 1/x) < 0.
    """

    @classmethod
    def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, source = Formula(ctx), node.input[0]
        types = {ctx.get_dtype(source), ctx.get_dtype(node.output[0])}
        if len(types) == 1 or types in _SAME_WIDTH:
            formula.replace(node, source)
            return
        consumers = ctx.find_output_consumers(node.output[0])
        sign_alone = consumers and all(_masks_sign(consumer) for consumer in consumers)
        utils.make_sure(
            types == {onnx.TensorProto.FLOAT, onnx.TensorProto.INT32}
            and ctx.get_dtype(source) == onnx.TensorProto.FLOAT
            and sign_alone
            and node.output[0] not in ctx.outputs,
            "the bits of a floating-point number have no operator in ONNX",
        )
        least = formula("Min", source, formula("Reciprocal", source))
        formula.replace(node, formula("Where", formula("Less", least, np.float32(0)), _SIGN, np.int32(0)))


def _masks_sign(node: Any) -> bool:
    return node.type == "BitwiseAnd" and any(
        other.is_const() and (np.asarray(other.get_tensor_value(as_list=False)) == _SIGN).all()
        for other in node.inputs
    )


@tf_op("Invert")
class Invert:
    """-1 - x, which flips each bit of a signed integer; of an unsigned one, its largest value - x."""

    @classmethod
    def version_7(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, dtype = Formula(ctx), dtype_of(ctx, node.input[0])
        ones = np.array(-1 if np.iinfo(dtype).min else np.iinfo(dtype).max, dtype)
        formula.replace(node, formula("Sub", ones, node.input[0]))


@tf_op(["BitwiseAnd", "BitwiseOr", "BitwiseXor"])
class Bitwise:
    """With one operand a constant, the mask.

    x & mask = the sum over the mask's runs of ones, from bit a to bit b, of (x mod 2^b) - (x mod 2^a);
    x | mask = x + mask - (x & mask); x ^ mask = x + mask - 2 (x & mask)
    """

    @classmethod
    def version_10(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, operands = Formula(ctx), [Formula(ctx).known(name) for name in node.input]
        x = next((operand for operand in operands if isinstance(operand, str)), operands[0])
        mask = next((operand for operand in operands if not isinstance(operand, str)), None)
        utils.make_sure(
            mask is not None and mask.size == 1,
            "only a mask that is constant is converted: ONNX had no such operators in opset 17, out of which "
            "models are raised",
        )
        bits = np.asarray(mask).reshape(()).astype(np.int64)
        wide = formula.cast(x, onnx.TensorProto.INT64)
        both = _and(formula, wide, int(bits))
        if node.type != "BitwiseAnd":
            twice = np.int64(2 if node.type == "BitwiseXor" else 1)
            both = formula("Sub", formula("Add", wide, bits), formula("Mul", both, twice))
        formula.replace(node, both)


def _and(formula: Formula, x: Operand, mask: int) -> Operand:
    """x & mask, for x in int64; a negative mask has ones without end."""
    if mask == int(_SIGN):
        return formula("Where", formula("Less", x, np.int64(0)), np.int64(mask), np.int64(0))
    total: Operand | None = None
    start = 0
    while start < 63:
        if not mask >> start & 1:
            start += 1
            continue
        end = start
        while end < 63 and mask >> end & 1:
            end += 1
        upper = x if end == 63 else formula("Mod", x, np.int64(1 << end))
        run = upper if start == 0 else formula("Sub", upper, formula("Mod", x, np.int64(1 << start)))
        total = run if total is None else formula("Add", total, run)
        start = end
    return formula("Mul", x, np.int64(0)) if total is None else total
