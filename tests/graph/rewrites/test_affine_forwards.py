"""Products and sums by column before MatMul, Gemm and Conv, and constants one behind the other."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from rewrite_cases import Array, assert_left, assert_same, normal, operators, proto_of, rewrite, rewritten

from optimizer.graph.rewrites.affine_forwards import COLLAPSE_CONSTANTS, FOLD_AFFINE_FORWARDS

CHANGES = {
    "scale": "c = Mul (x, s)",
    "scale, swapped": "c = Mul (s, x)",
    "quotient": "c = Div (x, s)",
    "shift": "c = Add (x, s)",
    "shift, swapped": "c = Add (s, x)",
    "difference": "c = Sub (x, s)",
}
LAYERS: dict[str, tuple[str, str, str, tuple[int, ...], dict[str, Array]]] = {
    "matmul": ("y = MatMul (c, w)", "batch, 6", "batch, 4", (6,), {"w": normal(6, 4)}),
    "matmul of steps": ("y = MatMul (c, w)", "batch, 3, 6", "batch, 3, 4", (1, 1, 6), {"w": normal(6, 4)}),
    "gemm": (
        "y = Gemm (c, w, b)",
        "batch, 6",
        "batch, 4",
        (1, 6),
        {"w": normal(6, 4), "b": normal(4)},
    ),
    "gemm of a transposed weight": (
        "y = Gemm <transB = 1> (c, w)",
        "batch, 6",
        "batch, 4",
        (6,),
        {"w": normal(4, 6)},
    ),
    "conv": (
        "y = Conv (c, w, b)",
        "batch, 6, 5, 5",
        "batch, 4, 3, 3",
        (6, 1, 1),
        {"w": normal(4, 6, 3, 3), "b": normal(4)},
    ),
    "grouped conv": (
        "y = Conv <group = 2> (c, w)",
        "batch, 6, 8",
        "batch, 4, 6",
        (1, 6, 1),
        {"w": normal(4, 3, 3)},
    ),
}


def model(layer: str, body: str, scale: Array) -> onnx.ModelProto:
    text, given, result, _, weights = LAYERS[layer]
    return proto_of(
        f"g (float[{given}] x) => (float[{result}] y) {{ {body} {text} }}", {**weights, "s": scale}
    )


def feed(layer: str) -> dict[str, Array]:
    return {"x": normal(*(2 if part == "batch" else int(part) for part in LAYERS[layer][1].split(", ")))}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("layer", LAYERS)
def test_a_change_by_column_goes_into_the_layer_behind(layer: str, change: str) -> None:
    before = model(layer, CHANGES[change], (0.5 + normal(*LAYERS[layer][3], seed=5) ** 2))
    after = rewritten(before, FOLD_AFFINE_FORWARDS)
    shifts = any(name in CHANGES[change] for name in ("Add", "Sub"))
    assert len(operators(after)) == (2 if layer.startswith("matmul") and shifts else 1)
    assert_same(before, after, feed(layer))


@pytest.mark.parametrize("layer", LAYERS)
def test_one_number_goes_into_the_layer_behind(layer: str) -> None:
    before = model(layer, "p = Mul (x, s) c = Add (p, s)", np.array(0.7, np.float32))
    after = rewritten(before, FOLD_AFFINE_FORWARDS, times=2)
    assert_same(before, after, feed(layer))


@pytest.mark.parametrize(
    "attributes", ["pads = [1, 1, 1, 1]", "strides = [2, 2], pads = [0, 1, 0, 1]", 'auto_pad = "SAME_LOWER"']
)
def test_a_scale_goes_into_a_padded_conv_and_a_shift_does_not(attributes: str) -> None:
    text = f"""g (float[batch, 6, 5, 5] x) => (float[batch, 4, h, v] y)
        {{ p = Add (x, t) c = Mul (p, s) y = Conv <{attributes}> (c, w) }}"""
    before = proto_of(text, {"w": normal(4, 6, 3, 3), "s": normal(6, 1, 1), "t": normal(6, 1, 1, seed=2)})
    after = rewritten(before, FOLD_AFFINE_FORWARDS)
    assert operators(after) == ["Add", "Conv"]
    assert_same(before, after, {"x": normal(2, 6, 5, 5)})
    _, report = rewrite(before, [FOLD_AFFINE_FORWARDS])
    assert "padding" in next(iter(report.left.values())).reason


def test_a_shift_whose_products_are_large_keeps_its_digits() -> None:
    """Keras's Normalization of values around 15 that differ in the second digit behind the point."""
    text = "g (float[batch, 6] x) => (float[batch, 4] y) { d = Sub (x, m) c = Div (d, s) y = Gemm (c, w) }"
    weights = {"m": np.full(6, 15, np.float32), "s": np.full(6, 0.01, np.float32), "w": normal(6, 4)}
    before = proto_of(text, weights)
    after, report = rewrite(before, [FOLD_AFFINE_FORWARDS])
    assert operators(after) == ["Sub", "Gemm"]
    assert "lose digits" in next(iter(report.left.values())).reason
    assert_same(before, after, {"x": 15 + np.float32(0.01) * normal(64, 6)})


def test_a_large_shift_is_left_and_says_so() -> None:
    _, report = rewrite(
        model("gemm", CHANGES["difference"], np.full(6, 300, np.float32)), [FOLD_AFFINE_FORWARDS]
    )
    assert not report.applied
    assert "lose digits" in next(iter(report.left.values())).reason


@pytest.mark.parametrize(
    ("body", "scale", "end"),
    [
        ("c = Mul (x, s)", normal(3, 1), "y = Gemm (c, w, b)"),
        ("c = Mul (x, s)", normal(3, 6), "y = Gemm (c, w, b)"),
        ("c = Div (s, x)", normal(6), "y = Gemm (c, w, b)"),
        ("c = Sub (s, x)", normal(6), "y = Gemm (c, w, b)"),
        ("c = Pow (x, s)", normal(6), "y = Gemm (c, w, b)"),
        ("c = Mul (x, s)", normal(6), "y = Gemm <alpha = 2.0> (c, w, b)"),
        ("c = Mul (x, s)", normal(6), "y = Gemm <beta = 2.0> (c, w, b)"),
        ("c = Mul (x, s)", normal(6), "z = Gemm (c, w, b) q = ReduceMax (c) y = Add (z, q)"),
        ("c = Mul (x, s)", normal(1, 3, 6), "y = MatMul (c, w)"),
        ("c = Mul (x, x)", normal(6), "y = Gemm (c, w, s4)"),
    ],
)
def test_what_cannot_be_folded_is_left(body: str, scale: Array, end: str) -> None:
    rank = ", 3" if scale.ndim == 3 else ""
    weights = {"w": normal(6, 4), "b": normal(4), "s": scale, "s4": normal(4)}
    text = f"g (float[3, 6] x) => (float[{'1, ' if rank else ''}3, 4] y) {{ {body} {end} }}"
    used = {name: value for name, value in weights.items() if f" {name})" in text or f"({name}," in text}
    used |= {"w": weights["w"]}
    assert_left(proto_of(text, used), FOLD_AFFINE_FORWARDS)


@pytest.mark.parametrize(("first", "second"), [((4,), (4,)), ((4,), ()), ((), (3, 4)), ((3, 1), (3, 1))])
@pytest.mark.parametrize("operator", ["Add", "Mul"])
@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("opset", [13, 17])
def test_two_constants_become_one(
    operator: str, first: tuple[int, ...], second: tuple[int, ...], swapped: bool, opset: int
) -> None:
    inner = f"p = {operator} ({'c, x' if swapped else 'x, c'})"
    text = f"g (float[batch, 3, 4] x) => (float[batch, 3, 4] y) {{ {inner} y = {operator} (p, d) }}"
    weights = {"c": np.asarray(normal(*first, seed=1)), "d": np.asarray(normal(*second, seed=2))}
    before = proto_of(text, {name: np.array(value, np.float32) for name, value in weights.items()}, opset)
    after = rewritten(before, COLLAPSE_CONSTANTS)
    assert operators(after) == [operator]
    assert_same(before, after, {"x": normal(2, 3, 4)})


@pytest.mark.parametrize(
    "body",
    [
        "p = Add (x, c) y = Mul (p, d)",
        "p = Sub (x, c) y = Sub (p, d)",
        "p = Mul (x, c) y = Add (p, d)",
        "p = Div (x, c) y = Div (p, d)",
        "p = Mul (x, c) y = Mul (p, e)",
        "p = Mul (x, x) y = Mul (p, d)",
        "p = Add (x, c) q = Relu (p) y = Add (q, d)",
        "p = Add (x, c) y = Add (p, e)",
        "p = Add (x, c) q = Add (p, d) y = Add (q, p)",
        "p = Add (x, x) y = Add (p, d)",
        "p = Add (x, up) y = Add (p, down)",
    ],
)
def test_constants_apart_are_left(body: str) -> None:
    weights = {"c": normal(1, 4), "d": normal(1, 4), "e": normal(3, 1)}
    weights |= {"up": np.array(2**23, np.float32), "down": np.array(-(2**23), np.float32)}  # rounds x
    used = {name: value for name, value in weights.items() if f", {name})" in body}
    assert_left(proto_of(f"g (float[3, 4] x) => (float[3, 4] y) {{ {body} }}", used), COLLAPSE_CONSTANTS)
