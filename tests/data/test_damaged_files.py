import contextlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from npz_bench import X, problem, read_all, save
from numpy.typing import NDArray

from optimizer.data import DataLimits, open_dataset
from optimizer.errors import OptimizerError, ResourceLimitError


def npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_a_duplicate_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", npy(np.ones((2, 3))))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", npy(np.zeros((2, 3))))
    assert "twice" in problem(path, X).message


def test_a_header_that_promises_more_than_the_member_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "short.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", npy(np.ones((50, 3), np.float32))[:-40])
    assert "damaged" in problem(path, X).hint


def test_a_zip_table_that_promises_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.ones((5, 3), np.float32))
    content = path.read_bytes().replace(b"(5, 3)", b"(9, 3)")
    real, promised = (len(npy(np.ones((n, 3), np.float32))).to_bytes(4, "little") for n in (5, 9))
    forged = bytearray(content)
    table = forged.rindex(b"PK\x01\x02")
    assert forged[table + 24 : table + 28] == real
    forged[table + 24 : table + 28] = promised
    path.write_bytes(forged)
    problem(path, X)


def test_a_damaged_member_is_an_error_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "damaged.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).random((500, 3)))
    content = bytearray(path.read_bytes())
    content[2000:2050] = bytes(50)
    path.write_bytes(content)
    problem(path, X)


@pytest.mark.parametrize(
    "limits", [DataLimits(total_bytes=100), DataLimits(row_bytes=8), DataLimits(members=1)]
)
def test_what_declares_too_much_is_refused(tmp_path: Path, limits: DataLimits) -> None:
    path = save(tmp_path, x=np.ones((9, 3), np.float32), labels=np.arange(9))
    with pytest.raises(ResourceLimitError):
        list(open_dataset(path, (X,), (), limits).batches([0], 1))


def test_a_file_that_is_no_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(npy(np.ones((2, 3))))
    assert "np.savez" in problem(path, X).hint


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.none() | st.floats(0, 1),
    kind=st.sampled_from(["stored", "deflated", "zip"]),
)
def test_a_damaged_file_is_read_or_refused_but_never_crashes(
    tmp_path: Path, flips: list[tuple[float, int]], cut: float | None, kind: str
) -> None:
    inner = io.BytesIO()
    (np.savez if kind == "stored" else np.savez_compressed)(inner, x=np.ones((4, 3), np.float32))
    content = bytearray(inner.getvalue())
    if kind == "zip":
        outer = io.BytesIO()
        with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("0.npz", bytes(content))
        content = bytearray(outer.getvalue())
    for place, value in flips:
        content[int(place * (len(content) - 1))] = value
    path = tmp_path / "damaged.npz"
    path.write_bytes(content if cut is None else content[: int(cut * len(content))])
    with contextlib.suppress(OptimizerError):
        read_all(path, X)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "nowhere.npz" in problem(tmp_path / "nowhere.npz", X).message
