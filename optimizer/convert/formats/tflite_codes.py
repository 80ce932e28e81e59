"""What TFLite operators stand for, and which graphs they run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_GRAPHS = ("subgraph", "SubgraphIndex")


def builtin_code(code: Any) -> int:
    """The number of an unpacked code; files from before 2020 have it in the deprecated byte alone."""
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def graph_references(operator: Any) -> Iterator[tuple[Any, str]]:
    """Where an operator names graphs that it runs: its options, and which field of them.

    A loop names its condition and body, a branch both ways, a call its function.
    """
    for options in (operator.builtinOptions, operator.builtinOptions2):
        for name, value in vars(options).items() if options is not None else ():
            if name.endswith(_GRAPHS) and int(value) >= 0:
                yield options, name
