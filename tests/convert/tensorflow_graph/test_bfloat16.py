"""Models that compute in bfloat16 become float32 models, and are compared as what they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from keras_models import convert, save_keras, seeded
from op_models import convert_function, save_function

from optimizer.convert.tensorflow_graph.bfloat16 import without_bfloat16
from optimizer.convert.tf2onnx_tool import convert_savedmodel
from optimizer.errors import UnsupportedModelError
from optimizer.runtime import open_session

POLICIES = ["mixed_bfloat16", "bfloat16"]


def layers() -> Any:
    from keras import layers as found

    return found


def images(policy: str) -> Any:
    import keras

    x = keras.Input((8, 8, 3), name="x")
    y = layers().Conv2D(128, 3, activation="gelu", dtype=policy)(x)
    y = layers().BatchNormalization(dtype=policy)(layers().DepthwiseConv2D(3, dtype=policy)(y))
    y = layers().UpSampling2D(dtype=policy)(layers().MaxPooling2D(2, dtype=policy)(y))
    y = layers().Dense(200, dtype=policy)(layers().GlobalAveragePooling2D(dtype=policy)(y))
    return keras.Model(x, layers().Dense(3, activation="softmax", dtype=policy)(y))


def sequences(policy: str) -> Any:
    import keras

    x = keras.Input((5, 6), name="x")
    y = layers().LayerNormalization(dtype=policy)(layers().Dense(6, dtype=policy)(x))
    options = {"dtype": policy, "recurrent_initializer": "glorot_uniform"}  # no QR of bfloat16
    attended = layers().MultiHeadAttention(2, 3, dtype=policy)(y, y)
    return keras.Model(x, [attended, layers().LSTM(4, **options)(x), layers().GRU(4, **options)(x)])


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("make", [images, sequences])
def test_a_keras_model_in_bfloat16_converts(make: Callable[[str], Any], policy: str, tmp_path: Path) -> None:
    model = seeded(lambda: make(policy))()
    conversion, workspace = convert(save_keras(model, tmp_path), "keras", tmp_path)
    assert conversion.parity is not None
    assert {result.tolerance for result in conversion.parity.outputs} == {3e-2}
    assert all(result.value < 1.5e-2 for result in conversion.parity.outputs)
    assert {spec.dtype for spec in conversion.outputs} == {"float32"}
    floats = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
    tensors = onnx.load(str(workspace.converted)).graph.initializer
    assert not floats & {tensor.data_type for tensor in tensors}


def test_an_input_in_bfloat16_is_taken_as_float32(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.serve = tf.function(
        lambda x: {"y": tf.cast(x * 2, tf.float32) + tf.constant(0.5, tf.float32)},
        input_signature=[tf.TensorSpec([None, 3], tf.bfloat16, name="x")],
        autograph=False,
    )
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.serve)
    conversion, workspace = convert(tmp_path / "saved", "savedmodel", tmp_path)
    assert conversion.inputs[0].dtype == "float32"
    found = open_session(workspace.converted).run({"x": np.array([[1, 2, -3]], np.float32)})
    np.testing.assert_array_equal(found["y"], [[2.5, 4.5, -5.5]])


def test_bfloat16_inside_of_a_loop_converts(tmp_path: Path) -> None:
    import tensorflow as tf

    def total(x: Any) -> Any:
        narrow = tf.cast(x, tf.bfloat16)
        start = tf.zeros_like(narrow[:, 0])
        turn = lambda n, y: (n + 1, y + narrow[:, n])  # noqa: E731
        return tf.cast(tf.while_loop(lambda n, _: n < 3, turn, (0, start))[1], tf.float32)

    result, _ = convert_function(total, tmp_path, {"x": np.ones((2, 3), np.float32)})
    assert result.value == 0.0


def test_the_bits_of_bfloat16_are_refused_by_node(tmp_path: Path) -> None:
    import tensorflow as tf

    def bits(x: Any) -> Any:
        return tf.cast(tf.bitcast(tf.cast(x, tf.bfloat16), tf.uint16, name="bits"), tf.int32)

    upload = save_function(bits, tmp_path, {"x": np.ones((2, 3), np.float32)})
    with pytest.raises(UnsupportedModelError, match="bits") as caught:
        convert_savedmodel(upload, "serving_default", tmp_path / "model.onnx")
    assert "float32" in caught.value.hint


def test_a_graph_without_bfloat16_is_left_as_it_is() -> None:
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        tf.add(tf.constant(1.0), 2.0)
    graph_def = graph.as_graph_def()
    before = graph_def.SerializeToString(deterministic=True)
    assert not without_bfloat16(graph_def)
    assert graph_def.SerializeToString(deterministic=True) == before
