"""Sizes and targets of Reshape that are known, and rows that a product does without.

    Gather(Shape(x), i), Slice alike   ->  constant                 where the sizes of these axes are fixed
    Gather(Shape(move(x)), i)          ->  Gather(Shape(x), j)      where x has the same free sizes
    Reshape(x, computed)               ->  Reshape(x, constant)     free sizes: copied (0), or the rest (-1)
    Reshape(MatMul(Reshape(x, [-1, k]), W), [..., n])  ->  MatMul(x, W)

TensorFlow computes targets from the batch size (Shape, Gather, Concat, ...), of which nothing is left. A size
that is read from what was moved would keep the move.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from optimizer.graph.layout import chain_above
from optimizer.graph.match import array, is_standard
from optimizer.graph.rewriter import Builder, Rewrite
from optimizer.graph.sizes import Size, integers, reshaped, shape, target_from
from optimizer.graph.structure import STANDARD_DOMAINS

if TYPE_CHECKING:
    import onnx_ir as ir

_MOVES = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")


def _fold_size(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    value = node.outputs[0]
    sizes, found = shape(value), integers(value)
    if value.dtype is None or value.dtype.name not in ("INT32", "INT64") or sizes is None or found is None:
        return None
    if any(size.symbols for size in found):
        return None
    numbers = np.array([size.factor for size in found], value.dtype.numpy())
    return [build.constant(numbers if sizes else numbers.reshape(()))]


def _raise_size(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    read = node.inputs[0].producer() if node.inputs[0] is not None else None
    if not is_standard(read, "Shape") or read is None or read.attributes:
        return None
    chain = chain_above(read.inputs[0])
    given, found = shape(chain[0].inputs[0]) if chain else None, integers(node.outputs[0])
    if given is None or not found or any(not size.symbols or size not in given for size in found):
        return None
    axes, sizes = np.array([given.index(size) for size in found]), shape(node.outputs[0])
    places = build.constant(axes if sizes else axes.reshape(()))
    return [build("Gather", build("Shape", chain[0].inputs[0]), places, axis=0)]


def _fold_target(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    if array(node.inputs[1]) is not None:
        return None
    sizes, given = reshaped(node) or _wanted(node), shape(node.inputs[0])
    target = None if sizes is None or given is None else target_from(given, sizes)
    return None if target is None else [build("Reshape", node.inputs[0], build.constant(target))]


def _wanted(node: ir.Node) -> tuple[Size, ...] | None:
    """The target, of which one entry that is not known is what is left of the elements."""
    wanted = integers(node.inputs[1])
    return None if wanted is None or any(size.factor <= 0 for size in wanted) else wanted


def _is_move(node: ir.Node | None) -> bool:
    return node is not None and node.domain in STANDARD_DOMAINS and node.op_type in _MOVES


def _through_matmul(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    product = node.inputs[0].producer() if node.inputs[0] is not None else None
    if not is_standard(product, "MatMul") or product is None or product.inputs[0] is None:
        return None
    move = product.inputs[0].producer()
    sizes, weight = shape(node.outputs[0]), shape(product.inputs[1])
    if not _is_move(move) or move is None or sizes is None or weight is None or len(weight) != 2:
        return None
    given, rows = shape(move.inputs[0]), shape(product.inputs[0])
    if given is None or rows is None or len(given) < 2:
        return None
    if given[-1] != weight[0] or rows[-1] != weight[0] or sizes != (*given[:-1], weight[1]):
        return None
    return [build("MatMul", move.inputs[0], product.inputs[1])]


FOLD_SIZE = Rewrite("fold_size", frozenset({"Gather", "Shape", "Slice", "Squeeze"}), _fold_size)
RAISE_SIZE = Rewrite("raise_size", frozenset({"Gather"}), _raise_size)
FOLD_RESHAPE_TARGET = Rewrite("fold_reshape_target", frozenset({"Reshape"}), _fold_target)
ELIMINATE_RESHAPES_AROUND_MATMUL = Rewrite(
    "eliminate_reshapes_around_matmul", frozenset(_MOVES), _through_matmul
)
