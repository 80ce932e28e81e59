from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from optimizer.data import open_dataset
from optimizer.errors import UnsupportedModelError
from optimizer.evaluate import calls
from optimizer.runtime import Session

OpenText = Callable[..., Session]


def outputs_of(session: Session, folder: Path, n: int = 7) -> list[np.ndarray]:
    path = folder / "samples.npz"
    np.savez(path, x=np.arange(n * 4, dtype=np.float32).reshape(n, 4), labels=np.arange(n))
    dataset = open_dataset(path, session.inputs, session.outputs)
    pieces = []
    for call in calls(session, dataset, range(n)):
        (output,) = session.run(call.feeds).values()
        value = call.per_sample(output)
        assert call.labels is not None
        assert len(value) == len(call.labels)
        pieces.append(value)
    return pieces


X = np.arange(28, dtype=np.float32).reshape(7, 4)


def test_a_free_batch_takes_32_at_a_time(open_text: OpenText, tmp_path: Path) -> None:
    pieces = outputs_of(open_text("y = Neg (x)"), tmp_path, 70)
    assert [len(piece) for piece in pieces] == [32, 32, 6]


def test_the_last_batch_of_a_fixed_batch_model_is_padded_and_cropped(
    open_text: OpenText, tmp_path: Path
) -> None:
    session = open_text("y = Neg (x)", "float[3, 4] x", "float[3, 4] y")
    pieces = outputs_of(session, tmp_path)
    assert [len(piece) for piece in pieces] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate(pieces), -X)


def test_an_axis_folded_into_the_batch_is_given_back_to_its_sample(
    open_text: OpenText, tmp_path: Path
) -> None:
    body = "shape = Constant <value_ints = [-1, 2]> () y = Reshape (x, shape)"
    for first, sizes in (("N", [7]), ("3", [3, 3, 1])):
        pieces = outputs_of(open_text(body, f"float[{first}, 4] x", "float[M, 2] y"), tmp_path)
        assert [len(piece) for piece in pieces] == sizes
        np.testing.assert_array_equal(np.concatenate(pieces), X.reshape(7, 2, 2))


def test_an_output_without_the_batch_axis_is_computed_one_sample_at_a_time(
    open_text: OpenText, tmp_path: Path
) -> None:
    session = open_text("y = ReduceSum <keepdims = 0> (x)", outputs="float y")
    np.testing.assert_array_equal(np.concatenate(outputs_of(session, tmp_path)), X.sum(axis=1))


def test_a_fixed_batch_without_a_row_per_sample_is_refused(open_text: OpenText, tmp_path: Path) -> None:
    session = open_text("y = ReduceSum <keepdims = 0> (x)", "float[3, 4] x", "float y")
    with pytest.raises(UnsupportedModelError, match="no row for each"):
        outputs_of(session, tmp_path)


def test_a_whole_call_gets_a_first_axis(open_text: OpenText, tmp_path: Path) -> None:
    session = open_text("y = Neg (x)")
    folder = tmp_path / "calls"
    folder.mkdir()
    for i in (1, 2, 3):
        np.savez(folder / f"{i}.npz", x=np.ones((i, 4), np.float32))
    dataset = open_dataset(folder, session.inputs, session.outputs)
    shapes = [
        call.per_sample(session.run(call.feeds)["y"]).shape for call in calls(session, dataset, [0, 1, 2])
    ]
    assert shapes == [(1, 4), (1, 2, 4), (1, 3, 4)]
