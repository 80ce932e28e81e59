import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from npz_bench import IDS, SCORES, X, problem, read_all, save, spec
from numpy.typing import NDArray

from optimizer.data import open_dataset
from optimizer.results import TensorSpec


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 40),
    size=st.integers(1, 9),
    data=st.data(),
    compressed=st.booleans(),
)
def test_streamed_rows_equal_what_numpy_loads(
    tmp_path: Path, count: int, size: int, data: st.DataObject, compressed: bool
) -> None:
    indices = data.draw(st.lists(st.integers(0, count - 1), unique=True))
    rng = np.random.default_rng(count)
    arrays = {"x": rng.random((count, 3), np.float32), "ids": rng.integers(0, 9, (count, 2), np.int32)}
    path = tmp_path / "samples.npz"
    if compressed:
        np.savez_compressed(path, allow_pickle=False, **arrays)
    else:
        np.savez(path, allow_pickle=False, **arrays)
    batches = read_all(path, X, IDS, indices=indices, size=size)
    assert [len(b.feeds["x"]) for b in batches[:-1]] == [size] * max(0, len(batches) - 1)
    for name, array in arrays.items():
        got = np.concatenate([b.feeds[name] for b in batches]) if batches else array[:0]
        np.testing.assert_array_equal(got, array[sorted(indices)])
        assert got.dtype == array.dtype


def test_memory_does_not_grow_with_the_number_of_samples(tmp_path: Path) -> None:
    peaks = []
    for count in (500, 5000):
        path = tmp_path / f"{count}.npz"
        np.savez_compressed(path, x=np.ones((count, 1000), np.float32))
        tracemalloc.start()
        dataset = open_dataset(path, (spec("float32", None, 1000),), ())
        rows = sum(len(batch.feeds["x"]) for batch in dataset.batches(range(count), 8))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert rows == count
    assert peaks[1] < peaks[0] + 200_000  # the larger file holds 18 MB more; its row numbers take 36 kB


def test_a_single_array_fits_a_single_input_whatever_its_name(tmp_path: Path) -> None:
    path = save(tmp_path, arr_0=np.ones((5, 3), np.float32), labels=np.arange(5))
    batch = read_all(path, X, size=5)[0]
    assert batch.feeds["x"].shape == (5, 3)
    np.testing.assert_array_equal(batch.labels, np.arange(5))


@pytest.mark.parametrize(("name", "shape"), [("labels", (5,)), ("scores", (5, 4)), ("scores", (5,))])
def test_labels_are_found_by_name(tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    path = save(tmp_path, x=np.ones((5, 3), np.float32), **{name: np.zeros(shape, np.float32)})
    dataset = open_dataset(path, (X,), (SCORES,))
    assert dataset.label_name == name
    assert next(iter(dataset.batches([0, 3], 8))).labels.shape == (2, *shape[1:])  # type: ignore[union-attr]  # it has labels


def test_a_misspelt_input_is_named_with_the_nearest_array(tmp_path: Path) -> None:
    path = save(tmp_path, x=np.ones((5, 3), np.float32), idss=np.ones((5, 2), np.int32))
    error = problem(path, X, IDS)
    assert "input ids" in error.message
    assert "idss" in error.hint


def test_a_misspelt_labels_array_is_named(tmp_path: Path) -> None:
    error = problem(save(tmp_path, x=np.ones((5, 3), np.float32), lables=np.arange(5)), X)
    assert "lables" in error.message
    assert "labels" in error.hint


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    assert "input ids" in problem(save(tmp_path, x=np.ones((5, 3), np.float32)), X, IDS).message


@pytest.mark.parametrize("shape", [(5, 3), (5, 4, 1), ()])
def test_labels_that_cannot_belong_to_their_output_are_refused(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    path = save(tmp_path, x=np.ones((5, 3), np.float32), scores=np.zeros(shape, np.float32))
    assert "Array scores" in problem(path, X).message


def test_class_names_are_no_labels(tmp_path: Path) -> None:
    error = problem(save(tmp_path, x=np.ones((2, 3), np.float32), labels=np.array(["cat", "dog"])), X)
    assert "class ids" in error.message
    assert "np.unique" in error.hint


def test_two_label_arrays_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, x=np.ones((5, 3), np.float32), labels=np.arange(5), scores=np.ones((5, 4)))
    assert "labels in several arrays" in problem(path, X).message


def test_different_numbers_of_samples_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path, x=np.ones((5, 3), np.float32), ids=np.ones((4, 2), np.int32))
    error = problem(path, X, IDS)
    assert "x has 5" in error.message
    assert "ids has 4" in error.message
    assert "folder" in error.hint


def test_no_samples_is_an_error(tmp_path: Path) -> None:
    assert "no samples" in problem(save(tmp_path, x=np.ones((0, 3), np.float32)), X).message


def test_a_single_sample_without_the_batch_axis_is_told_so(tmp_path: Path) -> None:
    error = problem(save(tmp_path, x=np.ones(3, np.float32)), X)
    assert "single sample" in error.message
    assert "np.newaxis" in error.hint


@pytest.mark.parametrize("shape", [(5, 4), (5, 3, 1), (5,)])
def test_a_wrong_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    assert f"shape {list(shape)}" in problem(save(tmp_path, x=np.ones(shape, np.float32)), X).message


@pytest.mark.parametrize(
    ("array", "target"),
    [
        (np.array([[0.1], [2.5]], np.float64), "float32"),
        (np.array([[0.5], [2.5]], np.float32), "float64"),
        (np.array([[0], [255]], np.uint8), "float32"),
        (np.array([[-5], [2**31 - 1]], np.int64), "int32"),
        (np.array([[7], [9]], np.int32), "int64"),
        (np.array([[1.5], [2.5]], ">f4"), "float32"),
    ],
)
def test_safe_casts_are_made(tmp_path: Path, array: NDArray[Any], target: str) -> None:
    got = read_all(save(tmp_path, x=array), spec(target, None, 1))[0].feeds["x"]
    assert got.dtype == np.dtype(target)
    np.testing.assert_array_equal(got, array.astype(target))


@pytest.mark.parametrize(("source", "target"), [("float32", "int64"), ("int64", "float32"), ("U3", "int64")])
def test_other_casts_are_refused(tmp_path: Path, source: str, target: str) -> None:
    error = problem(save(tmp_path, x=np.ones((2, 1)).astype(source)), spec(target, None, 1))
    assert target in error.message


@pytest.mark.parametrize(
    ("values", "target"), [([1, 2**31], "int32"), ([1, -1], "uint8"), ([1, 2**40], "int16")]
)
def test_an_integer_out_of_range_names_its_row(tmp_path: Path, values: list[int], target: str) -> None:
    error = problem(save(tmp_path, x=np.array(values).reshape(2, 1)), spec(target, None, 1))
    assert "row 1" in error.message


def test_a_sign_that_would_turn_names_its_row(tmp_path: Path) -> None:
    error = problem(save(tmp_path, x=np.array([[1], [2**64 - 1]], np.uint64)), spec("int64", None, 1))
    assert "row 1" in error.message


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite_names_its_array_and_row(tmp_path: Path, value: float) -> None:
    x = np.ones((10, 3))
    x[7, 2] = value
    message = problem(save(tmp_path, x=x), X).message
    assert "Array x" in message
    assert "row 7" in message


def test_a_float64_that_overflows_float32_is_refused(tmp_path: Path) -> None:
    assert "row 1" in problem(save(tmp_path, x=np.array([[1.0], [1e300]])), spec("float32", None, 1)).message


@pytest.mark.parametrize("values", [["a", "bc"], [b"a", b"bc"]])
def test_strings_become_object_arrays(tmp_path: Path, values: list[Any]) -> None:
    got = read_all(save(tmp_path, x=np.array(values).reshape(2, 1)), spec("object", None, 1))[0].feeds["x"]
    assert got.tolist() == [["a"], ["bc"]]
    assert got.dtype == object


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    array = np.array([["a"], [{}]], dtype=object)
    assert "Python objects" in problem(save(tmp_path, x=array), spec("object", None, 1)).message


def test_an_input_without_axes_gets_its_value_in_every_call(tmp_path: Path) -> None:
    rate = TensorSpec(name="rate", dtype="float32", shape=())
    path = save(tmp_path, x=np.ones((3, 3), np.float32), rate=np.float32(0.5))
    assert [float(batch.feeds["rate"]) for batch in read_all(path, X, rate, size=2)] == [0.5, 0.5]


def test_fortran_order_is_refused_with_the_remedy(tmp_path: Path) -> None:
    array = np.asfortranarray(np.random.default_rng(0).random((4, 3)))
    assert "ascontiguousarray" in problem(save(tmp_path, x=array), X).hint


def test_hashes_depend_on_the_inputs_alone(tmp_path: Path) -> None:
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    x[3] = x[0]
    first = open_dataset(save(tmp_path, x=x, labels=np.arange(4)), (X,), ()).hashes()
    second = open_dataset(save(tmp_path, x=x[::-1].astype(np.float64)), (X,), ()).hashes()
    assert first[0] == first[3]
    assert len(set(first)) == 3
    assert first == second[::-1]
