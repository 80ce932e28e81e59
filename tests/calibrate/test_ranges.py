"""Ranges against NumPy, and every kind of sample that must not pass silently."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_models import SMALL_MODELS, model_of

from optimizer.calibrate import Ranges, collect_ranges
from optimizer.errors import InvalidDataError
from optimizer.graph.verify import open_proto


def ignore(_: int) -> None:
    pass


def test_ranges_are_the_minimum_and_maximum_over_all_batches() -> None:
    small = SMALL_MODELS["residual"]
    built = small.build()
    batches = small.batches(3, 5)
    ranges = collect_ranges(built, batches, ignore)
    proto = built.to_proto()
    names = [name for node in proto.graph.node for name in node.output if name not in ("y", "six")]
    proto.graph.output.extend(proto.graph.input[0].__class__(name=name) for name in names)
    session = open_proto(proto)
    runs = [session.run(batch) | batch for batch in batches]
    for name in ("x", "y", *names):
        values = np.concatenate([run[name].ravel() for run in runs])
        assert ranges.values[name] == pytest.approx((values.min(), values.max()), abs=1e-5), name


def test_integers_and_weights_have_no_range() -> None:
    small = SMALL_MODELS["lstm"]
    ranges = collect_ranges(small.build(), small.batches(1), ignore)
    assert "tokens" not in ranges.values
    assert "table" not in ranges.values
    assert {"embedded", "state", "logits", "scores"} <= ranges.values.keys()


def test_progress_counts_samples() -> None:
    small = SMALL_MODELS["mlp"]
    seen: list[int] = []
    collect_ranges(small.build(), small.batches(3, 8), seen.append)
    assert seen == [8, 16, 24]


def test_memory_does_not_grow_with_the_number_of_samples() -> None:
    small = SMALL_MODELS["residual"]
    built = small.build()

    def stream(count: int) -> Iterator[dict[str, NDArray[Any]]]:
        rng = np.random.default_rng(0)
        for _ in range(count):
            yield small.feeds(rng, 8)

    collect_ranges(built, stream(1), ignore)  # imports
    peaks = []
    for count in (5, 100):
        tracemalloc.start()
        collect_ranges(built, stream(count), ignore)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 50_000  # 95 more batches are 778 kB


def test_a_nan_activation_is_named() -> None:
    built = model_of("g (float[batch, 2] x) => (float[batch, 2] y) { root = Sqrt (x) \n y = Exp (root) }")
    good, bad = np.ones((3, 2), np.float32), np.array([[1, -1]], np.float32)
    with pytest.raises(InvalidDataError, match="Activation root is NaN for one of the samples 3 to 3"):
        collect_ranges(built, [{"x": good}, {"x": bad}], ignore)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_input_that_is_not_finite_is_named(value: float) -> None:
    built = model_of("g (float[batch, 2] x) => (float[batch, 2] y) { y = Exp (x) }")
    with pytest.raises(InvalidDataError, match="Input x holds NaN or infinity"):
        collect_ranges(built, [{"x": np.array([[1, value]], np.float32)}], ignore)


def test_an_infinite_mask_has_no_range_and_is_no_error() -> None:
    built = model_of(
        """
        g (float[batch, 2] x, bool[batch, 2] keep) => (float[batch, 2] y) {
            masked = Where (keep, x, low)
            y = Softmax (masked)
        }""",
        low=np.array(-np.inf, np.float32),
    )
    feeds = {"x": np.ones((1, 2), np.float32), "keep": np.array([[True, False]])}
    ranges = collect_ranges(built, [feeds], ignore)
    assert "masked" not in ranges.values
    assert ranges.values["y"] == (0.0, 1.0)


def test_an_empty_activation_counts_once_it_holds_something() -> None:
    built = model_of(
        """
        g (float[n] x) => (float[n] y, float[m] never) <int64[1] zero = {0}, int64[1] one = {1}>
        { y = Neg (x) \n never = Slice (x, zero, zero) }"""
    )
    feeds = [{"x": np.array(values, np.float32)} for values in ([], [2, 3], [])]
    ranges = collect_ranges(built, feeds, ignore)
    assert ranges.values["y"] == (-3.0, -2.0)
    assert "never" not in ranges.values


def test_control_flow_gives_ranges_for_the_main_graph_alone() -> None:
    built = model_of(
        """
        g (float[batch, 2] x, bool c) => (float[batch, 2] y) {
            y = If (c) <
                then_branch = a () => (float[batch, 2] t) { t = Neg (x) },
                else_branch = b () => (float[batch, 2] e) { e = Exp (x) }
            >
        }"""
    )
    feeds = {"x": np.ones((1, 2), np.float32), "c": np.array(True)}
    assert collect_ranges(built, [feeds], ignore).values == {"x": (1.0, 1.0), "y": (-1.0, -1.0)}


def test_what_only_onnx_runtime_has_a_type_for_gets_a_range() -> None:
    built = model_of(
        "g (float[batch, 2] x) => (float[batch, 2] y) { a = com.microsoft.Gelu (x) \n y = Neg (a) }"
    )
    ranges = collect_ranges(built, [{"x": np.zeros((1, 2), np.float32)}], ignore)
    assert ranges.values["a"] == (0.0, 0.0)


def test_no_samples_are_an_error() -> None:
    with pytest.raises(InvalidDataError, match="no calibration samples"):
        collect_ranges(SMALL_MODELS["mlp"].build(), [], ignore)


def test_ranges_survive_a_file_and_the_same_ranges_give_the_same_bytes(tmp_path: Path) -> None:
    ranges = Ranges({"a/b:0": (-1.5, 2.25), "c": (0.0, 0.1)})
    ranges.save(tmp_path / "one.npz")
    ranges.save(tmp_path / "two.npz")
    assert Ranges.load(tmp_path / "one.npz") == ranges
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_a_file_without_ranges_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "ranges.npz"
    path.write_bytes(b"not a zip file")
    with pytest.raises(InvalidDataError, match=r"ranges\.npz does not hold activation ranges"):
        Ranges.load(path)
