"""Finds where a model could begin, where its first operators turn texts or files into numbers.

head = what must run outside: the operators without a converter, all before them, and what reads
       texts or lists out of the head
cut  = the numeric tensors that go from the head to the rest
"""

from __future__ import annotations

from collections.abc import Iterable

from optimizer.convert.triage.wiring import Node, Wiring

_NO_NUMBERS = frozenset({"string", "variant", "resource"})


def first_numbers(wiring: Wiring, missing: Iterable[str]) -> tuple[str, ...]:
    """The tensors from which on all that the outputs need has a converter: one, where one will do.

    Args:
        wiring: The graph.
        missing: The nodes without a converter.
    """
    head = _head(wiring, missing)
    rest = [node for name, node in wiring.needed.items() if name in wiring.fed and name not in head]
    cut = tuple(sorted({tensor for node in rest for tensor in node.inputs if _made_in(tensor, head, wiring)}))
    single = _single(wiring, cut) if len(cut) > 1 else None
    return cut if single is None else (single,)


def _head(wiring: Wiring, missing: Iterable[str]) -> set[str]:
    head = set(wiring.before(_with_loops(wiring, missing))) & wiring.fed
    while True:
        reading = [
            name
            for name, node in wiring.needed.items()
            if name in wiring.fed and name not in head and _takes_no_numbers(node, head, wiring)
        ]
        if not reading:
            return head
        head |= set(wiring.before(reading)) & wiring.fed


def _with_loops(wiring: Wiring, names: Iterable[str]) -> set[str]:
    """The nodes, and the loops and branches that they are in, which run as a whole."""
    found = set(names)
    for name in list(found):
        while around := wiring.nodes[name].around:
            found.add(around)
            name = around
    return found


def _takes_no_numbers(node: Node, head: set[str], wiring: Wiring) -> bool:
    kinds = (wiring.types.get(tensor) for tensor in node.inputs if _made_in(tensor, head, wiring))
    return any(kind in _NO_NUMBERS for kind in kinds)


def _made_in(tensor: str, head: set[str], wiring: Wiring) -> bool:
    made = wiring.producers.get(tensor)
    return made is not None and made.name in head


def _single(wiring: Wiring, cut: tuple[str, ...]) -> str | None:
    """The first whole number through which all of the cut reaches the outputs.

    It is on every way from there, so one way is enough to look at. Behind the first fraction the model
    itself has begun.
    """
    tensor = cut[0]
    while True:
        readers = [node for node in wiring.consumers.get(tensor, ()) if node.name in wiring.needed]
        if not readers or len(readers[0].outputs) != 1:
            return None
        tensor = readers[0].outputs[0]
        if not wiring.types.get(tensor, "").startswith(("int", "uint", "bool")):
            return None
        if not _reaches_output(wiring, cut, tensor):
            return tensor


def _reaches_output(wiring: Wiring, tensors: Iterable[str], closed: str) -> bool:
    """Whether there is a way from the tensors to an output that avoids one tensor."""
    waiting, seen = list(tensors), set[str]()
    while waiting:
        tensor = waiting.pop()
        if tensor == closed or tensor in seen:
            continue
        if tensor in wiring.outputs:
            return True
        seen.add(tensor)
        waiting += [
            result
            for node in wiring.consumers.get(tensor, ())
            if node.name in wiring.needed
            for result in node.outputs
        ]
    return False
