"""Converters of what runs along an axis, scatters, or decodes, against TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import convert, save_keras
from op_models import convert_function, is_same, save_function

from optimizer.convert.tf2onnx_tool import convert_savedmodel
from optimizer.errors import UnsupportedModelError

VALUES = np.array([[-3.0, 0.5, 2.0, 1.0], [1.0, 90.0, -90.0, 4.0]], np.float32)
NUMBERS = np.array([[3, -1, 2, 1], [0, 5, 4, -2]], np.int32)


def keras_ops() -> Any:
    from keras import ops

    return ops


FLOATS: dict[str, Callable[[Any, Any], Any]] = {
    "cumprod along the last axis": lambda tf, x: tf.math.cumprod(x, -1),
    "logsumexp so far": lambda tf, x: tf.math.cumulative_logsumexp(x, 1),
    "logsumexp from here on": lambda tf, x: tf.math.cumulative_logsumexp(x, -1, reverse=True),
    "logsumexp before": lambda tf, x: tf.math.cumulative_logsumexp(x, 1, exclusive=True)[:, 1:],
    "logsumexp after": lambda tf, x: tf.math.cumulative_logsumexp(x, 1, exclusive=True, reverse=True)[:, :-1],
    "logsumexp down": lambda tf, x: tf.math.cumulative_logsumexp(x[:, :, None] + [0.0, 1.0], 1),
    "scatter of several to one place": lambda tf, x: tf.map_fn(
        lambda row: tf.scatter_nd([[0], [2], [0], [1]], row, [4]), x
    ),
    "largest of segments, one empty": lambda tf, x: tf.map_fn(
        lambda row: tf.math.unsorted_segment_max(row, [0, 0, 2, 2], 3), x
    ),
    "least of segments, one empty": lambda tf, x: tf.map_fn(
        lambda row: tf.math.unsorted_segment_min(row, [0, 0, 2, 2], 3), x
    ),
    "cross product": lambda tf, x: tf.linalg.cross(x[:, :3], x[:, 1:]),
    "write into a cache": lambda tf, x: keras_ops().slice_update(x, (0, 1), x[:, :2] + 1.0),
    "write beyond the end": lambda tf, x: keras_ops().slice_update(x, (0, 3), x[:, :2] * 2.0),
    "write at a computed place": lambda tf, x: keras_ops().slice_update(
        x, tf.stack([0, tf.cast(x[0, 3], tf.int32)]), x[:, :1] * 2.0
    ),
    "blank is class 0": lambda tf, x: keras_ops().ctc_decode(
        tf.nn.softmax(tf.tile(x[:, :, None], [1, 1, 3]) * [0.1, 0.2, -0.3]), tf.fill([tf.shape(x)[0]], 4)
    )[0][0],
}


@pytest.mark.parametrize("name", FLOATS)
def test_a_function_of_floats_is_the_same(name: str, tmp_path: Path) -> None:
    import tensorflow as tf

    result, _ = convert_function(lambda x: FLOATS[name](tf, x), tmp_path, {"x": VALUES})
    assert is_same(result)


WHOLE: dict[str, Callable[[Any, Any], Any]] = {
    "cumprod": lambda tf, x: tf.math.cumprod(x, -1),
    "cumsum of int16": lambda tf, x: tf.cast(tf.cumsum(tf.cast(x, tf.int16), 1), tf.int32),
    "inverse permutation": lambda tf, x: tf.map_fn(
        lambda row: tf.math.invert_permutation(tf.argsort(row)), x
    ),
    "scatter of int8": lambda tf, x: tf.cast(
        tf.scatter_nd([[0], [0], [1], [2]], tf.cast(x[0], tf.int8), [3]), tf.int32
    )[None],
    "among the best": lambda tf, x: tf.cast(
        tf.math.in_top_k(tf.zeros_like(x[:, 0]), tf.cast(x, tf.float32), 2), tf.int32
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_function_of_integers_is_equal(name: str, tmp_path: Path) -> None:
    import tensorflow as tf

    result, _ = convert_function(lambda x: WHOLE[name](tf, x), tmp_path, {"x": NUMBERS})
    assert is_same(result)


def test_a_transposed_convolution_with_output_padding_is_the_same(tmp_path: Path) -> None:
    import keras

    images = keras.Input((5, 5, 3))
    layer = keras.layers.Conv2DTranspose(4, 3, strides=2, output_padding=1)
    conversion, _ = convert(save_keras(keras.Model(images, layer(images)), tmp_path), "keras", tmp_path)
    assert conversion.parity is not None
    assert is_same(conversion.parity.outputs[0])


def test_soft_suppression_is_refused_by_name(tmp_path: Path) -> None:
    import tensorflow as tf

    def detect(x: Any) -> Any:
        boxes = tf.constant([[0.0, 0, 1, 1], [0, 0, 0.9, 1], [2, 2, 3, 3]])
        return tf.image.non_max_suppression_with_scores(boxes, x[0, :3], 3, soft_nms_sigma=0.5)[0]

    upload = save_function(detect, tmp_path, {"x": VALUES})
    with pytest.raises(UnsupportedModelError, match=r"NonMaxSuppressionV5.*soft_nms_sigma"):
        convert_savedmodel(upload, "serving_default", tmp_path / "model.onnx")
