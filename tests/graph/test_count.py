"""Counts against hand-computed numbers, and None where a count would be a guess."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
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


def branches(other: str) -> Model:
    return model(
        f"""
        g (float[batch, 3] x, bool c) => (float[batch, 5] y) {{
            y = If (c) <
                then_branch = a () => (float[batch, 5] t) {{ t = MatMul (x, w) }},
                else_branch = b () => (float[batch, 5] e) {{ {other} }}
            >
        }}""",
        w=zeros(3, 5),
    )


def test_nodes_of_a_branch_are_counted_and_its_macs_where_both_have_as_many() -> None:
    counts = count(branches("n = Neg (x)  e = MatMul (n, w)"))
    assert counts.nodes == 4
    assert counts.operators == {"If": 1, "MatMul": 2, "Neg": 1}
    assert counts.macs == 15
    two = "n = Neg (x)  s = MatMul (x, w)  p = MatMul (n, w)  e = Add (s, p)"
    assert count(branches(two)).macs is None


LOOP = """
    g (float[batch, 7, 4] x) => (float[batch, 5] y) {
        one = Constant <value = int64[1] {1}> ()
        sizes = Shape (x)
        length = Gather (sizes, one)
        steps = Squeeze (length)
        yes = Constant <value = bool {1}> ()
        xs = Transpose <perm = [1, 0, 2]> (x)
        y = Loop (STEPS, yes, start) <body = b (int64 i, bool go, float[a, b] h) => (bool on, float[a, b] n) {
            on = Identity (go)
            now = Gather (xs, i)
            f = MatMul (now, w)
            r = MatMul (h, u)
            n = Add (f, r)
        }>
    }"""


def test_a_loop_counts_its_body_at_each_step() -> None:
    # The number of steps is computed from the input, whose length is fixed.
    loop = model(LOOP.replace("STEPS", "steps"), w=zeros(4, 5), u=zeros(5, 5), start=zeros(1, 5))
    counts = count(loop)
    assert counts.macs == 7 * (4 * 5 + 5 * 5)


def test_a_loop_that_its_body_ends_is_not_guessed() -> None:
    text = LOOP.replace("STEPS", "many").replace(
        "yes =", "many = Constant <value = int64 {2147483647}> ()  yes ="
    )
    assert count(model(text, w=zeros(4, 5), u=zeros(5, 5), start=zeros(1, 5))).macs is None
    free = LOOP.replace("STEPS", "steps").replace("[batch, 7, 4]", "[batch, time, 4]")
    assert count(model(free, w=zeros(4, 5), u=zeros(5, 5), start=zeros(1, 5))).macs is None


def test_a_scan_counts_its_body_at_each_step_and_a_loop_in_a_loop_both() -> None:
    counts = count(
        model(
            """
            g (float[6, 3] x) => (float[3] last, float[6, 3] y) {
                last, y = Scan <num_scan_inputs = 1, body = b (float[3] h, float[3] now) =>
                    (float[3] next, float[3] out) {
                    two = Constant <value = int64 {2}> ()
                    yes = Constant <value = bool {1}> ()
                    next = Loop (two, yes, now) <
                        body = c (int64 i, bool go, float[3] s) => (bool on, float[3] t) {
                            on = Identity (go)
                            t = MatMul (s, w)
                        }
                    >
                    out = Identity (h)
                }> (start, x)
            }""",
            w=zeros(3, 3),
            start=zeros(3),
        )
    )
    assert counts.macs == 6 * 2 * 9


@pytest.mark.parametrize(
    "table",
    [np.zeros((100, 16), np.uint8), np.zeros((100, 32), ml_dtypes.int4)],
    ids=["two a byte", "of a type of four bits"],
)
def test_four_bit_products_and_tables(table: NDArray[Any]) -> None:
    proto = parser.parse_model(
        """
        <ir_version: 8, opset_import: ["": 17, "com.microsoft": 1]>
        g (int32[batch, 5] x) => (float[batch, 5, 24] y) {
            e = com.microsoft.GatherBlockQuantized
                <bits = 4, block_size = 16, gather_axis = 0, quantize_axis = 1> (table, x, ones)
            h = com.microsoft.MatMulNBits <K = 32, N = 48, bits = 4, block_size = 32> (e, q, s)
            r = Relu (h)
            y = MatMul (r, w)
        }"""
    )
    arrays: dict[str, NDArray[Any]] = {
        "table": table,
        "ones": np.ones((100, 2), np.float32),
        "q": np.zeros((48, 1, 16), np.uint8),
        "s": np.ones(48, np.float32),
        "w": zeros(48, 24),
    }
    for name, array in arrays.items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    assert count(from_proto(proto)).macs == 5 * (32 * 48 + 48 * 24)


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
