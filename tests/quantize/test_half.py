"""FP16: what is converted, what FP16 cannot hold, and a known trap of the converter."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper, parser
from small_models import SMALL_MODELS

from optimizer.errors import UnsupportedModelError
from optimizer.graph.verify import open_proto
from optimizer.model import Model, from_proto
from optimizer.quantize import convert_half
from optimizer.steps import ConvertHalf


def model(text: str, **weights: NDArray[np.float32]) -> Model:
    proto = parser.parse_model('<ir_version: 8, opset_import: ["": 17]>' + text)
    for name, array in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return from_proto(proto)


def dtypes(built: Model) -> dict[str, int]:
    return {tensor.name: tensor.data_type for tensor in built.to_proto().graph.initializer}


def test_weights_become_fp16_and_inputs_and_outputs_stay_float32() -> None:
    built = SMALL_MODELS["mlp"].build()
    result = convert_half(built, ConvertHalf())
    assert set(dtypes(result.model).values()) == {TensorProto.FLOAT16}
    edges = [*result.model.to_proto().graph.input, *result.model.to_proto().graph.output]
    assert {value.type.tensor_type.elem_type for value in edges} == {TensorProto.FLOAT}
    assert result.refusals == ()


def test_keep_float_leaves_a_nodes_weights_in_float32() -> None:
    result = convert_half(SMALL_MODELS["mlp"].build(), ConvertHalf(keep_float=("Gemm_a",)))
    found = dtypes(result.model)
    assert found["w1"] == TensorProto.FLOAT
    assert found["w2"] == TensorProto.FLOAT16


def test_two_float_nodes_that_read_one_half_tensor() -> None:
    # The converter casts the tensor twice, to the same name: not valid until one goes.
    built = model(
        """
        g (float[batch, 4] x) => (float[batch, 4] y, float[batch, 4] z) {
            a = MatMul (x, w) \n y = Exp (a) \n z = Tanh (a)
        }""",
        w=np.eye(4, dtype=np.float32),
    )
    result = convert_half(built, ConvertHalf(keep_float=("Exp_y", "Tanh_z")))
    x = np.random.default_rng(0).random((3, 4), np.float32)
    assert open_proto(result.model.to_proto()).run({"x": x})["y"] == pytest.approx(np.exp(x), rel=2e-3)


def test_a_layer_with_a_weight_beyond_fp16_stays_in_float32_and_is_named() -> None:
    built = model(
        "g (float[batch, 2] x) => (float[batch, 2] y) { a = MatMul (x, w) \n y = Mul (a, tiny) }",
        w=np.array([[1e6, 0], [0, 1]], np.float32),
        tiny=np.array([1e-3], np.float32),
    )
    result = convert_half(built, ConvertHalf(keep_float=("Mul_y",)))
    assert dtypes(result.model)["w"] == TensorProto.FLOAT
    assert result.refusals == (
        "1 of 4 values of w are beyond FP16 (largest 1e+06): MatMul_a stay in float32.",
    )


def test_a_mask_beyond_fp16_becomes_the_largest_number_and_is_named() -> None:
    built = model(
        "g (float[batch, 2] x) => (float[batch, 2] y) { a = Add (x, mask) \n y = Softmax (a) }",
        mask=np.array([0, -1e9], np.float32),
    )
    result = convert_half(built, ConvertHalf())
    assert result.refusals == ("1 of 2 values of mask are beyond FP16 (largest 1e+09): they become 65504.",)
    y = open_proto(result.model.to_proto()).run({"x": np.zeros((1, 2), np.float32)})["y"]
    assert y.tolist() == [[1.0, 0.0]]


def test_weights_below_fp16_are_counted() -> None:
    built = model(
        "g (float[batch, 2] x) => (float[batch, 2] y) { y = MatMul (x, w) }",
        w=np.array([[1e-9, 1], [0, 1]], np.float32),
    )
    assert convert_half(built, ConvertHalf()).refusals == (
        "1 of 4 weights are smaller than FP16's smallest number and become that (6e-08).",
    )


def test_a_model_without_float_weights_is_an_error() -> None:
    built = model("g (float[batch, 2] x) => (float[batch, 2] y) { y = Exp (x) }")
    with pytest.raises(UnsupportedModelError, match="no float32 weights"):
        convert_half(built, ConvertHalf())
