"""Refuses graphs that no tool finishes reading: nodes in a ring, functions that call themselves or multiply.

TensorFlow and tf2onnx put a function's body in the place of each call. 40 functions of two calls each,
a file of 10 KB, would become 2^40 nodes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from optimizer.convert.formats.tensor_names import node_name
from optimizer.errors import InvalidModelError, ResourceLimitError, UnsupportedModelError

EXPANDED_NODES_LIMIT = 500_000
"""A network of some thousand layers, with its calls in place, has a tenth of that."""

CALL_DEPTH_LIMIT = 64
"""Submodels in submodels; TensorFlow takes time that grows with the square of the depth."""

_LOOPS_BACK = ("NextIteration", "RefNextIteration")
_MAIN = "the main graph"
_SHOWN = 5


def check_expansion(graph: Any) -> None:
    """Check a GraphDef and its function library.

    Raises:
        InvalidModelError: If nodes form a ring that is no loop of TensorFlow 1.
        UnsupportedModelError: If a function calls itself, directly or not.
        ResourceLimitError: If the graph is too large or too deep with its calls in place.
    """
    bodies = {function.signature.name: function.node_def for function in graph.library.function}
    _check_rings(graph.node, _MAIN)
    for name, body in bodies.items():
        _check_rings(body, f"function {name}")
    calls = {
        place: [name for node in body for name in _called(node) if name in bodies]
        for place, body in [*bodies.items(), (_MAIN, graph.node)]
    }
    sizes = {name: len(body) for name, body in bodies.items()} | {_MAIN: len(graph.node)}
    check_calls(calls, sizes, "function")


def _called(node: Any) -> Iterator[str]:
    """The functions that a node calls, each as often as it does: a Case can have one in many branches."""
    yield node.op
    for value in node.attr.values():
        yield value.func.name
        yield from (called.name for called in value.list.func)


def check_calls(calls: Mapping[str, Sequence[str]], sizes: Mapping[str, int], kind: str) -> None:
    """Check who calls whom, with multiplicity.

    Args:
        calls: Caller to the called, once per call.
        sizes: Caller to its own number of nodes.
        kind: What a caller is, for the messages.

    Raises:
        UnsupportedModelError: If one calls itself, directly or not.
        ResourceLimitError: If one is too large or too deep with its calls in place.
    """
    order, ring = _sorted({caller: set(called) for caller, called in calls.items()})
    if ring:
        raise UnsupportedModelError(
            f"{kind.capitalize()} {_listed(ring)} of the model calls itself, directly or through others.",
            hint="Replace the recursion by tf.while_loop, and export the model again.",
        )
    nodes: dict[str, int] = {}
    depths: dict[str, int] = {}
    for caller in order:  # the called first
        nodes[caller] = sizes[caller] + sum(nodes[called] for called in calls[caller])
        depths[caller] = 1 + max((depths[called] for called in calls[caller]), default=0)
        if nodes[caller] > EXPANDED_NODES_LIMIT or depths[caller] > CALL_DEPTH_LIMIT:
            raise ResourceLimitError(
                f"With its calls in place, {kind} {caller} has {nodes[caller]:,} nodes, {depths[caller]} "
                f"calls deep; {EXPANDED_NODES_LIMIT:,} nodes and a depth of {CALL_DEPTH_LIMIT} are the most.",
                hint="Export the model with fewer functions that call functions.",
            )


def _check_rings(nodes: Any, place: str) -> None:
    names = {node.name for node in nodes}
    loops = {node.name for node in nodes if node.op in _LOOPS_BACK}
    needs = {
        node.name: {name for name in map(node_name, node.input) if name in names and name not in loops}
        for node in nodes
    }
    _, ring = _sorted(needs)
    if ring:
        raise InvalidModelError(
            f"Nodes of {place} need each other's results, in a ring: {_listed(ring)}.",
            hint="Export the model again.",
        )


def _sorted(needs: Mapping[str, Collection[str]]) -> tuple[list[str], list[str]]:
    """All names, each behind what it needs; and a ring of those that need each other, where there is one."""
    left = {name: len(needed) for name, needed in needs.items()}
    needed_by: dict[str, list[str]] = {name: [] for name in needs}
    for name, needed in needs.items():
        for other in needed:
            needed_by[other].append(name)
    order = [name for name, count in left.items() if not count]
    for name in order:  # grows
        for other in needed_by[name]:
            left[other] -= 1
            if not left[other]:
                order.append(other)
    return order, _ring_in(needs, {name for name, count in left.items() if count})


def _ring_in(needs: Mapping[str, Collection[str]], rest: Collection[str]) -> list[str]:
    """One ring among names of which each needs another of them."""
    path: list[str] = []
    place: dict[str, int] = {}
    name = min(rest, default="")
    while name and name not in place:
        place[name] = len(path)
        path.append(name)
        name = min(other for other in needs[name] if other in rest)
    return path[place[name] :] if name else []


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" * (len(names) > _SHOWN)
    return ", ".join(names[:_SHOWN]) + more
