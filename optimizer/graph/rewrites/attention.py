"""Products of heads in the simplest form: four axes, one Transpose an operand, no scale of its own.

    Reshape(MatMul(q [b h, m, d], k [b h, d, n]), [b, h, m, n])  ->  MatMul(q [b, h, m, d], k [b, h, d, n])
    MatMul(move(x W + c), k) * s             ->  MatMul(move(x (W s) + c s), k)
    Transpose(Softmax(MatMul(k, q), m))      ->  Softmax(MatMul(q', k'), n)      with one Transpose less

Einsums of Keras and TensorFlow arrive as batched products over one joint axis of examples and heads, between
Reshapes to and from it.

Measured and left out (16 to 512 steps, width 64 to 768, one thread): the products of Q, K and V joined and
split, 0.77 to 1.02 times as fast; joined and parted by a Transpose of five axes, 0.93 to 1.11; K transposed
like Q, so that ONNX Runtime transposes it within its product, 0.87 to 1.08; all products as Gemm over rows,
0.93 to 1.10.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.graph.layout import Layout, Step, chain_above, is_move, layout, own_moves
from optimizer.graph.match import array, constant_operand, is_standard
from optimizer.graph.rewriter import Builder, Rewrite, attribute, attributes_of, single_use
from optimizer.graph.rewrites.moves import put
from optimizer.graph.sizes import Size, elements, order_of, shape

if TYPE_CHECKING:
    import onnx_ir as ir

Array = NDArray[Any]
Sizes = tuple[Size, ...]


def _split_batch(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    """A batched product over the axes that its joint first axis is made of."""
    product, between = _product_above(node.inputs[0])
    if product is None:
        return None
    chains = [chain_above(value) for value in product.inputs]
    layouts = [layout(chain) if chain else None for chain in chains]
    if any(found is None or len(found.axes) != 3 or len(found.axes[0]) < 2 for found in layouts):
        return None
    batches = [tuple(piece.size for piece in found.axes[0]) for found in layouts if found is not None]
    # Joint axes that cannot be 1 are equal, or the product fails; so are then the free sizes in them.
    if batches[0] != batches[1] and (batches[0][1:] != batches[1][1:] or elements(batches[0]).factor == 1):
        return None
    operands: list[ir.Value] = []
    for chain, found, batch in zip(chains, layouts, batches, strict=True):
        assert found is not None
        steps = found.steps() if found.regroup((*batch, *found.sizes()[1:])) else None
        source = chain[0].inputs[0]
        if steps is None or source is None:
            return None
        operands.append(put(steps, source, build))
    last = tuple(
        found.sizes()[axis] for found, axis in zip(layouts, (-2, -1), strict=True) if found is not None
    )
    behind = _behind((*batches[0], *last), shape(node.inputs[0]), node)
    if behind is None:
        return None
    value = build("MatMul", *operands)
    for each in between:
        place = next(place for place, operand in enumerate(each.inputs) if array(operand) is None)
        inputs = [*each.inputs[:place], value, *each.inputs[place + 1 :]]
        value = build(each.op_type, *inputs, **attributes_of(each))
    return [put(behind, value, build)]


def _product_above(value: ir.Value | None) -> tuple[ir.Node | None, list[ir.Node]]:
    """The product of two values that a value is, and what scales it, all of it read once."""
    between: list[ir.Node] = []
    while value is not None and single_use(value):
        node = value.producer()
        if node is None:
            break
        if is_standard(node, "MatMul"):
            return node, between
        scaled = _scaled_by(node)
        if scaled is None:
            break
        between.insert(0, node)
        value = scaled[0]
    return None, []


def _behind(given: Sizes, flat: Sizes | None, node: ir.Node) -> list[Step] | None:
    """What is left of the move behind a product, where it parts the joint axis again."""
    found, sizes = Layout(given), shape(node.outputs[0])
    if flat is None or sizes is None or not found.regroup((elements(given[:-2]), *given[-2:])):
        return None
    if node.op_type == "Transpose":
        found.transpose(order_of(node))
    elif not found.regroup(sizes):
        return None
    parted = all(len(axis) <= 1 for axis in found.axes)
    return found.steps() if parted or len(found.axes) > 3 else None


def _scaled_by(node: ir.Node) -> tuple[ir.Value, float] | None:
    """The value that a node multiplies by a number, and the number."""
    if not (is_standard(node, "Mul") or is_standard(node, "Div")) or len(node.inputs) != 2:
        return None
    for value, other in ((0, 1), (1, 0)):
        operand, number = node.inputs[value], array(node.inputs[other])
        if operand is None or number is None or number.size != 1 or number.dtype.kind != "f":
            continue
        if number.ndim > len(shape(operand) or ()) or (
            node.op_type == "Div" and (value == 1 or not number.any())
        ):
            return None
        return operand, float(number.item()) if node.op_type == "Mul" else 1 / float(number.item())
    return None


def _fold_scale(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    scaled = _scaled_by(node)
    if scaled is None or not _takes_scale(scaled[0]):
        return None
    return [_with_scale(scaled[0], scaled[1], build)]


def _takes_scale(value: ir.Value | None, products: int = 1) -> bool:
    """Whether a value is linear in a weight that nothing else reads."""
    node = value.producer() if value is not None else None
    if value is None or node is None or not single_use(value):
        return False
    if is_move(node):
        return _takes_scale(node.inputs[0], products)
    if is_standard(node, "Add"):
        constant = constant_operand(node)
        return constant is not None and _takes_scale(node.inputs[1 - constant], products)
    if is_standard(node, "MatMul"):
        weight = array(node.inputs[1])
        if weight is not None:
            return weight.dtype.kind == "f" and len(node.inputs[1].uses()) == 1  # type: ignore[union-attr]  # a constant
        if array(node.inputs[0]) is None and products:
            return any(_takes_scale(operand, products - 1) for operand in node.inputs)
    return False


def _with_scale(value: ir.Value, scale: float, build: Builder) -> ir.Value:
    """A value times a number, which goes into the weight."""
    node = value.producer()
    assert node is not None
    first, *rest = node.inputs
    assert first is not None
    if is_move(node):
        return build(node.op_type, _with_scale(first, scale, build), *rest, **attributes_of(node))
    if node.op_type == "Add":
        place = constant_operand(node)
        assert place is not None
        constant, other = array(node.inputs[place]), node.inputs[1 - place]
        assert constant is not None
        assert other is not None
        return build("Add", _with_scale(other, scale, build), _times(constant, scale, build))
    weight = array(rest[0])
    if weight is not None:
        return build("MatMul", first, _times(weight, scale, build))
    operands = [first, rest[0]]
    place = 0 if _takes_scale(first, 0) else 1
    operand = operands[place]
    assert operand is not None
    operands[place] = _with_scale(operand, scale, build)
    return build("MatMul", *operands)


def _times(constant: Array, scale: float, build: Builder) -> ir.Value:
    return build.constant((constant * np.asarray(scale, constant.dtype)).astype(constant.dtype))


def _turn_product(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    """The product of the transposed operands in the other order."""
    order = order_of(node)
    rank = len(order)
    swapped = [*range(rank - 2), rank - 1, rank - 2]
    value = node.inputs[0]
    softmax = value.producer() if value is not None else None
    if rank < 2 or order != swapped or value is None or not single_use(value):
        return None
    if softmax is not None and is_standard(softmax, "Softmax"):
        value = softmax.inputs[0]
    else:
        softmax = None
    product, between = _product_above(value)
    if product is None or between:
        return None
    operands: list[ir.Value] = []
    fewer = 1
    for operand in reversed(product.inputs):
        turned = _turned(operand, swapped, build)
        if turned is None:
            return None
        operands.append(turned[0])
        fewer -= turned[1]
    if fewer <= 0:
        return None
    result = build("MatMul", *operands)
    if softmax is None:
        return [result]
    axis = swapped[attribute(softmax, "axis", -1) % rank]
    return [build("Softmax", result, axis=axis - rank if axis == rank - 1 else axis)]


def _turned(value: ir.Value | None, order: list[int], build: Builder) -> tuple[ir.Value, int] | None:
    """A moved value in another order, and how many more Transposes that takes."""
    chain = chain_above(value)
    if value is None or len(shape(value) or ()) != len(order):
        return None
    chain = chain[len(chain) - own_moves(chain) :]
    found = layout(chain) if chain else Layout(shape(value) or ())
    if found is None:
        return None
    found.transpose(order)
    steps, source = found.steps(), chain[0].inputs[0] if chain else value
    if steps is None or source is None:
        return None
    before = sum(node.op_type == "Transpose" for node in chain)
    return put(steps, source, build), sum(step[0] == "Transpose" for step in steps) - before


SPLIT_BATCH = Rewrite(
    "split_batch", frozenset({"Reshape", "Squeeze", "Transpose", "Unsqueeze"}), _split_batch
)
FOLD_SCALE = Rewrite("fold_scale", frozenset({"Div", "Mul"}), _fold_scale)
TURN_PRODUCT = Rewrite("turn_product", frozenset({"Transpose"}), _turn_product)
