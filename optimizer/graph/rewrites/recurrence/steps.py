"""Reads a Loop that walks over a sequence: what it takes at each step, carries on, and gives out.

    for t in range(count):  x = X[t];  state = f(x, state);  scan[t] = g(x, state)

TensorFlow's while loops arrive so. The count may be fixed or computed, and stand in the condition alone
(counter < count); that has to hold at every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.graph.match import array, is_standard, origin
from optimizer.graph.rewriter import attribute
from optimizer.graph.structure import STANDARD_DOMAINS

if TYPE_CHECKING:
    import onnx_ir as ir

Array = NDArray[Any]

_TRIALS = (1, 2, 1 << 40)
"""Counts for which a computed condition is tried: sums that are compared, so that what holds at the first and
the last step holds between, and what holds for a large count has no other bound."""


_DEPTH = 12
"""Of nodes that are followed back; a hostile graph doubles its paths at each."""


@dataclass(frozen=True)
class Carried:
    """A value that one step hands to the next."""

    initial: ir.Value
    """Outside, before the first step."""
    entering: ir.Value
    leaving: ir.Value
    final: ir.Value
    """Outside, after the last step."""


@dataclass(frozen=True)
class Steps:
    """A loop over a sequence."""

    loop: ir.Node
    count: ir.Value
    """How many steps it takes."""
    carried: tuple[Carried, ...]
    scans: Mapping[ir.Value, ir.Value]
    """By the loop's output, the body's value that it collects."""
    counters: frozenset[ir.Value]
    """Values of the body that are 0, 1, 2, ..."""

    def sequence(self, value: ir.Value) -> ir.Value | None:
        """The sequence, time first, of which a value of the body is the element at this step."""
        node = origin(value).producer()
        if not is_standard(node, "Gather") or node is None or node.graph is not self.body:
            return None
        source = node.inputs[0]
        at_step = node.inputs[1] in self.counters and attribute(node, "axis", 0) == 0
        return source if at_step and source is not None and self.is_outside(source) else None

    @property
    def body(self) -> ir.Graph:
        """The graph of one step."""
        return self.loop.attributes["body"].as_graph()

    def is_outside(self, value: ir.Value) -> bool:
        """Whether a value is computed before the loop."""
        return value not in self.body.inputs and (value.producer() is None or value.graph is not self.body)

    def state(self, value: ir.Value) -> Carried | None:
        """The carried value that enters as this one."""
        return next((carried for carried in self.carried if carried.entering is value), None)

    def constant(self, value: ir.Value | None, depth: int = 0) -> Array | None:
        """What a value of the body holds at every step: constants pass through the loop unchanged."""
        if value is None or depth > _DEPTH:
            return None
        known = array(value)
        if known is not None:
            return known
        carried = self.state(value)
        if carried is not None:
            return self.constant(carried.initial, depth + 1) if carried.leaving is value else None
        node = value.producer()
        if node is None or node.domain not in STANDARD_DOMAINS:
            return None
        inputs = [self.constant(each, depth + 1) for each in node.inputs]
        if not inputs or inputs[0] is None or any(each is None for each in inputs[1:]):
            return None
        return _computed(node, inputs[0], inputs[1:], node.outputs.index(value))


def read_steps(loop: ir.Node) -> Steps | None:
    """Read a Loop, or return None where it does not run over all of its count."""
    body = loop.attributes["body"].as_graph()
    count = len(loop.inputs) - 2
    carried = tuple(
        Carried(initial, entering, origin(leaving), final)
        for initial, entering, leaving, final in zip(
            loop.inputs[2:], body.inputs[2:], body.outputs[1 : 1 + count], loop.outputs[:count], strict=True
        )
        if initial is not None
    )
    limit = loop.inputs[0] if loop.inputs[0] is not None else _limit(body, carried)
    if len(carried) < count or limit is None:
        return None
    scans = dict(zip(loop.outputs[count:], map(origin, body.outputs[1 + count :]), strict=True))
    counters = {body.inputs[0], *(each.entering for each in carried if _counts(each))}
    steps = Steps(loop, limit, carried, scans, frozenset(counters))
    return steps if _runs_through(steps) else None


def _limit(body: ir.Graph, carried: tuple[Carried, ...]) -> ir.Value | None:
    """What a loop without a count compares its counter with, as that is outside."""
    node = origin(body.outputs[0]).producer()
    if node is None or not is_standard(node, "Less"):
        return None
    limit = _without_casts(node.inputs[1])
    limit = next((each.initial for each in carried if each.entering is limit), limit)
    if limit is None or array(limit) is not None:
        return limit
    producer = limit.producer()
    return None if producer is not None and producer.graph is body else limit


def _counts(carried: Carried) -> bool:
    """Whether a carried value is 0 at first and one more at each step."""
    first, node = array(carried.initial), carried.leaving.producer()
    if first is None or first.size != 1 or first.item() != 0 or not is_standard(node, "Add") or node is None:
        return False
    pairs = ((node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0]))
    return any(a is carried.entering and _is_one(b) for a, b in pairs)


def _is_one(value: ir.Value | None) -> bool:
    content = array(value)
    return content is not None and content.size == 1 and content.item() == 1


def _runs_through(steps: Steps) -> bool:
    """Whether the condition holds at every step but the last; there it has to end a loop without a count."""
    fixed = array(steps.count)
    start, following = steps.loop.inputs[1], steps.body.outputs[0]
    ends_itself = steps.loop.inputs[0] is None
    if ends_itself and fixed is None and _at(steps, start, 0, 0) is not False:
        return False  # of an empty sequence it would take a step
    for count in (int(fixed.item()),) if fixed is not None else _TRIALS:
        if ends_itself and (count < 1 or _at(steps, following, count - 1, count) is not False):
            return False
        if start is not None and _at(steps, start, 0, count) is not True:
            return False
        for step in (0, count - 2) if count > 1 else ():
            if _at(steps, following, step, count) is not True:
                return False
    return True


def _at(  # noqa: C901  # one flat match over the operators
    steps: Steps, value: ir.Value | None, step: int, count: int, depth: int = 0
) -> float | bool | None:
    """A scalar of the body at one step, where it comes from counters, constants and the loop's count."""
    if value is None or depth > _DEPTH:
        return None
    if value in steps.counters:
        return step
    if value is steps.body.inputs[1]:
        return True
    known = steps.constant(value)
    if known is not None:
        return known.item() if known.size == 1 else None
    carried = steps.state(value)
    if carried is not None and carried.leaving is value:
        return _at(steps, carried.initial, step, count, depth + 1)
    if _without_casts(value) is _without_casts(steps.count):
        return count
    node = value.producer()
    inputs = [] if node is None else [_at(steps, each, step, count, depth + 1) for each in node.inputs]
    if node is None or not inputs or None in inputs:
        return None
    match node.op_type, inputs:
        case (("Cast" | "Identity" | "Squeeze" | "Reshape"), [first, *_]):
            return first
        case "Add", [a, b]:
            return a + b  # type: ignore[operator]  # None was ruled out above
        case "Less", [a, b]:
            return bool(a < b)  # type: ignore[operator]  # as before
        case "And", [a, b]:
            return bool(a and b)
    return None


def _without_casts(value: ir.Value | None) -> ir.Value | None:
    """The value that Cast, Squeeze and the like only write otherwise."""
    while value is not None:
        node = value.producer()
        if node is None or node.op_type not in ("Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape"):
            break
        value = node.inputs[0]
    return value


def _computed(node: ir.Node, first: Array, rest: list[Array | None], index: int) -> Array | None:
    """What stands between a weight and its use in a cell."""
    axes = tuple(int(axis) for axis in rest[0].ravel()) if rest and rest[0] is not None else ()
    match node.op_type:
        case "Identity":
            return first
        case "Squeeze":
            return np.squeeze(first, axes or None)
        case "Unsqueeze":
            return np.expand_dims(first, axes)
        case "Transpose":
            return np.transpose(
                first, node.attributes["perm"].as_ints() if "perm" in node.attributes else None
            )
        case "Split":
            axis = attribute(node, "axis", 0)
            parts = np.cumsum(axes)[:-1].tolist() if axes else len(node.outputs)
            return np.asarray(np.split(first, parts, axis)[index])
        case "Slice":
            return _sliced(first, *(part.ravel().tolist() for part in rest if part is not None))
        case "Gather" if len(axes) == 1 and rest[0] is not None and rest[0].ndim == 0:
            return np.asarray(first.take(axes[0], attribute(node, "axis", 0)))
    return None


def _sliced(
    content: Array,
    starts: list[int],
    ends: list[int],
    axes: list[int] | None = None,
    strides: list[int] | None = None,
) -> Array | None:
    """A part of a constant; None for one that runs backwards."""
    cut = [slice(None)] * content.ndim
    places = axes if axes is not None else list(range(len(starts)))
    for start, end, axis, stride in zip(starts, ends, places, strides or [1] * len(starts), strict=True):
        if stride < 1:
            return None
        cut[axis] = slice(start, end, stride)
    return content[tuple(cut)]
