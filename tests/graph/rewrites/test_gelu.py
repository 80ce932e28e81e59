"""Gelu in every spelling, and what looks like it but is not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from rewrite_cases import assert_left, assert_same, normal, operators, proto_of, rewritten

from optimizer.graph.rewrites.gelu import FUSE_GELU

NUMBERS = {
    "half": 0.5,
    "one": 1.0,
    "two": 2.0,
    "three": 3.0,
    "root": np.sqrt(0.5),
    "root2": np.sqrt(2.0),
    "minus_root": -np.sqrt(0.5),
    "cubic": 0.044715,
    "rate": np.sqrt(2 / np.pi),
}
TANH = "g = Mul (e, rate) t = Tanh (g) f = Add (t, one)"
HALF_FIRST = "h = Mul (x, half) y = Mul (h, f)"
ERF = {
    "divided": "a = Div (x, root2) e = Erf (a) f = Add (e, one)",
    "multiplied": "a = Mul (x, root) e = Erf (a) f = Add (e, one)",
    "multiplied, swapped": "a = Mul (root, x) e = Erf (a) f = Add (one, e)",
    "negated": "n = Neg (x) a = Mul (n, root) e = Erf (a) f = Sub (one, e)",
    "negated, divided": "n = Neg (x) a = Div (n, root2) e = Erf (a) f = Sub (one, e)",
    "by a negative": "a = Mul (x, minus_root) e = Erf (a) f = Sub (one, e)",
    "negated late": "a = Mul (x, root) n = Neg (a) e = Erf (n) f = Sub (one, e)",
    "tanh of a power": f"c = Pow (x, three) d = Mul (c, cubic) e = Add (x, d) {TANH}",
    "tanh of a product": f"s = Mul (x, x) c = Mul (s, x) d = Mul (cubic, c) e = Add (x, d) {TANH}",
    "tanh of a square": f"s = Mul (x, x) d = Mul (s, cubic) i = Add (d, one) e = Mul (x, i) {TANH}",
}
PRODUCTS = {
    "half first": "h = Mul (x, half) y = Mul (h, f)",
    "half first, swapped": "h = Mul (half, x) y = Mul (f, h)",
    "half last": "h = Mul (x, f) y = Mul (h, half)",
    "halved factor": "h = Mul (f, half) y = Mul (x, h)",
    "divided by two": "h = Mul (x, f) y = Div (h, two)",
}


def model(body: str, shape: str = "batch, 7", opset: int = 17) -> onnx.ModelProto:
    weights = {name: np.array(value, np.float32) for name, value in NUMBERS.items()}
    return proto_of(f"g (float[{shape}] x) => (float[{shape}] y) {{ {body} }}", weights, opset)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("erf", ERF)
def test_every_spelling_becomes_one_operator(erf: str, product: str) -> None:
    before = model(f"{ERF[erf]} {PRODUCTS[product]}")
    after = rewritten(before, FUSE_GELU)
    assert operators(after) == ["Gelu"]
    assert_same(before, after, {"x": normal(3, 7)}, {"x": 10 * normal(2, 7)})


@pytest.mark.parametrize("opset", [13, 17, 20])
@pytest.mark.parametrize("shape", ["batch", "batch, 2, 3", "2, batch, 3, 1"])
def test_any_rank_and_operator_set(shape: str, opset: int) -> None:
    before = model(f"{ERF['divided']} {PRODUCTS['half last']}", shape, opset)
    after = rewritten(before, FUSE_GELU)
    assert after.opset_import[0].version == 20
    sizes = [2 if part == "batch" else int(part) for part in shape.split(", ")]
    assert_same(before, after, {"x": normal(*sizes)})


@pytest.mark.parametrize(
    "body",
    [
        "a = Div (x, root2) e = Erf (a) f = Sub (e, one) h = Mul (x, half) y = Mul (h, f)",
        "a = Mul (x, root2) e = Erf (a) f = Add (e, one) h = Mul (x, half) y = Mul (h, f)",
        "a = Mul (x, root) e = Erf (a) f = Add (e, two) h = Mul (x, half) y = Mul (h, f)",
        "a = Mul (x, root) e = Erf (a) f = Add (e, one) h = Mul (x, two) y = Mul (h, f)",
        "a = Mul (x, root) e = Erf (a) f = Add (e, one) h = Add (x, half) y = Mul (h, f)",
        "a = Mul (x, root) e = Tanh (a) f = Add (e, one) h = Mul (x, half) y = Mul (h, f)",
        "z = Abs (x) a = Mul (x, root) e = Erf (a) f = Add (e, one) h = Mul (z, half) y = Mul (h, f)",
        "a = Mul (x, root) e = Erf (a) f = Sub (one, e) h = Mul (x, half) y = Mul (h, f)",
        "n = Neg (x) a = Mul (n, root) e = Erf (a) f = Add (one, e) h = Mul (x, half) y = Mul (h, f)",
        f"c = Pow (x, two) d = Mul (c, cubic) e = Add (x, d) {TANH} {HALF_FIRST}",
        f"c = Pow (x, three) d = Mul (c, half) e = Add (x, d) {TANH} {HALF_FIRST}",
        f"c = Pow (x, three) d = Mul (c, cubic) e = Add (x, d) {TANH} {HALF_FIRST}".replace("rate", "root"),
    ],
)
def test_what_differs_is_left(body: str) -> None:
    assert_left(model(body), FUSE_GELU)


def test_a_value_that_is_given_out_too_stays() -> None:
    before = proto_of(
        f"g (float[2] x) => (float[2] y, float[2] e) {{ {ERF['divided']} {PRODUCTS['half last']} }}",
        {name: np.array(value, np.float32) for name, value in NUMBERS.items()},
    )
    after = rewritten(before, FUSE_GELU)
    assert_same(before, after, {"x": normal(2)})
