from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import h5py
import onnx.parser
import pytest

from optimizer.convert.detect import detect
from optimizer.convert.upload import prepare_upload
from optimizer.errors import InvalidModelError, OptimizerError, UnsupportedModelError

ONNX_TEXT = '<ir_version: 8, opset_import: ["" : 17]> g (float[n, 2] x) => (float[n, 2] y) { y = Relu(x) }'


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number: int, payload: bytes) -> bytes:
    return bytes([number << 3 | 2]) + varint(len(payload)) + payload


def graph_bytes(operators: tuple[str, ...] = ("Placeholder", "Relu")) -> bytes:
    """A GraphDef by hand: nodes with a name and an operator."""
    return b"".join(
        field(1, field(1, f"n{i}".encode()) + field(2, op.encode())) for i, op in enumerate(operators)
    )


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def write_keras(path: Path, version: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"")
    return path


def write_zip(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"{}")
    return path


def write_h5(path: Path, attributes: dict[str, str]) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
    return path


def write_savedmodel(folder: Path) -> Path:
    write(folder / "saved_model.pb", b"\x08\x01\x12\x00")
    return folder


def test_an_onnx_file_is_told_by_its_fields_under_any_name(tmp_path: Path) -> None:
    content = onnx.parser.parse_model(ONNX_TEXT).SerializeToString()
    assert detect(write(tmp_path / "model.pb", content)) == "onnx"


def test_a_keras_file_without_its_weights_is_called_so(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "model.keras", "metadata.json", "config.json")
    with pytest.raises(InvalidModelError, match=r"without its weights: model\.weights\.h5 is missing"):
        detect(path)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("a.keras", "m/b.onnx"), r"several models: a\.keras, m/b\.onnx\."),
        (("m/a.tflite",), r"holds a model: m/a\.tflite\."),
        (("m/a.h5", "__MACOSX/m/._a.keras"), r"holds a model: m/a\.h5\."),
        (("a.weights.h5", "notes.txt"), "holds no SavedModel"),
    ],
)
@pytest.mark.parametrize("is_folder", [False, True])
def test_files_that_are_models_are_not_chosen_among(
    names: tuple[str, ...], said: str, is_folder: bool, tmp_path: Path
) -> None:
    path = write_zip(tmp_path / "models.zip", *names)
    if is_folder:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / "models")
        path = tmp_path / "models"
    with pytest.raises(InvalidModelError, match=said):
        detect(path)


def test_what_lies_beside_an_onnx_file_is_no_second_model(tmp_path: Path) -> None:
    names = "m/model.onnx", "m/samples.h5", "__MACOSX/m/._model.onnx", "m/.model.onnx.swp.onnx"
    assert detect(write_zip(tmp_path / "model.zip", *names)) == "onnx"


def test_a_frozen_graph_is_told_by_its_nodes_under_any_name(tmp_path: Path) -> None:
    assert detect(write(tmp_path / "model.onnx", graph_bytes())) == "graphdef"


@pytest.mark.parametrize("text", [b'node {\n  name: "x"\n}\n', b"# by hand\n\nversions { producer: 9 }\n"])
def test_a_frozen_graph_in_text_form_is_told_by_its_first_field(tmp_path: Path, text: bytes) -> None:
    assert detect(write(tmp_path / "model", text)) == "graphdef"


def test_a_node_of_letters_alone_does_not_make_a_binary_graph_text(tmp_path: Path) -> None:
    name = b"n" * (ord(":"))  # the length of the name reads as a colon, that of the node as a letter
    node = field(1, name) + field(2, b"Relu") + field(3, b"i" * (ord("z") - len(name) - 10))
    assert len(node) == ord("z")
    assert detect(write(tmp_path / "model.pb", field(1, node))) == "graphdef"


def test_a_tflite_file_is_told_by_its_identifier(tmp_path: Path) -> None:
    assert detect(write(tmp_path / "model.bin", b"\x1c\0\0\0TFL3" + bytes(20))) == "tflite"


@pytest.mark.parametrize(("version", "expected"), [("3.15.1", "keras"), ("2.15.0", "keras2")])
def test_a_keras_archive_is_told_by_the_version_that_wrote_it(
    tmp_path: Path, version: str, expected: str
) -> None:
    assert detect(write_keras(tmp_path / "model.zip", version)) == expected


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"model_config": "{}", "keras_version": "3.15.1"}, "keras_h5"),
        ({"model_config": "{}", "keras_version": "2.2.4-tf"}, "keras2_h5"),
        ({"model_config": "{}"}, "keras2_h5"),
    ],
)
def test_an_hdf5_file_is_told_by_the_version_that_wrote_it(
    tmp_path: Path, attributes: dict[str, str], expected: str
) -> None:
    assert detect(write_h5(tmp_path / "model.keras", attributes)) == expected


def test_weights_alone_are_refused_with_what_is_missing(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "model.weights.h5", {"layer_names": "dense"})
    with pytest.raises(UnsupportedModelError, match=r"model\.weights\.h5 holds weights alone.*model_config"):
        detect(path)


def test_a_savedmodel_is_found_one_or_two_folders_down(tmp_path: Path) -> None:
    inner = write_savedmodel(tmp_path / "upload" / "export" / "1")
    assert detect(tmp_path / "upload") == "savedmodel"
    assert prepare_upload(tmp_path / "upload", tmp_path / "unused") == inner
    assert not (tmp_path / "unused").exists()


def test_a_folder_with_two_savedmodels_is_refused_with_their_names(tmp_path: Path) -> None:
    write_savedmodel(tmp_path / "upload" / "1")
    write_savedmodel(tmp_path / "upload" / "2")
    with pytest.raises(InvalidModelError, match="2 SavedModels: 1, 2"):
        detect(tmp_path / "upload")


def test_a_folder_without_a_savedmodel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidModelError, match=r"no saved_model\.pb"):
        detect(tmp_path)


def test_an_archive_of_what_lies_in_a_folder_is_its_model(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    onnx.save(onnx.parser.parse_model(ONNX_TEXT), str(folder / "model.onnx"))
    archive = tmp_path / "model.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(folder, ".")  # so that its members are called ./model.onnx
    assert detect(archive) == "onnx"
    assert prepare_upload(archive, tmp_path / "extracted").name == "model.onnx"


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_of_a_savedmodel_is_extracted_to_the_savedmodel(tmp_path: Path, kind: str) -> None:
    folder = write_savedmodel(tmp_path / "source" / "model")
    archive = tmp_path / f"upload.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as packed:
            packed.write(folder / "saved_model.pb", "model/saved_model.pb")
    else:
        with tarfile.open(archive, "w:gz") as packed_tar:
            packed_tar.add(folder, "model")
    assert detect(archive) == "savedmodel"
    found = prepare_upload(archive, tmp_path / "extracted")
    assert found.is_relative_to(tmp_path / "extracted")
    assert (found / "saved_model.pb").is_file()


def test_a_savedmodel_archive_may_hold_notes_beside_the_model(tmp_path: Path) -> None:
    archive = tmp_path / "upload.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("metadata.json", "{}")
        packed.writestr("saved_model.pb", b"\x08\x01\x12\x00")
    assert detect(archive) == "savedmodel"
    assert prepare_upload(archive, tmp_path / "extracted") == tmp_path / "extracted"


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(InvalidModelError, match="neither a file nor a folder"):
        detect(tmp_path / "model.onnx")


def test_a_model_file_is_left_where_it_is(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "model.keras", "3.15.1")
    assert prepare_upload(path, tmp_path / "unused") == path


@pytest.mark.parametrize(
    ("content", "kind", "says"),
    [
        (b"", InvalidModelError, "is empty"),
        (b"\n<!DOCTYPE html><html>404</html>", InvalidModelError, "web page"),
        (b"version https://git-lfs.example/spec/v1\noid sha256:1\n", InvalidModelError, "Git LFS pointer"),
        (pickle.dumps({"a": 1}), UnsupportedModelError, "pickle"),
        (
            (40).to_bytes(8, "little") + b'{"w":{"dtype":"F32"}}' + bytes(60),
            UnsupportedModelError,
            "safetensors",
        ),
        (b"saved_model_schema_version: 1\n", UnsupportedModelError, r"saved_model\.pbtxt of a SavedModel"),
        (b'meta_info_def {\n  tags: "train"\n}\n', UnsupportedModelError, r"\.meta file"),
        (b'model_checkpoint_path: "model.ckpt-7"\n', UnsupportedModelError, "list of a folder's checkpoints"),
        (b"ir_version: 8\n", UnsupportedModelError, "ONNX model in text form"),
        (b"license: none\n", InvalidModelError, "no model file"),
        (b'{"modelTopology": {}}', UnsupportedModelError, "JSON"),
        (b"just some notes about a model\n", InvalidModelError, "no model file"),
        (b"\x00" * 100, InvalidModelError, "no model file"),
        (
            b"\x08\x01" + field(2, field(1, b"meta")),
            UnsupportedModelError,
            r"saved_model\.pb of a SavedModel",
        ),
        (field(1, field(5, b"2.4.1")) + field(2, graph_bytes()), UnsupportedModelError, r"\.meta file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), InvalidModelError, "HDF5 file that is damaged"),
        (b"PK\x03\x04" + bytes(50), InvalidModelError, "the end of the zip file is missing"),
        (b"\x1f\x8b" + bytes(50), InvalidModelError, "archive"),
    ],
)
def test_what_is_no_model_is_refused_with_what_it_looks_like(
    tmp_path: Path, content: bytes, kind: type[OptimizerError], says: str
) -> None:
    with pytest.raises(kind, match=says) as caught:
        detect(write(tmp_path / "upload.onnx", content))
    assert "upload.onnx" in caught.value.message
    assert caught.value.hint


def test_a_pytorch_archive_is_named_as_such(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("model/data.pkl", b"")
    with pytest.raises(UnsupportedModelError, match=r"model\.pt is a PyTorch file"):
        detect(tmp_path / "model.pt")


@pytest.mark.parametrize("format", ["onnx", "graphdef"])
def test_a_cut_off_graph_is_told_from_a_foreign_file(tmp_path: Path, format: str) -> None:
    content = onnx.parser.parse_model(ONNX_TEXT).SerializeToString() if format == "onnx" else graph_bytes()
    with pytest.raises(InvalidModelError, match="cut off or damaged"):
        detect(write(tmp_path / "model", content[: len(content) - 5]))


def test_detection_loads_no_framework() -> None:
    code = (
        "import sys; import optimizer.convert.detect, optimizer.convert.upload; "
        "print([m for m in ('tensorflow', 'keras', 'tf_keras', 'onnx', 'h5py') if m in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"
