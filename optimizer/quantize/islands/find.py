"""The float operators between integer kernels of a quantized model, with what they cost.

An island is a connected part of the float kernels that integers flow into and out of: a Dequantize, the float
operators, a Quantize. What stands before the first integer kernel or behind the last one is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from optimizer.timings import FloatIsland, NodeTime

_CONVERSIONS = frozenset({"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"})
_INTEGERS = frozenset({"int8", "uint8"})
_SHAPES = frozenset({"Shape", "Size"})  # they read no values: what they give stands in no one's way


def find_islands(kernels: Sequence[NodeTime]) -> tuple[FloatIsland, ...]:
    """Find the islands, the most expensive first.

    Args:
        kernels: What the runtime runs, connected, from `optimizer.benchmark.time_per_operator`.
    """
    total_ms = sum(kernel.time_ms for kernel in kernels)
    between = _between(kernels)
    islands = [
        FloatIsland(
            operators=tuple(
                f"{kernel.op_type} {kernel.node}" for kernel in part if kernel.op_type not in _CONVERSIONS
            ),
            time_ms=sum(kernel.time_ms for kernel in part),
            share=sum(kernel.time_ms for kernel in part) / total_ms if total_ms else 0.0,
        )
        for part in _connected([kernels[index] for index in sorted(between)])
    ]
    return tuple(sorted(islands, key=lambda island: -island.time_ms))


def is_integer(kernel: NodeTime) -> bool:
    """Whether a kernel computes on integers: it reads some, and does more than to convert them."""
    return kernel.op_type not in _CONVERSIONS and not _INTEGERS.isdisjoint(kernel.input_types)


def _between(kernels: Sequence[NodeTime]) -> set[int]:
    """Places of the float kernels with an integer kernel on every side, reached through floats alone."""
    float_places = [
        place
        for place, kernel in enumerate(kernels)
        if not is_integer(kernel) and kernel.op_type not in _SHAPES
    ]
    integer = [kernel for kernel in kernels if is_integer(kernel)]
    behind = {name for kernel in integer for name in kernel.outputs}  # of an integer kernel
    after = set[int]()
    for place in float_places:  # kernels come in the order in which they run
        if not behind.isdisjoint(kernels[place].inputs):
            after.add(place)
            behind.update(kernels[place].outputs)
    ahead = {name for kernel in integer for name in kernel.inputs}
    before = set[int]()
    for place in reversed(float_places):
        if not ahead.isdisjoint(kernels[place].outputs):
            before.add(place)
            ahead.update(kernels[place].inputs)
    between = after & before
    # Constants that are dequantized for an island belong to it.
    made = {name for kernel in kernels for name in kernel.outputs}
    read = {name for place in between for name in kernels[place].inputs}
    constants = (place for place in float_places if made.isdisjoint(kernels[place].inputs))
    return between | {place for place in constants if not read.isdisjoint(kernels[place].outputs)}


def _connected(kernels: list[NodeTime]) -> Iterator[list[NodeTime]]:
    """The kernels in groups: one reads what another of its group computes."""
    groups: list[list[NodeTime]] = []
    for kernel in kernels:  # in the order in which they run: what it reads comes before it
        near = [group for group in groups if any(not _apart(each, kernel) for each in group)]
        groups = [group for group in groups if group not in near]
        groups.append([each for group in near for each in group] + [kernel])
    yield from groups


def _apart(first: NodeTime, second: NodeTime) -> bool:
    return set(first.outputs).isdisjoint(second.inputs)
