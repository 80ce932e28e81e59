"""One error in a copy of the package, and the tests that have to catch it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Planted:
    """One error."""

    file: str
    old: str
    new: str
    tests: str


def planted(file: str, tests: str, *changes: tuple[str, str]) -> list[Planted]:
    """Errors in one file of the rewrites; the first place where the old text stands is changed."""
    return [Planted(file, old, new, f"tests/graph/rewrites/{tests}.py") for old, new in changes]
