"""Patterns: trees of operators, matched from their last node upward.

    GELU = op("Mul", op("Mul", X, number(0.5)), op("Add", op("Erf", ...), number(1.0)))

A variable that stands twice has to be the same value twice. Add and Mul are tried in both orders.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.graph.structure import STANDARD_DOMAINS

if TYPE_CHECKING:
    import onnx_ir as ir

Bindings = Mapping[str, Any]
"""The value that each variable of a pattern stands for."""

_COMMUTATIVE = ("Add", "And", "Equal", "Max", "Min", "Mul", "Or")


class Pattern:
    """What a value may be computed by."""


@dataclass(frozen=True)
class Variable(Pattern):
    """Any value; a constant one alone where `constant` is set."""

    name: str
    constant: bool = False


@dataclass(frozen=True)
class Number(Pattern):
    """A constant of one element and at most one axis (it widens nothing), within its type's rounding."""

    value: float


@dataclass(frozen=True)
class Operation(Pattern):
    """The first output of an operator of the standard domain; inputs beyond those named are free."""

    op_type: str
    inputs: tuple[Pattern, ...]
    name: str = ""
    """Binds the value itself, where given."""


@dataclass(frozen=True)
class Named(Pattern):
    """What fits a pattern, bound under a name."""

    name: str
    pattern: Pattern


@dataclass(frozen=True)
class Either(Pattern):
    """One of several patterns."""

    choices: tuple[Pattern, ...]


def op(op_type: str, *inputs: Pattern, name: str = "") -> Operation:
    """An operator applied to patterns."""
    return Operation(op_type, inputs, name)


def either(*choices: Pattern) -> Either:
    """Any of these."""
    return Either(choices)


def named(name: str, pattern: Pattern) -> Named:
    """What fits the pattern; the same value wherever the name stands."""
    return Named(name, pattern)


def variable(name: str) -> Variable:
    """Any value."""
    return Variable(name)


def constant(name: str) -> Variable:
    """Any constant."""
    return Variable(name, constant=True)


def number(value: float) -> Number:
    """A constant of one element with this value."""
    return Number(value)


def scaled(pattern: Pattern, factor: float) -> Either:
    """The pattern times a constant, which exporters also write as a division."""
    return either(op("Mul", pattern, number(factor)), op("Div", pattern, number(1 / factor)))


def find(pattern: Pattern, value: ir.Value | None) -> Bindings | None:
    """The first way in which a value is computed as the pattern says, or None."""
    return next(_matches(pattern, value, {}), None)


def array(value: ir.Value | None) -> NDArray[Any] | None:
    """What a constant holds; None for any other value."""
    if value is None or value.is_graph_input():
        return None
    if value.const_value is not None:
        return np.asarray(value.const_value.numpy())
    producer = value.producer()
    if producer is not None and producer.op_type == "Constant" and "value" in producer.attributes:
        return np.asarray(producer.attributes["value"].as_tensor().numpy())
    return None


def is_constant(value: ir.Value | None, known: dict[ir.Value, bool] | None = None) -> bool:
    """Whether a value is a constant, or computed from constants alone.

    Args:
        value: Any value.
        known: What was found of other values: one that many nodes share is looked at once.
    """
    if value is None or value.is_graph_input():
        return False
    known = {} if known is None else known
    if value not in known:
        node = value.producer()
        inputs = node.inputs if node is not None else ()
        known[value] = array(value) is not None or (
            bool(inputs) and all(is_constant(each, known) for each in inputs)
        )
    return known[value]


def constant_operand(node: ir.Node) -> int | None:
    """The place of the one constant among the inputs of a node; None where there are several, or none."""
    constants = [array(value) for value in node.inputs]
    known = [place for place, constant in enumerate(constants) if constant is not None]
    return known[0] if len(known) == 1 else None


def is_standard(node: ir.Node | None, op_type: str) -> bool:
    """Whether a node is this operator of the standard domain."""
    return node is not None and node.domain in STANDARD_DOMAINS and node.op_type == op_type


def origin(value: ir.Value) -> ir.Value:
    """The value itself, where Identity only gives it another name."""
    node = value.producer()
    while node is not None and is_standard(node, "Identity") and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    return value


def _matches(  # noqa: C901  # one flat match over the kinds of pattern
    pattern: Pattern, value: ir.Value | None, bound: Bindings
) -> Iterator[Bindings]:
    """Every set of bindings with which the value fits; few, since variables bind only once."""
    if value is None:
        return
    value = origin(value)
    match pattern:
        case Variable(name, needs_constant):
            if bound.get(name, value) is value and not (needs_constant and array(value) is None):
                yield {**bound, name: value}
        case Number(expected):
            found = array(value)
            if found is not None and found.size == 1 and found.ndim <= 1 and _is_near(found, expected):
                yield bound
        case Named(name, inner):
            if bound.get(name, value) is value:
                for found_so_far in _matches(inner, value, bound):
                    yield {**found_so_far, name: value}
        case Either(choices):
            for choice in choices:
                yield from _matches(choice, value, bound)
        case Operation(op_type, inputs, name):
            node = value.producer()
            if not is_standard(node, op_type) or node is None or value is not node.outputs[0]:
                return
            if name and bound.get(name, value) is not value:
                return
            start = {**bound, name: value} if name else bound
            given = node.inputs[: len(inputs)]
            yield from _all(inputs, given, start)
            if op_type in _COMMUTATIVE and len(inputs) == 2:
                yield from _all(inputs, given[::-1], start)


def _is_near(found: NDArray[Any], expected: float) -> bool:
    """Whether a constant is a number within the rounding of its type; a text is none."""
    if found.dtype.kind not in "biufV":
        return False
    rounding = 1e-6 if found.dtype.itemsize > 2 else 1e-2 if found.dtype.kind == "V" else 1e-3
    return bool(np.isclose(float(found.item()), expected, rtol=rounding, atol=0))


def _all(patterns: tuple[Pattern, ...], values: Any, bound: Bindings) -> Iterator[Bindings]:
    if len(values) < len(patterns):
        return
    if not patterns:
        yield bound
        return
    for partial in _matches(patterns[0], values[0], bound):
        yield from _all(patterns[1:], values[1:], partial)
