"""Elementwise operators before the moves that they follow, so that moves meet moves and layers their bias.

    f(move(x))                ->  move(f(x))                      f of one value, or of one and constants
    f(move(x), move(y))       ->  move(f(x, y))                   the same move, of the same shapes
    Add(Reshape(MatMul(x, W) [b, 7, 12]) [b, 7, 3, 4], c [3, 4])  ->  Reshape(Add(MatMul(x, W), c [12]))

A constant is brought into the shape before the move; it may be repeated along an axis that the move cuts.
What is read elsewhere too stays where it is, unless the move then meets another one behind the operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.graph.infer_sizes import axes_of
from optimizer.graph.layout import Axis, Layout, is_move, layout
from optimizer.graph.match import array
from optimizer.graph.rewriter import Builder, Rewrite, attributes_of, single_use
from optimizer.graph.sizes import Size, order_of, shape

if TYPE_CHECKING:
    import onnx_ir as ir

Array = NDArray[Any]

_UNARY = frozenset(
    [
        "Abs", "Cast", "Ceil", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid",
        "HardSwish", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu",
        "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu",
    ]
)  # fmt: skip
_BINARY = frozenset(["Add", "Div", "Max", "Min", "Mul", "Pow", "Sub"])
_LARGEST = 1 << 16
"""Elements of a constant that is repeated."""


def _raise(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    moved = [place for place, value in enumerate(node.inputs) if value is not None and array(value) is None]
    moves = [node.inputs[place].producer() for place in moved]  # type: ignore[union-attr]  # not None, above
    if not moves or not all(is_move(move) for move in moves) or (node.op_type in _UNARY and moved != [0]):
        return None
    return _of_one(node, moved[0], build) if len(moved) == 1 else _of_two(node, build)


def _of_one(node: ir.Node, place: int, build: Builder) -> Sequence[ir.Value] | None:
    """An operator whose other operands are constants."""
    value = node.inputs[place]
    move = value.producer() if value is not None else None
    sizes = shape(value)
    if value is None or move is None or sizes is None or not _may_move(value, node):
        return None
    inputs = list(node.inputs)
    inputs[place] = move.inputs[0]
    for other, operand in enumerate(node.inputs):
        if other == place or operand is None or node.op_type in _UNARY:
            continue
        constant = array(operand)
        before = None if constant is None else _before(constant, move, sizes)
        if before is None:
            return None
        inputs[other] = build.constant(before)
    return [_again(move, build(node.op_type, *inputs, **attributes_of(node)), build)]


def _of_two(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    """An operator of two values that are moved alike."""
    if node.op_type not in _BINARY or len(node.inputs) != 2:
        return None
    first, second = node.inputs
    moves = [value.producer() for value in (first, second) if value is not None]
    if len(moves) < 2 or moves[0] is None or moves[1] is None or not _alike(moves[0], moves[1]):
        return None
    if first is not second and first is not None and second is not None:
        if not (single_use(first) or single_use(second)):
            return None
    elif not all(use.node is node for use in moves[0].outputs[0].uses()):
        return None
    whole = build(node.op_type, moves[0].inputs[0], moves[1].inputs[0], **attributes_of(node))
    return [_again(moves[0], whole, build)]


def _may_move(value: ir.Value, node: ir.Node) -> bool:
    if value.is_graph_output():
        return False
    return all(use.node is node for use in value.uses()) or _meets_a_move(node)


def _meets_a_move(node: ir.Node) -> bool:
    """Whether a move follows, behind nothing but operators that it could be behind, too."""
    value = node.outputs[0]
    while single_use(value):
        node = next(iter(value.uses())).node
        if is_move(node):
            return True
        others = [each for each in node.inputs if each is not value and each is not None]
        if node.op_type not in _UNARY | _BINARY or any(array(each) is None for each in others):
            return False
        value = node.outputs[0]
    return False


def _alike(first: ir.Node, second: ir.Node) -> bool:
    """Whether two moves treat axes alike; a Reshape has to do so with the same shapes."""
    shapes = [(shape(move.inputs[0]), shape(move.outputs[0])) for move in (first, second)]
    if first.op_type != second.op_type or any(part is None for pair in shapes for part in pair):
        return False
    if first.op_type == "Transpose":
        return order_of(first) == order_of(second)
    if first.op_type in ("Squeeze", "Unsqueeze"):
        axes = axes_of(first)
        same_rank = len(shapes[0][0] or ()) == len(shapes[1][0] or ())
        return axes is not None and axes == axes_of(second) and same_rank
    return shapes[0] == shapes[1]


def _again(move: ir.Node, value: ir.Value, build: Builder) -> ir.Value:
    """The move, behind another value."""
    return build(move.op_type, value, *move.inputs[1:], **attributes_of(move))


def _before(constant: Array, move: ir.Node, sizes: tuple[Size, ...]) -> Array | None:
    """A constant operand in the shape that it has before the move; None where there is none."""
    if constant.size == 1 and constant.ndim <= len(sizes):
        return constant.reshape(())
    found = layout([move])
    if found is None or constant.ndim > len(sizes):
        return None
    wide = constant.reshape((1,) * (len(sizes) - constant.ndim) + constant.shape)
    varying = [axis for axis, length in enumerate(wide.shape) if length > 1]
    if any(sizes[axis] != Size(wide.shape[axis]) for axis in varying):
        return None  # it widens the value, or a free axis
    return _in_pieces(wide, [found.axes[axis] for axis in varying], found)


def _in_pieces(constant: Array, axes: list[Axis], found: Layout) -> Array | None:
    pieces = [piece for axis in axes for piece in axis]
    constant = constant.reshape([piece.size.factor for piece in pieces])
    order = [piece for axis in found.source for piece in axis if piece in pieces]
    constant = constant.transpose([pieces.index(piece) for piece in order])
    lengths: list[int] = []  # of each piece of the source: its size, or 1
    wanted: list[int] = []
    shape_before: list[int] = []
    for axis in found.source:
        varies = any(piece in pieces for piece in axis)
        if varies and any(piece.size.symbols for piece in axis):
            return None  # it would have to be repeated as often as the model is told to
        lengths += [piece.size.factor if piece in pieces else 1 for piece in axis]
        wanted += [piece.size.factor if varies else 1 for piece in axis]
        shape_before.append(int(np.prod([piece.size.factor for piece in axis])) if varies else 1)
    if np.prod(wanted) > max(_LARGEST, constant.size):
        return None
    before = np.broadcast_to(constant.reshape(lengths), wanted).reshape(shape_before)
    first = next((axis for axis, length in enumerate(before.shape) if length > 1), before.ndim)
    return before.reshape(before.shape[first:])  # a bias of one axis is what ONNX Runtime fuses


RAISE_ELEMENTWISE = Rewrite("raise_elementwise", _UNARY | _BINARY, _raise)
