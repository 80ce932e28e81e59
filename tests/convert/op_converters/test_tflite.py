"""Operators of TFLite that tf2onnx lacks compute what TFLite's interpreter computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tflite_files import run_both, tflite_function

X = np.random.default_rng(0).normal(size=(2, 4, 4)).astype(np.float32)


def _tensorflow() -> Any:
    import tensorflow

    return tensorflow


FUNCTIONS: dict[str, tuple[Callable[..., Any], list[NDArray[Any]]]] = {
    "RELU_N1_TO_1": (lambda tf, x: tf.minimum(tf.maximum(x, -1.0), 1.0), [X]),
    "FULLY_CONNECTED": (  # with the activation fused into it
        lambda tf, x: tf.minimum(tf.maximum(tf.matmul(x, tf.constant(X[0])), -1.0), 1.0),
        [X[1]],
    ),
    "BUCKETIZE": (lambda tf, x: tf.raw_ops.Bucketize(input=x, boundaries=[-1.0, 0.0, 1.5]), [X]),
    "MATRIX_SET_DIAG": (lambda tf, x, y: tf.linalg.set_diag(x, y), [X, X[:, 0]]),
    "RFFT2D": (lambda tf, x: tf.abs(tf.signal.rfft2d(x, [4, 4])), [X]),
    "REAL": (lambda tf, x: tf.math.real(tf.signal.rfft(x, [4])) ** 2, [X]),
    "IMAG": (lambda tf, x: tf.math.imag(tf.signal.rfft(x, [4])), [X]),
    "CAST": (lambda tf, x: tf.cast(tf.signal.rfft(x, [4]), tf.float32), [X]),
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_an_operator_computes_what_the_interpreter_computes(kind: str, tmp_path: Path) -> None:
    function, inputs = FUNCTIONS[kind]
    path = tflite_function(lambda *values: function(_tensorflow(), *values), inputs, tmp_path)
    kinds, expected, found = run_both(path, inputs)
    assert kind in kinds
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.ptp(expected) > 0
