"""Parts of parts: what is cut out of what was joined, and joined from what was cut.

    Slice(Slice(x, axis 1), axis 2)             ->  Slice(x, axes 1 and 2)       Slices of one axis alike
    Concat(Split(x)), Concat(x[:2], x[2:])      ->  x
    Slice(Concat(x, z)), Split(Concat(x, z))    ->  x and z, or a Slice of one
    Split(x), of which one part is read         ->  Slice(x)
    Gather(Gather(x, i), j)                     ->  Gather(x, i[j])              i, j constant

PyTorch writes one Slice an axis, and exporters of both frameworks leave a Split of what was just joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from optimizer.graph.match import array, is_standard
from optimizer.graph.rewriter import Builder, Rewrite, attribute, single_use
from optimizer.graph.rewrites.slices import Range, ranges, takes_all
from optimizer.graph.sizes import fixed, shape

if TYPE_CHECKING:
    import onnx_ir as ir

_LARGEST = 2**63 - 1
_MOST_PIECES = 1000
"""A value of more is left: joined with itself again and again it would have 2^n."""


@dataclass(frozen=True)
class _Piece:
    """What stands from `start` to `stop` along an axis of a value."""

    source: ir.Value
    start: int
    stop: int


def _collapse_slices(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    """One Slice of two; nothing is asked of the sizes, beyond which both stop alike."""
    value = node.inputs[0]
    before = value.producer() if value is not None else None
    first, last = ranges(before), ranges(node)
    if before is None or first is None or last is None or value is None or not single_use(value):
        return None
    taken = {each[0]: each for each in first}
    for each in last:
        both = _within(taken[each[0]], each) if each[0] in taken else each
        if both is None:
            return None
        taken[each[0]] = both
    axes, starts, ends, steps = zip(*taken.values(), strict=True)
    return [build("Slice", before.inputs[0], *map(build.constant, (starts, ends, axes, steps)))]


def _within(first: Range, last: Range) -> Range | None:
    """A range of a range; None where one counts from the end, or backwards, or leaves some out."""
    (axis, start, end, step), (_, begin, stop, stride) = first, last
    if step != 1 or stride != 1 or min(start, end, begin, stop) < 0:
        return None
    return axis, min(start + begin, _LARGEST), min(end, start + stop), 1


def _collapse_gathers(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    value, chosen = node.inputs[0], array(node.inputs[1])
    before = value.producer() if value is not None else None
    if before is None or not is_standard(before, "Gather") or chosen is None:
        return None
    places, axis = array(before.inputs[1]), _axis(before)
    if places is None or not places.ndim or axis is None or axis != _axis(node):
        return None
    if chosen.size and not -len(places) <= chosen.min() <= chosen.max() < len(places):
        return None  # the runtime says so
    both = places[chosen].astype(np.int64)
    return [build("Gather", before.inputs[0], build.constant(both), axis=axis)]


def _axis(node: ir.Node) -> int | None:
    """The axis that a Concat, Split or Gather works along, from the front."""
    sizes = shape(node.inputs[0])
    return attribute(node, "axis", 0) % len(sizes) if sizes else None


def _collapse_parts(node: ir.Node, build: Builder) -> Sequence[ir.Value | None] | None:
    """The values that parts are of, or fewer parts."""
    axis = _sliced_axis(node) if node.op_type == "Slice" else _axis(node)
    if axis is None:
        return None
    read = [value for value in node.outputs if value.uses() or value.is_graph_output()]
    found = [_pieces(value, axis) for value in read]
    parts = [pieces[0] for pieces in found if pieces is not None and len(pieces) == 1]
    if len(parts) == len(read):
        if len(read) > 1 and not all(_is_whole(part, axis) for part in parts):
            return None  # one Split is fewer operators than several Slices
        new = [_part(node, part, axis, build) for part in parts]
        return None if new[0] is None else [new[read.index(v)] if v in read else None for v in node.outputs]
    pieces = found[0]
    if node.op_type != "Concat" or pieces is None or not 0 < len(pieces) < len(node.inputs):
        return None
    if not all(_is_whole(piece, axis) for piece in pieces):
        return None
    return [build("Concat", *(piece.source for piece in pieces), axis=axis)]


def _part(node: ir.Node, piece: _Piece, axis: int, build: Builder) -> ir.Value | None:
    """A piece as a value; None where the node is no more than that."""
    if piece.source in node.outputs:
        return None
    if _is_whole(piece, axis):
        return piece.source
    if node.op_type == "Slice" and piece.source is node.inputs[0]:
        return None
    bounds = (build.constant([number]) for number in (piece.start, piece.stop, axis))
    return build("Slice", piece.source, *bounds)


def _is_whole(piece: _Piece, axis: int) -> bool:
    return (piece.start, piece.stop) == (0, fixed(piece.source, axis))


def _sliced_axis(node: ir.Node) -> int | None:
    """The one axis that a Slice takes a part of, without leaving out any in between."""
    found = ranges(node)
    chosen = [each for each in found or () if not takes_all(node, each)]
    return chosen[0][0] if len(chosen) == 1 and chosen[0][3] == 1 else None


def _pieces(value: ir.Value, axis: int) -> list[_Piece] | None:
    """What a value consists of along an axis; None where a size is free."""
    node, size = value.producer(), fixed(value, axis)
    if size is None:
        return None
    if node is not None and is_standard(node, "Concat") and _axis(node) == axis:
        pieces: list[_Piece] = []
        for each in node.inputs:
            part = _pieces(each, axis) if each is not None else None
            if part is None or len(pieces) + len(part) > _MOST_PIECES:
                return None
            pieces += part
        return _joined(pieces)
    bounds = _bounds(node, value, axis)
    source = node.inputs[0] if node is not None and bounds is not None else None
    if source is None or bounds is None:
        return [_Piece(value, 0, size)]
    found = _pieces(source, axis)
    return None if found is None else _cut(found, *bounds)


def _bounds(node: ir.Node | None, value: ir.Value, axis: int) -> tuple[int, int] | None:
    """Where a value starts and stops in what it is cut from."""
    if node is not None and is_standard(node, "Split") and _axis(node) == axis:
        sizes = [fixed(output, axis) for output in node.outputs]
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes):
            return None
        place = list(node.outputs).index(value)
        stop = list(accumulate(known))[place]
        return stop - known[place], stop
    if node is None or not is_standard(node, "Slice") or _sliced_axis(node) != axis:
        return None
    size = fixed(node.inputs[0], axis)
    start, end = next(each[1:3] for each in ranges(node) or () if each[0] == axis)
    return None if size is None else slice(start, end).indices(size)[:2]


def _cut(pieces: list[_Piece], start: int, stop: int) -> list[_Piece]:
    """From start to stop of pieces that stand one behind the other."""
    cut, place = [], 0
    for piece in pieces:
        low = max(start - place, 0) + piece.start
        high = min(stop - place + piece.start, piece.stop)
        if low < high:
            cut.append(_Piece(piece.source, low, high))
        place += piece.stop - piece.start
    return cut


def _joined(pieces: list[_Piece]) -> list[_Piece]:
    """Pieces in which neighbours in their source are one."""
    joined: list[_Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if last is not None and last.source is piece.source and last.stop == piece.start:
            joined[-1] = _Piece(last.source, last.start, piece.stop)
        else:
            joined.append(piece)
    return joined


COLLAPSE_SLICES = Rewrite("collapse_slices", frozenset({"Slice"}), _collapse_slices)
COLLAPSE_PARTS = Rewrite("collapse_parts", frozenset({"Concat", "Slice", "Split"}), _collapse_parts)
COLLAPSE_GATHERS = Rewrite("collapse_gathers", frozenset({"Gather"}), _collapse_gathers)
