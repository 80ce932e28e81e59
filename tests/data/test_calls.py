import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from npz_bench import IDS, X, problem

from optimizer.data import DataLimits, open_dataset
from optimizer.errors import ResourceLimitError
from optimizer.results import TensorSpec


@pytest.fixture(params=["folder", "zip"])
def calls(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    folder = tmp_path / "calls"
    folder.mkdir()
    for i in range(3):
        np.savez(folder / f"{i}.npz", x=np.full((i + 1, 3), i, np.float32), ids=np.full((2, 2), i, np.int32))
    if request.param == "folder":
        return folder
    path = tmp_path / "calls.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"calls/{file.name}")
        archive.writestr("__MACOSX/._0.npz", b"")
    return path


def test_files_of_a_folder_or_zip_are_one_call_each(calls: Path) -> None:
    dataset = open_dataset(calls, (X, IDS), ())
    assert (dataset.count, dataset.whole_calls, dataset.label_name) == (3, True, None)
    batches = list(dataset.batches([2, 0], 32))
    assert [batch.feeds["x"].tolist() for batch in batches] == [[[0.0] * 3], [[2.0] * 3] * 3]
    assert len(set(dataset.hashes())) == 3


def test_a_folder_with_another_file_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    assert "notes.txt" in problem(tmp_path, X).message


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    assert "empty" in problem(tmp_path, X).message


def test_a_call_that_does_not_fit_names_its_file(calls: Path) -> None:
    wrong = TensorSpec(name="x", dtype="float32", shape=(1, 3))
    assert "1.npz" in problem(calls, wrong, IDS).message


def test_an_unlabelled_file_among_labelled_ones_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "0.npz", x=np.ones((1, 3), np.float32), labels=np.array([1]))
    np.savez(tmp_path / "1.npz", x=np.ones((1, 3), np.float32))
    assert "1.npz has no labels" in problem(tmp_path, X).message


def test_a_call_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    inner = io.BytesIO()
    np.savez(inner, x=np.zeros((100_000, 3), np.float32))
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("0.npz", inner.getvalue())
    with pytest.raises(ResourceLimitError, match="1200"):
        open_dataset(path, (X,), (), DataLimits(row_bytes=1_000_000))
