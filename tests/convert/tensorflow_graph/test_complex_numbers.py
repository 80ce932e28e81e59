"""Graphs with complex numbers, as graphs of real ones, against TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import operators
from op_models import convert_function, is_same, save_function

from optimizer.convert.tensorflow_graph.complex_numbers import without_complex_numbers
from optimizer.convert.tf2onnx_tool import convert_savedmodel
from optimizer.errors import UnsupportedModelError

VALUES = np.random.default_rng(3).normal(size=(2, 8, 12)).astype(np.float32)

FUNCTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "magnitudes of a spectrogram": lambda tf, x: tf.abs(tf.signal.stft(x[:, 0], 8, 2)),
    "mel spectrogram": lambda tf, x: tf.math.log(
        tf.square(tf.abs(tf.signal.stft(x, 8, 2)))
        @ tf.signal.linear_to_mel_weight_matrix(4, 5, 8000.0, 100.0, 3900.0)
        + 1e-3
    ),
    "spectrogram of keras": lambda tf, x: tf.concat(keras_ops().stft(x, 8, 2, 8), -1),
    "inverse spectrogram": lambda tf, x: tf.signal.inverse_stft(tf.signal.stft(x, 8, 4), 8, 4),
    "phases": lambda tf, x: tf.math.angle(tf.signal.rfft(x)),
    "real transform of more": lambda tf, x: tf.abs(tf.signal.rfft(x, [15])),
    "real transform of fewer": lambda tf, x: tf.abs(tf.signal.rfft(x, [5])),
    "there and back, odd": lambda tf, x: tf.signal.irfft(tf.signal.rfft(x, [7]), [7]),
    "back from fewer bins": lambda tf, x: tf.signal.irfft(tf.signal.rfft(x), [20]),
    "two axes": lambda tf, x: tf.signal.irfft2d(tf.signal.rfft2d(x, [6, 16]), [6, 16]),
    "fourier mixing": lambda tf, x: tf.math.real(tf.signal.fft2d(tf.cast(x, tf.complex64))),
    "inverse of two axes": lambda tf, x: tf.math.imag(tf.signal.ifft2d(tf.complex(x, x * x))),
    "cosine transform": lambda tf, x: tf.signal.dct(x, norm="ortho"),
    "product": lambda tf, x: tf.math.imag(tf.complex(x, x + 1) * tf.math.conj(tf.complex(x, 2 * x))),
    "quotient": lambda tf, x: tf.math.real(tf.complex(x, x + 1) / tf.complex(x, x + 3)),
    "exponential": lambda tf, x: tf.math.real(tf.exp(tf.complex(x, x))),
    "logarithm": lambda tf, x: tf.math.imag(tf.math.log(tf.complex(x, x + 1))),
    "square root": lambda tf, x: tf.math.imag(tf.sqrt(tf.complex(x, x - 1))),
    "matrix product": lambda tf, x: tf.math.real(
        tf.matmul(tf.complex(x, x - 1), tf.complex(x, x + 2), adjoint_b=True)
    ),
    "parts moved about": lambda tf, x: tf.math.imag(
        tf.reshape(
            tf.concat([tf.complex(x, x), tf.transpose(tf.complex(x, -x), [0, 1, 2])[:, ::-1]], 1), [-1, 12]
        )
    ),
    "sum": lambda tf, x: tf.abs(tf.reduce_sum(tf.complex(x, x * x), 1)),
}


def keras_ops() -> Any:
    from keras import ops

    return ops


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_complex_numbers_is_the_same(name: str, tmp_path: Path) -> None:
    import tensorflow as tf

    result, workspace = convert_function(lambda x: FUNCTIONS[name](tf, x), tmp_path, {"x": VALUES})
    assert is_same(result, 2e-6)
    assert "DFT" not in operators(workspace)


@pytest.mark.parametrize("name", ["real", "complex", "back"])
def test_a_transform_along_an_axis_of_free_size_is_the_same(name: str, tmp_path: Path) -> None:
    import tensorflow as tf

    def free(x: Any) -> Any:
        if name == "real":
            return tf.abs(tf.signal.rfft(x))
        if name == "back":
            return tf.signal.irfft(tf.signal.rfft(x))
        return tf.math.real(tf.signal.fft2d(tf.cast(x, tf.complex64)))

    shapes = {"x": (None, None, None)}
    result, _ = convert_function(free, tmp_path, {"x": VALUES}, shapes)
    assert is_same(result, 2e-6)


def test_double_precision_stays(tmp_path: Path) -> None:
    import tensorflow as tf

    values = VALUES.astype(np.float64)
    result, _ = convert_function(lambda x: tf.abs(tf.signal.rfft(x)), tmp_path, {"x": values})
    assert is_same(result, 1e-12)


def test_a_complex_result_is_refused_by_name(tmp_path: Path) -> None:
    import tensorflow as tf

    upload = save_function(lambda x: tf.signal.rfft(x), tmp_path, {"x": VALUES})
    with pytest.raises(UnsupportedModelError, match="complex") as caught:
        convert_savedmodel(upload, "serving_default", tmp_path / "model.onnx")
    assert "tf.math.real" in caught.value.hint


def test_an_operator_without_a_rule_is_refused_by_name(tmp_path: Path) -> None:
    import tensorflow as tf

    upload = save_function(lambda x: tf.math.real(tf.sin(tf.complex(x, x))), tmp_path, {"x": VALUES})
    with pytest.raises(UnsupportedModelError, match="Sin"):
        convert_savedmodel(upload, "serving_default", tmp_path / "model.onnx")


def test_a_graph_of_real_numbers_is_left_as_it_is() -> None:
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        tf.identity(tf.constant(1.0))
    graph_def = graph.as_graph_def()
    assert without_complex_numbers(graph_def, []) is graph_def


def test_a_transform_of_very_many_values_is_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    upload = save_function(
        lambda x: tf.abs(tf.signal.rfft(x)), tmp_path, {"x": np.ones((1, 16384), np.float32)}
    )
    with pytest.raises(UnsupportedModelError, match="16384 values"):
        convert_savedmodel(upload, "serving_default", tmp_path / "model.onnx")
