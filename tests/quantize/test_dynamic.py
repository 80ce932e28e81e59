"""Dynamic INT8: MatMul, Gemm, LSTM and embeddings, never Conv; known traps of the quantizer."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper, parser
from small_models import SMALL_MODELS

from optimizer.errors import InvalidOptionsError, UnsupportedModelError
from optimizer.evaluate import relative_l2
from optimizer.graph.verify import open_proto
from optimizer.model import Model, from_proto
from optimizer.quantize import quantize_dynamic
from optimizer.steps import QuantizeDynamic


def model(text: str, **weights: NDArray[np.float32]) -> Model:
    proto = parser.parse_model('<ir_version: 8, opset_import: ["": 17]>' + text)
    for name, array in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return from_proto(proto)


def operators(built: Model) -> Counter[str]:
    return Counter(node.op_type for node in built.to_proto().graph.node)


def loss(before: Model, after: Model, feeds: dict[str, NDArray[Any]]) -> float:
    a, b = (open_proto(each.to_proto()).run(feeds) for each in (after, before))
    return max(
        float(relative_l2(a[name].reshape(1, -1), b[name].reshape(1, -1))[0])
        for name in b
        if b[name].dtype.kind == "f"
    )


def test_gemm_and_matmul_become_integer() -> None:
    small = SMALL_MODELS["mlp"]
    result = quantize_dynamic(small.build(), QuantizeDynamic(operators="matmul"))
    assert operators(result.model)["MatMulInteger"] == 3
    assert result.changes == ("2 Gemm with INT8 weights", "1 MatMul with INT8 weights")
    assert loss(small.build(), result.model, small.batches(1)[0]) < 0.1


def test_lstm_and_embedding_become_integer_on_demand() -> None:
    small = SMALL_MODELS["lstm"]
    few = quantize_dynamic(small.build(), QuantizeDynamic(operators="matmul")).model
    assert operators(few)["LSTM"] == 1
    result = quantize_dynamic(small.build(), QuantizeDynamic()).model
    assert operators(result)["DynamicQuantizeLSTM"] == 1
    tensors = {t.name: t.data_type for t in result.to_proto().graph.initializer}
    gather = next(node for node in result.to_proto().graph.node if node.op_type == "Gather")
    assert tensors[gather.input[0]] == TensorProto.UINT8
    assert loss(small.build(), result, small.batches(1)[0]) < 0.05


def test_a_convolution_stays_in_float() -> None:
    result = quantize_dynamic(SMALL_MODELS["conv1d"].build(), QuantizeDynamic()).model
    found = operators(result)
    assert found["Conv"] == 1
    assert found["ConvInteger"] == 0
    assert found["MatMulInteger"] == 1


def test_the_product_of_two_activations_stays_in_float() -> None:
    result = quantize_dynamic(SMALL_MODELS["attention"].build(), QuantizeDynamic()).model
    assert operators(result)["MatMul"] == 2
    assert operators(result)["MatMulInteger"] == 4


def test_a_graph_with_nothing_to_quantize_says_why() -> None:
    with pytest.raises(UnsupportedModelError, match="the operators are Add, Conv, Mul, Relu") as caught:
        quantize_dynamic(SMALL_MODELS["residual"].build(), QuantizeDynamic())
    assert "static INT8" in caught.value.hint


def test_a_weight_that_two_gemms_share_is_transposed_once() -> None:
    # ONNX Runtime's own replacement of Gemm transposes it in place, once per reader.
    rng = np.random.default_rng(0)
    built = model(
        """
        g (float[batch, 6] x) => (float[batch, 6] y) {
            a = Gemm <transB = 1> (x, w, b)
            y = Gemm <transB = 1> (a, w)
        }""",
        w=rng.normal(0, 0.4, (6, 6)).astype(np.float32),
        b=rng.normal(size=6).astype(np.float32),
    )
    feeds = {"x": rng.normal(size=(32, 6)).astype(np.float32)}
    # Reduced: sums of full-range weights saturate on CPUs without VNNI, which is not asked here.
    assert loss(built, quantize_dynamic(built, QuantizeDynamic(reduce_range=True)).model, feeds) < 0.1


def test_a_gemm_that_is_more_than_a_product_and_a_bias_stays() -> None:
    built = model(
        """
        g (float[batch, 6] x) => (float[batch, 6] y) {
            a = Gemm <alpha = 0.5> (x, w)
            y = MatMul (a, w)
        }""",
        w=np.eye(6, dtype=np.float32),
    )
    result = quantize_dynamic(built, QuantizeDynamic()).model
    assert operators(result)["Gemm"] == 1
    assert operators(result)["MatMulInteger"] == 1


def test_a_gemm_in_keep_float_stays_in_float() -> None:
    built = SMALL_MODELS["mlp"].build()
    result = quantize_dynamic(built, QuantizeDynamic(keep_float=("Gemm_a",))).model
    assert operators(result)["MatMulInteger"] == 2
    with pytest.raises(InvalidOptionsError, match="names 'nope': no node has that name"):
        quantize_dynamic(built, QuantizeDynamic(keep_float=("nope",)))


def test_lstms_with_shared_weights_or_batch_first_layout_stay_and_are_named() -> None:
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(1, 16, 4)).astype(np.float32),
        "r": rng.normal(size=(1, 16, 4)).astype(np.float32),
        "v": rng.normal(size=(4, 3)).astype(np.float32),
    }
    built = model(
        """
        g (float[5, batch, 4] x) => (float[5, 1, batch, 3] y) <int64[1] one = {1}> {
            a, a_last, a_cell = LSTM <hidden_size = 4> (x, w, r)
            s = Squeeze (a, one)
            b, b_last, b_cell = LSTM <hidden_size = 4> (s, w, r)
            y = MatMul (b, v)
        }""",
        **weights,
    )
    result = quantize_dynamic(built, QuantizeDynamic())
    assert operators(result.model)["LSTM"] == 2
    assert result.refusals == (
        "LSTM LSTM_a stays in float: another node reads its weights.",
        "LSTM LSTM_b stays in float: another node reads its weights.",
    )


def test_reduce_range_uses_seven_bits() -> None:
    result = quantize_dynamic(SMALL_MODELS["mlp"].build(), QuantizeDynamic(reduce_range=True)).model
    weights = [t for t in result.to_proto().graph.initializer if t.name.endswith("_quantized")]
    assert weights
    assert all(np.abs(numpy_helper.to_array(t).astype(int)).max() <= 64 for t in weights)
