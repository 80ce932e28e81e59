"""Lets tf2onnx give the same bytes in every process.

It keeps names and nodes in sets and walks over them: names go by PYTHONHASHSEED, nodes by their addresses.
What it merges, names and counts then differs from process to process. Within `in_order` its sets keep the
order in which they were filled, and addresses that become names are numbers in order of first sight.
"""

from __future__ import annotations

import builtins
import contextlib
import sys
from collections.abc import Iterable, Iterator, MutableSet
from typing import Any


class OrderedSet(MutableSet[Any]):
    """A set that is walked in the order in which it was filled; as much of `set` as tf2onnx uses."""

    def __init__(self, content: Iterable[Any] = ()) -> None:
        self._content = dict.fromkeys(content)

    def __contains__(self, value: object) -> bool:
        """Whether it is there."""
        return value in self._content

    def __iter__(self) -> Iterator[Any]:
        """In the order of filling."""
        return iter(self._content)

    def __len__(self) -> int:
        """How many."""
        return len(self._content)

    def add(self, value: Any) -> None:
        """Put it last, unless it is there."""
        self._content[value] = None

    def discard(self, value: Any) -> None:
        """Take it out, if it is there."""
        self._content.pop(value, None)

    def update(self, *others: Iterable[Any]) -> None:
        """Add all of the others."""
        for other in others:
            self._content.update(dict.fromkeys(other))

    def union(self, *others: Iterable[Any]) -> OrderedSet:
        """What is in any."""
        found = OrderedSet(self)
        found.update(*others)
        return found

    def intersection(self, other: Iterable[Any]) -> OrderedSet:
        """What is in both."""
        kept = OrderedSet(other)
        return OrderedSet(value for value in self if value in kept)

    def difference(self, other: Iterable[Any]) -> OrderedSet:
        """What is not in the other."""
        gone = OrderedSet(other)
        return OrderedSet(value for value in self if value not in gone)

    def issubset(self, other: Iterable[Any]) -> bool:
        """Whether the other has all of it."""
        return self <= OrderedSet(other)

    def copy(self) -> OrderedSet:
        """One of its own."""
        return OrderedSet(self)


class _Numbers:
    """Stands for `id`: numbers in the order of first sight, of things that are kept until the end."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, Any]] = {}

    def __call__(self, thing: Any) -> int:
        return self._seen.setdefault(builtins.id(thing), (len(self._seen), thing))[0]


@contextlib.contextmanager
def in_order() -> Iterator[None]:
    """Let all modules of tf2onnx take `set` and `id` from here."""
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == "tf2onnx"]
    instead = {"set": OrderedSet, "id": _Numbers()}
    for module in modules:
        vars(module).update(instead)
    try:
        yield
    finally:
        for module in modules:
            for name in instead:
                vars(module).pop(name)
