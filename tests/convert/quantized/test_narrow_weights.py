from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from keras_models import convert, optimized_operators
from tflite_files import dynamic_range, half, save, tflite, wide_activations

from optimizer.convert.parity.original import open_original
from optimizer.runtime import open_session


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import keras
    from keras.layers import Dense

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((96,), name="x"),
            Dense(160, activation="relu", bias_initializer="normal"),
            Dense(64, bias_initializer="normal"),
        ]
    )
    return save(model, tmp_path_factory.mktemp("dense") / "model")


@pytest.fixture(scope="module")
def convolutional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((12, 12, 4), name="x"),
            layers.Conv2D(48, 3, activation="relu"),
            layers.DepthwiseConv2D(5),
            layers.Conv2D(32, 1),
            layers.GlobalAveragePooling2D(),
            layers.Dense(40),
        ]
    )
    return save(model, tmp_path_factory.mktemp("convolutional") / "model")


def large_weights(path: Path) -> dict[tuple[int, ...], int]:
    """Shape to type of the weights that count."""
    tensors = onnx.load(path).graph.initializer
    return {tuple(t.dims): t.data_type for t in tensors if np.prod(t.dims) >= 1024}


def errors(upload: Path, folder: Path, shape: tuple[int, ...]) -> tuple[Any, Any, float]:
    """Conversion, workspace, and the relative L2 error against the TFLite interpreter."""
    conversion, workspace = convert(upload, "tflite", folder)
    value = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    (expected,) = open_original(workspace, conversion, threads=1).run({"x": value}).values()
    (found,) = open_session(workspace.converted).run({"x": value}).values()
    return conversion, workspace, float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_half_precision_weights_stay_so_and_are_cast_once(dense: Path, tmp_path: Path) -> None:
    upload = tflite(dense, tmp_path, **half())
    conversion, workspace, error = errors(upload, tmp_path, (96,))
    assert error < 1e-5
    assert set(large_weights(workspace.converted).values()) == {onnx.TensorProto.FLOAT16}
    assert workspace.converted.stat().st_size < 1.1 * upload.stat().st_size
    assert conversion.notes == ()
    assert "Cast" not in optimized_operators(workspace.converted, tmp_path)


def test_integer_weights_of_products_run_as_fused_integer_operators(dense: Path, tmp_path: Path) -> None:
    upload = tflite(dense, tmp_path, **dynamic_range())
    conversion, workspace, error = errors(upload, tmp_path, (96,))
    assert error < 0.02
    assert large_weights(workspace.converted) == dict.fromkeys(((96, 160), (160, 64)), onnx.TensorProto.UINT8)
    assert workspace.converted.stat().st_size < 1.1 * upload.stat().st_size
    assert optimized_operators(workspace.converted, tmp_path).count("DynamicQuantizeMatMul") == 2
    assert conversion.notes == ()


def test_integer_weights_of_convolutions_stay_so_and_are_computed_once(
    convolutional: Path, tmp_path: Path
) -> None:
    upload = tflite(convolutional, tmp_path, **dynamic_range())
    _, workspace, error = errors(upload, tmp_path, (12, 12, 4))
    assert error < 0.02
    assert large_weights(workspace.converted) == {
        (48, 4, 3, 3): onnx.TensorProto.INT8,
        (48, 1, 5, 5): onnx.TensorProto.INT8,
        (32, 48, 1, 1): onnx.TensorProto.INT8,
        (32, 40): onnx.TensorProto.UINT8,
    }
    assert workspace.converted.stat().st_size < 1.1 * upload.stat().st_size
    assert "DequantizeLinear" not in optimized_operators(workspace.converted, tmp_path)


@pytest.mark.parametrize("integer_io", [False, True])
def test_sixteen_bit_activations_become_float_with_weights_in_eight_bits(
    integer_io: bool, convolutional: Path, tmp_path: Path
) -> None:
    import tensorflow as tf

    io = dict.fromkeys(("inference_input_type", "inference_output_type"), tf.int16) if integer_io else {}
    upload = tflite(convolutional, tmp_path, **wide_activations(12, 12, 4, **io))
    conversion, workspace = convert(upload, "tflite", tmp_path)
    assert "16-bit activations" in conversion.notes[0]
    assert [spec.dtype for spec in (*conversion.inputs, *conversion.outputs)] == (
        ["int16", "int16"] if integer_io else ["float32", "float32"]
    )
    nodes = {node.op_type for node in onnx.load(workspace.converted).graph.node}
    assert not nodes & {"QuantizeLinear", "DequantizeLinear"}
    assert onnx.TensorProto.FLOAT not in large_weights(workspace.converted).values()
    assert workspace.converted.stat().st_size < 1.1 * upload.stat().st_size
    value = np.random.default_rng(0).normal(size=(2, 12, 12, 4))
    feeds = {"x": (value * 8000).astype(np.int16) if integer_io else value.astype(np.float32)}
    (expected,) = open_original(workspace, conversion, threads=1).run(feeds).values()
    (found,) = open_session(workspace.converted).run(feeds).values()
    error = np.linalg.norm(found.astype(float) - expected) / np.linalg.norm(expected.astype(float))
    assert error < 2e-3


def test_integers_of_a_wide_layer_do_not_saturate(tmp_path: Path) -> None:
    """On processors without VNNI, 16-bit sums of signed weights are off by tens of steps here."""
    import keras
    import tensorflow as tf

    ones = keras.layers.Dense(24, kernel_initializer="ones", use_bias=False)
    saved = save(keras.Sequential([keras.Input((256,), name="x"), ones]), tmp_path / "wide")

    def calls() -> Any:
        for seed in range(8):
            yield [np.random.default_rng(seed).uniform(0, 1, (1, 256)).astype(np.float32)]

    upload = tflite(saved, tmp_path, **dynamic_range(), representative_dataset=calls)
    conversion, workspace = convert(upload, "tflite", tmp_path)
    value = np.random.default_rng(9).uniform(0.5, 1, (2, 256)).astype(np.float32)
    (expected,) = open_original(workspace, conversion, threads=1).run({"x": value}).values()
    (found,) = open_session(workspace.converted).run({"x": value}).values()
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert tf.reduce_min(expected) > 100
