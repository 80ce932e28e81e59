from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from keras_models import convert, save_keras

from optimizer.convert.quantized.four_bit_graph import keep_four_bits, note_of_small_layers, unpacks_four_bits
from optimizer.convert.tf2onnx_tool import convert_savedmodel
from optimizer.graph import simplify
from optimizer.model import load_model
from optimizer.runtime import open_session
from optimizer.workspace import Workspace


def dense() -> Any:
    import keras
    from keras.layers import Dense

    first = Dense(256, activation="relu", bias_initializer="normal")
    last = Dense(288, bias_initializer="normal")
    return keras.Sequential([keras.Input((320,), name="x"), first, last])


def small() -> Any:
    import keras
    from keras.layers import Dense

    first = Dense(96, activation="relu", bias_initializer="normal")
    return keras.Sequential([keras.Input((192,), name="x"), first, Dense(16, bias_initializer="normal")])


def einsum() -> Any:
    import keras
    from keras.layers import EinsumDense

    value = keras.Input((5, 256), name="x")
    split = EinsumDense("abc,cde->abde", (5, 2, 144), bias_axes="de", bias_initializer="normal")(value)
    return keras.Model(value, EinsumDense("abde,dec->abc", (5, 256), bias_axes="c")(split))


def embedding() -> Any:
    import keras
    from keras import layers

    return keras.Sequential([keras.Input((5,), dtype="int32", name="x"), layers.Embedding(3000, 48)])


def quantized(make: Any, block_size: int | None) -> Any:
    """A model with seeded weights, quantized by Keras to 4 bits."""
    import keras

    keras.utils.set_random_seed(0)
    model = make()
    for layer in model.layers:
        if layer.weights:
            config = keras.quantizers.Int4QuantizationConfig(block_size=block_size)
            layer.quantize("int4", config=config)
    return model


def run(workspace: Workspace, value: Any) -> Any:
    (result,) = open_session(workspace.converted).run({"x": value}).values()
    return result


def node_types(workspace: Workspace) -> list[str]:
    return [node.op_type for node in onnx.load(workspace.converted).graph.node]


@pytest.mark.parametrize("block_size", [None, 32])
@pytest.mark.parametrize("make", [dense, einsum])
def test_products_keep_their_four_bits(make: Any, block_size: int | None, tmp_path: Path) -> None:
    model = quantized(make, block_size)
    upload = save_keras(model, tmp_path)
    conversion, workspace = convert(upload, "keras", tmp_path)
    assert node_types(workspace).count("MatMulNBits") == 2
    assert "MatMul" not in node_types(workspace)
    assert workspace.converted.stat().st_size < 1.1 * upload.stat().st_size
    assert conversion.notes == ()
    value = np.random.default_rng(0).normal(size=(3, *model.input_shape[1:])).astype(np.float32)
    expected = model(value).numpy()
    assert np.linalg.norm(run(workspace, value) - expected) < 0.02 * np.linalg.norm(expected)
    proto = convert_savedmodel(workspace.original, conversion.signature, tmp_path / "exact.onnx")
    assert keep_four_bits(proto, exact=True)
    workspace.converted.write_bytes(proto.SerializeToString())
    np.testing.assert_allclose(run(workspace, value), expected, atol=2e-6 * np.abs(expected).max())


@pytest.mark.parametrize(("block_size", "block"), [(None, 192), (64, 64), (128, 64)])
def test_small_products_are_computed_in_float_from_integers(
    block_size: int | None, block: int, tmp_path: Path
) -> None:
    model = quantized(small, block_size)
    upload = save_keras(model, tmp_path)
    conversion, workspace = convert(upload, "keras", tmp_path)
    assert "MatMulNBits" not in node_types(workspace)
    assert conversion.notes == ()
    value = np.random.default_rng(0).normal(size=(3, 192)).astype(np.float32)
    np.testing.assert_allclose(run(workspace, value), model(value).numpy(), rtol=1e-4, atol=1e-5)
    simplified = simplify(load_model(workspace.converted)).model.to_proto()
    for proto in (onnx.load(workspace.converted), simplified):
        shapes = [
            list(each.dims) for each in proto.graph.initializer if each.data_type == onnx.TensorProto.INT8
        ]
        assert [192 // block, block, 96] in shapes
        assert proto.ByteSize() < 0.4 * (4 * 192 * 96)  # of what it is in float


@pytest.mark.parametrize("block_size", [None, 16])
def test_a_table_keeps_its_four_bits_and_is_exact(block_size: int | None, tmp_path: Path) -> None:
    model = quantized(embedding, block_size)
    _, workspace = convert(save_keras(model, tmp_path), "keras", tmp_path)
    assert "GatherBlockQuantized" in node_types(workspace)
    table = max(onnx.load(workspace.converted).graph.initializer, key=lambda tensor: len(tensor.raw_data))
    assert (table.data_type, list(table.dims)) == (onnx.TensorProto.UINT8, [3000, 24])
    ids = np.array([[0, 2999, 7, 7, 1500]], np.int32)
    np.testing.assert_allclose(run(workspace, ids), model(ids).numpy(), rtol=1e-6)


def test_blocks_that_are_no_power_of_two_become_float_and_say_so(tmp_path: Path) -> None:
    model = quantized(dense, 100)
    conversion, workspace = convert(save_keras(model, tmp_path), "keras", tmp_path)
    assert "MatMulNBits" not in node_types(workspace)
    assert any("weights in more bits" in note for note in conversion.notes)
    value = np.random.default_rng(0).normal(size=(3, 320)).astype(np.float32)
    np.testing.assert_allclose(run(workspace, value), model(value).numpy(), atol=1e-5)


def test_activations_that_keras_rounds_too_run_as_integers(tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(0)
    model = dense()
    config = keras.quantizers.Int4QuantizationConfig(
        block_size=None, activation_quantizer=keras.quantizers.AbsMaxQuantizer()
    )
    model.layers[0].quantize("int4", config=config)
    _, workspace = convert(save_keras(model, tmp_path), "keras", tmp_path)
    assert {"DynamicQuantizeLinear", "MatMulInteger"} <= set(node_types(workspace))
    value = np.random.default_rng(0).normal(size=(3, 320)).astype(np.float32)
    expected = model(value).numpy()
    assert np.linalg.norm(run(workspace, value) - expected) < 0.02 * np.linalg.norm(expected)


def test_a_float_model_is_not_looked_at(plain: Path) -> None:
    assert not unpacks_four_bits(plain)


def test_few_weights_become_float_and_say_so() -> None:
    rng = np.random.default_rng(0)
    scales = rng.uniform(0.01, 0.1, 8)

    def grid(rows: int) -> Any:
        return (scales * rng.integers(-8, 8, (rows, 8))).astype(np.float32)

    text = """
        <ir_version: 8, opset_import: ["": 17]>
        g (float[n, 16] x, float[n, 256] z) => (float[n, 8] a, float[n, 8] b, float[n, 8] c) {
            [small] a = MatMul (x, few)  [floats] b = MatMul (x, any)  [large] c = MatMul (z, many)
        }"""
    proto = onnx.parser.parse_model(text)
    weights = {"few": grid(16), "any": rng.normal(size=(16, 8)).astype(np.float32), "many": grid(256)}
    for name, array in weights.items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    assert keep_four_bits(proto)
    [note] = note_of_small_layers(proto)
    assert note.startswith("the 4-bit weights of small were converted to float: under 1024 weights")
