"""Sigmoid, Softsign and Mish in every spelling."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from rewrite_cases import Array, assert_left, assert_same, normal, operators, proto_of, rewrite, rewritten

from optimizer.graph.rewriter import Rewrite
from optimizer.graph.rewrites.smooth_activations import FUSE_SIGMOID, INSERT_EXPONENTIAL_INTO_MISH

SHAPES = ("batch, 300", "batch, 20, 16", "batch, 3, 16, 16", "700")
FORMULAS = {
    "reciprocal": ("n = Neg (x) e = Exp (n) d = Add (e, one) y = Reciprocal (d)", ["Sigmoid"]),
    "reciprocal, swapped": ("n = Neg (x) e = Exp (n) d = Add (one, e) y = Reciprocal (d)", ["Sigmoid"]),
    "quotient": ("n = Neg (x) e = Exp (n) d = Add (one, e) y = Div (one, d)", ["Sigmoid"]),
    "swish": ("n = Neg (x) e = Exp (n) d = Add (one, e) y = Div (x, d)", ["Mul", "Sigmoid"]),
    "softsign": ("a = Abs (x) d = Add (a, one) y = Div (x, d)", ["Softsign"]),
    "softsign, swapped": ("a = Abs (x) d = Add (one, a) y = Div (x, d)", ["Softsign"]),
}
MISHES = {
    "operator": "y = Mish (x)",
    "softplus": "s = Softplus (x) t = Tanh (s) y = Mul (x, t)",
    "softplus, swapped": "s = Softplus (x) t = Tanh (s) y = Mul (t, x)",
    "logarithm, swapped": "e = Exp (x) d = Add (one, e) s = Log (d) t = Tanh (s) y = Mul (t, x)",
    "logarithm": "e = Exp (x) d = Add (e, one) s = Log (d) t = Tanh (s) y = Mul (x, t)",
}


def model(body: str, shape: str = "batch, 300", opset: int = 18) -> onnx.ModelProto:
    weights = {"one": np.array(1, np.float32), "two": np.array(2, np.float32), "row": normal(300)}
    used = {name: value for name, value in weights.items() if f"{name})" in body or f"({name}," in body}
    return proto_of(f"g (float[{shape}] x) => (float[{shape}] y) {{ {body} }}", used, opset)


def feeds(shape: str, largest: float = 60.0) -> list[dict[str, Array]]:
    """Small numbers, large ones and negative ones alone."""
    sizes = [2 if part == "batch" else int(part) for part in shape.split(", ")]
    x = normal(*sizes)
    return [{"x": x}, {"x": np.clip(30 * x, -largest, largest)}, {"x": -10 - np.abs(x)}]


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_becomes_the_operator(name: str, shape: str, opset: int) -> None:
    body, wanted = FORMULAS[name]
    before = model(body, shape, opset)
    after = rewritten(before, FUSE_SIGMOID)
    assert sorted(operators(after)) == wanted
    # Of large negative numbers the operator gives 0 within its rounding relative to 1.
    assert_same(before, after, *feeds(shape)[:2])


@pytest.mark.parametrize(
    ("name", "opset"),
    [*((name, 18) for name in MISHES), *((name, 13) for name in MISHES if name != "operator")],
)
@pytest.mark.parametrize("shape", SHAPES)
def test_mish_takes_one_exponential(name: str, opset: int, shape: str) -> None:
    before = model(MISHES[name], shape, opset)
    after = rewritten(before, INSERT_EXPONENTIAL_INTO_MISH)
    assert operators(after).count("Exp") == 1
    assert not {"Log", "Mish", "Softplus", "Tanh"} & set(operators(after))
    # The logarithm loses the digits of small numbers that the exponential keeps.
    assert_same(before, after, *feeds(shape)[: 2 if "logarithm" in name else 3])


def test_mish_of_the_largest_numbers_is_the_number() -> None:
    before = model(MISHES["softplus"])
    after = rewritten(before, INSERT_EXPONENTIAL_INTO_MISH)
    x = np.full((1, 300), 3e38, np.float32)
    x[0, ::2] = -3e38
    assert_same(before, after, {"x": x})


def test_a_small_mish_is_left_and_says_so() -> None:
    _, report = rewrite(model(MISHES["softplus"], "batch, 100"), [INSERT_EXPONENTIAL_INTO_MISH])
    assert not report.applied
    assert "fast enough" in next(iter(report.left.values())).reason


@pytest.mark.parametrize(
    ("fuse", "body"),
    [
        (FUSE_SIGMOID, "e = Exp (x) d = Add (e, one) y = Reciprocal (d)"),
        (FUSE_SIGMOID, "n = Neg (x) e = Exp (n) d = Add (e, two) y = Reciprocal (d)"),
        (FUSE_SIGMOID, "n = Neg (x) e = Exp (n) d = Sub (e, one) y = Reciprocal (d)"),
        (FUSE_SIGMOID, "n = Neg (x) e = Exp (n) d = Add (e, one) y = Div (two, d)"),
        (FUSE_SIGMOID, "n = Neg (x) e = Exp (n) d = Add (e, one) y = Div (n, d)"),
        (FUSE_SIGMOID, "n = Neg (x) e = Exp (n) d = Mul (e, one) y = Reciprocal (d)"),
        (FUSE_SIGMOID, "n = Neg (x) e = Exp (n) d = Add (e, row) y = Reciprocal (d)"),
        (FUSE_SIGMOID, "a = Abs (x) d = Add (a, two) y = Div (x, d)"),
        (FUSE_SIGMOID, "a = Abs (x) d = Add (a, one) y = Div (a, d)"),
        (FUSE_SIGMOID, "a = Abs (x) d = Add (a, one) y = Reciprocal (d)"),
        (INSERT_EXPONENTIAL_INTO_MISH, "s = Softplus (x) t = Sigmoid (s) y = Mul (x, t)"),
        (INSERT_EXPONENTIAL_INTO_MISH, "s = Abs (x) t = Tanh (s) y = Mul (x, t)"),
        (INSERT_EXPONENTIAL_INTO_MISH, "s = Softplus (x) t = Tanh (x) y = Mul (x, t)"),
        (INSERT_EXPONENTIAL_INTO_MISH, "s = Softplus (x) t = Tanh (s) y = Mul (t, t)"),
        (INSERT_EXPONENTIAL_INTO_MISH, "s = Softplus (x) t = Tanh (s) y = Div (x, t)"),
        (
            INSERT_EXPONENTIAL_INTO_MISH,
            "e = Exp (x) d = Sub (e, one) s = Log (d) t = Tanh (s) y = Mul (x, t)",
        ),
        (INSERT_EXPONENTIAL_INTO_MISH, "s = Softsign (x) t = Tanh (s) y = Mul (x, t)"),
        (INSERT_EXPONENTIAL_INTO_MISH, "s = Softplus (x) t = Tanh (s) y = Mul (s, t)"),
        (INSERT_EXPONENTIAL_INTO_MISH, "s = Softplus (x) t = Tanh (s) y = Add (x, t)"),
        (
            INSERT_EXPONENTIAL_INTO_MISH,
            "e = Exp (x) d = Add (e, two) s = Log (d) t = Tanh (s) y = Mul (x, t)",
        ),
    ],
)
def test_what_differs_is_left(fuse: Rewrite, body: str) -> None:
    assert_left(model(body), fuse)
