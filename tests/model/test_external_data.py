"""Models of two files: saved, loaded, copied, hashed, and what passes make of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from external_models import ALWAYS_EXTERNAL, wide_model, write_wide
from onnx import numpy_helper

from optimizer.errors import InvalidModelError
from optimizer.external_data import data_file, model_files, to_light_proto
from optimizer.graph import count, simplify
from optimizer.model import copy_model, file_bytes, load_model, save_model, sha256
from optimizer.runtime import open_session


def outputs(path: Path) -> np.ndarray:
    x = np.random.default_rng(1).random((3, 512), np.float32)
    return open_session(path).run({"x": x})["y"]


def test_weights_lie_in_the_second_file_and_come_back_the_same(tmp_path: Path) -> None:
    path = write_wide(tmp_path / "model.onnx")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert path.stat().st_size < 20_000
    assert data_file(path).stat().st_mode & 0o777 == 0o644
    assert load_model(path).to_proto() == wide_model().to_proto()


def test_the_two_files_compute_what_the_one_computes(tmp_path: Path) -> None:
    save_model(wide_model(), tmp_path / "one.onnx")
    write_wide(tmp_path / "two.onnx")
    assert model_files(tmp_path / "one.onnx") == (tmp_path / "one.onnx",)
    np.testing.assert_array_equal(outputs(tmp_path / "one.onnx"), outputs(tmp_path / "two.onnx"))


def test_what_is_loaded_is_mapped_and_not_read(tmp_path: Path) -> None:
    loaded = load_model(write_wide(tmp_path / "model.onnx"))
    light, large = to_light_proto(loaded.graph_ir)
    assert light.ByteSize() < 20_000
    assert set(large) == {"first", "second", "unused"}
    assert loaded.weight_bytes == wide_model().weight_bytes


def test_a_copy_names_the_file_beside_it(tmp_path: Path) -> None:
    source = write_wide(tmp_path / "model.onnx")
    (tmp_path / "out").mkdir()
    copy_model(source, tmp_path / "out" / "other.onnx")
    expected = outputs(source)
    shutil.move(source, tmp_path / "gone.onnx")
    data_file(source).unlink()
    np.testing.assert_array_equal(outputs(tmp_path / "out" / "other.onnx"), expected)


def test_saving_in_one_file_removes_the_second(tmp_path: Path) -> None:
    path = write_wide(tmp_path / "model.onnx")
    save_model(load_model(path), path)
    assert model_files(path) == (path,)
    assert load_model(path).to_proto() == wide_model().to_proto()


def test_size_and_hash_are_those_of_both_files(tmp_path: Path) -> None:
    path = write_wide(tmp_path / "model.onnx")
    before = sha256(path)
    assert file_bytes(path) == path.stat().st_size + data_file(path).stat().st_size
    with data_file(path).open("r+b") as file:
        file.write(b"\x01")
    assert sha256(path) != before


def test_a_missing_or_short_second_file_is_invalid(tmp_path: Path) -> None:
    path = write_wide(tmp_path / "model.onnx")
    data_file(path).unlink()
    with pytest.raises(InvalidModelError, match=r"model\.onnx"):
        load_model(path)


def test_a_model_of_two_files_is_simplified_and_its_large_weights_stay_in_the_file(tmp_path: Path) -> None:
    model = load_model(write_wide(tmp_path / "model.onnx"))
    result = simplify(model, largest_bytes=ALWAYS_EXTERNAL)
    nodes = [node.op_type for node in result.model.graph_ir.graph]
    assert "Identity" not in nodes
    assert len(nodes) < 7
    assert result.refusals == ()
    initializers = result.model.graph_ir.graph.initializers
    assert "unused" not in initializers
    assert initializers["first"].const_value is model.graph_ir.graph.initializers["first"].const_value
    assert [rewrite.name for rewrite in result.rewrites] == ["fold_affine"]  # into the other
    save_model(result.model, tmp_path / "simplified.onnx", largest_bytes=ALWAYS_EXTERNAL)
    expected = outputs(tmp_path / "model.onnx")
    np.testing.assert_allclose(outputs(tmp_path / "simplified.onnx"), expected, rtol=1e-5, atol=1e-7)


def test_simplifying_a_model_of_two_files_again_changes_nothing(tmp_path: Path) -> None:
    once = simplify(load_model(write_wide(tmp_path / "m.onnx")), largest_bytes=ALWAYS_EXTERNAL).model
    assert simplify(once, largest_bytes=ALWAYS_EXTERNAL).changes == ()


def test_counts_are_those_of_one_file(tmp_path: Path) -> None:
    two = count(load_model(write_wide(tmp_path / "model.onnx")))
    one = count(wide_model())
    assert one == two
    assert one.macs == 512 * 640 + 640 * 640
    values = [numpy_helper.to_array(t) for t in wide_model().to_proto().graph.initializer]
    assert one.parameters == sum(value.size for value in values)
    assert isinstance(wide_model().to_proto(), onnx.ModelProto)
