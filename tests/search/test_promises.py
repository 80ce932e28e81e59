"""No choice breaks a promise, whatever the figures; and twelve placebos fool nobody."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.benchmark import SCREENING_LAUNCHES, WINNER_LAUNCHES, LaunchTimes, compare
from optimizer.goal import Goal
from optimizer.results import (
    Candidate,
    Choice,
    Interval,
    Measurement,
    Quality,
    Samples,
    VerdictKind,
)
from optimizer.search import choose, confirm
from optimizer.steps import QuantizeDynamic, QuantizeStatic, Recipe

RECORDING = json.loads((Path(__file__).parent / "aa_launches.json").read_text())
BASELINE_BYTES = 1000


@st.composite
def intervals(draw: st.DrawFn, low: float, high: float) -> Interval:
    ends = sorted(draw(st.tuples(*[st.floats(low, high)] * 3)))
    return Interval(low=ends[0], estimate=ends[1], high=ends[2], n=draw(st.integers(2, 9)))


qualities = st.builds(
    Quality,
    metric=st.sampled_from(["top-1", "auc", "mae", "agreement", "relative_l2"]),
    output=st.just("y"),
    loss=intervals(-0.02, 0.06),
    budget=st.sampled_from([0.01, 0.03]),
    verdict=st.sampled_from(get_args(VerdictKind)),
    samples=st.just("some samples"),
)
measurements = st.builds(
    Measurement,
    model=st.just("row"),
    runtime=st.just("ONNX Runtime"),
    provider=st.just("cpu"),
    batch_size=st.just(1),
    threads=st.just(1),
    latency_ms=st.just(1.0),
    throughput_items_per_s=st.just(1000.0),
    ratio=st.none() | intervals(0.9, 1.2),
    launches=st.just(5),
    sha256=st.just("0" * 64),
    size_bytes=st.integers(900, 1050),
)
candidates = st.lists(
    st.builds(
        Candidate,
        name=st.from_regex(r"[a-z]{1,6}", fullmatch=True),
        recipe=st.builds(
            Recipe, name=st.just("r"), steps=st.sampled_from([(QuantizeStatic(),), (QuantizeDynamic(),)])
        ),
        refused=st.sampled_from([None, None, None, "no kernel"]),
        quality=st.lists(qualities, max_size=2).map(tuple),
        measurement=st.none() | measurements,
    ),
    max_size=5,
    unique_by=lambda one: one.name,
).map(lambda made: [one for one in made if one.name != "baseline"])
goals = st.builds(
    Goal,
    optimize_for=st.sampled_from(["latency", "throughput", "size"]),
    allow_synthetic_calibration=st.booleans(),
)
splits = st.builds(
    Samples,
    calibration=st.sampled_from([(), (0, 1)]),
    source=st.sampled_from(["evaluation", "calibration", "generated"]),
    unverified=st.booleans(),
)


def kept(quality: tuple[Quality, ...], measurement: Measurement | None, goal: Goal) -> bool:
    """Promises 1 and 2, in a second spelling."""
    if not quality or measurement is None or measurement.ratio is None:
        return False
    harmless = all(one.verdict != "exceeded" and one.loss.estimate <= one.budget + 1e-9 for one in quality)
    if goal.optimize_for == "size":
        return harmless and measurement.size_bytes < BASELINE_BYTES and measurement.ratio.low >= 0.98
    return harmless and measurement.ratio.low > 1.0


@given(
    made=candidates,
    goal=goals,
    samples=splits,
    check=st.tuples(st.lists(qualities, max_size=2), measurements),
)
def test_no_choice_breaks_a_promise(
    made: list[Candidate], goal: Goal, samples: Samples, check: tuple[list[Quality], Measurement]
) -> None:
    baseline = row(None, "baseline")
    choice = choose(made, goal, samples, baseline)
    by_name = {one.name: one for one in made}
    synthetic = samples.source == "generated" or not samples.calibration
    if choice.name != "baseline":
        winner = by_name[choice.name]
        assert winner.refused is None
        assert kept(winner.quality, winner.measurement, goal)
        static = isinstance(winner.recipe.steps[0], QuantizeStatic)
        unverified = any(one.verdict == "unverified" for one in winner.quality)
        assert not (static and synthetic and unverified and not goal.allow_synthetic_calibration)
    assert choice.rejected.keys() == by_name.keys() - {choice.name}
    assert choice.reasons
    assert all(choice.rejected.values())

    quality, measured = tuple(check[0]), check[1]
    confirmed = confirm(choice, quality, measured, goal, baseline)
    if confirmed.name != "baseline":
        assert confirmed.name == choice.name
        assert kept(quality, measured, goal)
        assert measured.ratio is not None
        assert measured.ratio.n >= WINNER_LAUNCHES
    assert confirmed.rejected.keys() == by_name.keys() - {confirmed.name}


@given(made=candidates, goal=goals)
def test_a_candidate_that_keeps_every_promise_is_not_passed_over(made: list[Candidate], goal: Goal) -> None:
    samples = Samples(calibration=(0,), source="evaluation")
    choice = choose(made, goal, samples, row(None, "baseline"))
    good = [one for one in made if one.refused is None and kept(one.quality, one.measurement, goal)]
    assert (choice.name != "baseline") == bool(good)
    proven = [one.name for one in good if all(q.verdict == "proven" for q in one.quality)]
    if proven:
        assert choice.name in proven


def row(ratio: Interval | None, name: str) -> Measurement:
    return Measurement(
        model=name,
        runtime="ONNX Runtime",
        provider="cpu",
        batch_size=1,
        threads=1,
        latency_ms=1.0,
        throughput_items_per_s=1000.0,
        ratio=ratio,
        launches=ratio.n if ratio else 3,
        sha256="0" * 64,
        size_bytes=BASELINE_BYTES,
    )


@pytest.fixture(scope="module")
def launches() -> list[LaunchTimes]:
    """Launches of a real model against itself, recorded by benchmarks/record_aa_launches.py."""
    recorded = [LaunchTimes.model_validate(one) for one in RECORDING["launches"]]
    assert len(recorded) >= 30
    return recorded


def choose_among_placebos(
    launches: list[LaunchTimes], draw: random.Random, quality: Any
) -> tuple[Choice, Choice]:
    """Screen twelve placebos on resampled launches, choose, and confirm."""
    samples = Samples(calibration=(0,), source="evaluation", labelled=True)
    placebos = [
        Candidate(
            name=f"placebo_{number}",
            recipe=Recipe(name=f"placebo_{number}", steps=(QuantizeDynamic(),)),
            quality=quality,
            measurement=row(compare(draw.choices(launches, k=SCREENING_LAUNCHES)), f"placebo_{number}"),
        )
        for number in range(12)
    ]
    screened = choose(placebos, Goal(), samples, row(None, "baseline"))
    again = row(compare(draw.choices(launches, k=WINNER_LAUNCHES)), screened.name)
    return screened, confirm(screened, quality, again, Goal(), row(None, "baseline"))


def test_twelve_placebos_are_not_called_faster(launches: list[LaunchTimes]) -> None:
    none_lost = Interval(estimate=0.0, low=-0.004, high=0.004, n=750)
    quality = (
        Quality(metric="top-1", output="y", loss=none_lost, budget=0.01, verdict="proven", samples="750"),
    )
    draw = random.Random(20261124)
    choices = [choose_among_placebos(launches, draw, quality) for _ in range(100)]
    fooled = sum(confirmed.name != "baseline" for _, confirmed in choices)
    assert fooled <= 5
    # Screening alone would let more through: it is the second measurement that counts.
    assert sum(screened.name != "baseline" for screened, _ in choices) > fooled
