"""Converters that add up or collect what goes to one place."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from tf2onnx import utils
from tf2onnx.handler import tf_op
from tf2onnx.onnx_opset.reduction import SegmentSum

from optimizer.convert.op_converters.formula import Formula, Operand, dtype_of, is_float

_ADDED = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.INT32,
    onnx.TensorProto.INT64,
)


@tf_op("ScatterNd")
class ScatterNd:
    """Zeros, with updates added at places: tf2onnx lets the last of several updates of one place win."""

    @classmethod
    def version_16(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, (indices, updates, shape) = Formula(ctx), node.input
        size = formula.cast(formula.known(shape), onnx.TensorProto.INT64)
        places = formula.cast(indices, onnx.TensorProto.INT64)
        total = _scatter_added(formula, updates, places, size)
        formula.replace(node, total)


@tf_op("SparseTensorDenseMatMul")
class SparseTensorDenseMatMul:
    """y[i] = sum of value x[j] over the places (i, j) of a sparse matrix: a row for each, then added."""

    @classmethod
    def version_16(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, (places, values, sizes, dense) = Formula(ctx), node.input
        row, column = (1, 0) if node.get_attr_value("adjoint_a", 0) else (0, 1)
        if node.get_attr_value("adjoint_b", 0):
            dense = formula.name(formula("Transpose", dense, perm=[1, 0]))
        at = [formula("Gather", places, np.array([axis]), axis=1) for axis in (row, column)]  # [n, 1]
        rows = formula("Gather", dense, formula("Squeeze", at[1], np.array([1])), axis=0)
        added = formula("Mul", rows, formula.unsqueeze(values, 1))
        height = formula("Gather", formula.known(sizes), np.array([row]), axis=0)
        width = formula("Gather", formula("Shape", dense), np.array([1]), axis=0)
        ctx.set_dtype(added, ctx.get_dtype(values))
        size = formula("Concat", height, width, axis=0)
        formula.replace(node, _scatter_added(formula, formula.name(added), at[0], size))


@tf_op(["UnsortedSegmentMax", "UnsortedSegmentMin"])
class UnsortedSegmentExtreme:
    """tf2onnx's own gives infinity where a segment is empty, TensorFlow the least or largest number."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **fields: Any) -> None:
        """Convert one node."""
        output, kind = node.output[0], np.dtype(dtype_of(ctx, node.output[0]))
        _in_floats(Formula(ctx), node)
        limits = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
        is_max = node.type.endswith("Max")
        limit = np.array(limits.min if is_max else limits.max, dtype_of(ctx, output))
        bound = ctx.insert_new_node_on_output("Max" if is_max else "Min", output)
        bound.input.append(Formula(ctx).name(limit))
        ctx.copy_dtype(output, bound.output[0])
        ctx.copy_shape(output, bound.output[0])
        SegmentSum.version_13(ctx, node, **fields)


@tf_op(["SegmentMax", "SegmentMin"])
class SegmentExtreme:
    """tf2onnx's own gives infinity where a segment is empty, TensorFlow 0."""

    @classmethod
    def version_16(cls, ctx: Any, node: Any, **fields: Any) -> None:
        """Convert one node."""
        formula, output = Formula(ctx), node.output[0]
        _in_floats(formula, node)
        zero = np.zeros((), dtype_of(ctx, output))
        empty = formula("Equal", _counts(formula, *node.input), np.int64(0))
        found = ctx.insert_new_node_on_output(
            "Where", output, inputs=[*map(formula.name, (empty, zero)), output]
        )
        ctx.copy_dtype(output, found.output[0])
        ctx.copy_shape(output, found.output[0])
        SegmentSum.version_13(ctx, node, **fields)


@tf_op(["SegmentMean", "SparseSegmentMean", "SparseSegmentSqrtN"])
class SegmentMean:
    """sum / max(count, 1), or sum / sqrt(max(count, 1)): tf2onnx's own gives NaN where a segment is empty."""

    @classmethod
    def version_16(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, rows, segments = Formula(ctx), node.input[0], node.input[-1]
        if node.type.startswith("Sparse"):
            rows = formula.name(formula("Gather", rows, node.input[1], axis=0))
            ctx.set_shape(rows, [-1, *ctx.get_shape(node.input[0])[1:]])
        counts = formula("Max", _counts(formula, rows, segments), np.int64(1))
        share = formula.cast(counts, ctx.get_dtype(node.output[0]))
        if node.type.endswith("SqrtN"):
            share = formula("Sqrt", share)
        formula.replace(node, formula("Div", _added(formula, rows, segments), share))


def _in_floats(formula: Formula, node: Any) -> None:
    """Let a node compute integers in float64, which holds them exactly: tf2onnx's own takes no integers."""
    graph, output = formula.graph, node.output[0]
    given = graph.get_dtype(output)
    if is_float(graph, output):
        return
    wide = given in (onnx.TensorProto.INT64, onnx.TensorProto.UINT64)
    utils.make_sure(not wide, "float64 does not hold all numbers of 64 bits")
    node.input[0] = formula.name(formula.cast(node.input[0], onnx.TensorProto.DOUBLE))
    back = graph.insert_new_node_on_output("Cast", output, to=given)
    graph.set_dtype(output, onnx.TensorProto.DOUBLE)
    graph.set_dtype(back.output[0], given)
    graph.copy_shape(output, back.output[0])


def _added(formula: Formula, rows: str, segments: str) -> Operand:
    """The sum of the rows of each segment."""
    places = formula.unsqueeze(formula.cast(segments, onnx.TensorProto.INT64), 1)
    count = formula("Add", formula("ReduceMax", places, keepdims=0), np.int64(1))
    sizes = [formula.size(rows, axis) for axis in range(1, len(formula.graph.get_shape(rows)))]
    return _scatter_added(formula, rows, places, formula.vector(count, *sizes))


def _scatter_added(formula: Formula, updates: str, places: Operand, shape: Operand) -> Operand:
    """Updates added to zeros at places, in a type that ONNX Runtime adds and that holds the updates' own."""
    graph, dtype = formula.graph, formula.graph.get_dtype(updates)
    wide = dtype if dtype in _ADDED else onnx.TensorProto.FLOAT if is_float(graph, updates) else _ADDED[2]
    start = formula("Expand", np.zeros((), utils.map_onnx_to_numpy_type(wide)), shape)
    total = formula.name(formula("ScatterND", start, places, formula.cast(updates, wide), reduction="add"))
    graph.set_dtype(total, wide)
    return formula.cast(total, dtype)


def _counts(formula: Formula, rows: str, segments: str) -> Operand:
    """How many rows each segment has, with an axis of size 1 for each of a row's."""
    ones = formula.name(formula("Expand", np.int64(1), formula("Shape", segments)))
    formula.graph.set_shape(ones, [-1])
    formula.graph.set_dtype(ones, onnx.TensorProto.INT64)
    return formula.unsqueeze(_added(formula, ones, segments), *range(1, len(formula.graph.get_shape(rows))))


@tf_op("InvertPermutation")
class InvertPermutation:
    """y[x[i]] = i."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula = Formula(ctx)
        places = formula.cast(node.input[0], onnx.TensorProto.INT64)
        numbers = formula("Range", np.int64(0), formula.size(node.input[0], 0), np.int64(1))
        start = formula("Expand", np.int64(0), formula("Shape", node.input[0]))
        result = formula("ScatterElements", start, places, numbers, axis=0)
        ctx.set_dtype(result, onnx.TensorProto.INT64)
        formula.replace(node, result)


@tf_op("Cross")
class Cross:
    """a x b over the last axis, of three: with the axes turned by one and by two, a' b'' - a'' b'."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula, (a, b) = Formula(ctx), node.input
        one, two = np.array([1, 2, 0], np.int64), np.array([2, 0, 1], np.int64)
        turned = [[formula("Gather", value, turn, axis=-1) for turn in (one, two)] for value in (a, b)]
        (a_one, a_two), (b_one, b_two) = turned
        formula.replace(node, formula("Sub", formula("Mul", a_one, b_two), formula("Mul", a_two, b_one)))


@tf_op(["InTopK", "InTopKV2"])
class InTopK:
    """Whether fewer than k classes have a larger score than the target, whose score is finite."""

    @classmethod
    def version_13(cls, ctx: Any, node: Any, **_: Any) -> None:
        """Convert one node."""
        formula = Formula(ctx)
        scores, targets = node.input[:2]  # [b, classes], [b]
        count = formula.known(node.input[2]) if len(node.input) > 2 else np.array(node.get_attr_value("k"))
        place = formula.unsqueeze(formula.cast(targets, onnx.TensorProto.INT64), 1)
        own = formula("GatherElements", scores, place, axis=1)
        larger = formula.cast(formula("Greater", scores, own), onnx.TensorProto.INT32)
        few = formula("Less", formula.sum(larger, 1), formula.cast(count, onnx.TensorProto.INT32))
        wrong = formula("Squeeze", formula("Or", formula("IsNaN", own), formula("IsInf", own)), np.array([1]))
        formula.replace(node, formula("And", few, formula("Not", wrong)))
