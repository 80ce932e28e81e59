"""Converters that place values among others: buckets, sorted sequences, histograms, one-hot rows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import onnx
from tf2onnx import utils
from tf2onnx.handler import tf_op

from optimizer.convert.op_converters.formula import Formula, Operand, dtype_of

_LAST = -1
_LARGEST_TABLE = 1 << 12
"""Elements of a OneHot's rows that are worth a node."""
_SAME_NUMBERS = frozenset({"Cast", "ExpandDims", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_TABLES = {"CategoryMapper": "cats_int64s", "LabelEncoder": "values_int64s"}
"""Look-ups, and the attribute that holds what they find."""


def _count(formula: Formula, reached: Operand) -> Operand:
    """How many are true along the last axis."""
    return formula.sum(formula.cast(reached, onnx.TensorProto.INT32), _LAST)


@tf_op("Bucketize")
class Bucketize:
    """The number of boundaries b_i with b_i <= x: int32, shaped like x. NaN counts above all of them."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula = Formula(ctx)
        boundaries = np.array(node.get_attr_value("boundaries") or [], np.float32)  # [buckets - 1]
        if not boundaries.size:
            formula.replace(node, formula("Expand", np.array(0, np.int32), formula("Shape", node.input[0])))
            return
        double = ctx.get_dtype(node.input[0]) in (onnx.TensorProto.DOUBLE, onnx.TensorProto.INT64)
        # TensorFlow compares in the input's own type; float32 loses integers above 2^24.
        dtype = onnx.TensorProto.DOUBLE if double else onnx.TensorProto.FLOAT
        value = formula.cast(node.input[0], dtype)
        column = formula.unsqueeze(value, _LAST)  # [..., 1]
        below = formula("Less", column, formula.cast(boundaries, dtype))  # [..., buckets - 1]
        formula.replace(node, _count(formula, formula("Not", below)))


class _Bound:
    """Where values would go in sorted sequences: sorted [b, n], values [b, m] -> indices [b, m]."""

    @classmethod
    def _convert(cls, ctx: Any, node: Any, before: str) -> None:
        formula = Formula(ctx)
        sequence = formula.unsqueeze(node.input[0], 1)  # [b, 1, n]
        values = formula.unsqueeze(node.input[1], 2)  # [b, m, 1]
        formula.replace(node, _count(formula, formula(before, sequence, values)))


@tf_op("LowerBound")
class LowerBound(_Bound):
    """The number of elements of the sorted sequence that are below the value (searchsorted, side left)."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        cls._convert(ctx, node, "Less")


@tf_op("UpperBound")
class UpperBound(_Bound):
    """The number of elements of the sorted sequence that do not exceed the value (side right)."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        cls._convert(ctx, node, "LessOrEqual")


@tf_op(["DenseBincount", "Bincount"])
class DenseBincount:
    """count[v] = the sum of the weights (1 without any) where x = v, in each row; binary: 1 where any is.

    Values outside of [0, size) are left out.
    """

    @classmethod
    def version_16(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, (values, size, weights) = Formula(ctx), node.input
        utils.make_sure(ctx.get_rank(values) is not None, "how many axes the values have is not known")
        rows = ctx.get_rank(values) == 2 and node.type == "DenseBincount"
        dtype = ctx.get_dtype(node.output[0])
        number = dtype_of(ctx, node.output[0])
        index = formula.cast(values, onnx.TensorProto.INT64)
        if not rows:
            index = formula("Reshape", index, np.array([-1], np.int64))
        limit = formula.cast(formula.known(size), onnx.TensorProto.INT64)
        limit = limit.reshape(()) if not isinstance(limit, str) else limit
        inside = formula("And", formula("Less", index, limit), formula("GreaterOrEqual", index, np.int64(0)))
        index = formula("Where", inside, index, limit)  # one more column takes what is left out
        weight_shape = ctx.get_shape(weights)
        if (weight_shape is not None and 0 in weight_shape) or node.get_attr_value("binary_output", False):
            updates = formula("Expand", np.ones((), number), formula("Shape", index))
        else:
            updates = formula("Reshape", weights, formula("Shape", index))
        width = formula("Add", limit, np.int64(1))
        shape = formula.vector(formula.size(values, 0), width) if rows else formula.vector(width)
        start = formula("Expand", np.zeros((), number), shape)
        axis = int(rows)
        counts = formula("ScatterElements", start, index, updates, axis=axis, reduction="add")
        counts = formula(
            "Slice", counts, np.array([0]), formula.unsqueeze(limit, 0), np.array([axis], np.int64)
        )
        if node.get_attr_value("binary_output", False):
            counts = formula.cast(formula.cast(counts, onnx.TensorProto.BOOL), dtype)
        formula.replace(node, counts)


@tf_op("RaggedBincount")
class RaggedBincount:
    """count[row, v] = the sum of the weights (1 without any) where x = v in the row; binary: 1 where any is.

    Row i holds the values from splits[i] on. Values outside of [0, size) are left out.
    """

    @classmethod
    def version_16(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, (splits, values, size, weights) = Formula(ctx), node.input
        dtype, number = ctx.get_dtype(node.output[0]), dtype_of(ctx, node.output[0])
        index = formula.cast(values, onnx.TensorProto.INT64)  # [n]
        limit = formula.cast(formula.known(size), onnx.TensorProto.INT64)
        limit = limit.reshape(()) if not isinstance(limit, str) else limit
        rows = formula("Sub", formula.size(splits, 0), np.int64(1))
        row = _rows(formula, formula.cast(splits, onnx.TensorProto.INT64), formula("Shape", index))
        inside = formula("And", formula("Less", index, limit), formula("GreaterOrEqual", index, np.int64(0)))
        places = formula("Mul", rows, limit)
        place = formula("Where", inside, formula("Add", formula("Mul", row, limit), index), places)
        binary = node.get_attr_value("binary_output", False)
        if binary or 0 in (ctx.get_shape(weights) or [-1]):
            updates = formula("Expand", np.ones((), number), formula("Shape", place))
        else:
            updates = weights
        start = formula("Expand", np.zeros((), number), formula.vector(formula("Add", places, np.int64(1))))
        counts = formula("ScatterElements", start, place, updates, axis=0, reduction="add")
        counts = formula("Slice", counts, np.array([0]), formula.unsqueeze(places, 0), np.array([0]))
        if binary:
            counts = formula.cast(formula.cast(counts, onnx.TensorProto.BOOL), dtype)
        formula.replace(node, formula("Reshape", counts, formula.vector(rows, limit)))


def _rows(formula: Formula, splits: Operand, shape: Operand) -> Operand:
    """The row of each of n values: one step further at the end of each row but the last; shape is [n]."""
    ends = formula("Slice", splits, np.array([1]), np.array([-1]), np.array([0]))  # [rows - 1]
    start = formula("Expand", np.int64(0), formula("Add", shape, np.int64(1)))
    ones = formula("Expand", np.int64(1), formula("Shape", ends))
    steps = formula("ScatterElements", start, ends, ones, axis=0, reduction="add")  # [n + 1]
    return formula("Slice", formula("CumSum", steps, np.int64(0)), np.array([0]), shape, np.array([0]))


@tf_op("OneHot")
class OneHot:
    """on where the position along the new axis is the index, else off; all off outside of [0, depth).

    ONNX's own OneHot counts negative indices from the end, and ONNX Runtime has it for few types. Where an
    index cannot lie outside, a Gather of the rows is one node instead of three.
    """

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, (indices, depth, on, off) = Formula(ctx), node.input
        axis, rank = node.get_attr_value("axis", -1), ctx.get_rank(indices)
        axis = axis if axis >= 0 else rank
        number = formula.cast(formula.known(depth), onnx.TensorProto.INT64)
        number = number.reshape(()) if not isinstance(number, str) else number
        if axis == rank and (table := _table(formula, node, number)) is not None:
            small = ctx.get_dtype(indices) != onnx.TensorProto.INT32
            index = formula.cast(indices, onnx.TensorProto.INT64) if small else indices
            formula.replace(node, formula("Gather", table, index, axis=0))
            return
        positions = formula("Range", np.int64(0), number, np.int64(1))  # [depth]
        if rank > axis:
            positions = formula.unsqueeze(positions, *range(1, rank - axis + 1))  # [depth, 1, ...]
        index = formula.unsqueeze(formula.cast(indices, onnx.TensorProto.INT64), axis)
        hot = formula("Equal", index, positions)
        on_value, off_value = formula.known(on), formula.known(off)
        dtype = ctx.get_dtype(node.output[0])
        plain = not isinstance(on_value, str) and not isinstance(off_value, str)
        if plain and dtype != onnx.TensorProto.STRING and np.all(on_value == 1) and np.all(off_value == 0):
            formula.replace(node, formula.cast(hot, dtype))
        elif dtype == onnx.TensorProto.BOOL:  # ONNX Runtime chooses among numbers alone
            on_value, off_value = (
                formula.cast(value, onnx.TensorProto.INT32) for value in (on_value, off_value)
            )
            formula.replace(node, formula("Where", hot, on_value, off_value))
        else:
            formula.replace(node, formula("Where", hot, on_value, off_value))


def _table(formula: Formula, node: Any, depth: Operand) -> Operand | None:
    """The rows [depth, depth] of a OneHot; None where they are not known, too many, or not all there are."""
    ctx, (on, off) = formula.graph, (formula.known(name) for name in node.input[2:4])
    dtype = ctx.get_dtype(node.output[0])
    if isinstance(depth, str) or isinstance(on, str) or isinstance(off, str):
        return None
    count, numbers = int(depth), _possible_numbers(ctx, node.input[0])
    if count**2 > _LARGEST_TABLE or dtype == onnx.TensorProto.STRING:
        return None
    if numbers is None or min(numbers) < 0 or max(numbers) >= count:
        return None
    return formula.cast(np.where(np.eye(count, dtype=bool), on, off), dtype)


def _possible_numbers(ctx: Any, name: str) -> Collection[int] | None:
    """What integers a value can hold, where the operator behind it says so."""
    node = ctx.get_node_by_output(name)
    while node is not None and node.type in _SAME_NUMBERS:
        node = node.inputs[0]
    if node is None:
        return None
    if node.type == "ArgMax" and len(node.input) == 1:  # TensorFlow's has its axis as the second
        axis, shape = node.get_attr_value("axis", 0), ctx.get_shape(node.input[0])
        return range(shape[axis]) if shape is not None and shape[axis] > 0 else None
    if node.type in _TABLES:
        values = node.get_attr_value(_TABLES[node.type])
        return None if values is None else [*values, node.get_attr_value("default_int64", -1)]
    return None
