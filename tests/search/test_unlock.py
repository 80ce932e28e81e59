"""What would unlock more is said only where it is true."""

from __future__ import annotations

from typing import Any

from optimizer.goal import Goal
from optimizer.results import Measurement, Samples
from optimizer.search import choose

SLOWER, MAYBE, EVEN, FASTER = (0.7, 0.8, 0.9), (0.9, 1.1, 1.3), (0.985, 0.99, 1.0), (1.9, 2.0, 2.1)
GENERATED = Samples(calibration=tuple(range(64)), selection=tuple(range(64)), unverified=True)


def test_where_speed_is_missing_no_samples_are_asked_for(candidate: Any, baseline: Measurement) -> None:
    candidates = [candidate("a", SLOWER, "unverified", static=True), candidate("b", MAYBE, "unverified")]
    assert choose(candidates, Goal(), GENERATED, baseline).unlock == (
        "No candidate is faster than the baseline here, and no samples (calibration, evaluation) would "
        "change that.",
    )


def test_static_int8_that_is_slower_is_not_unlocked_by_samples(candidate: Any, baseline: Measurement) -> None:
    candidates = [candidate("a", SLOWER, "unverified", static=True), candidate("b", FASTER, "unverified")]
    unlock = choose(candidates, Goal(), GENERATED, baseline).unlock
    assert not any("static INT8" in sentence for sentence in unlock)
    assert any("evaluation file with labels" in sentence for sentence in unlock)


def test_a_smaller_file_that_is_not_slower_is_offered(
    candidate: Any, samples: Samples, baseline: Measurement
) -> None:
    candidates = [
        candidate("large", EVEN, size_bytes=900),
        candidate("small", EVEN, size_bytes=250),
        candidate("smallest", SLOWER, size_bytes=100),
        candidate("lossy", EVEN, "exceeded", size_bytes=90),
    ]
    unlock = choose(candidates, Goal(), samples, baseline).unlock
    assert unlock[1] == (
        "optimize_for=size (--optimize-for size) would choose small: it is 4.0x smaller, and not slower by "
        "more than 2 %."
    )
    assert choose(candidates, Goal(optimize_for="size"), samples, baseline).name == "small"


def test_a_short_call_is_told_to_hold_more_items(candidate: Any, samples: Samples, row: Any) -> None:
    short = row(model="baseline", latency_ms=0.06)
    [_, advice] = choose([candidate("a", SLOWER)], Goal(), samples, short).unlock
    assert advice.startswith("A call takes 0.060 ms, too little for integers to pay.")
    eight = row(model="baseline", latency_ms=0.06, batch_size=8)
    assert len(choose([candidate("a", SLOWER)], Goal(), samples, eight).unlock) == 1


def test_a_loss_that_stands_against_all_that_is_faster_is_named_with_its_option(
    candidate: Any, samples: Samples, baseline: Measurement
) -> None:
    candidates = [candidate("a", FASTER, "exceeded"), candidate("b", SLOWER)]
    [advice] = choose(candidates, Goal(), samples, baseline).unlock
    assert advice.startswith(
        "If you can take the loss, another max_accuracy_drop (--max-accuracy-drop) would let a be chosen: it "
        "is 2.00x faster than the baseline"
    )
    assert "loses 2 points of top-1" in advice


def test_a_loss_is_no_obstacle_where_another_candidate_is_chosen(
    candidate: Any, samples: Samples, baseline: Measurement
) -> None:
    candidates = [candidate("a", FASTER, "exceeded"), candidate("b", FASTER)]
    assert choose(candidates, Goal(), samples, baseline).unlock == ()
