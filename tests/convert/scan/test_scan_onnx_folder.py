"""ONNX uploads of several files: a folder or a zip, and nothing outside it."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from external_models import ALWAYS_EXTERNAL, write_wide

from optimizer.convert.detect import detect
from optimizer.convert.loaders.onnx_file import copy_onnx
from optimizer.convert.scan import scan
from optimizer.convert.upload import prepare_upload
from optimizer.errors import InvalidModelError, OptimizerError, UnsafeModelError
from optimizer.external_data import model_files
from optimizer.runtime import open_session
from optimizer.workspace import Workspace


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "upload"
    folder.mkdir()
    write_wide(folder / "wide.onnx")
    return folder


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, f"inner/{file.name}")
    return path


@pytest.mark.parametrize("pack", [lambda folder: folder, zipped])
@pytest.mark.parametrize("largest_bytes", [ALWAYS_EXTERNAL, 1 << 30])
def test_a_folder_or_zip_with_weights_in_a_file_is_taken(
    folder: Path, tmp_path: Path, pack: Callable[[Path], Path], largest_bytes: int
) -> None:
    upload = pack(folder)
    assert detect(upload) == "onnx"
    found = prepare_upload(upload, tmp_path / "extracted")
    assert found.name == "wide.onnx"
    scan(found, "onnx")
    workspace = Workspace(tmp_path)
    target = workspace.converted
    assert copy_onnx(found, workspace, largest_bytes).inputs[0].name == "x"
    assert len(model_files(target)) == (2 if largest_bytes == ALWAYS_EXTERNAL else 1)
    x = np.random.default_rng(0).random((2, 512), np.float32)
    before = open_session(folder / "wide.onnx").run({"x": x})["y"]
    np.testing.assert_array_equal(open_session(target).run({"x": x})["y"], before)


def relocate(folder: Path, location: str, **entries: str) -> Path:
    path = folder / "wide.onnx"
    proto = onnx.load(str(path), load_external_data=False)
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == "second")
    named = {entry.key: entry.value for entry in tensor.external_data} | {"location": location, **entries}
    del tensor.external_data[:]
    for key, value in named.items():
        tensor.external_data.add(key=key, value=value)
    path.write_bytes(proto.SerializeToString())
    return path


def refused(path: Path, kind: type[OptimizerError]) -> str:
    with pytest.raises(kind) as caught:
        scan(path, "onnx")
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize(
    "location",
    [
        "../secret",
        "/etc/passwd",
        "sub/../../secret",
        "..\\secret",
        "",
        ".",
        "nowhere",
        "*/_ORT_MEM_ADDR_/*",
    ],
)
def test_weights_outside_the_folder_are_refused(folder: Path, location: str) -> None:
    (folder.parent / "secret").write_bytes(bytes(640 * 640 * 4))
    message = refused(relocate(folder, location, offset="0"), UnsafeModelError)
    assert "Initializer second" in message
    assert repr(location or "") in message or location == ""


def test_weights_behind_a_link_are_refused(folder: Path) -> None:
    secret = folder.parent / "secret"
    secret.write_bytes(bytes(640 * 640 * 4))
    (folder / "link.data").symlink_to(secret)
    assert "link.data" in refused(relocate(folder, "link.data", offset="0"), UnsafeModelError)
    (folder / "sub").symlink_to(folder.parent)
    assert "sub/secret" in refused(relocate(folder, "sub/secret", offset="0"), UnsafeModelError)


def test_weights_behind_a_hard_link_are_not_taken(folder: Path, tmp_path: Path) -> None:
    secret = folder.parent / "secret"
    secret.write_bytes(bytes(640 * 640 * 4))
    os.link(secret, folder / "linked.data")
    with pytest.raises(InvalidModelError):
        copy_onnx(relocate(folder, "linked.data", offset="0"), Workspace(tmp_path))


@pytest.mark.parametrize("entries", [{"offset": "9" * 9}, {"offset": "-4"}, {"length": "4"}, {"offset": "x"}])
def test_a_place_that_is_not_in_the_file_is_invalid(folder: Path, entries: dict[str, str]) -> None:
    assert "Initializer second" in refused(relocate(folder, "wide.onnx.data", **entries), InvalidModelError)


def test_a_file_that_is_cut_off_is_invalid(folder: Path) -> None:
    data = folder / "wide.onnx.data"
    os.truncate(data, data.stat().st_size - 1)
    assert "wide.onnx.data has" in refused(folder / "wide.onnx", InvalidModelError)


def test_many_weights_of_the_same_bytes_are_refused(folder: Path) -> None:
    path = folder / "wide.onnx"
    proto = onnx.load(str(path), load_external_data=False)
    second = next(tensor for tensor in proto.graph.initializer if tensor.name == "second")
    for number in range(50):
        proto.graph.initializer.add().CopyFrom(second)
        proto.graph.initializer[-1].name = f"copy{number}"
    path.write_bytes(proto.SerializeToString())
    assert "claim more bytes" in refused(path, UnsafeModelError)


def test_the_file_alone_says_to_give_the_folder(folder: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copy(folder / "wide.onnx", tmp_path / "alone.onnx"))
    with pytest.raises(UnsafeModelError) as caught:
        scan(alone, "onnx")
    assert "a .zip of it" in caught.value.hint


def test_two_onnx_files_in_a_folder_are_not_guessed_between(folder: Path) -> None:
    shutil.copy(folder / "wide.onnx", folder / "other.onnx")
    with pytest.raises(OptimizerError):
        detect(folder)
