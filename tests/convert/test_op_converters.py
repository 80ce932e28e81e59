"""Each converter of ours against TensorFlow, on inputs on both sides of every case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import convert, operators, save_keras

VALUES = np.array([[-3.0, -0.7, -1e-4, 0.0], [1e-4, 0.5, 1.0, 4.0]], np.float32)


def erfc(x: Any) -> Any:
    import tensorflow as tf

    return tf.math.erfc(x)


def log1p(x: Any) -> Any:
    import tensorflow as tf

    return tf.math.log1p(tf.abs(x))


def expm1(x: Any) -> Any:
    import tensorflow as tf

    return tf.math.expm1(x)


def bucketize(x: Any) -> Any:
    import tensorflow as tf

    return tf.raw_ops.Bucketize(input=x, boundaries=[-0.7, 0.0, 0.5, 2.0])


def bucketize_integers(x: Any) -> Any:
    import tensorflow as tf

    return tf.raw_ops.Bucketize(input=tf.cast(x * 10.0, tf.int64), boundaries=[-7.0, 0.0, 5.0])


@pytest.mark.parametrize("function", [erfc, log1p, expm1, bucketize, bucketize_integers])
def test_a_converter_of_ours_computes_what_tensorflow_does(
    function: Callable[[Any], Any], tmp_path: Path
) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def serve(x: Any) -> dict[str, Any]:
        return {"y": function(x)}

    tf.saved_model.save(tf.Module(), str(tmp_path / "saved"), signatures=serve)
    np.savez(tmp_path / "samples.npz", x=VALUES)
    conversion, _ = convert(tmp_path / "saved", "savedmodel", tmp_path, samples=tmp_path / "samples.npz")
    assert conversion.parity is not None
    result = conversion.parity.outputs[0]
    assert result.value == 1.0 if result.measure == "agreement" else result.value < 1e-6


@pytest.mark.parametrize("layer", ["IntegerLookup", "StringLookup"])
def test_lookup_tables_convert(layer: str, tmp_path: Path) -> None:
    import keras

    words: list[Any] = [7, 11, 500] if layer == "IntegerLookup" else ["a", "bb", "ccc"]
    dtype = "int64" if layer == "IntegerLookup" else "string"
    table = getattr(keras.layers, layer)(vocabulary=words)
    model = keras.Sequential([keras.Input((3,), dtype=dtype, name="word"), table])
    rows = np.array([[words[1], words[0], words[0]], [words[2], words[1], words[2]]])
    rows[0, 2] = 9 if layer == "IntegerLookup" else "unknown"[:3]
    np.savez(tmp_path / "samples.npz", word=rows)
    conversion, workspace = convert(
        save_keras(model, tmp_path), "keras", tmp_path, samples=tmp_path / "samples.npz"
    )
    assert conversion.parity is not None
    assert conversion.parity.outputs[0].value == 1.0
    assert operators(workspace) & {"LabelEncoder", "CategoryMapper"}
