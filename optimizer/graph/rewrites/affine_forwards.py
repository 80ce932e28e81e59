"""Products and sums by column fold into the layer behind them, and sums and products of constants into one.

    MatMul(x * s + t, W)        ->  MatMul(x, s W) + t W
    Gemm(x * s + t, W, b)       ->  Gemm(x, s W, b + t W)
    Conv(x * s + t, W, b)       ->  Conv(x, W * s, b + sum W * t)       t only without padding
    (x + c) + d                 ->  x + (c + d)                         Mul alike

BatchNormalization behind an activation arrives so. A shift stays where |t| or an output's sum |t W| is large:
it may stand for inputs far from zero (Keras's Normalization), of whose difference the products lose the
digits, sum |t W| * 2^-24 of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.graph.match import array
from optimizer.graph.rewriter import (
    Builder,
    LeftAsItIs,
    Rewrite,
    attribute,
    attributes_of,
    automatic_padding,
    is_plain_gemm,
    single_use,
)
from optimizer.graph.sizes import shape
from optimizer.graph.structure import STANDARD_DOMAINS

if TYPE_CHECKING:
    import onnx_ir as ir

Array = NDArray[Any]

LARGEST_SHIFT, LARGEST_SUM = 16.0, 64.0
"""Beyond these a shift may cancel what stands before it."""
_ROUNDS = 0.01
"""A shift whose digits end here or above may be there to round: (x + 2^23) - 2^23."""


def _fold(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    change = node.inputs[0].producer() if node.inputs[0] is not None else None
    weight = array(node.inputs[1])
    has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
    bias = array(node.inputs[2]) if has_bias else None
    if change is None or change.domain not in STANDARD_DOMAINS or not single_use(change.outputs[0]):
        return None
    found = _constant(change)
    if found is None or weight is None or weight.dtype.kind != "f" or (has_bias and bias is None):
        return None
    x, constant = found
    rank = len(shape(x) or ())
    by_input = _by_input(node, weight, constant, rank)
    if by_input is None or shape(x) != shape(change.outputs[0]):
        return None
    if change.op_type in ("Mul", "Div"):
        scaled = weight * by_input if change.op_type == "Mul" else weight / by_input
        inputs = (x, build.constant(np.asarray(scaled)), *node.inputs[2:])
        return [build(node.op_type, *inputs, **attributes_of(node))]
    shift = by_input if change.op_type == "Add" else -by_input
    product = weight * shift
    total = np.abs(product).sum(axis=_inputs_of(node, product)).max()
    if np.abs(constant).max() > LARGEST_SHIFT or total > LARGEST_SUM:
        raise LeftAsItIs(f"a shift of {np.abs(constant).max():.3g} would lose digits")
    return _shifted(node, x, product, build)


def _inputs_of(node: ir.Node, weight: Array) -> tuple[int, ...]:
    """The axes of a weight that one output sums over."""
    if node.op_type == "Conv":
        return tuple(range(1, weight.ndim))
    return (1,) if attribute(node, "transB", 0) == 1 else (0,)


def _constant(change: ir.Node) -> tuple[ir.Value, Array] | None:
    """What a constant changes, and the constant."""
    if change.op_type not in ("Add", "Div", "Mul", "Sub"):
        return None
    pairs = [(change.inputs[0], array(change.inputs[1]))]
    if change.op_type in ("Add", "Mul"):
        pairs.append((change.inputs[1], array(change.inputs[0])))
    return next(((x, c) for x, c in pairs if x is not None and c is not None and array(x) is None), None)


def _by_input(node: ir.Node, weight: Array, constant: Array, rank: int) -> Array | None:
    """A constant by input column or channel, shaped like the weight's axes; None where it is none."""
    if node.op_type == "Conv":
        group, axis = attribute(node, "group", 1), 1
        inputs = weight.shape[1] * group
    else:
        across = attribute(node, "transB", 0) == 1
        if weight.ndim != 2 or attribute(node, "transA", 0) == 1 or not is_plain_gemm(node):
            return None
        inputs, axis = weight.shape[1 if across else 0], rank - 1
    padded = (1,) * (rank - constant.ndim) + constant.shape
    wanted = tuple(inputs if place == axis else 1 for place in range(rank))
    if (constant.size != 1 and padded != wanted) or len(padded) != rank:
        return None
    vector = np.full(inputs, constant.item(), constant.dtype) if constant.size == 1 else constant.reshape(-1)
    if node.op_type != "Conv":
        return vector[None, :] if across else vector[:, None]
    by_group = vector.reshape(group, 1, -1).repeat(weight.shape[0] // group, axis=1)
    return by_group.reshape(weight.shape[:2] + (1,) * (weight.ndim - 2))


def _shifted(node: ir.Node, x: ir.Value, product: Array, build: Builder) -> Sequence[ir.Value] | None:
    """The layer of what stands before a sum, where `product` is weight * shift."""
    if node.op_type == "Conv":
        pads = node.attributes["pads"].as_ints() if "pads" in node.attributes else ()
        if any(pads) or automatic_padding(node) not in ("NOTSET", "VALID"):
            raise LeftAsItIs("its padding is not shifted")
    extra = product.sum(axis=_inputs_of(node, product)).astype(product.dtype)  # [out]
    if node.op_type == "MatMul":
        return [build("Add", build("MatMul", x, node.inputs[1]), build.constant(extra))]
    given = array(node.inputs[2]) if len(node.inputs) > 2 else None
    bias = extra if given is None else given + extra
    return [build(node.op_type, x, node.inputs[1], build.constant(bias), **attributes_of(node))]


def _collapse(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    """Two constants, one behind the other."""
    last = _constant(node)
    before = last[0].producer() if last is not None else None
    if last is None or before is None or before.op_type != node.op_type or not single_use(last[0]):
        return None
    first = _constant(before) if before.domain in STANDARD_DOMAINS else None
    if first is None or last[1].dtype.kind != "f":
        return None
    c, d = first[1], last[1]
    both = c + d if node.op_type == "Add" else c * d
    if both.size > max(c.size, d.size) or shape(node.outputs[0]) is None:
        return None  # a row and a column would become a matrix
    if node.op_type == "Add" and np.abs(c).max(initial=0) > _ROUNDS / np.finfo(c.dtype).eps:
        return None
    return [build(node.op_type, first[0], build.constant(np.asarray(both)))]


FOLD_AFFINE_FORWARDS = Rewrite("fold_affine_forwards", frozenset({"Conv", "Gemm", "MatMul"}), _fold)
COLLAPSE_CONSTANTS = Rewrite("collapse_constants", frozenset({"Add", "Mul"}), _collapse)
