"""Moves the valid steps of each sample to the front, and outputs back to where their steps stand.

Keys 1 - t / n for a valid step t of n and -t / n for another have no ties, so their order is that of the
steps, the valid ones first. What stands in a masked step is never read: a choice by the same mask goes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from optimizer.graph.infer_sizes import axes_of
from optimizer.graph.match import array, find, is_standard, op, variable
from optimizer.graph.rewriter import Builder, attributes_of
from optimizer.graph.sizes import fixed, shape

if TYPE_CHECKING:
    import onnx_ir as ir

_FLOAT, _INT32, _INT64 = 1, 6, 7
_ELEMENTWISE = frozenset({"And", "Cast", "Equal", "Greater", "Less", "Not", "Or"})
_REDUCE = frozenset({"ReduceMax", "ReduceSum"})
_DEPTH = 8


@dataclass(frozen=True)
class Mask:
    """A mask over steps, and what follows from it."""

    steps: ir.Value
    """bool[steps, batch, 1]."""
    samples: ir.Value
    """The same, bool[batch, steps, 1]."""
    flags: ir.Value
    """1 for a valid step: float[batch, steps, 1]."""
    counts: ir.Value
    """The number of valid steps, int32[batch]."""


def mask_of(build: Builder, steps: ir.Value) -> Mask:
    """A mask from bool[steps, batch, 1]."""
    samples = _swapped(build, steps)
    flags = build("Cast", samples, to=_FLOAT)
    counts = build("Cast", build.reduce("ReduceSum", flags, [1, 2], keepdims=0), to=_INT32)
    return Mask(steps, samples, flags, counts)


def to_front(build: Builder, x: ir.Value, mask: Mask) -> ir.Value:
    """The valid steps of each sample first, in their order: x is float[steps, batch, width]."""
    samples = _without_choice(_swapped(build, x), mask)
    length = fixed(mask.steps, 0)
    if length is None:
        number = build("Gather", build("Shape", mask.flags), build.constant([1]))  # [1]
        count = build("Squeeze", number, build.constant([0]))
        places = build("Range", build.constant(np.array(0)), count, build.constant(np.array(1)))
        part = build("Div", build("Cast", places, to=_FLOAT), build("Cast", number, to=_FLOAT))
        late = build("Unsqueeze", part, build.constant([1]))  # [steps, 1]
    else:
        number = build.constant([length])
        late = build.constant((np.arange(length) / length).astype(np.float32)[:, None])
    keys = build("Sub", mask.flags, late)
    order = build.several("TopK", 2, keys, number, axis=1, largest=1, sorted=1)[1]  # [batch, steps, 1]
    return _swapped(build, build("GatherND", samples, order, batch_dims=1))


def put_back(build: Builder, y: ir.Value, mask: Mask, *, carries: bool) -> ir.Value:
    """At each step the output of the last valid one up to it, zero before the first; or zero where masked."""
    # After t steps, n(t) were valid: row n(t) of the outputs with a row of zeros before them.
    valid = build("Cast", mask.steps, to=_INT64)  # [steps, batch, 1]
    row = build("CumSum", valid, build.constant(np.array(0)))
    row = row if carries else build("Mul", row, valid)
    first = build("Slice", y, *map(build.constant, ([0], [1], [0])))
    rows = build("Concat", build("Sub", first, first), y, axis=0)
    return build("GatherElements", rows, build("Expand", row, build("Shape", y)), axis=0)


def _swapped(build: Builder, value: ir.Value) -> ir.Value:
    """Steps and samples the other way round."""
    node = value.producer()
    source = node.inputs[0] if node is not None and is_standard(node, "Transpose") else None
    order = tuple(attributes_of(node).get("perm", ())) if node is not None else ()
    return source if source is not None and order == (1, 0, 2) else build("Transpose", value, perm=[1, 0, 2])


def _without_choice(x: ir.Value, mask: Mask) -> ir.Value:
    """What stands in the valid steps of x, where x was chosen, or set to zero, by the same mask."""
    m, a = variable("mask"), variable("x")
    for pattern in (op("Where", m, a), op("Mul", op("Cast", m), a)):
        found = find(pattern, x)
        if found is not None and shape(found["x"]) == shape(x) and _is_same(found["mask"], mask.samples):
            chosen: ir.Value = found["x"]
            return chosen
    return x


def _is_same(left: ir.Value | None, right: ir.Value | None, depth: int = 0) -> bool:
    """Whether two values hold the same, but for axes of 1 that are kept or not."""
    left, right = _without_ones(left), _without_ones(right)
    if left is None or right is None or depth > _DEPTH:
        return False
    contents = [found for found in (array(left), array(right)) if found is not None and found.size == 1]
    if left is right or (len(contents) == 2 and contents[0].item() == contents[1].item()):
        return True
    a, b = left.producer(), right.producer()
    if a is None or b is None or a.op_type != b.op_type or a.domain != b.domain:
        return False
    if a.op_type in _REDUCE:
        return a.inputs[0] is b.inputs[0] and axes_of(a) is not None and axes_of(a) == axes_of(b)
    if a.op_type not in _ELEMENTWISE or [*a.attributes.values()] != [*b.attributes.values()]:
        return False
    return all(_is_same(x, y, depth + 1) for x, y in zip(a.inputs, b.inputs, strict=True))


def _without_ones(value: ir.Value | None) -> ir.Value | None:
    """The value before axes of 1 came or went."""
    while value is not None:
        node = value.producer()
        if node is None or node.op_type not in ("Identity", "Squeeze", "Unsqueeze"):
            break
        value = node.inputs[0]
    return value
