"""The bench's table, a row a model, and what the rows come to."""

from __future__ import annotations

import math

from benchmarks.rewrites.measure import Rewritten
from zoo import ZOO

from optimizer.results import Interval

SLOWER = 0.98
"""A file of ours is slower where the whole interval of its ratio lies below this."""


def table(rows: dict[str, Rewritten]) -> str:
    """A row a model."""
    lines = [
        "| model | against plain | against the best tool | nodes | rewrites | tools that drop out |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        if not row.nodes:
            lines.append(f"| {name} | {row.words} | | | | |")
            continue
        best = f"{row.best} {_text(row.against_best)}"
        nodes = ", ".join(f"{who} {count}" for who, count in row.nodes.items())
        dropped = "; ".join(f"{tool}: {words}" for tool, words in row.dropped.items())
        lines.append(f"| {' | '.join((name, _text(row.against_plain), best, nodes, row.changes, dropped))} |")
    return "\n".join(lines)


def _text(ratio: Interval | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio.estimate:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]" if ratio.n else "1, the same graph"


def summary(rows: dict[str, Rewritten]) -> str:
    """Geometric means, and the names of what falls short."""
    lines = [
        _mean("plain", {name: row.against_plain for name, row in rows.items()}),
        _mean("the best tool", {name: row.against_best for name, row in rows.items()}),
    ]
    more = []
    counted = {name: row.nodes for name, row in rows.items() if name in ZOO and len(row.nodes) > 2}
    for name, nodes in counted.items():
        fewest = min(count for who, count in nodes.items() if who not in ("plain", "ours"))
        more += [f"{name} {nodes['ours']} > {fewest}"] if nodes["ours"] > fewest else []
    fewer = f"{len(counted) - len(more)} of {len(counted)} of the zoo"
    lines.append(f"- no more nodes than the best tool: {fewer}; more: {', '.join(more) or 'none'}")
    return "\n".join(lines)


def _mean(what: str, found: dict[str, Interval | None]) -> str:
    ratios = {name: ratio for name, ratio in found.items() if ratio is not None}
    if not ratios:
        return f"- against {what}: nothing"
    mean = math.exp(sum(math.log(ratio.estimate) for ratio in ratios.values()) / len(ratios))
    slower = ", ".join(name for name, ratio in ratios.items() if ratio.high < SLOWER) or "none"
    return f"- against {what}: geometric mean {mean:.3f} over {len(ratios)}; below {SLOWER}: {slower}"
