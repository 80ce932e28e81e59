"""Counts against hand-computed numbers, and None where a count would be a guess."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper, parser
from small_models import SMALL_MODELS

from optimizer.calibrate import collect_ranges
from optimizer.graph import count
from optimizer.model import Model, from_proto
from optimizer.quantize import quantize_dynamic, quantize_static
from optimizer.steps import QuantizeDynamic, QuantizeStatic


def model(text: str, **weights: NDArray[np.float32]) -> Model:
    proto = parser.parse_model('<ir_version: 8, opset_import: ["": 17]>' + text)
    for name, array in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return from_proto(proto)


def zeros(*shape: int) -> NDArray[np.float32]:
    return np.zeros(shape, np.float32)


def test_a_strided_grouped_convolution() -> None:
    counts = count(
        model(
            """
            g (float[batch, 4, 9, 9] x) => (float[batch, 8, H, W] y) {
                y = Conv <kernel_shape = [3, 3], strides = [2, 2], group = 2> (x, w, b)
            }""",
            w=zeros(8, 2, 3, 3),
            b=zeros(8),
        )
    )
    assert counts.macs == 8 * 2 * 3 * 3 * 4 * 4
    assert counts.parameters == 8 * 2 * 3 * 3 + 8


def test_a_transposed_convolution_counts_each_input_position() -> None:
    counts = count(
        model(
            """
            g (float[batch, 4, 5, 5] x) => (float[batch, 6, H, W] y) {
                y = ConvTranspose <kernel_shape = [3, 3], strides = [2, 2]> (x, w)
            }""",
            w=zeros(4, 6, 3, 3),
        )
    )
    assert counts.macs == 4 * 6 * 9 * 25


def test_gemm_with_both_transposes_and_batched_matmul() -> None:
    counts = count(
        model(
            """
            g (float[3, 7] x, float[2, 4, 3] z) => (float[7, 5] y, float[2, 4, 6] u) {
                y = Gemm <transA = 1, transB = 1> (x, w)
                u = MatMul (z, v)
            }""",
            w=zeros(5, 3),
            v=zeros(3, 6),
        )
    )
    assert counts.macs == 7 * 3 * 5 + 2 * 4 * 3 * 6


def test_an_lstm_counts_every_step() -> None:
    counts = count(SMALL_MODELS["lstm"].build())
    assert counts.macs == 10 * (48 * 8 + 48 * 12) + 12 * 3
    assert counts.parameters == 30 * 8 + 48 * 8 + 48 * 12 + 96 + 12 * 3


def test_an_einsum() -> None:
    counts = count(
        model(
            """
            g (float[batch, 4, 6] x) => (float[batch, 4, 5] y) {
                y = Einsum <equation = "abc,cd->abd"> (x, w)
            }""",
            w=zeros(6, 5),
        )
    )
    assert counts.macs == 4 * 6 * 5


def test_a_fixed_batch_is_divided_out() -> None:
    counts = count(model("g (float[8, 3] x) => (float[8, 5] y) { y = MatMul (x, w) }", w=zeros(3, 5)))
    assert counts.macs == 15


def test_macs_are_none_where_a_shape_is_unknown() -> None:
    counts = count(
        model(
            "g (float[batch, steps, 3] x) => (float[batch, steps, 5] y) { y = MatMul (x, w) }", w=zeros(3, 5)
        )
    )
    assert counts.macs is None
    assert counts.parameters == 15


def test_nodes_of_a_branch_are_counted_and_its_macs_are_not_guessed() -> None:
    counts = count(
        model(
            """
            g (float[batch, 3] x, bool c) => (float[batch, 5] y) {
                y = If (c) <
                    then_branch = a () => (float[batch, 5] t) { t = MatMul (x, w) },
                    else_branch = b () => (float[batch, 5] e) { n = Neg (x) \n e = MatMul (n, w) }
                >
            }""",
            w=zeros(3, 5),
        )
    )
    assert counts.nodes == 4
    assert counts.operators == {"If": 1, "MatMul": 2, "Neg": 1}
    assert counts.macs is None


def test_constant_nodes_hold_parameters_too_but_indices_do_not_count() -> None:
    counts = count(
        model(
            """
            g (float[batch, 2] x) => (float[batch, 2] y) {
                w = Constant <value = float[2] {1.0, 2.0}> ()
                i = Constant <value = int64[3] {0, 1, 0}> ()
                y = Mul (x, w)
            }"""
        )
    )
    assert counts.parameters == 2


def test_quantized_models_have_the_macs_and_parameters_of_the_float_one() -> None:
    for name in ("classifier", "mlp", "lstm"):
        small = SMALL_MODELS[name]
        built = small.build()
        before = count(built)
        ranges = collect_ranges(built, small.batches(1), lambda _: None)
        results = [
            quantize_static(built, QuantizeStatic(operators="conv_matmul_gemm"), ranges),
            quantize_dynamic(built, QuantizeDynamic()),
        ]
        for result in results:
            after = count(result.model)
            assert after.macs == before.macs, name
            assert abs(after.parameters - before.parameters) <= 1, name  # the unused one is gone


def test_file_bytes_are_those_of_the_file() -> None:
    built = SMALL_MODELS["mlp"].build()
    assert count(built).file_bytes == len(built.to_proto().SerializeToString())


def test_shapes_that_the_graph_computes_are_known_for_one_item() -> None:
    # Keras's Dense on 3-D input: magika's file writes the reshaped size with ReduceProd.
    counts = count(
        model(
            """
            g (float[batch, 4, 6] x) => (float[batch, 4, 5] y)
            <int64[2] two = {0, 1}, int64[1] rest = {6}, int64[1] end = {5}>
            {
                size = Shape (x)
                front = Gather (size, two)
                product = ReduceProd <keepdims = 1> (front)
                flat_shape = Concat <axis = 0> (product, rest)
                flat = Reshape (x, flat_shape)
                z = MatMul (flat, w)
                full_shape = Concat <axis = 0> (front, end)
                y = Reshape (z, full_shape)
            }""",
            w=zeros(6, 5),
        )
    )
    assert counts.macs == 4 * 6 * 5
