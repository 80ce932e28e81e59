"""Compares where the time of a model goes before and after rewriting: by operator, by layer, by rewrite."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from optimizer.rewriting import AppliedRewrite
from optimizer.timings import NodeTime, OperatorTimes, Profile, TimeRow

Sums = dict[str, tuple[int, float]]
"""Number of nodes and their time in ms, by name."""


def make_profile(
    before: OperatorTimes,
    after: OperatorTimes,
    layer_of: Callable[[str], str | None],
    rewrites: Sequence[AppliedRewrite],
) -> Profile:
    """Sum up the times of both files.

    Args:
        before: Of the model as it was converted or uploaded.
        after: Of the rewritten model.
        layer_of: Finds the layer of a node of either file by its name; None where that says nothing: such a
            node of ONNX Runtime's own counts for the layer that ran before it, whose values it takes.
        rewrites: What was done, with the layers that it touched.
    """
    layers = _rows(_by_layer(before, layer_of), _by_layer(after, layer_of))
    return Profile(
        before_ms=before.latency_ms,
        after_ms=after.latency_ms,
        operators=_rows(_by_operator(before), _by_operator(after)),
        layers=layers,
        rewrites=tuple(_together(done.name, layers, done.layers) for done in rewrites),
    )


def _by_operator(times: OperatorTimes) -> Sums:
    return _sums((node.op_type, node) for node in times.nodes)


def _by_layer(times: OperatorTimes, layer_of: Callable[[str], str | None]) -> Sums:
    layers = [layer_of(node.node) for node in times.nodes]
    first = next(filter(None, layers), "")
    named: list[tuple[str, NodeTime]] = []
    for layer, node in zip(layers, times.nodes, strict=True):
        named.append((layer or (named[-1][0] if named else first or node.node), node))
    return _sums(named)


def _sums(named: Iterable[tuple[str, NodeTime]]) -> Sums:
    sums: Sums = {}
    for name, node in named:
        count, time_ms = sums.get(name, (0, 0.0))
        sums[name] = count + 1, time_ms + node.time_ms
    return sums


def _rows(before: Sums, after: Sums) -> tuple[TimeRow, ...]:
    rows: list[TimeRow] = []
    for name in before.keys() | after.keys():
        nodes_before, before_ms = before.get(name, (0, 0.0))
        nodes_after, after_ms = after.get(name, (0, 0.0))
        rows.append(
            TimeRow(
                name=name,
                nodes_before=nodes_before,
                before_ms=before_ms,
                nodes_after=nodes_after,
                after_ms=after_ms,
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.before_ms, -row.after_ms, row.name)))


def _together(name: str, rows: Iterable[TimeRow], layers: Sequence[str]) -> TimeRow:
    touched = [row for row in rows if row.name in layers]
    return TimeRow(
        name=name,
        nodes_before=sum(row.nodes_before for row in touched),
        before_ms=sum(row.before_ms for row in touched),
        nodes_after=sum(row.nodes_after for row in touched),
        after_ms=sum(row.after_ms for row in touched),
    )
