import numpy as np
import pytest

from optimizer.data import GeneratedDataset, generate_inputs
from optimizer.errors import UnsupportedModelError
from optimizer.results import TensorSpec

IMAGE = TensorSpec(name="image", dtype="float32", shape=("N", "H", None, 3))
IDS = TensorSpec(name="ids", dtype="int64", shape=("N", "T"))
MASK = TensorSpec(name="mask", dtype="int32", shape=("M", "T2"))
TEXT = TensorSpec(name="text", dtype="object", shape=(None,))
SWITCH = TensorSpec(name="training", dtype="bool", shape=())


def test_inputs_fit_dtype_shape_and_range() -> None:
    feeds = generate_inputs((IMAGE, IDS, MASK, TEXT, SWITCH), 4, 7)
    assert feeds["image"].shape == (4, 64, 64, 3)
    assert feeds["image"].dtype == np.float32
    assert 0 <= feeds["image"].min() < feeds["image"].max() < 1
    assert feeds["ids"].shape == feeds["mask"].shape == (4, 16)
    assert set(np.unique(feeds["ids"])) == {0, 1}
    assert feeds["text"].dtype == object
    assert all([len(word) for word in text.split()] == [6] * 12 for text in feeds["text"])
    assert feeds["training"].shape == ()
    assert not feeds["training"]


def test_a_fixed_first_axis_stays_as_it_is() -> None:
    assert generate_inputs((TensorSpec(name="x", dtype="float32", shape=(2, 5)),), 8, 0)["x"].shape == (2, 5)


@pytest.mark.parametrize("dtype", ["float32", "int64", "object", "bool"])
def test_a_first_axis_of_nothing_stays_empty(dtype: str) -> None:
    feeds = generate_inputs((TensorSpec(name="x", dtype=dtype, shape=(0, 5)),), 8, 0)
    assert feeds["x"].shape == (0, 5)


def test_fixed_and_free_first_axes_mix() -> None:
    table = TensorSpec(name="table", dtype="float32", shape=(3, 5))
    feeds = generate_inputs((IDS, table), 8, 0)
    assert feeds["ids"].shape == (8, 16)
    assert feeds["table"].shape == (3, 5)
    assert not np.array_equal(feeds["table"], generate_inputs((IDS, table), 8, 1)["table"])


def test_the_same_seed_gives_the_same_values_and_another_seed_others() -> None:
    one, same, other = (generate_inputs((IDS, IMAGE), 2, seed)["image"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_an_unknown_type_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match="complex64"):
        generate_inputs((TensorSpec(name="x", dtype="complex64", shape=(2, 5)),), 1, 0)


def test_a_generated_sample_is_the_same_in_any_batch() -> None:
    dataset = GeneratedDataset((IDS, TEXT), count=10, seed=3)
    whole = next(iter(dataset.batches(range(10), 10))).feeds
    some = list(dataset.batches([9, 2, 5], 2))
    np.testing.assert_array_equal(np.concatenate([b.feeds["ids"] for b in some]), whole["ids"][[2, 5, 9]])
    assert np.concatenate([b.feeds["text"] for b in some]).tolist() == whole["text"][[2, 5, 9]].tolist()
    assert len(set(dataset.hashes())) == 10
    assert dataset.label_name is None


def test_samples_are_whole_calls_where_the_inputs_share_no_first_axis() -> None:
    table = TensorSpec(name="table", dtype="float32", shape=(3, 5))
    dataset = GeneratedDataset((IDS, table), count=4)
    assert dataset.whole_calls
    shapes = [(b.feeds["ids"].shape, b.feeds["table"].shape) for b in dataset.batches(range(4), 32)]
    assert shapes == [((1, 16), (3, 5))] * 4
