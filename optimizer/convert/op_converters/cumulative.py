"""Converters of what runs along an axis, and of updates at a place that is known only when the model runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from tf2onnx import utils
from tf2onnx.handler import tf_op
from tf2onnx.onnx_opset.math import CumProd, CumSum

from optimizer.convert.op_converters.formula import Formula, Operand, dtype_of

_NARROW = (
    onnx.TensorProto.INT8,
    onnx.TensorProto.INT16,
    onnx.TensorProto.UINT8,
    onnx.TensorProto.UINT16,
)


@tf_op("Cumprod")
class Cumprod:
    """tf2onnx's own, which counts no axis from the end."""

    @classmethod
    def version_10(cls, ctx: Any, node: Any, **fields: Any) -> None:
        """Convert one node."""
        axis = Formula(ctx).known(node.input[1])
        if not isinstance(axis, str) and (rank := ctx.get_rank(node.input[0])) is not None:
            positive = np.array(int(axis) % rank, np.int64)
            ctx.replace_input(node, node.input[1], Formula(ctx).name(positive), 1)
        CumProd.version_10(ctx, node, **fields)


@tf_op("Cumsum")
class Cumsum:
    """tf2onnx's own, in int32 for the narrower integers, which ONNX's operator does not take."""

    @classmethod
    def version_11(cls, ctx: Any, node: Any, **fields: Any) -> None:
        """Convert one node."""
        dtype = ctx.get_dtype(node.input[0])
        if dtype in _NARROW:
            wide = Formula(ctx).cast(node.input[0], onnx.TensorProto.INT32)
            ctx.replace_input(node, node.input[0], wide, 0)
            output = node.output[0]
            ctx.set_dtype(output, onnx.TensorProto.INT32)
            narrowed = ctx.insert_new_node_on_output("Cast", output, to=dtype)
            ctx.set_dtype(narrowed.output[0], dtype)
            ctx.copy_shape(output, narrowed.output[0])
        node.type = "CumSum"
        CumSum.version_11(ctx, node, **fields)


@tf_op("CumulativeLogsumexp")
class CumulativeLogsumexp:
    """log of the sum of exp(x_j) over j <= i (j >= i in reverse; without i itself where exclusive).

    All places against all: the sum of one running total would lose what is small before what is large.
    """

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, (values, axis_name) = Formula(ctx), node.input
        axis, rank = formula.known(axis_name), ctx.get_rank(values)
        utils.make_sure(not isinstance(axis, str), "the axis has to be a constant")
        last = [number for number in range(rank) if number != int(axis) % rank] + [int(axis) % rank]
        back = [int(number) for number in np.argsort(last)]
        moved = formula("Transpose", values, perm=last)
        numbers = formula("Range", np.int64(0), formula.size(values, int(axis) % rank), np.int64(1))
        places, others = formula.unsqueeze(numbers, 1), formula.unsqueeze(numbers, 0)
        operator = "Less" if node.get_attr_value("exclusive", False) else "LessOrEqual"
        pair = (places, others) if node.get_attr_value("reverse", False) else (others, places)
        taken = formula(operator, *pair)  # [n, n]
        row = formula.unsqueeze(moved, rank - 1)  # [..., 1, n]
        number = dtype_of(ctx, values)
        kept = formula("Where", taken, row, number(-np.inf))
        largest = formula("ReduceMax", kept, axes=[rank], keepdims=1)
        finite = formula("Max", largest, number(np.finfo(number).min))  # -inf - -inf is no number
        total = formula.sum(formula("Exp", formula("Sub", kept, finite)), rank)
        result = formula("Add", formula("Log", total), formula("Squeeze", finite, np.array([rank])))
        formula.replace(node, formula("Transpose", result, perm=back))


@tf_op("XlaDynamicUpdateSlice")
class DynamicUpdateSlice:
    """x with a block overwritten, which begins at `start`, moved so that it stays inside.

    The block is padded to the size of x, and a mask, padded alike, chooses it.
    """

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, (x, block, start) = Formula(ctx), node.input
        room = formula("Sub", formula("Shape", x), formula("Shape", block))
        first = formula.cast(formula.known(start), onnx.TensorProto.INT64)
        first = formula("Min", formula("Max", first, np.int64(0)), room)
        pads = formula("Concat", first, formula("Sub", room, first), axis=0)
        mask: Operand = formula("Expand", np.array(1, np.int32), formula("Shape", block))
        mask = formula.cast(formula("Pad", mask, pads, np.array(0, np.int32)), onnx.TensorProto.BOOL)
        number = dtype_of(ctx, x)
        formula.replace(node, formula("Where", mask, formula("Pad", block, pads, np.array(0, number)), x))
