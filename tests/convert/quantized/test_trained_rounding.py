from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from keras_models import convert, optimized_operators

from optimizer.runtime import open_session


def fake(value: Any, low: Any, high: Any, *, bits: int = 8, narrow: bool = False) -> Any:
    import tensorflow as tf

    many = np.ndim(low) == 1
    name = "fake_quant_with_min_max_vars" + ("_per_channel" if many else "")
    ends = (np.asarray(low, np.float32), np.asarray(high, np.float32))
    return getattr(tf.quantization, name)(value, *ends, num_bits=bits, narrow_range=narrow)


def weights_of(variable: Any, *, by_channel: bool, bits: int = 8, narrow: bool = True) -> Any:
    """A variable as quantization-aware training has it: symmetric, up to its largest value."""
    values = np.abs(variable.numpy_value)
    top = values.max(tuple(range(values.ndim - 1))) if by_channel else values.max()
    return fake(variable, -top, top, bits=bits, narrow=narrow)


def variable(generator: Any, *shape: int) -> Any:
    import tensorflow as tf

    value = (generator.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)
    made = tf.Variable(value)
    made.numpy_value = value
    return made


def trained(folder: Path, *, by_channel: bool, bits: int = 8, classes: int = 12) -> Any:
    """A network as quantization-aware training leaves it, saved in `folder`."""
    import tensorflow as tf

    generator = np.random.default_rng(0)
    module = tf.Module()
    module.first, module.second = variable(generator, 3, 3, 3, 16), variable(generator, 3, 3, 16, 24)
    module.last = variable(generator, 24, classes)
    settings: dict[str, Any] = {"by_channel": by_channel, "bits": bits}

    @tf.function(input_signature=[tf.TensorSpec((None, 16, 16, 3), tf.float32, name="x")], autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def call(x: Any) -> dict[str, Any]:
        x = fake(x, -3.0, 3.0)
        x = tf.nn.conv2d(x, weights_of(module.first, **settings), 1, "SAME")
        x = fake(tf.nn.relu(tf.nn.bias_add(x, np.linspace(-0.5, 0.5, 16).astype(np.float32))), 0.0, 4.0)
        x = tf.nn.relu6(tf.nn.conv2d(x, weights_of(module.second, **settings), 2, "SAME"))
        x = fake(tf.reduce_mean(fake(x, 0.0, 6.0), [1, 2]), 0.0, 1.5)
        return {"y": fake(tf.matmul(x, weights_of(module.last, **settings)), -1.0, 1.0)}

    module.call = call
    tf.saved_model.save(module, str(folder), signatures=call)
    return call


@pytest.mark.parametrize("by_channel", [False, True])
def test_a_trained_network_runs_as_integers_within_two_steps(by_channel: bool, tmp_path: Path) -> None:
    call = trained(tmp_path / "model", by_channel=by_channel)
    conversion, workspace = convert(tmp_path / "model", "savedmodel", tmp_path)
    nodes = optimized_operators(workspace.converted, tmp_path)
    assert not {"Conv", "FusedConv", "MatMul", "Gemm", "Relu", "Clip"} & set(nodes)
    assert nodes.count("QLinearConv") == 2
    assert conversion.parity is not None
    assert "two quantization steps" in conversion.parity.note
    value = np.random.default_rng(1).normal(size=(4, 16, 16, 3)).astype(np.float32)
    found = open_session(workspace.converted).run({"x": value})["y"]
    expected = call(value)["y"].numpy()
    assert np.abs(found - expected).max() <= 2 * 2 / 255 + 1e-6
    assert np.abs(expected).max() > 0.2


def test_its_weights_are_stored_in_eight_bits_without_a_sign(tmp_path: Path) -> None:
    trained(tmp_path / "model", by_channel=True)
    _, workspace = convert(tmp_path / "model", "savedmodel", tmp_path)
    types = {
        tuple(tensor.dims): tensor.data_type
        for tensor in onnx.load(workspace.converted).graph.initializer
        if len(tensor.dims) > 1
    }
    shapes = [(16, 3, 3, 3), (24, 16, 3, 3), (24, 12)]
    assert types == dict.fromkeys(shapes, onnx.TensorProto.UINT8)


def test_a_small_product_stays_in_float(tmp_path: Path) -> None:
    trained(tmp_path / "model", by_channel=True, classes=10)
    _, workspace = convert(tmp_path / "model", "savedmodel", tmp_path)
    nodes = optimized_operators(workspace.converted, tmp_path)
    assert (nodes.count("MatMul"), nodes.count("QLinearConv")) == (1, 2)


def test_weights_of_four_bits_are_trained_too(tmp_path: Path) -> None:
    call = trained(tmp_path / "model", by_channel=True, bits=4)
    _, workspace = convert(tmp_path / "model", "savedmodel", tmp_path)
    value = np.random.default_rng(1).normal(size=(4, 16, 16, 3)).astype(np.float32)
    found = open_session(workspace.converted).run({"x": value})["y"]
    assert np.abs(found - call(value)["y"].numpy()).max() <= 2 * 2 / 255 + 1e-6


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 7, 8, 12, 16])
@pytest.mark.parametrize(
    "ends", [(-1.0, 3.0), (0.0, 6.0), (-2.0, 0.0), (0.3, 2.0), ([-1.0, 0.0], [2.0, 0.7])]
)
def test_activations_of_any_bits_and_range_are_rounded_alike(
    ends: tuple[Any, Any], bits: int, narrow: bool, tmp_path: Path
) -> None:
    import tensorflow as tf
    from tf2onnx import tfonnx

    from optimizer.convert import op_converters  # noqa: F401  # importing it fills tf2onnx's registry

    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (None, 2), name="x")
        tf.identity(fake(x, *ends, bits=bits, narrow=narrow), name="y")
    proto = tfonnx.process_tf_graph(graph, opset=17, input_names=["x:0"], output_names=["y:0"]).make_model(
        "fake"
    )
    path = tmp_path / "fake.onnx"
    onnx.save(proto, path)
    value = np.linspace(-4, 8, 4001, dtype=np.float32)[:, None].repeat(2, 1)
    (found,) = open_session(path).run({"x:0": value}).values()
    expected = fake(tf.constant(value), *ends, bits=bits, narrow=narrow).numpy()
    steps = (np.asarray(ends[1]) - np.asarray(ends[0])).max() / (2**bits - 1 - narrow)
    difference = np.abs(found - expected)
    assert (difference > steps / 2).mean() < 0.002  # TensorFlow rounds halves up, ONNX to even
    assert difference.max() < 1.01 * steps
