from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.data import Batch
from optimizer.data.samples import content_hashes
from optimizer.evaluate import split_samples


@dataclass(frozen=True)
class Contents:
    """Samples that are one number each."""

    values: tuple[int, ...]
    label_name: str | None = None
    whole_calls: bool = False

    @property
    def count(self) -> int:
        return len(self.values)

    def batches(self, indices: Sequence[int], batch_size: int) -> Iterator[Batch]:
        raise AssertionError("a split reads hashes alone")

    def hashes(self) -> tuple[str, ...]:
        return tuple(content_hashes({"x": np.array(self.values)}, whole_calls=False))

    def at(self, indices: Sequence[int]) -> list[int]:
        return sorted(self.values[i] for i in indices)


values = st.lists(st.integers(0, 400), min_size=1, max_size=700).map(tuple)


@settings(deadline=None, max_examples=60)
@given(values)
def test_the_split_of_calibration_samples_keeps_its_promises(numbers: tuple[int, ...]) -> None:
    data = Contents(numbers)
    samples = split_samples(data, None)
    n = len(numbers)
    if samples.unverified:
        assert samples.calibration == samples.selection == samples.check == tuple(range(n))
        return
    held = set(samples.selection) | set(samples.check)
    assert n >= 64
    assert not held & set(samples.calibration)
    assert held | set(samples.calibration) == set(range(n))
    assert len(held) <= n // 2
    # Equal samples stand on one side.
    sides = [set(data.at(samples.calibration)), set(data.at(sorted(held)))]
    assert not sides[0] & sides[1]
    assert samples.same_samples == (samples.selection == samples.check)
    if not samples.same_samples:
        assert not set(data.at(samples.selection)) & set(data.at(samples.check))
        assert len(held) >= 250


@settings(deadline=None, max_examples=40)
@given(values, st.integers(0, 1000))
def test_the_split_does_not_depend_on_the_order(numbers: tuple[int, ...], seed: int) -> None:
    shuffled = tuple(int(v) for v in np.random.default_rng(seed).permutation(numbers))
    first, second = Contents(numbers), Contents(shuffled)
    one, other = split_samples(first, None), split_samples(second, None)
    for role in ("calibration", "selection", "check"):
        assert first.at(getattr(one, role)) == second.at(getattr(other, role))
    one, other = split_samples(None, first), split_samples(None, second)
    for role in ("selection", "check"):
        assert first.at(getattr(one, role)) == second.at(getattr(other, role))


@pytest.mark.parametrize(
    ("count", "held", "same"),
    [(64, 32, True), (200, 100, True), (300, 128, True), (600, 180, True), (1000, 300, False)],
)
def test_thirty_percent_or_128_are_held_back_but_never_more_than_half(
    count: int, held: int, same: bool
) -> None:
    samples = split_samples(Contents(tuple(range(count))), None)
    assert len(set(samples.selection) | set(samples.check)) == held
    assert samples.same_samples == same
    assert len(samples.check) == (held if same else held // 2)
    assert samples.source == "calibration"
    assert not samples.unverified


def test_under_64_samples_everything_calibrates_unverified() -> None:
    samples = split_samples(Contents(tuple(range(63))), None)
    assert samples.calibration == samples.check == tuple(range(63))
    assert samples.unverified
    assert "63" in samples.notices[0]


def test_evaluation_samples_are_halved_and_calibration_samples_all_calibrate() -> None:
    evaluation = Contents(tuple(range(1001)), label_name="labels")
    samples = split_samples(Contents(tuple(range(5000, 5010))), evaluation)
    assert samples.calibration == tuple(range(10))
    assert (len(samples.check), len(samples.selection)) == (500, 501)
    assert set(samples.check) | set(samples.selection) == set(range(1001))
    assert samples.labelled
    assert not samples.same_samples
    assert samples.source == "evaluation"


def test_a_calibration_sample_that_is_in_the_evaluation_file_does_not_calibrate() -> None:
    samples = split_samples(Contents((1, 2, 77, 2)), Contents((2, 3, 4, 5)))
    assert samples.calibration == (0, 2)
    assert "2 of 4" in samples.notices[0]


def test_a_single_evaluation_sample_serves_both() -> None:
    samples = split_samples(None, Contents((7,)))
    assert samples.selection == samples.check == (0,)
    assert samples.same_samples


def test_without_data_there_is_nothing_to_split() -> None:
    samples = split_samples(None, None)
    assert (samples.source, samples.unverified) == ("generated", True)
