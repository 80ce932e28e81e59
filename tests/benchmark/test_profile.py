from __future__ import annotations

from collections.abc import Sequence

import pytest

from optimizer.benchmark import make_profile
from optimizer.rewriting import AppliedRewrite
from optimizer.timings import NodeTime, OperatorTimes, TimeRow


def times(latency_ms: float, *nodes: tuple[str, str, float]) -> OperatorTimes:
    return OperatorTimes(
        latency_ms=latency_ms,
        profiler_ms=0.1,
        nodes=tuple(NodeTime(node=n, op_type=op, calls=1, time_ms=ms) for n, op, ms in nodes),
    )


BEFORE = times(
    1.5,
    ("rnn/Loop", "Loop", 0.25),
    ("rnn/MatMul", "MatMul", 0.5),
    ("dense/MatMul", "MatMul", 0.25),
    ("dense/Add", "Add", 0.125),
)
AFTER = times(0.5, ("Reorder", "Reorder", 0.0625), ("rnn/LSTM", "LSTM", 0.125), ("Fused_1", "Gemm", 0.25))


def layer_of(name: str) -> str | None:
    """The folder; ONNX Runtime's own names say nothing."""
    return name.partition("/")[0] if "/" in name else None


def cells(rows: Sequence[TimeRow]) -> list[tuple[str, int, float, int, float]]:
    return [(row.name, row.nodes_before, row.before_ms, row.nodes_after, row.after_ms) for row in rows]


def test_times_are_summed_up_by_operator_the_longest_before_first() -> None:
    profile = make_profile(BEFORE, AFTER, layer_of, ())
    assert cells(profile.operators) == [
        ("MatMul", 2, 0.75, 0, 0.0),
        ("Loop", 1, 0.25, 0, 0.0),
        ("Add", 1, 0.125, 0, 0.0),
        ("Gemm", 0, 0.0, 1, 0.25),
        ("LSTM", 0, 0.0, 1, 0.125),
        ("Reorder", 0, 0.0, 1, 0.0625),
    ]
    assert (profile.before_ms, profile.after_ms) == (1.5, 0.5)


def test_a_node_of_the_runtimes_own_counts_for_the_layer_that_ran_before_it() -> None:
    rows = {row.name: row for row in make_profile(BEFORE, AFTER, layer_of, ()).layers}
    assert set(rows) == {"rnn", "dense"}
    # The first has none before it: it counts for the first layer that is known.
    assert (rows["rnn"].nodes_before, rows["rnn"].before_ms) == (2, 0.75)
    assert (rows["rnn"].nodes_after, rows["rnn"].after_ms) == (3, 0.4375)


def test_a_rewrite_has_the_time_of_all_layers_that_it_touched() -> None:
    done = AppliedRewrite(name="fuse_recurrence", words="", count=2, layers=("rnn", "dense", "gone"))
    one = AppliedRewrite(name="fold_affine", words="", count=1, layers=("dense",))
    both, single = make_profile(BEFORE, AFTER, layer_of, (done, one)).rewrites
    assert (both.name, both.before_ms, both.after_ms) == ("fuse_recurrence", 1.125, 0.4375)
    assert (single.before_ms, single.after_ms, single.nodes_before, single.nodes_after) == (0.375, 0.0, 2, 0)


def test_a_model_without_nodes_has_empty_tables() -> None:
    empty = times(0.01)
    profile = make_profile(empty, empty, layer_of, ())
    assert (profile.operators, profile.layers) == ((), ())
    assert profile.before_ms == pytest.approx(0.01)
