"""Post-processing inside a model is named, with what `--outputs` has to say to leave it outside."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import convert, save_keras

from optimizer.results import Conversion, Format


def cut_names(conversion: Conversion) -> tuple[str, ...]:
    """What the note tells to ask for."""
    [note] = [note for note in conversion.notes if "post-processing" in note]
    asked = re.search(r"--outputs (\S+)$", note)
    assert asked
    return tuple(asked[1].split(","))


def stays_outside(upload: Path, format: Format, folder: Path, kind: str) -> tuple[str, ...]:
    """Follow the note: the model cut there has parity, and no post-processing; returns its outputs."""
    (folder / "whole").mkdir()
    (folder / "cut").mkdir()
    whole, _ = convert(upload, format, folder / "whole")
    assert any(kind in note for note in whole.notes)
    asked = cut_names(whole)
    cut, _ = convert(upload, format, folder / "cut", outputs=asked)
    assert cut.parity is not None
    assert not any("post-processing" in note for note in cut.notes)
    assert tuple(spec.name for spec in cut.outputs) == asked
    return asked


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Boxes decoded from a convolution, chosen by non-maximum suppression."""
    import tensorflow as tf

    module, generator = tf.Module(), np.random.default_rng(0)
    module.boxes = tf.Variable(generator.normal(size=(1, 1, 3, 4)).astype(np.float32))
    module.scores = tf.Variable(generator.normal(size=(1, 1, 3, 1)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec((1, 6, 6, 3), tf.float32, "image")])  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def serve(image: Any) -> dict[str, Any]:
        raw = tf.nn.bias_add(tf.nn.conv2d(image, module.boxes, 1, "SAME"), tf.ones(4), name="raw_boxes")
        logits = tf.nn.conv2d(image, module.scores, 1, "SAME", name="logits")
        corners = tf.reshape(tf.sigmoid(raw), (-1, 4))
        scores = tf.sigmoid(tf.reshape(logits, (-1,)))
        chosen = tf.image.non_max_suppression(corners, scores, 5, 0.5)
        return {"found": tf.gather(corners, chosen), "sure": tf.gather(scores, chosen)}

    folder = tmp_path_factory.mktemp("detector") / "saved"
    tf.saved_model.save(module, str(folder), signatures=serve)
    return folder


def test_a_savedmodels_detections_are_named_with_the_layers_before_them(
    detector: Path, tmp_path: Path
) -> None:
    assert set(stays_outside(detector, "savedmodel", tmp_path, "NonMaxSuppression")) == {
        "raw_boxes",
        "logits",
    }


def test_a_keras_top_k_is_named_with_the_layer_before_it(tmp_path: Path) -> None:
    import keras

    x = keras.Input((4,), name="x")
    best, places = keras.ops.top_k(keras.ops.softmax(keras.layers.Dense(5, name="classes")(x)), 2)
    upload = save_keras(keras.Model(x, {"best": best, "places": places}), tmp_path)
    assert stays_outside(upload, "keras", tmp_path, "TopK") == ("classes",)


def test_a_frozen_graphs_top_k_is_named_with_the_node_before_it(tmp_path: Path) -> None:
    import tensorflow as tf

    v1 = tf.compat.v1
    with v1.Graph().as_default() as graph:
        x = v1.placeholder(v1.float32, (None, 4), "x")
        logits = v1.matmul(
            x, np.ones((4, 5), np.float32) * np.arange(5, dtype=np.float32), name="head/logits"
        )
        v1.math.top_k(v1.nn.softmax(logits), 2, name="best")
    upload = tmp_path / "frozen.pb"
    upload.write_bytes(graph.as_graph_def().SerializeToString())
    assert stays_outside(upload, "graphdef", tmp_path, "TopK") == ("head/logits",)


def test_a_tflite_top_k_is_named_with_the_tensor_before_it(tmp_path: Path) -> None:
    import tensorflow as tf

    weight = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)

    @tf.function(input_signature=[tf.TensorSpec((1, 4), tf.float32, "x")])  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def serve(x: Any) -> Any:
        return tf.math.top_k(tf.nn.softmax(x @ weight), 2)

    concrete = [serve.get_concrete_function()]
    upload = tmp_path / "model.tflite"
    upload.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions(concrete, tf.Module()).convert())
    asked = stays_outside(upload, "tflite", tmp_path, "TOPK_V2")
    assert len(asked) == 1


def test_an_onnx_files_top_k_is_named_with_the_value_before_it(tmp_path: Path) -> None:
    import onnx.parser

    text = """
<ir_version: 8, opset_import: ["": 17]>
g (float[N, 4] x) => (float[N, 2] best, int64[N, 2] places)
<float[4, 4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6, 5, 4, 3, 2}, int64[1] k = {2}>
{
  logits = MatMul (x, w)
  scores = Softmax (logits)
  best, places = TopK (scores, k)
}
"""
    upload = tmp_path / "model.onnx"
    upload.write_bytes(onnx.parser.parse_model(text).SerializeToString())
    assert stays_outside(upload, "onnx", tmp_path, "TopK") == ("logits",)
