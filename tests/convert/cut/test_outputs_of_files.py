"""The option `outputs` on files that are graphs themselves: TFLite and ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from keras_models import convert, is_proven, output_names

from optimizer.errors import InvalidOptionsError
from optimizer.runtime import open_session

IMAGE = np.random.default_rng(0).random((2, 6, 6, 3), np.float32)


@pytest.fixture(scope="module")
def tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two branches of the same input, in TFLite's own names."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(3)
    image, scale = keras.Input((6, 6, 3), name="image"), keras.Input((1,), name="scale")
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, activation="relu")(image))
    scores = keras.layers.Softmax()(keras.layers.Dense(3)(features) * scale)
    folder = tmp_path_factory.mktemp("tflite")
    keras.Model([image, scale], scores).export(str(folder / "saved"), verbose=False)
    content = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved")).convert()
    (folder / "model.tflite").write_bytes(content)
    return folder / "model.tflite"


def tensor_before(path: Path, operator: str) -> str:
    """The name of the tensor that the first operator of a kind computes in a TFLite file."""
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_path=str(path))
    details = next(entry for entry in interpreter._get_ops_details() if entry["op_name"] == operator)
    found = {entry["index"]: entry["name"] for entry in interpreter.get_tensor_details()}
    return str(found[details["outputs"][0]])


@pytest.mark.filterwarnings("ignore:.*(tf.lite.Interpreter is deprecated|preserve_all_tensors)")
def test_a_tflite_file_ends_at_its_tensors(tflite: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    asked = (tensor_before(tflite, "FULLY_CONNECTED"), tensor_before(tflite, "CONV_2D"))
    conversion, workspace = convert(tflite, "tflite", tmp_path, outputs=asked)
    assert output_names(conversion) == list(asked)
    assert is_proven(conversion)
    assert [spec.name for spec in conversion.inputs] == ["image"]
    whole = tf.lite.Interpreter(model_path=str(tflite), experimental_preserve_all_tensors=True)
    whole.allocate_tensors()
    places = {entry["name"]: entry["index"] for entry in whole.get_input_details()}
    whole.set_tensor(places["serving_default_image:0"], IMAGE[:1])
    whole.set_tensor(places["serving_default_scale:0"], np.ones((1, 1), np.float32))
    whole.invoke()
    indices = {entry["name"]: entry["index"] for entry in whole.get_tensor_details()}
    found = open_session(workspace.converted).run({"image": IMAGE[:1]})
    for name in asked:
        np.testing.assert_allclose(found[name], whole.get_tensor(indices[name]), atol=1e-6)


def test_an_unknown_tensor_of_a_tflite_file_is_answered_with_the_nearest(
    tflite: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidOptionsError, match="no tensor 'output_9'") as caught:
        convert(tflite, "tflite", tmp_path, outputs=("output_9",))
    assert "output_0" in caught.value.hint


ONNX_TEXT = """
<ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
g (float[N, 3] x, float[N, 3] unused, bool c) => (float[N, 3] y) {
  a = Relu (x)
  b = com.microsoft.Gelu (a)
  twice = Add (b, b)
  d = If (c) <
    then_branch = yes () => (float[N, 3] p) { p = Identity (twice) },
    else_branch = no () => (float[N, 3] q) { q = Neg (b) }
  >
  y = Mul (d, unused)
}
"""


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx.parser.parse_model(ONNX_TEXT).SerializeToString())
    return path


def test_an_onnx_file_ends_at_its_values(onnx_file: Path, tmp_path: Path) -> None:
    conversion, workspace = convert(onnx_file, "onnx", tmp_path, outputs=("d", "a", "b"))
    assert output_names(conversion) == ["d", "a", "b"]
    assert is_proven(conversion)
    assert conversion.parity is not None
    assert conversion.parity.reference == "ONNX Runtime"
    assert [spec.name for spec in conversion.inputs] == ["x", "c"]
    assert conversion.notes == ("inputs that no output needs were left out: unused",)
    proto = onnx.load(str(workspace.converted))
    onnx.checker.check_model(proto)
    assert [node.op_type for node in proto.graph.node] == ["Relu", "Gelu", "Add", "If"]
    assert [value.type.tensor_type.elem_type for value in proto.graph.output] == [1, 1, 1]


def test_an_unknown_value_of_an_onnx_file_is_answered_with_the_nearest(
    onnx_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidOptionsError, match="'twise'") as caught:
        convert(onnx_file, "onnx", tmp_path, outputs=("twise",))
    assert "twice" in caught.value.hint
