from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from optimizer.benchmark import (
    LaunchRequest,
    LaunchTimes,
    MeasureSettings,
    launch_feeds,
    measure_alone,
    measure_pair,
    time_blocks,
    time_launch,
)
from optimizer.errors import InvalidDataError
from optimizer.results import TensorSpec

Save = Callable[..., Path]
Launch = Callable[[LaunchRequest], LaunchTimes]


def test_a_candidate_with_ten_times_the_work_is_called_slower(save_products: Save, launch: Launch) -> None:
    settings = MeasureSettings(batch_size=32, launches=3)
    row = measure_pair("heavy", save_products(2), save_products(20), settings, launch)
    assert row.ratio is not None
    assert row.ratio.estimate < 0.5
    assert row.ratio.high < 1
    assert (row.placement, row.batch_size) == ({"CPUExecutionProvider": 20}, 32)


def test_the_order_of_the_models_decides_the_sign(save_products: Save) -> None:
    models = (save_products(2), save_products(20))
    there = time_launch(LaunchRequest(models=models, batch_size=32, budget_s=0.2))
    back = time_launch(LaunchRequest(models=models[::-1], batch_size=32, budget_s=0.2))
    assert there.log_ratio is not None
    assert back.log_ratio is not None
    assert there.log_ratio < 0 < back.log_ratio
    assert there.medians_ms[0] < there.medians_ms[1]


def test_the_models_keep_their_places_when_the_second_is_loaded_first(save_products: Save) -> None:
    models = (save_products(2), save_products(20))
    times = time_launch(LaunchRequest(models=models, batch_size=32, budget_s=0.2, seed=1))
    assert times.log_ratio is not None
    assert times.log_ratio < 0
    assert times.medians_ms[0] < times.medians_ms[1]
    assert times.placement == ({"CPUExecutionProvider": 2}, {"CPUExecutionProvider": 20})


def test_a_model_alone_has_latency_placement_and_no_ratio(save_products: Save) -> None:
    row = measure_alone("baseline", save_products(3), MeasureSettings(launches=2), time_launch)
    assert row.ratio is None
    assert row.placement == {"CPUExecutionProvider": 3}
    assert row.throughput_items_per_s == pytest.approx(1e3 / row.latency_ms)
    assert row.device_ms is None


def test_a_fixed_batch_overrules_the_one_asked_for(save_products: Save) -> None:
    settings = MeasureSettings(batch_size=2, launches=2)
    row = measure_alone("baseline", save_products(1, 8), settings, time_launch)
    assert row.batch_size == 8
    assert row.throughput_items_per_s == pytest.approx(8e3 / row.latency_ms)


def test_blocks_take_turns_and_swap_their_order() -> None:
    calls: list[str] = []

    def run(name: str) -> Callable[[], None]:
        def once() -> None:
            calls.append(name)
            time.sleep(0.012)  # longer than a block: one run each

        return once

    times_ms = time_blocks([run("a"), run("b")], budget_s=0.15)
    blocks = len(times_ms[0])
    timed = "".join(calls[-2 * blocks :])
    assert timed.startswith("abbaabba")
    assert timed.count("a") == timed.count("b") == blocks
    assert min(min(one) for one in times_ms) >= 12


def test_slow_models_get_five_blocks_and_fast_ones_a_bounded_time() -> None:
    slow = time_blocks([lambda: time.sleep(0.05)], budget_s=0.01)
    assert len(slow[0]) == 5
    start = time.perf_counter()
    fast = time_blocks([lambda: None], budget_s=0.3)
    assert 20 <= len(fast[0]) <= 60
    assert time.perf_counter() - start < 10


def test_samples_are_read_and_repeated_to_fill_a_batch(tmp_path: Path) -> None:
    np.savez(tmp_path / "samples.npz", x=np.arange(6, dtype=np.float32).reshape(2, 3))
    spec = TensorSpec(name="x", dtype="float32", shape=("N", 3))
    request = LaunchRequest(models=(tmp_path,), batch_size=3, samples=tmp_path / "samples.npz")
    size, feeds = launch_feeds((spec,), (), request)
    assert size == 3
    np.testing.assert_array_equal(feeds["x"], [[0, 1, 2], [3, 4, 5], [0, 1, 2]])


def test_samples_that_do_not_fit_are_refused(save_products: Save, tmp_path: Path) -> None:
    np.savez(tmp_path / "samples.npz", x=np.zeros((2, 5), np.float32))
    request = LaunchRequest(models=(save_products(1),), samples=tmp_path / "samples.npz")
    with pytest.raises(InvalidDataError):
        time_launch(request)


def test_a_provider_that_falls_back_gives_an_error_and_no_cpu_figures(
    save_products: Save, monkeypatch: pytest.MonkeyPatch, launch: Launch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # where there is a GPU, hide it
    request = LaunchRequest(models=(save_products(1),), provider="cuda")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        launch(request)
    assert "UnavailableProviderError" in caught.value.stderr
    assert not caught.value.stdout
