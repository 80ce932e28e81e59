from __future__ import annotations

from typing import Any

import pytest

from optimizer.goal import Goal
from optimizer.results import Candidate, Choice, Measurement, Samples
from optimizer.search import choose, confirm, with_original

SLOWER, MAYBE, FAST, FASTER = (0.7, 0.8, 0.9), (0.99, 1.1, 1.3), (1.4, 1.5, 1.6), (1.9, 2.0, 2.1)
GENERATED = Samples(calibration=tuple(range(64)), selection=tuple(range(64)), unverified=True)


def rejected(choice: Choice) -> str:
    [reason] = choice.rejected.values()
    return reason


def test_among_the_proven_the_fastest_is_chosen(
    candidate: Any, samples: Samples, baseline: Measurement
) -> None:
    choice = choose([candidate("a", FAST), candidate("b", FASTER)], Goal(), samples, baseline)
    assert choice.name == "b"
    assert choice.reasons == (
        "b is 2.00x faster than the baseline (95 % interval 1.90 to 2.10, 5 launches), 3.3x smaller, and "
        "loses 0.2 points of top-1 (proven: a loss of at most 0.8 points at 95 % confidence, 1 point "
        "allowed; 750 check samples).",
    )
    assert rejected(choice).endswith("but b is faster for sure (1.90x at least)")


def test_a_proven_one_goes_before_a_faster_one_that_is_not(
    candidate: Any, samples: Samples, baseline: Measurement
) -> None:
    choice = choose([candidate("a", FASTER, "within"), candidate("b", FAST)], Goal(), samples, baseline)
    assert choice.name == "b"
    assert "its loss is within, that of b proven" in rejected(choice)


def test_without_a_proven_one_the_best_within_is_chosen_and_named_so(
    candidate: Any, samples: Samples, baseline: Measurement
) -> None:
    candidates = [candidate("a", FASTER, "within"), candidate("b", FASTER, "exceeded")]
    choice = choose(candidates, Goal(), samples, baseline)
    assert choice.name == "a"
    assert "within, not provable" in choice.reasons[0]
    assert any("could prove" in sentence for sentence in choice.unlock)


def test_what_is_known_of_a_ratio_is_its_low_end(
    candidate: Any, samples: Samples, baseline: Measurement
) -> None:
    candidates = [candidate("wide", (1.1, 2.2, 4.4)), candidate("narrow", FASTER)]
    assert choose(candidates, Goal(), samples, baseline).name == "narrow"


def test_of_equals_the_first_is_chosen(candidate: Any, samples: Samples, baseline: Measurement) -> None:
    candidates = [candidate("first"), candidate("second")]
    assert choose(candidates, Goal(), samples, baseline).name == "first"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"refused": "the same file as static_int8"}, "the same file as static_int8"),
        ({"quality": ()}, "was not judged"),
        ({"verdict": "exceeded"}, "loses 2 points of top-1, more than the allowed 1 point"),
        ({"ratio": None}, "was not measured"),
        ({"ratio": SLOWER}, "is slower than the baseline: it runs at 0.80x its speed"),
        ({"ratio": MAYBE}, "is not shown to be faster: it runs at 1.10x the baseline's speed"),
        ({"ratio": (1.0, 1.1, 1.2)}, "is not shown to be faster"),
    ],
)
def test_the_baseline_is_returned_with_the_reason_against_each(
    candidate: Any, samples: Samples, baseline: Measurement, changes: dict[str, Any], words: str
) -> None:
    choice = choose([candidate("a", **changes)], Goal(), samples, baseline)
    assert choice.name == "baseline"
    assert rejected(choice).startswith(words)
    assert "the baseline is returned" in choice.reasons[0]


def test_one_output_that_exceeds_its_budget_is_enough(
    candidate: Any, quality: Any, samples: Samples, baseline: Measurement
) -> None:
    two = (quality(), quality("exceeded", 0.3, metric="relative_l2", output="box", budget=0.05))
    choice = choose([candidate("a", quality=two)], Goal(), samples, baseline)
    assert choice.name == "baseline"
    assert rejected(choice).startswith("is off by 30 % (relative l2) in box, more than the allowed 5 %")


def test_an_output_that_cannot_be_compared_is_named_with_its_fault(
    candidate: Any, quality: Any, samples: Samples, baseline: Measurement
) -> None:
    broken = quality("exceeded", 1.0, note="The output holds NaN.")
    choice = choose([candidate("a", quality=(broken,))], Goal(), samples, baseline)
    assert rejected(choice) == "cannot be compared in digit: The output holds NaN"


def test_without_candidates_there_is_the_baseline(samples: Samples, baseline: Measurement) -> None:
    assert choose([], Goal(), samples, baseline).name == "baseline"


@pytest.mark.parametrize(
    ("ratio", "size_bytes", "chosen"),
    [
        ((0.98, 1.0, 1.02), 999, "a"),
        ((0.97, 1.0, 1.02), 999, "baseline"),
        (FASTER, 1000, "baseline"),
        (FASTER, 1001, "baseline"),
    ],
)
def test_goal_size_wants_fewer_bytes_and_not_slower(
    candidate: Any,
    samples: Samples,
    baseline: Measurement,
    ratio: tuple[float, float, float],
    size_bytes: int,
    chosen: str,
) -> None:
    goal = Goal(optimize_for="size")
    choice = choose([candidate("a", ratio, size_bytes=size_bytes)], goal, samples, baseline)
    assert choice.name == chosen


def test_goal_size_takes_the_smallest_not_the_fastest(
    candidate: Any, samples: Samples, baseline: Measurement
) -> None:
    candidates = [candidate("fast", FASTER, size_bytes=300), candidate("small", FAST, size_bytes=200)]
    choice = choose(candidates, Goal(optimize_for="size"), samples, baseline)
    assert choice.name == "small"
    assert rejected(choice).endswith("small is smaller (200 bytes)")


def test_made_up_ranges_are_chosen_only_when_allowed(candidate: Any, baseline: Measurement) -> None:
    candidates = [candidate("static", FASTER, "unverified", static=True)]
    choice = choose(candidates, Goal(), GENERATED, baseline)
    assert choice.name == "baseline"
    assert "allow_synthetic_calibration" in rejected(choice)
    assert any("or allow_synthetic_calibration, would let static" in sentence for sentence in choice.unlock)
    allowed = choose(candidates, Goal(allow_synthetic_calibration=True), GENERATED, baseline)
    assert allowed.name == "static"
    assert "unverified" in allowed.reasons[0]
    assert not any("would let static" in sentence for sentence in allowed.unlock)


@pytest.mark.parametrize("verdict", ["proven", "within"])
def test_made_up_ranges_need_no_permission_where_real_samples_judge(
    candidate: Any, samples: Samples, baseline: Measurement, verdict: str
) -> None:
    judged = samples.model_copy(update={"calibration": ()})
    choice = choose([candidate("static", FASTER, verdict, static=True)], Goal(), judged, baseline)
    assert choice.name == "static"
    assert any("could find better ranges" in sentence for sentence in choice.unlock)
    assert not any("would let static" in sentence for sentence in choice.unlock)


def test_without_data_dynamic_int8_may_be_chosen_unverified(candidate: Any, baseline: Measurement) -> None:
    choice = choose([candidate("dynamic", FAST, "unverified")], Goal(), GENERATED, baseline)
    assert choice.name == "dynamic"
    assert any("evaluation file with labels" in sentence for sentence in choice.unlock)


def test_nothing_is_unlocked_by_more_data_where_there_is_enough(
    candidate: Any, samples: Samples, baseline: Measurement
) -> None:
    assert choose([candidate("a", static=True)], Goal(), samples, baseline).unlock == ()


def test_nodes_that_run_elsewhere_are_said(candidate: Any, row: Any, samples: Samples) -> None:
    placement = {"CUDAExecutionProvider": 2, "CPUExecutionProvider": 6}
    measured = row(FASTER, 300, provider="cuda", placement=placement)
    choice = choose([candidate("a", measurement=measured)], Goal(), samples, row(model="baseline"))
    assert choice.reasons[1] == "a: only 2 of its 8 nodes run on cuda, the others on the CPU."


@pytest.fixture
def chosen(candidate: Any, samples: Samples, baseline: Measurement) -> Choice:
    return choose([candidate("a", FASTER), candidate("b", SLOWER)], Goal(), samples, baseline)


def test_a_winner_that_holds_keeps_the_figures_of_the_check(
    chosen: Choice, row: Any, quality: Any, baseline: Measurement
) -> None:
    confirmed = confirm(chosen, (quality(loss=0.003),), row((1.7, 1.8, 1.9), 300), Goal(), baseline)
    assert confirmed.name == "a"
    assert "1.80x faster" in confirmed.reasons[0]
    assert "loses 0.3 points" in confirmed.reasons[0]
    assert confirmed.rejected.keys() == {"b"}


@pytest.mark.parametrize(
    ("ratio", "verdict", "loss", "launches", "words"),
    [
        (SLOWER, "proven", 0.002, 5, "is slower"),
        (MAYBE, "proven", 0.002, 5, "is not shown to be faster"),
        (FASTER, "exceeded", 0.02, 5, "loses 2 points of top-1"),
        (FASTER, "within", 0.02, 5, "loses 2 points of top-1"),
        (FASTER, "proven", float("nan"), 5, "more than the allowed"),
        (FASTER, "proven", 0.002, 4, "was measured in 4 launches"),
    ],
)
def test_a_winner_that_falls_gives_way_to_the_baseline(
    chosen: Choice,
    row: Any,
    quality: Any,
    baseline: Measurement,
    ratio: tuple[float, float, float],
    verdict: Any,
    loss: float,
    launches: int,
    words: str,
) -> None:
    measured = row(ratio, 300, n=launches)
    fallen = confirm(chosen, (quality(verdict, loss),), measured, Goal(), baseline)
    assert fallen.name == "baseline"
    assert words in fallen.reasons[0]
    assert words in fallen.rejected["a"]


@pytest.mark.parametrize("verdict", ["within", "unverified"])
def test_the_check_fails_by_its_estimate_not_by_what_it_cannot_prove(
    chosen: Choice, row: Any, quality: Any, baseline: Measurement, verdict: Any
) -> None:
    assert confirm(chosen, (quality(verdict),), row(FASTER, 300), Goal(), baseline).name == "a"


def test_a_winner_that_was_not_judged_again_falls(chosen: Choice, row: Any, baseline: Measurement) -> None:
    assert confirm(chosen, (), row(FASTER, 300), Goal(), baseline).name == "baseline"


def test_the_baseline_needs_no_confirmation(samples: Samples, baseline: Measurement) -> None:
    choice = choose([], Goal(), samples, baseline)
    assert confirm(choice, (), baseline, Goal(), baseline) is choice


@pytest.mark.parametrize(
    ("original", "said"),
    [
        ((2.4, 2.5, 2.6), True),
        ((1.9, 1.95, 2.1), False),
        (SLOWER, False),
        ((0.9, 2.5, 7.0), False),
        (None, False),
    ],
)
def test_the_uploads_own_runtime_is_named_where_it_beats_everything(
    chosen: Choice, candidate: Any, row: Any, original: tuple[float, float, float] | None, said: bool
) -> None:
    upload = row(original, model="original", runtime="TFLite") if original else None
    rows = [one.measurement for one in (candidate("a", FASTER), candidate("b", SLOWER))]
    choice = with_original(chosen, upload, rows)
    assert (len(choice.reasons) == len(chosen.reasons) + 1) is said
    assert choice.reasons[0].startswith("TFLite runs the upload itself faster") is said
    assert choice.name == chosen.name


def test_every_other_candidate_has_a_reason(candidate: Any, samples: Samples, baseline: Measurement) -> None:
    candidates: list[Candidate] = [
        candidate("a", FASTER),
        candidate("b", SLOWER),
        candidate("c", FAST, "within"),
        candidate("d", refused="no kernel"),
    ]
    choice = choose(candidates, Goal(), samples, baseline)
    assert choice.rejected.keys() == {"b", "c", "d"}
    assert all(choice.rejected.values())
