"""The option `opset` raises the ONNX operator set of the result, and says which ones there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from keras_models import cnn, convert, save_keras

from optimizer.errors import InvalidOptionsError
from optimizer.goal import NEWEST_OPSET, OLDEST_OPSET, Goal
from optimizer.graph.structure import opset
from optimizer.runtime import newest_opset, open_session

# ReduceMean takes its axes as an input from operator set 18 on, Softmax has another meaning before 13.
TEXT = """
<ir_version: 7, opset_import: ["": 11]>
g (float[N, 2, 3] x) => (float[N, 2] y) {
  mean = ReduceMean <axes = [2], keepdims = 0> (x)
  y = Softmax <axis = 1> (mean)
}
"""
X = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    proto = onnx.parser.parse_model(TEXT)
    proto.producer_name = "mine"
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.mark.parametrize("wanted", [18, 21])
def test_a_converted_model_gets_the_operator_set_asked_for_with_parity(wanted: int, tmp_path: Path) -> None:
    model: Any = cnn()
    conversion, workspace = convert(save_keras(model, tmp_path), "keras", tmp_path, opset=wanted)
    proto = onnx.load(str(workspace.converted))
    onnx.checker.check_model(proto)
    assert opset(proto) == wanted
    assert proto.producer_name == "tf2onnx"
    assert conversion.parity is not None
    assert conversion.parity.batch_sizes == (1, 3)
    images = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype(np.float32)
    found = open_session(workspace.converted).run({"image": images})["digit"]
    np.testing.assert_allclose(found, model(images, training=False).numpy(), atol=1e-6)


def test_an_onnx_file_is_raised_to_any_newer_operator_set_and_compared(upload: Path, tmp_path: Path) -> None:
    expected = open_session(upload).run({"x": X})["y"]
    for wanted in (13, 18, newest_opset()):
        (tmp_path / str(wanted)).mkdir()
        conversion, workspace = convert(upload, "onnx", tmp_path / str(wanted), opset=wanted)
        proto = onnx.load(str(workspace.converted))
        assert opset(proto) == wanted
        assert proto.producer_name == "mine"
        assert conversion.parity is not None
        assert conversion.parity.outputs[0].value < 1e-6
        assert [spec.shape for spec in conversion.outputs] == [("N", 2)]
        np.testing.assert_allclose(open_session(workspace.converted).run({"x": X})["y"], expected, atol=1e-6)


def test_an_operator_set_out_of_reach_is_refused_with_the_range(upload: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionsError, match=f"operator set 10.* 11 to {newest_opset()}"):
        convert(upload, "onnx", tmp_path, opset=10)


def test_a_converted_model_is_not_lowered(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionsError, match=f"operator set 16.* 17 to {newest_opset()}"):
        convert(tmp_path / "never.read", "keras", tmp_path, opset=16)


def test_the_range_that_a_goal_takes_is_what_there_is() -> None:
    assert newest_opset() == NEWEST_OPSET
    for wanted in (OLDEST_OPSET - 1, NEWEST_OPSET + 1):
        with pytest.raises(InvalidOptionsError, match=r"opset: .* equal to \d+") as caught:
            Goal.parse({"opset": wanted})
        assert caught.value.hint.startswith("opset: ")
        assert f"17 to {NEWEST_OPSET}" in caught.value.hint
        assert "threads" not in caught.value.hint
    assert {Goal(opset=wanted).opset for wanted in (OLDEST_OPSET, NEWEST_OPSET)} == {
        OLDEST_OPSET,
        NEWEST_OPSET,
    }
