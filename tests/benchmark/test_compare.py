"""What launches are worth, on recorded figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from optimizer.benchmark import (
    LaunchRequest,
    LaunchTimes,
    MeasureSettings,
    compare,
    measure_both,
    measure_original,
    measure_pair,
)
from optimizer.errors import InvalidOptionsError, OptimizerError, ToolError


def pair(first_ms: float, second_ms: float) -> LaunchTimes:
    return LaunchTimes.of([first_ms] * 5, [second_ms] * 5, batch_size=1)


def replay(launches: list[LaunchTimes]) -> tuple[Callable[[LaunchRequest], LaunchTimes], list[LaunchRequest]]:
    remaining: Iterator[LaunchTimes] = iter(launches)
    asked: list[LaunchRequest] = []

    def launch(request: LaunchRequest) -> LaunchTimes:
        asked.append(request)
        return next(remaining)

    return launch, asked


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    paths = (tmp_path / "baseline.onnx", tmp_path / "candidate.onnx")
    paths[0].write_bytes(b"baseline")
    paths[1].write_bytes(b"candidate!")
    return paths


def test_the_ratio_is_the_geometric_mean_over_launches() -> None:
    ratio = compare([pair(2.0, 1.0), pair(8.0, 1.0)])
    assert ratio.estimate == pytest.approx(4.0)
    assert ratio.n == 2


def test_the_interval_is_student_t_over_launches_not_over_blocks() -> None:
    launches = [pair(math.exp(x), 1.0) for x in (0.0, 0.1, 0.2)]
    # t(97.5 %, 2) = 4.302653, s = 0.1
    half = 4.302653 * 0.1 / math.sqrt(3)
    ratio = compare(launches)
    assert math.log(ratio.low) == pytest.approx(0.1 - half, rel=1e-5)
    assert math.log(ratio.high) == pytest.approx(0.1 + half, rel=1e-5)


def test_one_disturbed_block_does_not_move_a_launch() -> None:
    times = LaunchTimes.of([2.0, 2.0, 2.0, 2.0, 50.0], [1.0] * 5, batch_size=1)
    assert times.log_ratio == pytest.approx(math.log(2))
    assert times.medians_ms == (2.0, 1.0)


def test_a_drift_of_the_machine_cancels_in_pairs_of_blocks() -> None:
    drift = [1.0, 1.5, 2.0, 2.5, 3.0]
    times = LaunchTimes.of([2 * one for one in drift], drift, batch_size=1)
    assert times.log_ratio == pytest.approx(math.log(2))


@pytest.mark.parametrize("launches", [[], [pair(2.0, 1.0)], [LaunchTimes.of([1.0], batch_size=1)] * 3])
def test_too_few_launches_or_models_give_no_ratio(launches: list[LaunchTimes]) -> None:
    with pytest.raises(InvalidOptionsError):
        compare(launches)


def test_a_row_sums_up_its_launches(models: tuple[Path, Path]) -> None:
    launches = [pair(2.0, 1.0), pair(2.2, 1.1), pair(1.8, 0.9)]
    launch, asked = replay(launches)
    row = measure_pair("fast", *models, MeasureSettings(launches=3, threads=2), launch)
    assert (row.model, row.launches, row.threads, row.size_bytes) == ("fast", 3, 2, 10)
    assert row.latency_ms == pytest.approx(1.0)
    assert row.ratio is not None
    assert row.ratio.estimate == pytest.approx(2.0)
    assert [request.models for request in asked] == [models] * 3
    assert [request.seed for request in asked] == [0, 1, 2]  # each other one loads the candidate first


def test_the_baseline_has_a_row_of_the_same_launches(models: tuple[Path, Path]) -> None:
    launch, _ = replay([pair(2.0, 1.0), pair(2.2, 1.1), pair(1.8, 0.9)])
    baseline, fast = measure_both(("baseline", "fast"), models, MeasureSettings(launches=3), launch)
    assert (baseline.model, baseline.latency_ms, baseline.launches) == ("baseline", 2.0, 3)
    assert baseline.ratio is None
    assert (fast.model, fast.latency_ms, fast.launches) == ("fast", 1.0, 3)


def test_a_hopeless_candidate_costs_two_launches(models: tuple[Path, Path]) -> None:
    launch, asked = replay([pair(1.0, 2.0), pair(1.0, 2.01), pair(1.0, 2.0)])
    row = measure_pair("slow", *models, MeasureSettings(launches=3), launch)
    assert (row.launches, len(asked)) == (2, 2)
    assert row.ratio is not None
    assert row.ratio.high < 1


def test_a_candidate_that_may_yet_be_faster_gets_all_its_launches(models: tuple[Path, Path]) -> None:
    launch, asked = replay([pair(1.0, 1.2), pair(1.0, 1.1), pair(1.0, 0.9)])
    measure_pair("unsure", *models, MeasureSettings(launches=3), launch)
    assert len(asked) == 3


def test_a_launch_that_fails_is_not_left_out(models: tuple[Path, Path]) -> None:
    def launch(request: LaunchRequest) -> LaunchTimes:
        raise ToolError("killed by SIGKILL")

    with pytest.raises(OptimizerError, match="SIGKILL"):
        measure_pair("broken", *models, MeasureSettings(), launch)


def test_the_original_takes_turns_with_the_baseline(models: tuple[Path, Path]) -> None:
    order: list[str] = []

    def launch_original() -> LaunchTimes:
        order.append("original")
        return LaunchTimes.of([4.0], batch_size=1)

    def launch_baseline() -> LaunchTimes:
        order.append("baseline")
        return LaunchTimes.of([1.0 + 0.01 * len(order)], batch_size=1)

    settings = MeasureSettings(launches=4)
    row = measure_original(models[0], "TensorFlow", settings, launch_original, launch_baseline)
    assert order == ["original", "baseline", "baseline", "original"] * 2
    assert (row.model, row.runtime, row.latency_ms) == ("original", "TensorFlow", 4.0)
    assert row.ratio is not None
    assert row.ratio.estimate == pytest.approx(0.26, abs=0.01)  # baseline / original
    assert row.ratio.high < 1
