"""Turns what rewriting did into tables and sentences: the same in the report and in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from optimizer.results import Rewritten
from optimizer.rewriting import AppliedRewrite, Simplification
from optimizer.timings import TimeRow

MOST_ROWS = 15
"""Of a table; what takes less time is summed up in one row. The manifest has all."""

_MOST_LAYERS = 4


@dataclass(frozen=True)
class TimeCells:
    """A row of a table of times, in words. Names come from a stranger's file: escape them."""

    name: str
    nodes: str
    """Before and after, where they differ."""
    before: str
    """In ms."""
    after: str


def time_table(rows: Sequence[TimeRow], most: int = MOST_ROWS) -> tuple[TimeCells, ...]:
    """The rows that take the most time before or after rewriting, in order, and one for all others."""
    by_weight = sorted(rows, key=lambda row: -max(row.before_ms, row.after_ms))
    shown = [row for row in rows if row in by_weight[:most]]
    others = [row for row in rows if row not in shown]
    if len(others) == 1:  # its own name says more, and takes no more room
        shown, others = list(rows), []
    cells = [_cells(row.name, [row]) for row in shown]
    return (*cells, _cells(f"{len(others)} others", others)) if others else tuple(cells)


def gain_words(rewritten: Rewritten) -> str:
    """What rewriting gains as a whole, in a sentence."""
    gain = rewritten.gain
    if gain is None:
        return "Nothing was rewritten: both files are the same."
    interval = f"95 % interval {gain.low:.2f} to {gain.high:.2f}, {gain.n} launches"
    return f"The rewritten model runs at {gain.estimate:.2f}x the speed of the model before it ({interval})."


def rewrite_sentences(simplification: Simplification, rewritten: Rewritten | None = None) -> tuple[str, ...]:
    """Each rewrite in plain words, with the layers it touched and their time where it was measured.

    The one whose layers gain the most comes first.

    >>> done = AppliedRewrite(name="fuse_gelu", words="a GELU is one operator", count=2, layers=("a", "b"))
    >>> print(_sentence(done, TimeRow(name="", nodes_before=8, before_ms=0.2, nodes_after=2, after_ms=0.05)))
    A GELU is one operator: 2 times, in a, b. These layers take 0.050 ms, before 0.200 ms.
    """
    times = {row.name: row for row in rewritten.profile.rewrites} if rewritten else {}
    gains = {name: row.before_ms - row.after_ms for name, row in times.items()}
    ordered = sorted(simplification.rewrites, key=lambda done: -gains.get(done.name, 0.0))
    return tuple(_sentence(done, times.get(done.name)) for done in ordered)


def left_sentences(simplification: Simplification) -> tuple[str, ...]:
    """What was recognized but left, and why, alike ones together."""
    places: dict[tuple[str, str], list[str]] = {}
    for left in simplification.left:
        places.setdefault((left.words, left.reason), []).append(left.layer)
    return tuple(
        f'Not in {_list(layers)}: "{words}", because {reason}.' for (words, reason), layers in places.items()
    )


def _sentence(done: AppliedRewrite, time: TimeRow | None) -> str:
    often = "once" if done.count == 1 else f"{done.count} times"
    text = f"{done.words[:1].upper()}{done.words[1:]}: {often}, in {_list(done.layers)}."
    if time is None:
        return text
    these = "This layer takes" if len(done.layers) == 1 else "These layers take"
    return f"{text} {these} {time.after_ms:.3f} ms, before {time.before_ms:.3f} ms."


def _list(layers: Sequence[str]) -> str:
    names = list(dict.fromkeys(layers))
    shown = ", ".join(names[:_MOST_LAYERS])
    return shown + (f" and {len(names) - _MOST_LAYERS} more" if len(names) > _MOST_LAYERS else "")


def _cells(name: str, rows: Sequence[TimeRow]) -> TimeCells:
    before, after = sum(row.nodes_before for row in rows), sum(row.nodes_after for row in rows)
    return TimeCells(
        name=name,
        nodes=str(before) if before == after else f"{before} to {after}",
        before=f"{sum(row.before_ms for row in rows):.3f}",
        after=f"{sum(row.after_ms for row in rows):.3f}",
    )
