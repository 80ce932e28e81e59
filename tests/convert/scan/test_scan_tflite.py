from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from optimizer.convert.scan import scan
from optimizer.errors import InvalidModelError, UnsupportedModelError


def converted(function: Any, *, flex: bool = False) -> bytes:
    module = tf.Module()
    module.call = tf.function(function, input_signature=[tf.TensorSpec([2, 3], tf.float32)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.call.get_concrete_function()], module)
    if flex:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.SELECT_TF_OPS]
    return bytes(converter.convert())


def test_an_honest_model_passes(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(converted(lambda x: tf.nn.softmax(x * 2.0)))
    scan(path, "tflite")


def test_tensorflow_operators_inside_tflite_are_refused_with_their_names(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(converted(lambda x: tf.math.xlogy(x, x), flex=True))
    with pytest.raises(UnsupportedModelError, match="FlexXlogy"):
        scan(path, "tflite")


def test_a_custom_operator_is_refused_with_its_name(tmp_path: Path) -> None:
    content = converted(lambda x: tf.math.xlogy(x, x), flex=True)
    path = tmp_path / "model.tflite"
    path.write_bytes(content.replace(b"Flex", b"Evil"))
    with pytest.raises(UnsupportedModelError, match="EvilXlogy"):
        scan(path, "tflite")


def test_a_damaged_file_is_invalid(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3" + b"\xff" * 60)
    with pytest.raises(InvalidModelError, match="no TFLite model, or it is damaged"):
        scan(path, "tflite")
