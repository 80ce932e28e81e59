"""Products and sums by column behind MatMul, Gemm and Conv."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from rewrite_cases import Array, assert_left, assert_same, normal, operators, proto_of, rewritten

from optimizer.graph.rewrites.affine import FOLD_AFFINE

CHANGES = {
    "scale": "y = Mul (l, c)",
    "scale, swapped": "y = Mul (c, l)",
    "quotient": "y = Div (l, c)",
    "shift": "y = Add (l, c)",
    "shift, swapped": "y = Add (c, l)",
    "difference": "y = Sub (l, c)",
}
LAYERS = {
    "gemm": ("l = Gemm (x, w, b)", "batch, 6", "batch, 4", {"w": normal(6, 4), "b": normal(4)}),
    "gemm of a transposed weight": (
        "l = Gemm <transB = 1> (x, w, b)",
        "batch, 6",
        "batch, 4",
        {"w": normal(4, 6), "b": normal(4)},
    ),
    "gemm without bias": ("l = Gemm (x, w)", "batch, 6", "batch, 4", {"w": normal(6, 4)}),
    "conv": (
        "l = Conv (x, w, b)",
        "batch, 3, 5, 5",
        "batch, 4, 3, 3",
        {"w": normal(4, 3, 3, 3), "b": normal(4)},
    ),
    "conv without bias": ("l = Conv (x, w)", "batch, 3, 8", "batch, 4, 6", {"w": normal(4, 3, 3)}),
    "transposed conv": (
        "l = ConvTranspose <strides = [2, 2]> (x, w, b)",
        "batch, 3, 3, 3",
        "batch, 4, 7, 7",
        {"w": normal(3, 4, 3, 3), "b": normal(4)},
    ),
    "grouped transposed conv": (
        "l = ConvTranspose <group = 2> (x, w)",
        "batch, 6, 8",
        "batch, 4, 10",
        {"w": normal(6, 2, 3)},
    ),
    "instance normalization": (
        "l = InstanceNormalization (x, w, b)",
        "batch, 4, 8",
        "batch, 4, 8",
        {"w": normal(4), "b": normal(4)},
    ),
    "layer normalization": (
        "l = LayerNormalization (x, w, b)",
        "batch, 4",
        "batch, 4",
        {"w": normal(4), "b": normal(4)},
    ),
    "layer normalization without bias": (
        "l = LayerNormalization (x, w)",
        "batch, 4",
        "batch, 4",
        {"w": normal(4)},
    ),
    "grouped conv": ("l = Conv <group = 2> (x, w)", "batch, 4, 8", "batch, 4, 6", {"w": normal(4, 2, 3)}),
}


def model(layer: str, body: str, constant: Array) -> onnx.ModelProto:
    text, given, result, weights = LAYERS[layer]
    return proto_of(
        f"g (float[{given}] x) => (float[{result}] y) {{ {text} {body} }}", {**weights, "c": constant}
    )


def by_channel(layer: str, *, full: bool = True) -> Array:
    rank = LAYERS[layer][2].count(",") + 1
    constant = 1.5 + normal(4, seed=8) ** 2
    return constant.reshape((1, 4) + (1,) * (rank - 2)) if full or rank > 2 else constant


def feed(layer: str) -> Array:
    return normal(*(2 if part == "batch" else int(part) for part in LAYERS[layer][1].split(", ")))


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("layer", LAYERS)
def test_a_change_by_channel_goes_into_the_layer(layer: str, change: str) -> None:
    before = model(layer, CHANGES[change], by_channel(layer))
    after = rewritten(before, FOLD_AFFINE)
    assert len(operators(after)) == 1
    assert_same(before, after, {"x": feed(layer)})


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("layer", LAYERS)
def test_one_number_goes_into_the_layer(layer: str, change: str) -> None:
    before = model(layer, CHANGES[change], np.array(1.7, np.float32))
    after = rewritten(before, FOLD_AFFINE)
    assert_same(before, after, {"x": feed(layer)})


@pytest.mark.parametrize("layer", LAYERS)
def test_scale_and_shift_of_a_batch_normalization_go_both(layer: str) -> None:
    before = model(layer, "m = Mul (l, c) y = Add (m, c)", by_channel(layer))
    after = rewritten(before, FOLD_AFFINE, times=2)
    assert len(operators(after)) == 1
    assert_same(before, after, {"x": feed(layer)})


@pytest.mark.parametrize("change", ["scale", "scale, swapped", "quotient"])
@pytest.mark.parametrize("constant", [normal(4), normal(1, 4), np.array(3.0, np.float32)])
@pytest.mark.parametrize("shape", ["batch", "2, batch"])
def test_a_scale_goes_into_a_matmul(shape: str, constant: Array, change: str) -> None:
    text = f"g (float[{shape}, 6] x) => (float[{shape}, 4] y) {{ l = MatMul (x, w) {CHANGES[change]} }}"
    before = proto_of(text, {"w": normal(6, 4), "c": constant})
    after = rewritten(before, FOLD_AFFINE)
    assert operators(after) == ["MatMul"]
    assert_same(before, after, {"x": normal(*([2] * shape.count(",")), 2, 6)})


@pytest.mark.parametrize(
    ("body", "constant"),
    [
        ("l = Gemm (x, w, b) y = Mul (l, c)", normal(3, 1)),
        ("l = Gemm (x, w, b) y = Mul (l, c)", normal(3, 4)),
        ("l = Gemm (x, w, b) y = Sub (c, l)", normal(4)),
        ("l = Gemm (x, w, b) y = Div (c, l)", normal(4)),
        ("l = Gemm <alpha = 2.0> (x, w, b) y = Mul (l, c)", normal(4)),
        ("l = Gemm <beta = 0.5> (x, w, b) y = Add (l, c)", normal(4)),
        ("l = Gemm (x, w, b) y = Pow (l, c)", normal(4)),
        ("l = Gemm (x, w, b) y = Mul (l, l)", None),
        ("l = Gemm (x, w, b) m = Mul (l, c) y = Add (m, l)", normal(4)),
        ("l = MatMul (x, w) y = Add (l, c)", normal(4)),
        ("l = MatMul (x, w) y = Mul (l, c)", normal(3, 1)),
    ],
)
def test_what_cannot_be_folded_is_left(body: str, constant: Array | None) -> None:
    weights = {"w": normal(6, 4)} | ({"b": normal(4)} if ", b)" in body else {})
    used = weights if constant is None else {**weights, "c": constant}
    assert_left(proto_of(f"g (float[3, 6] x) => (float[3, 4] y) {{ {body} }}", used), FOLD_AFFINE)


def test_a_layer_whose_own_output_is_given_out_is_left() -> None:
    text = "g (float[3, 6] x) => (float[3, 4] y, float[3, 4] l) { l = Gemm (x, w, b) y = Mul (l, c) }"
    assert_left(proto_of(text, {"w": normal(6, 4), "b": normal(4), "c": normal(4)}), FOLD_AFFINE)


def test_integers_are_left() -> None:
    text = "g (int32[3, 6] x) => (int32[3, 4] y) { l = MatMul (x, w) y = Div (l, c) }"
    weights = {"w": np.ones((6, 4), np.int32), "c": np.full(4, 2, np.int32)}
    assert_left(proto_of(text, weights), FOLD_AFFINE)


def test_layers_of_one_name_in_a_branch_and_around_it_are_both_folded() -> None:
    text = """
        g (float[3, 6] x, bool c) => (float[3, 4] y)
        { l = Gemm (x, w, b)
          m = Mul (l, s)
          y = If <then_branch = t () => (float[3, 4] p) { k = Gemm (x, w, b) n = Mul (k, s) p = Relu (n) },
                  else_branch = e () => (float[3, 4] q) { q = Relu (m) }> (c) }"""
    before = proto_of(text, {"w": normal(6, 4), "b": normal(4), "s": normal(4)})
    for graph in (before.graph, before.graph.node[-1].attribute[0].g):
        next(node for node in graph.node if node.op_type == "Mul").name = "scale"
    after = rewritten(before, FOLD_AFFINE, times=2)
    feeds = [{"x": normal(3, 6), "c": np.array(flag)} for flag in (True, False)]
    assert_same(before, after, *feeds)


def normalized(layer: str, attributes: str = "", opset: int = 17) -> onnx.ModelProto:
    """A BatchNormalization behind a layer."""
    text, given, result, weights = LAYERS[layer]
    body = f"{text} y = BatchNormalization {attributes} (l, g, s, m, v)"
    parameters = {"g": normal(4, seed=5), "s": normal(4, seed=6), "m": normal(4, seed=7)}
    variance = {"v": np.abs(normal(4, seed=8)) + np.float32(0.1)}
    text = f"g (float[{given}] x) => (float[{result}] y) {{ {body} }}"
    return proto_of(text, weights | parameters | variance, opset)


@pytest.mark.parametrize("opset", [15, 17])
@pytest.mark.parametrize("attributes", ["", "<epsilon = 0.01>"])
@pytest.mark.parametrize("layer", [name for name in LAYERS if "layer" not in name])
def test_a_batch_normalization_folds_into_the_layer(layer: str, attributes: str, opset: int) -> None:
    before = normalized(layer, attributes, opset)
    after = rewritten(before, FOLD_AFFINE)
    assert operators(after) == [before.graph.node[0].op_type]
    shape = [int(size) for size in LAYERS[layer][1].split(", ")[1:]]
    assert_same(before, after, {"x": normal(3, *shape)}, {"x": normal(1, *shape)})


def test_behind_a_product_a_batch_normalization_leaves_a_sum() -> None:
    text = "g (float[n, 6] x) => (float[n, 4] y) { l = MatMul (x, w) y = BatchNormalization (l, g, s, m, v) }"
    names = {name: normal(4, seed=place) for place, name in enumerate("gsm")}
    before = proto_of(text, {"w": normal(6, 4), "v": np.abs(normal(4)) + 1} | names)
    after = rewritten(before, FOLD_AFFINE)
    assert operators(after) == ["MatMul", "Add"]
    assert_same(before, after, {"x": normal(3, 6)})


@pytest.mark.parametrize(
    "body",
    [
        "l = Conv (x, w) o, p, q = BatchNormalization <training_mode = 1> (l, g, s, m, v) y = Add (o, o)",
        "l = Conv (x, w) o = BatchNormalization (l, g, s, m, v) y = Add (o, l)",
        "l = Conv (x, w) k = Exp (s) y = BatchNormalization (l, g, k, m, v)",
        "l = Conv (x, w) r = Relu (l) y = BatchNormalization (r, g, s, m, v)",
        "l = MatMul (x, u) y = BatchNormalization (l, g, s, m, v)",
    ],
)
def test_other_batch_normalizations_are_left(body: str) -> None:
    names = {name: normal(4, seed=place) for place, name in enumerate("gsm")}
    weights = names | {"v": np.abs(normal(4)) + 1, "w": normal(4, 4, 1), "u": normal(8, 8)}
    text = f"g (float[n, 4, 8] x) => (float[n, 4, 8] y) {{ {body} }}"
    used = {name: value for name, value in weights.items() if f"{name})" in text or f" {name}," in text}
    assert_left(proto_of(text, used), FOLD_AFFINE)


def test_the_layer_keeps_its_name() -> None:
    before = normalized("conv")
    before.graph.node[0].name = "theirs"
    after = rewritten(before, FOLD_AFFINE)
    assert [node.name for node in after.graph.node] == ["theirs"]


def test_a_layer_in_front_of_a_loop_does_not_move_into_its_body() -> None:
    text = """g (float[3, 6] x) => (float[3, 4] y)
        <int64 turns = {3}, bool go = {1}, float[3, 4] z = {ZEROS}> {
        h = MatMul (x, w)
        y = Loop <body = b (int64 i, bool c, float[3, 4] a) => (bool d, float[3, 4] e)
            { d = Identity (c)  m = Mul (h, c4)  e = Add (a, m) }> (turns, go, z) }"""
    text = text.replace("ZEROS", ", ".join(["0.0"] * 12))
    assert_left(proto_of(text, {"w": normal(6, 4), "c4": normal(4)}), FOLD_AFFINE)
