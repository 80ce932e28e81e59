"""Slices that take all, or one; and indices whose sign the look-up minds by itself.

    Slice(x, 0, size or more)                        ->  x
    Squeeze(Slice(x, i, i + 1, axis), axis)          ->  Gather(x, i, axis)
    Gather(T [n, ...], Where(i < 0, i + n, i))       ->  Gather(T, i)

ONNX's Gather counts -n..-1 from the end, as Keras' `take` does by hand. Beyond that TensorFlow has no value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from optimizer.graph.infer_sizes import WHOLE, axes_of
from optimizer.graph.match import array, constant, either, find, is_standard, number, op, variable
from optimizer.graph.rewriter import Builder, Rewrite, attribute, single_use
from optimizer.graph.sizes import fixed, shape

if TYPE_CHECKING:
    import onnx_ir as ir

_I = variable("i")
_NEGATIVE = either(op("Less", _I, number(0.0)), op("Less", op("Cast", _I), number(0.0)))
_WRAPPED = op("Where", _NEGATIVE, op("Add", _I, constant("n")), _I)

Range = tuple[int, int, int, int]
"""Axis, start, end, step."""


def ranges(node: ir.Node | None) -> list[Range] | None:
    """What a Slice takes along each axis; None where that is computed."""
    sizes = shape(node.inputs[0]) if node is not None else None
    if node is None or not is_standard(node, "Slice") or sizes is None or len(node.inputs) < 3:
        return None
    given = [array(value) for value in node.inputs[1:]]
    starts, ends, *rest = given
    if starts is None or ends is None:
        return None
    axes = np.arange(starts.size) if not rest or node.inputs[3] is None else rest[0]
    steps = np.ones(starts.size, np.int64) if len(rest) < 2 or node.inputs[4] is None else rest[1]
    if axes is None or steps is None:
        return None
    columns = zip(axes.ravel(), starts.ravel(), ends.ravel(), steps.ravel(), strict=True)
    return [(int(axis) % len(sizes), int(start), int(end), int(step)) for axis, start, end, step in columns]


def takes_all(node: ir.Node, each: Range) -> bool:
    """Whether a Slice takes an axis as it is."""
    axis, start, end, step = each
    size = fixed(node.inputs[0], axis)
    whole = end >= WHOLE or (size is not None and end >= size)
    return whole and step == 1 and (start == 0 or (size is not None and start <= -size))


def _eliminate(node: ir.Node, build: Builder) -> Sequence[ir.Value | None] | None:
    found = ranges(node)
    if found is None or not all(takes_all(node, each) for each in found):
        return None
    return [node.inputs[0]]


def _gather(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    value = node.inputs[0]
    taken = value.producer() if value is not None else None
    found = ranges(taken)
    if value is None or taken is None or found is None or not single_use(value):
        return None
    chosen = [each for each in found if not takes_all(taken, each)]
    if len(chosen) != 1 or axes_of(node) != [chosen[0][0]]:
        return None
    axis, start, end, step = chosen[0]
    last = start == -1 and end >= WHOLE
    if step != 1 or not (last or (end == start + 1 and end != 0)):
        return None  # what is squeezed may be one by the size of the input
    return [build("Gather", taken.inputs[0], build.constant(np.array(start, np.int64)), axis=axis)]


def _eliminate_wrap(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    found = find(_WRAPPED, node.inputs[1])
    size = fixed(node.inputs[0], attribute(node, "axis", 0))
    added = array(found["n"]) if found is not None else None
    if found is None or size is None or added is None or added.size != 1 or int(added.item()) != size:
        return None
    if added.ndim > len(shape(found["i"]) or ()):
        return None  # it widens the index
    return [build("Gather", node.inputs[0], found["i"], axis=attribute(node, "axis", 0))]


ELIMINATE_SLICE = Rewrite("eliminate_slice", frozenset({"Slice"}), _eliminate)
FOLD_SLICE_INTO_GATHER = Rewrite("fold_slice_into_gather", frozenset({"Squeeze"}), _gather)
ELIMINATE_INDEX_WRAP = Rewrite("eliminate_index_wrap", frozenset({"Gather"}), _eliminate_wrap)
