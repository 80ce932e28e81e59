"""The option `fixed_shapes` gives inputs the shapes that a user knows, and checks them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from keras_models import cnn, convert, save_keras

from optimizer.errors import InvalidOptionsError
from optimizer.goal import Goal
from optimizer.runtime import open_session

TEXT = """
<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
g (float[N, M] x, float[N, 3] z) => (float[P, Q] y, float[N, 3] w)
<int64[1] tail = {-1}, int64[2] pair = {-1, 2}>
{
  g = com.microsoft.Gelu (x)
  count = Shape (g)
  total = ReduceProd <keepdims = 1> (count)
  shape = Concat <axis = 0> (total)
  flat = Reshape (g, shape)
  y = Reshape (flat, pair)
  w = Neg (z)
}
"""


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx.parser.parse_model(TEXT).SerializeToString())
    return path


def test_a_keras_model_gets_its_batch_fixed_and_everything_behind_it(tmp_path: Path) -> None:
    upload = save_keras(cnn(), tmp_path)
    conversion, workspace = convert(upload, "keras", tmp_path, fixed_shapes={"image": (2, 8, 8, 3)})
    assert [spec.shape[0] for spec in (*conversion.inputs, *conversion.outputs)] == [2, 2]
    assert conversion.parity is not None
    assert conversion.parity.batch_sizes == (2,)
    proto = onnx.load(str(workspace.converted))
    convs = {node.output[0] for node in proto.graph.node if node.op_type == "Conv"}
    inferred = [value for value in proto.graph.value_info if value.name in convs]
    assert inferred
    assert all(value.type.tensor_type.shape.dim[0].dim_value == 2 for value in inferred)


def test_an_onnx_file_gets_the_shapes_and_is_compared_at_them(upload: Path, tmp_path: Path) -> None:
    conversion, workspace = convert(upload, "onnx", tmp_path, fixed_shapes={"x": (3, 4)})
    assert {spec.name: spec.shape for spec in conversion.inputs} == {"x": (3, 4), "z": ("N", 3)}
    assert {spec.name: spec.shape for spec in conversion.outputs}["w"] == ("N", 3)
    assert conversion.parity is not None
    assert conversion.parity.reference == "ONNX Runtime"
    assert {entry.output: entry.value for entry in conversion.parity.outputs} == {"y": 0.0, "w": 0.0}
    feeds = {"x": np.ones((3, 4), np.float32), "z": np.ones((1, 3), np.float32)}
    assert open_session(workspace.converted).run(feeds)["y"].shape == (6, 2)


@pytest.mark.parametrize(
    ("shapes", "named"),
    [
        ({"picture": (1, 8, 8, 3)}, "'picture'"),
        ({"image": (1, 8, 9, 3)}, r"image the shape \[1, 8, 9, 3\], but the model has \[batch, 8, 8, 3\]"),
        ({"image": (1, 192)}, r"\[1, 192\]"),
    ],
)
def test_shapes_that_contradict_the_model_are_refused(
    shapes: dict[str, tuple[int, ...]], named: str, tmp_path: Path
) -> None:
    with pytest.raises(InvalidOptionsError, match=named):
        convert(save_keras(cnn(), tmp_path), "keras", tmp_path, fixed_shapes=shapes)


def test_the_command_lines_spelling_and_json_mean_the_same() -> None:
    text = Goal.parse({"fixed_shapes": ["serving:x:1,224,224,3", "y:2"]})
    assert text == Goal.parse({"fixed_shapes": {"serving:x": [1, 224, 224, 3], "y": [2]}})
    assert Goal.model_validate_json(text.model_dump_json()) == text


@pytest.mark.parametrize(
    "given", [["x"], ["x:"], ["x:1,a"], ["x:0"], ["x:1", "x:2"], {"x": [1, -1]}, {"x": 3}, "x:1"]
)
def test_text_that_is_no_shape_is_refused(given: object) -> None:
    with pytest.raises(InvalidOptionsError, match="fixed_shapes") as caught:
        Goal.parse({"fixed_shapes": given})
    assert "image:1,224,224,3" in caught.value.hint
    assert "max_accuracy_drop" not in caught.value.hint
