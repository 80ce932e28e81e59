"""Shapes as products: what a value's sizes are, where some are known only when the model runs.

A size is a factor times symbols: 4 * batch. A symbol is the name that the graph gives a free dimension. So a
target of Reshape that the graph computes (Shape, Gather, Concat, ...) can be compared with one that is fixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from optimizer.graph.match import array
from optimizer.graph.structure import STANDARD_DOMAINS

if TYPE_CHECKING:
    import onnx_ir as ir


KEY = "sizes"
UNKNOWN = "?"
"""How the symbol of a size begins that is neither known nor that of an axis."""


@dataclass(frozen=True)
class Size:
    """factor * product of symbols."""

    factor: int
    symbols: tuple[str, ...] = ()

    def __mul__(self, other: Size) -> Size:
        """The product."""
        return Size(self.factor * other.factor, tuple(sorted((*self.symbols, *other.symbols))))

    def over(self, other: Size) -> Size | None:
        """The quotient, where it is one of the same kind."""
        left = list(self.symbols)
        for symbol in other.symbols:
            if symbol not in left:
                return None
            left.remove(symbol)
        if other.factor == 0 or self.factor % other.factor:
            return None
        return Size(self.factor // other.factor, tuple(left))


def shape(value: ir.Value | None) -> tuple[Size, ...] | None:
    """The sizes of a value; None where its rank is unknown."""
    if value is None:
        return None
    sizes: tuple[Size, ...] | None = value.meta.get(KEY)
    return sizes if sizes is not None else annotation(value)


def annotation(value: ir.Value) -> tuple[Size, ...] | None:
    """What shape inference wrote; a size without a name gets one of its own."""
    if value.shape is None:
        return None
    return tuple(
        Size(size) if isinstance(size, int) else Size(1, (size.value or f"{value.name}[{axis}]",))
        for axis, size in enumerate(value.shape)
    )


def fixed(value: ir.Value | None, axis: int) -> int | None:
    """The size of one axis where it is fixed."""
    if value is None or value.shape is None or not -len(value.shape) <= axis < len(value.shape):
        return None
    dimension = value.shape[axis]
    return dimension if isinstance(dimension, int) else None


def order_of(node: ir.Node) -> list[int]:
    """The order of a Transpose."""
    if "perm" in node.attributes:
        return list(node.attributes["perm"].as_ints())
    return list(range(len(shape(node.inputs[0]) or ())))[::-1]


def elements(sizes: tuple[Size, ...]) -> Size:
    """How many elements a shape has."""
    return reduce(lambda left, right: left * right, sizes, Size(1))


_LONGEST = 32
"""Of a vector that stands for a shape."""

Known = dict["ir.Value", tuple[Size, ...] | None]


def integers(value: ir.Value | None, known: Known | None = None) -> tuple[Size, ...] | None:
    """The elements of an integer vector or scalar that is constant or computed from shapes.

    Args:
        value: Any value.
        known: What was found of other values: one that many nodes share is looked at once.
    """
    if value is None:
        return None
    known = {} if known is None else known
    if value not in known:
        found = _constant_integers(value) or _computed_integers(value.producer(), known)
        sizes = shape(value)
        is_vector = sizes is not None and len(sizes) <= 1
        known[value] = found if is_vector and found is not None and len(found) <= _LONGEST else None
    return known[value]


def _constant_integers(value: ir.Value) -> tuple[Size, ...] | None:
    known = array(value)
    if known is None or known.dtype.kind != "i" or known.size > _LONGEST:
        return None
    return tuple(Size(int(entry)) for entry in known.ravel())


def _computed_integers(  # one flat match over the operators
    node: ir.Node | None, known: Known
) -> tuple[Size, ...] | None:
    if node is None or node.domain not in STANDARD_DOMAINS:
        return None
    match node.op_type:
        case "Shape":
            plain = "start" not in node.attributes or node.attributes["start"].as_int() == 0
            return shape(node.inputs[0]) if plain and "end" not in node.attributes else None
        case "Cast" | "Identity" | "Squeeze" | "Unsqueeze" | "Reshape":
            return integers(node.inputs[0], known)
        case "Gather":
            return _gathered(integers(node.inputs[0], known), array(node.inputs[1]))
        case "Slice":
            return _sliced(integers(node.inputs[0], known), [array(part) for part in node.inputs[1:]])
        case "Concat":
            parts = [integers(part, known) for part in node.inputs]
            return None if None in parts else tuple(size for part in parts for size in part or ())
        case "ReduceProd":
            part = integers(node.inputs[0], known)
            return None if part is None else (elements(part),)
        case "Max" | "Min":
            return _largest(node, [integers(part, known) for part in node.inputs])
        case "Mul":
            return _product(integers(node.inputs[0], known), integers(node.inputs[1], known))
    return None


def _gathered(values: tuple[Size, ...] | None, places: NDArray[Any] | None) -> tuple[Size, ...] | None:
    if values is None or places is None:
        return None
    if any(not -len(values) <= place < len(values) for place in places.ravel()):
        return None
    return tuple(values[int(place)] for place in places.ravel())


def _sliced(values: tuple[Size, ...] | None, bounds: list[NDArray[Any] | None]) -> tuple[Size, ...] | None:
    if values is None or len(bounds) < 2 or any(b is None or b.size != 1 for b in bounds):
        return None
    start, end, *rest = (int(b.item()) for b in bounds if b is not None)
    step = rest[1] if len(rest) > 1 else 1
    return values[start:end:step]


def _product(left: tuple[Size, ...] | None, right: tuple[Size, ...] | None) -> tuple[Size, ...] | None:
    if left is None or right is None or len(left) != len(right):
        return None
    return tuple(a * b for a, b in zip(left, right, strict=True))


def _largest(node: ir.Node, parts: list[tuple[Size, ...] | None]) -> tuple[Size, ...] | None:
    """Where sizes differ, one that is not known."""
    vectors = [part for part in parts if part is not None]
    if len(vectors) < len(parts) or len({len(part) for part in vectors}) > 1:
        return None
    columns = enumerate(zip(*vectors, strict=True))
    return tuple(
        column[0] if len(set(column)) == 1 else Size(1, (f"{UNKNOWN}{node.outputs[0].name}[{place}]",))
        for place, column in columns
    )


def reshaped(node: ir.Node) -> tuple[Size, ...] | None:
    """The shape that a Reshape gives: 0 copies a size, -1 is what is left."""
    given, wanted = shape(node.inputs[0]), integers(node.inputs[1])
    literal = "allowzero" in node.attributes and node.attributes["allowzero"].as_int() == 1
    if given is None or wanted is None or (literal and Size(0) in wanted):
        return None
    sizes: list[Size | None] = []
    for axis, size in enumerate(wanted):
        if size == Size(0) and axis < len(given):
            sizes.append(given[axis])
        else:
            sizes.append(None if size == Size(-1) or _is_unknown(size) else size)
    if sizes.count(None) > 1:
        return None
    rest = elements(given).over(elements(tuple(size for size in sizes if size is not None)))
    if rest is None:
        return None
    return tuple(rest if size is None else size for size in sizes)


def _is_unknown(size: Size) -> bool:
    return any(symbol.startswith(UNKNOWN) for symbol in size.symbols)


def as_target(sizes: tuple[Size, ...]) -> list[int] | None:
    """The shape as a constant target of Reshape, in which one free size may be -1."""
    free = [size for size in sizes if size.symbols]
    if len(free) > 1 or any(size.factor <= 0 for size in sizes):
        return None
    return [-1 if size.symbols else size.factor for size in sizes]


def target_from(given: tuple[Size, ...], wanted: tuple[Size, ...]) -> list[int] | None:
    """The same, in which free sizes that stand where they stood are copied (0), so that there may be several.

    >>> b, s = Size(1, ("b",)), Size(1, ("s",))
    >>> target_from((b, s, Size(16)), (b, s, Size(4), Size(4)))
    [0, 0, 4, 4]
    """
    target = as_target(wanted)
    if target is not None or any(size.factor <= 0 for size in wanted):
        return target
    target = [
        size.factor if not size.symbols else 0 if given[axis : axis + 1] == (size,) else -1
        for axis, size in enumerate(wanted)
    ]
    return target if target.count(-1) <= 1 else None
