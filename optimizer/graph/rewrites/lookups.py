"""Products with one-hot rows are look-ups, and what follows a look-up row by row can be done in the table.

    MatMul(OneHot(i, n), W)            ->  Gather([0; W; 0], Clip(i, -1, n) + 1)
    MatMul(Cast(i == range(n)), W)     ->  the same
    MatMul(Reshape(OneHot([i, j], n)), W)    ->  Gather(T, i) + Gather(T, j + rows)   one table a column
    MatMul(ReduceSum(OneHot([i, j])), W)     ->  Gather(T, i) + Gather(T, j)
    f(Gather(T, i))                    ->  Gather(f(T), i)           f elementwise, by column, or a MatMul

A row outside of [0, n) is all zeros. ONNX's OneHot alone counts -n..-1 from the end; then the table holds W
twice. The constant part, f(T), is computed by the constant folding that follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.graph.infer_sizes import axes_of
from optimizer.graph.match import array, is_constant, is_standard
from optimizer.graph.rewriter import Builder, LeftAsItIs, Rewrite, attribute, attributes_of, single_use
from optimizer.graph.rewrites.rows import weight_and_bias
from optimizer.graph.sizes import Size, fixed, shape

if TYPE_CHECKING:
    import onnx_ir as ir

_LARGEST_TABLE = 2 << 20
"""Elements. Beyond it a table falls out of the caches, and the file grows."""
_SMALLEST_OF_SEVERAL = 512
"""Elements of the weight behind one of several columns: look-ups took 1.4 times as long with 160,
0.6 times with 640."""
_GROWTH = 4
_UNARY = frozenset(
    [
        "Abs",
        "Elu",
        "Erf",
        "Exp",
        "Gelu",
        "HardSwish",
        "LeakyRelu",
        "Neg",
        "Relu",
        "Reciprocal",
        "Sigmoid",
        "Softplus",
        "Sqrt",
        "Tanh",
    ]
)
_BINARY = frozenset({"Add", "Div", "Mul", "Sub"})


def _one_hot_matmul(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    weight, bias = array(node.inputs[1]), None
    if node.op_type == "Gemm":
        weight, bias = weight_and_bias(node) or (None, None)
    source, columns, axis = _one_hot_columns(node.inputs[0])
    hot = source.producer() if source is not None else None
    if weight is None or weight.ndim != 2 or hot is None:
        return None
    found = _of_one_hot(hot) or _of_equality(hot)
    if found is None:
        return None
    index, wraps = found
    table = _table(weight, columns, wraps)
    if table.size > _LARGEST_TABLE:
        raise LeftAsItIs(f"its table would have {table.size} elements")
    depth = weight.shape[0] // columns
    if columns > 1 and depth * weight.shape[1] < _SMALLEST_OF_SEVERAL:
        raise LeftAsItIs("a product this small is faster than look-ups and their sum")
    whole = build("Cast", index, to=7)
    low, high = (-depth - 1 if wraps else -1), depth
    inside = build("Clip", whole, build.constant(np.array(low)), build.constant(np.array(high)))
    first = np.arange(columns) * (len(table) // columns) - low  # where the table of a column begins
    place = build("Add", inside, build.constant(first if columns > 1 else np.array(-low)))
    value = build("Gather", build.constant(table), place, axis=0)
    if axis is not None:
        value = build.reduce("ReduceSum", value, [axis], keepdims=0)
    return [value if bias is None else build("Add", value, build.constant(bias))]


def _table(weight: NDArray[Any], columns: int, wraps: bool) -> NDArray[Any]:
    """A weight's rows with zeros for what is outside, one table a column behind the other."""
    rows = weight.reshape(columns, -1, weight.shape[1])
    zero = np.zeros_like(rows, shape=(columns, 1, weight.shape[1]))
    table = np.concatenate([zero, rows, rows, zero] if wraps else [zero, rows, zero], axis=1)
    return table.reshape(-1, weight.shape[1])


def _one_hot_columns(flat: ir.Value | None) -> tuple[ir.Value | None, int, int | None]:
    """What may be one-hot rows, how many stand side by side, and the axis along which they are summed.

    Rows that are counted, ReduceSum(OneHot(i)), share one table.
    """
    node = flat.producer() if flat is not None else None
    source = node.inputs[0] if node is not None and node.inputs else None
    sizes, after = shape(source), shape(flat)
    if node is None or sizes is None or after is None or len(sizes) < 2:
        return flat, 1, None
    axis, columns = len(sizes) - 2, fixed(source, -2)
    if is_standard(node, "Reshape") or is_standard(node, "Flatten"):
        joined = columns is not None and after[:-1] == sizes[:-2] and after[-1] == sizes[-1] * Size(columns)
        return (source, columns, axis) if joined and columns else (flat, 1, None)
    if is_standard(node, "ReduceSum") and axes_of(node) == [axis] and not attribute(node, "keepdims", 1):
        return source, 1, axis
    return flat, 1, None


def _of_one_hot(node: ir.Node) -> tuple[ir.Value, bool] | None:
    """The index of a OneHot along the last axis with the values 0 and 1; it counts negatives from the end."""
    if not is_standard(node, "OneHot"):
        return None
    values, rank = array(node.inputs[2]), shape(node.outputs[0])
    axis = attribute(node, "axis", -1)
    last = rank is not None and axis in (-1, len(rank) - 1)
    if values is None or values.tolist() != [0, 1] or not last or node.inputs[0] is None:
        return None
    return node.inputs[0], True


def _of_equality(node: ir.Node) -> tuple[ir.Value, bool] | None:
    """The index of Cast(Equal(index with an axis of 1, range(n)))."""
    equal = node.inputs[0].producer() if is_standard(node, "Cast") and node.inputs[0] is not None else None
    if equal is None or not is_standard(equal, "Equal"):
        return None
    for index, positions in (equal.inputs, equal.inputs[::-1]):
        numbers = array(positions)
        if numbers is None or numbers.dtype.kind not in "iu" or index is None:
            continue
        in_order = numbers.size == numbers.shape[-1] if numbers.ndim else False
        if in_order and np.array_equal(numbers.ravel(), np.arange(numbers.size)):
            move = index.producer()
            wide = numbers.ndim > len(shape(index) or ())
            last = len(shape(index) or ()) - 1
            if is_standard(move, "Unsqueeze") and move is not None and axes_of(move) == [last] and not wide:
                return move.inputs[0], False  # type: ignore[return-value]  # Unsqueeze has an input
    return None


def _into_table(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    """What is done with each row of a constant table, before the look-up."""
    place, gather = _looked_up(node)
    if gather is None or gather.inputs[0] is None or not is_constant(gather.inputs[0]):
        return None
    rows, columns = fixed(gather.inputs[0], 0), fixed(gather.inputs[0], 1)
    if (
        rows is None
        or columns is None
        or attribute(gather, "axis", 0) != 0
        or not single_use(gather.outputs[0])
    ):
        return None
    others = [value for number, value in enumerate(node.inputs) if number != place]
    if node.op_type == "MatMul":
        if len(shape(node.inputs[1]) or ()) != 2:
            return None
        if not _is_identity(array(gather.inputs[0])):  # else the table becomes the matrix itself
            _refuse_growth(rows, columns, fixed(node.inputs[1], 1))
    elif any(not _by_column(value, columns) for value in others):
        return None
    inputs = list(node.inputs)
    inputs[place] = gather.inputs[0]
    return [build("Gather", build(node.op_type, *inputs, **attributes_of(node)), gather.inputs[1], axis=0)]


def _looked_up(node: ir.Node) -> tuple[int, ir.Node | None]:
    """Which input of a node is a look-up, and the look-up; the other inputs have to be constant."""
    if node.op_type not in _UNARY | _BINARY | {"MatMul"}:
        return 0, None
    places = range(1) if node.op_type == "MatMul" or node.op_type in _UNARY else range(len(node.inputs))
    for place in places:
        value = node.inputs[place]
        producer = value.producer() if value is not None else None
        others = [other for number, other in enumerate(node.inputs) if number != place]
        if is_standard(producer, "Gather") and all(map(is_constant, others)):
            return place, producer
    return 0, None


def _by_column(value: ir.Value | None, columns: int) -> bool:
    """Whether a constant is one number, or one for each column."""
    return shape(value) in ((), (Size(1),), (Size(columns),))


def _is_identity(table: NDArray[Any] | None) -> bool:
    if table is None or table.size > _LARGEST_TABLE or table.shape[0] != table.shape[1]:
        return False
    return np.array_equal(table, np.eye(len(table)))


def _refuse_growth(rows: int, before: int, after: int | None) -> None:
    """A table that has become much wider costs more memory than the product costs time."""
    if after is None or after > _GROWTH * before or rows * after > _LARGEST_TABLE:
        raise LeftAsItIs(f"its table of {rows} rows would grow from {before} to {after} columns")


FOLD_ONE_HOT_INTO_MATMUL = Rewrite("fold_one_hot_into_matmul", frozenset({"Gemm", "MatMul"}), _one_hot_matmul)
FOLD_INTO_TABLE = Rewrite("fold_into_table", _UNARY | _BINARY | {"MatMul"}, _into_table)
