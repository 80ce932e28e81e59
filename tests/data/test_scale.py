"""How large made-up inputs grow, and where they stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from optimizer.data import generate_inputs, taken_scale
from optimizer.data.scale import growing
from optimizer.errors import InvalidDataError, UnsupportedModelError
from optimizer.results import TensorSpec

Values = Mapping[str, NDArray[Any]]

SEQUENCE = TensorSpec(name="x", dtype="float32", shape=("batch", "length", 4))


def crop(edge: int, feeds: Values) -> Values:
    return {"y": feeds["x"][:, edge:-edge]}


def test_a_model_that_crops_gets_a_sequence_of_which_something_is_left() -> None:
    scale = taken_scale((SEQUENCE,), lambda feeds: crop(50, feeds))
    length = generate_inputs((SEQUENCE,), 1, 0, scale=scale)["x"].shape[1]
    assert 100 < length <= 400


@pytest.mark.parametrize(
    ("reason", "runs"), [("output size would be negative", 5), ("index 7 is out of bounds", 1)]
)
def test_only_inputs_that_are_too_small_are_made_larger(reason: str, runs: int) -> None:
    sizes: list[int] = []

    def run(feeds: Values) -> Values:
        sizes.append(feeds["x"].shape[1])
        if sizes[-1] < 1000:
            raise InvalidDataError(reason)
        return feeds

    scale = taken_scale((SEQUENCE,), run)
    assert len(sizes) == runs
    assert scale == (64 if runs == 5 else 1)


def test_a_sequence_of_numbers_that_finds_nothing_stays_short() -> None:
    words = TensorSpec(name="x", dtype="int64", shape=("batch", "length"))
    lengths: list[int] = []

    def find_nothing(feeds: Values) -> Values:
        lengths.append(feeds["x"].shape[1])
        return {"y": feeds["x"][:0]}

    assert taken_scale((words,), find_nothing) == 1
    assert 100 < max(lengths) <= 256  # attention takes the square of that


def test_what_is_empty_at_every_size_stays_small() -> None:
    sizes: list[int] = []

    def find_nothing(feeds: Values) -> Values:
        sizes.append(feeds["x"].size)
        return {"y": feeds["x"][:0], "z": feeds["x"]}

    assert taken_scale((SEQUENCE,), find_nothing) == 1
    assert max(sizes) <= 1 << 16


def test_what_runs_at_no_size_stays_small() -> None:
    def refuse(feeds: Values) -> Values:
        raise InvalidDataError("output size would be negative")

    assert taken_scale((SEQUENCE,), refuse) == 1


@pytest.mark.parametrize(
    ("shape", "most"),
    [
        (("b", None, None, None, 1), 1 << 22),  # a volume
        (("b", None, None, 3), 1024 * 1024 * 3),
        (("b", None, None), 1 << 22),
        (("b", None), 16384),
        (("b", None, 1 << 23), 16 << 23),  # the usual size is tried whatever it takes
    ],
)
def test_no_input_grows_beyond_what_memory_bears(shape: tuple[Any, ...], most: int) -> None:
    spec = TensorSpec(name="x", dtype="float32", shape=shape)
    scales = list(growing((spec,)))
    assert scales[0] == 1
    largest = 1
    for size, axis in zip((64 if len(shape) > 3 else 16,) * len(shape), shape[1:], strict=False):
        largest *= axis or min(size * scales[-1], 1024 if len(shape) > 3 else 1 << 20)
    assert largest <= most


def test_a_fixed_shape_needs_no_run() -> None:
    spec = TensorSpec(name="x", dtype="float32", shape=("batch", 64, 64, 3))

    def run(feeds: Values) -> Values:
        raise AssertionError

    assert list(growing((spec,))) == [1]
    assert taken_scale((spec,), run) == 1


def test_a_type_that_cannot_be_made_up_is_refused_by_name() -> None:
    spec = TensorSpec(name="z", dtype="complex64", shape=("batch", None))
    with pytest.raises(UnsupportedModelError, match="complex64"):
        taken_scale((spec,), lambda feeds: {"y": np.zeros(1)})
