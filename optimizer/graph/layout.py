"""Where the axes of a value come from, through operators that only move its elements.

    x [b, 7, 12] -Reshape-> [b, 7, 3, 4] -Transpose-> [b, 3, 7, 4]
    pieces b, 7, 3, 4; axes of x: (b) (7) (3 4); axes of the result: (b) (3) (7) (4)

Any chain of Reshape, Squeeze, Unsqueeze, Flatten and Transpose cuts the axes of its source into pieces, puts
these into another order and joins them anew. So it is at most Reshape, Transpose, Reshape, and without a
Transpose where the order is the same: axes of size 1 have no piece, hence moving them moves nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from optimizer.graph.rewriter import single_use
from optimizer.graph.sizes import Size, elements, order_of, shape, target_from
from optimizer.graph.structure import STANDARD_DOMAINS

if TYPE_CHECKING:
    import onnx_ir as ir

MOVES = ("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
Sizes = tuple[Size, ...]


class Step(NamedTuple):
    """A move."""

    op_type: str
    numbers: tuple[int, ...]
    """The order of a Transpose, the target of a Reshape, the axes of a Squeeze or Unsqueeze."""
    units: int = 0
    """Axes of size 1 that a Transpose has among those that it moves: ONNX Runtime takes 24 us for
    [1, 1, 82, 128] -> [1, 128, 82, 1], 2 us for [1, 82, 128] -> [1, 128, 82]."""


def transposed(given: Sizes, order: Sequence[int]) -> Step:
    """A Transpose of a value of these sizes."""
    kept = next((place for place, axis in enumerate(order) if place != axis), len(given))
    return Step("Transpose", tuple(order), given[kept:].count(Size(1)))


@dataclass(eq=False)
class Piece:
    """A part of an axis of the source; its identity counts, not its size."""

    size: Size


Axis = list[Piece]


class Layout:
    """The axes of a source and of a value, in pieces."""

    def __init__(self, given: Sizes) -> None:
        """Axes as they are in the source."""
        self.given = given
        self.source: list[Axis] = [[] if size == Size(1) else [Piece(size)] for size in given]
        self.axes: list[Axis] = [list(axis) for axis in self.source]

    def transpose(self, order: Sequence[int]) -> None:
        """Put the axes into another order."""
        self.axes = [self.axes[axis] for axis in order]

    def regroup(self, sizes: Sizes) -> bool:
        """Cut and join the axes, in row-major order; False where no common pieces exist."""
        rest = [piece for axis in self.axes for piece in axis]
        axes: list[Axis] = []
        for size in sizes:
            axes.append([])
            needed = size
            while needed != Size(1):
                if not rest:
                    return False
                piece = rest.pop(0)
                left = needed.over(piece.size)
                if left is None:
                    second = piece.size.over(needed)
                    if second is None:
                        return False
                    piece, behind = self._cut(piece, (needed, second))
                    rest.insert(0, behind)
                    left = Size(1)
                axes[-1].append(piece)
                needed = left
        # A cut may have come after its piece was put away; axes holds whole pieces only.
        self.axes = axes
        return not rest

    def _cut(self, piece: Piece, sizes: tuple[Size, Size]) -> tuple[Piece, Piece]:
        new = (Piece(sizes[0]), Piece(sizes[1]))
        for axis in self.source:
            if piece in axis:
                place = axis.index(piece)
                axis[place : place + 1] = new
        return new

    def sizes(self) -> Sizes:
        """The shape of the value."""
        return tuple(_product(axis) for axis in self.axes)

    def pieces(self, axis: int) -> Sizes:
        """The pieces of one axis of the value."""
        return tuple(piece.size for piece in self.axes[axis])

    def steps(self) -> list[Step] | None:
        """The fewest operators that do the same; a Transpose last in a tie."""
        final = self.sizes()
        order = _flat(self.axes)
        if order == _flat(self.source):
            return [] if final == self.given else reshape(self.given, final)
        ways = (
            self._transpose_alone(),
            self._transpose_last(final),
            self._transpose_first(final),
            self._blocks(final),
        )
        return min((way for way in ways if way is not None), key=cost, default=None)

    def _transpose_alone(self) -> list[Step] | None:
        """Where the axes of the value are those of the source."""
        left = list(range(len(self.source)))
        order: list[int] = []
        for axis in self.axes:
            number = next((each for each in left if self.source[each] == axis), None)
            if number is None:
                return None
            left.remove(number)
            order.append(number)
        return None if left else [transposed(self.given, order)]

    def _transpose_last(self, final: Sizes) -> list[Step] | None:
        """Reshape, Transpose: where each axis of the value is in one piece in the source."""
        places = _places(self.axes, _flat(self.source))
        if places is None:
            return None
        within = sorted(range(len(places)), key=places.__getitem__)
        between = tuple(final[axis] for axis in within)
        first = [] if between == self.given else reshape(self.given, between)
        return None if first is None else [*first, transposed(between, _inverse(within))]

    def _transpose_first(self, final: Sizes) -> list[Step] | None:
        """Transpose, Reshape: where each axis of the source is in one piece in the value."""
        places = _places(self.source, _flat(self.axes))
        if places is None:
            return None
        order = sorted(range(len(places)), key=places.__getitem__)
        between = tuple(self.given[axis] for axis in order)
        last = [] if between == final else reshape(between, final)
        return None if last is None else [transposed(self.given, order), *last]

    def _blocks(self, final: Sizes) -> list[Step] | None:
        """Reshape, Transpose, Reshape: pieces that stay neighbours are one axis in between."""
        source, order = _flat(self.source), _flat(self.axes)
        blocks: list[Axis] = []
        for piece in order:
            before = blocks[-1][-1] if blocks else None
            if before is not None and source.index(piece) == source.index(before) + 1:
                blocks[-1].append(piece)
            else:
                blocks.append([piece])
        within = sorted(range(len(blocks)), key=lambda number: source.index(blocks[number][0]))
        sizes = tuple(_product(block) for block in blocks)
        between = tuple(sizes[number] for number in within)
        first = reshape(self.given, between)
        last = reshape(sizes, final)
        if first is None or last is None:
            return None
        return [*first, transposed(between, _inverse(within)), *last]


def cost(steps: Sequence[Step]) -> tuple[int, int, int]:
    """Transposes, operators, and axes of size 1 that the Transposes move."""
    transposes = [step for step in steps if step.op_type == "Transpose"]
    return len(transposes), len(steps), sum(step.units for step in transposes)


def _flat(axes: Sequence[Axis]) -> Axis:
    return [piece for axis in axes for piece in axis]


def _product(pieces: Axis) -> Size:
    return elements(tuple(piece.size for piece in pieces))


def _places(axes: Sequence[Axis], order: Axis) -> list[float] | None:
    """Where each axis begins in an order of pieces; one of size 1 stays behind the axis before it.

    None where the pieces of an axis stand apart.
    """
    places: list[float] = []
    for axis in axes:
        if not axis:
            places.append(places[-1] + 1e-3 if places else -1.0)
            continue
        start = order.index(axis[0])
        if order[start : start + len(axis)] != axis:
            return None
        places.append(float(start))
    return places


def _inverse(order: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def reshape(given: Sizes, wanted: Sizes) -> list[Step] | None:
    """An Unsqueeze, a Squeeze or a Reshape alone; the first two where a Reshape would fail on no samples.

    That is where it copies one free size (0) and has another be the rest (-1): there is none of nothing.
    """
    for op_type, longer, shorter in (("Unsqueeze", wanted, given), ("Squeeze", given, wanted)):
        axes = _units(longer, shorter)
        if axes:
            return [Step(op_type, axes)]
    target = target_from(given, wanted)
    if target is not None and 0 in target and -1 in target:
        squeezed = tuple(size for size in given if size != Size(1))
        if squeezed == tuple(size for size in wanted if size != Size(1)):
            between = _units(given, squeezed), _units(wanted, squeezed)
            return [Step("Squeeze", between[0] or ()), Step("Unsqueeze", between[1] or ())]
    return None if target is None else [Step("Reshape", tuple(target))]


def _units(longer: Sizes, shorter: Sizes) -> tuple[int, ...] | None:
    """The axes of size 1 without which sizes are the shorter ones; None where there is more to it."""
    axes: list[int] = []
    for axis, size in enumerate(longer):
        place = axis - len(axes)
        if place < len(shorter) and shorter[place] == size:
            continue
        if size != Size(1):
            return None
        axes.append(axis)
    return tuple(axes) if len(longer) - len(axes) == len(shorter) else None


def is_move(node: ir.Node | None) -> bool:
    """Whether a node only moves elements."""
    return node is not None and node.domain in STANDARD_DOMAINS and node.op_type in MOVES


def layout(chain: Sequence[ir.Node]) -> Layout | None:
    """What moves one after another, the first of them first, do with the axes of the first's input."""
    given = shape(chain[0].inputs[0])
    if given is None:
        return None
    found = Layout(given)
    for node, after in zip_longest(chain, chain[1:]):
        sizes = shape(node.outputs[0])
        if node.op_type == "Transpose":
            found.transpose(order_of(node))
            continue
        last = after is None or after.op_type == "Transpose"  # of several Reshapes it is the one that counts
        if last and (sizes is None or not found.regroup(sizes)):
            return None
    return found


def chain_above(value: ir.Value | None) -> list[ir.Node]:
    """The moves that a value is the result of, the first of them first."""
    chain: list[ir.Node] = []
    node = value.producer() if value is not None else None
    while node is not None and is_move(node):
        chain.insert(0, node)
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
    return chain


def own_moves(chain: Sequence[ir.Node]) -> int:
    """How many moves at the end of a chain serve nothing but the operator behind it."""
    own = 0
    while own < len(chain) and single_use(chain[-own - 1].outputs[0]):
        own += 1
    return own
