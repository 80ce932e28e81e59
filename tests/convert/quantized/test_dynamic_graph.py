from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
from keras_models import convert, optimized_operators, save_keras

from optimizer.convert.quantized.dynamic_graph import expose_dynamic_kernels
from optimizer.errors import UnsupportedModelError
from optimizer.runtime import open_session

EXACT = "rounded as in the upload"


def dense() -> Any:
    import keras
    from keras import layers

    return keras.Sequential(
        [keras.Input((64,), name="x"), layers.Dense(96, activation="relu"), layers.Dense(8)]
    )


def einsum() -> Any:
    """The products of attention: heads split off, heads joined, and one that Keras computes in float."""
    import keras
    from keras.layers import EinsumDense

    value = keras.Input((5, 32), name="x")
    split = EinsumDense("abc,cde->abde", (5, 2, 16), bias_axes="de")(value)
    joined = EinsumDense("abde,dec->abc", (5, 32), bias_axes="c")(split)
    return keras.Model(value, EinsumDense("abc,cd->adb", (6, 5))(joined))


def embedding() -> Any:
    import keras
    from keras import layers

    return keras.Sequential([keras.Input((5,), dtype="int32", name="x"), layers.Embedding(3000, 32)])


def quantized(make: Any, **config: Any) -> Any:
    """A model with seeded weights, quantized by Keras."""
    import keras

    keras.utils.set_random_seed(0)
    model = make()
    for layer in model.layers:
        if layer.weights:
            layer.quantize("int8", **config)
    return model


def relative_error(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_each_dense_layer_becomes_one_fused_integer_operator(tmp_path: Path) -> None:
    model = quantized(dense)
    conversion, workspace = convert(save_keras(model, tmp_path), "keras", tmp_path)
    assert optimized_operators(workspace.converted, tmp_path) == [
        "DynamicQuantizeMatMul",
        "Relu",
        "DynamicQuantizeMatMul",
    ]
    assert conversion.notes == ()
    value = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)
    found = open_session(workspace.converted).run({"x": value})[conversion.outputs[0].name]
    assert 1e-4 < relative_error(found, model(value).numpy()) < 0.02


def test_products_of_several_axes_fuse_as_well(tmp_path: Path) -> None:
    conversion, workspace = convert(save_keras(quantized(einsum), tmp_path), "keras", tmp_path)
    assert optimized_operators(workspace.converted, tmp_path).count("DynamicQuantizeMatMul") == 2
    assert conversion.notes == ()


def test_weights_stay_in_eight_bits(tmp_path: Path) -> None:
    upload = save_keras(quantized(dense), tmp_path)
    _, workspace = convert(upload, "keras", tmp_path)
    weights = [t for t in onnx.load(workspace.converted).graph.initializer if len(t.dims) == 2]
    assert [(t.data_type, list(t.dims)) for t in weights] == [
        (onnx.TensorProto.UINT8, [64, 96]),
        (onnx.TensorProto.UINT8, [96, 8]),
    ]
    assert workspace.converted.stat().st_size < upload.stat().st_size


def test_an_embedding_is_gathered_in_eight_bits_and_exact(tmp_path: Path) -> None:
    model = quantized(embedding)
    conversion, workspace = convert(save_keras(model, tmp_path), "keras", tmp_path)
    proto = onnx.load(workspace.converted)
    table = next(tensor for tensor in proto.graph.initializer if list(tensor.dims) == [3000, 32])
    assert table.data_type == onnx.TensorProto.INT8
    assert any(node.op_type == "Gather" and node.input[0] == table.name for node in proto.graph.node)
    ids = np.array([[0, 2999, 7, 7, 1500]], np.int32)
    found = open_session(workspace.converted).run({"x": ids})[conversion.outputs[0].name]
    np.testing.assert_allclose(found, model(ids).numpy(), rtol=1e-6)


def test_sums_of_the_largest_weights_do_not_saturate(tmp_path: Path) -> None:
    import keras

    def make() -> Any:
        layer = keras.layers.Dense(4, kernel_initializer="ones")
        return keras.Sequential([keras.Input((512,), name="x"), layer])

    conversion, workspace = convert(save_keras(quantized(make), tmp_path), "keras", tmp_path)
    found = open_session(workspace.converted).run({"x": np.ones((1, 512), np.float32)})
    np.testing.assert_allclose(found[conversion.outputs[0].name], np.full((1, 4), 512), rtol=0.01)


def test_queries_keys_and_values_share_one_quantization_of_what_they_attend_to(tmp_path: Path) -> None:
    """As a SavedModel: Keras 3.15 does not load its own files of quantized attention."""
    import keras

    value = keras.Input((5, 16), name="x")
    model = keras.Model(value, keras.layers.MultiHeadAttention(2, 8)(value, value))
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.EinsumDense):
            layer.quantize("int8")
    model.export(str(tmp_path / "attention"), verbose=False)
    conversion, workspace = convert(tmp_path / "attention", "savedmodel", tmp_path)
    nodes = [node.op_type for node in onnx.load(workspace.converted).graph.node]
    assert (nodes.count("DynamicQuantizeLinear"), nodes.count("MatMulInteger")) == (2, 4)
    assert conversion.parity is not None
    assert "weaker test" in conversion.parity.note


def test_what_keras_cannot_load_of_its_own_is_named_with_the_reason(tmp_path: Path) -> None:
    import keras

    value = keras.Input((5, 16), name="x")
    model = keras.Model(value, keras.layers.MultiHeadAttention(2, 8)(value, value))
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.EinsumDense):
            layer.quantize("int8")
    with pytest.raises(UnsupportedModelError, match=r"Layer '\w+' expected \d variables") as caught:
        convert(save_keras(model, tmp_path), "keras", tmp_path)
    assert "model.export" in caught.value.hint


def test_rows_of_very_different_size_keep_scales_of_their_own(tmp_path: Path) -> None:
    import keras
    from keras import layers

    def make() -> Any:
        return keras.Sequential(
            [keras.Input((64,), name="x"), layers.Dense(32), layers.LayerNormalization(epsilon=1e-9)]
        )

    keras.utils.set_random_seed(0)
    model = make()
    model.layers[0].quantize("int8")
    rows = np.random.default_rng(0).normal(size=(9, 64)).astype(np.float32)
    rows[::3] *= 1000
    samples = tmp_path / "samples.npz"
    np.savez(samples, x=rows)
    conversion, workspace = convert(save_keras(model, tmp_path), "keras", tmp_path, samples=samples)
    assert any(EXACT in note for note in conversion.notes)
    found = open_session(workspace.converted).run({"x": rows})[conversion.outputs[0].name]
    assert relative_error(found, model(rows).numpy()) < 1e-5
    weights = [t for t in onnx.load(workspace.converted).graph.initializer if list(t.dims) == [64, 32]]
    assert [t.data_type for t in weights] == [onnx.TensorProto.UINT8]


PRODUCT = """
<ir_version: 9, opset_import: ["" : 17]>
product (int8[2, 3] q) => (int32[2, 2] y) <int8[3, 2] w = {1, 2, 3, 4, 5, 6}, int8 zero = {ZERO}> {
    y = MatMulInteger (q, w, zero, zero)
}
"""


@pytest.mark.parametrize("zero", ["0", "3"])
def test_a_product_of_integers_that_come_from_outside_is_left_alone(zero: str) -> None:
    model = onnx.parser.parse_model(PRODUCT.replace("ZERO", zero))
    before = model.SerializeToString()
    assert not expose_dynamic_kernels(model)
    assert model.SerializeToString() == before
