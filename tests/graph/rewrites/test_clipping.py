"""Piecewise linear activations in every spelling."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from rewrite_cases import Array, assert_left, assert_same, normal, operators, proto_of, rewrite, rewritten

from optimizer.graph.rewriter import Rewrite
from optimizer.graph.rewrites.clipping import (
    FUSE_CLIP,
    FUSE_HARD_SIGMOID,
    FUSE_LEAKY_RELU,
    FUSE_PRELU,
    FUSE_RELU,
)

NUMBERS = {
    "zero": 0.0,
    "three": 3.0,
    "six": 6.0,
    "sixth": 1 / 6,
    "tenth": 0.1,
    "minus_one": -1.0,
    "two": 2.0,
    "minus_tenth": -0.1,
    "minus_two": -2.0,
}
SHAPES = ("7", "batch, 7", "batch, 2, 3", "2, batch, 3, 1")


def model(body: str, shape: str = "batch, 7", opset: int = 17, **weights: Array) -> onnx.ModelProto:
    used = {name: np.array(value, np.float32) for name, value in NUMBERS.items()} | weights
    used = {name: value for name, value in used.items() if f" {name})" in body or f"{name}," in body}
    return proto_of(f"g (float[{shape}] x) => (float[{shape}] y) {{ {body} }}", used, opset)


def feed(shape: str) -> dict[str, Array]:
    sizes = [3 if part == "batch" else int(part) for part in shape.split(", ")]
    return {"x": 4 * normal(*sizes)}


SPELLINGS: dict[str, tuple[Rewrite, str, list[str]]] = {
    "clip: min of relu": (FUSE_CLIP, "r = Relu (x) y = Min (r, six)", ["Clip"]),
    "clip: min of relu, swapped": (FUSE_CLIP, "r = Relu (x) y = Min (six, r)", ["Clip"]),
    "clip: relu of min": (FUSE_CLIP, "r = Min (x, six) y = Relu (r)", ["Clip"]),
    "clip: min of max": (FUSE_CLIP, "r = Max (x, minus_one) y = Min (r, three)", ["Clip"]),
    "clip: max of min": (FUSE_CLIP, "r = Min (three, x) y = Max (minus_one, r)", ["Clip"]),
    "relu": (FUSE_RELU, "y = Max (x, zero)", ["Relu"]),
    "relu, swapped": (FUSE_RELU, "y = Max (zero, x)", ["Relu"]),
    "relu, inside": (FUSE_RELU, "a = Neg (x) b = Max (a, zero) y = Exp (b)", ["Exp", "Neg", "Relu"]),
    "relu, two readers": (FUSE_RELU, "a = Max (zero, x) b = Neg (a) y = Sub (a, b)", ["Neg", "Relu", "Sub"]),
    "hard sigmoid, plain": (
        FUSE_HARD_SIGMOID,
        "c = Clip (x, zero, six) y = Mul (c, sixth)",
        ["HardSigmoid"],
    ),
    "hard sigmoid, shifted": (
        FUSE_HARD_SIGMOID,
        "a = Add (x, three) c = Clip (a, zero, six) y = Mul (sixth, c)",
        ["HardSigmoid"],
    ),
    "hard sigmoid, divided": (
        FUSE_HARD_SIGMOID,
        "a = Add (three, x) c = Clip (a, zero, six) y = Div (c, six)",
        ["HardSigmoid"],
    ),
    "hard sigmoid, less": (
        FUSE_HARD_SIGMOID,
        "a = Sub (x, minus_one) c = Clip (a, zero, two) y = Div (c, two)",
        ["HardSigmoid"],
    ),
    "leaky: max": (FUSE_LEAKY_RELU, "a = Mul (x, tenth) y = Max (x, a)", ["LeakyRelu"]),
    "leaky: max, swapped": (FUSE_LEAKY_RELU, "a = Mul (tenth, x) y = Max (a, x)", ["LeakyRelu"]),
    "leaky: greater": (
        FUSE_LEAKY_RELU,
        "a = Mul (x, tenth) g = Greater (x, zero) y = Where (g, x, a)",
        ["LeakyRelu"],
    ),
    "leaky: greater or equal": (
        FUSE_LEAKY_RELU,
        "a = Mul (x, tenth) g = GreaterOrEqual (x, zero) y = Where (g, x, a)",
        ["LeakyRelu"],
    ),
    "leaky: less": (
        FUSE_LEAKY_RELU,
        "a = Mul (x, tenth) g = Less (x, zero) y = Where (g, a, x)",
        ["LeakyRelu"],
    ),
    "leaky: one slope": (FUSE_LEAKY_RELU, "y = PRelu (x, tenth)", ["LeakyRelu"]),
    "both sides": (FUSE_PRELU, "p = Relu (x) n = Neg (x) r = Relu (n) s = Mul (tenth, r) y = Sub (p, s)", []),
    "both sides, swapped": (
        FUSE_PRELU,
        "p = Relu (x) n = Neg (x) r = Relu (n) s = Mul (r, tenth) y = Sub (p, s)",
        [],
    ),
    "both sides, a steep slope that bends upwards": (
        FUSE_PRELU,
        "p = Relu (x) n = Neg (x) r = Relu (n) s = Mul (r, two) y = Add (p, s)",
        [],
    ),
    "both sides, a negative slope": (
        FUSE_PRELU,
        "p = Relu (x) n = Neg (x) r = Relu (n) s = Mul (r, minus_tenth) y = Add (s, p)",
        [],
    ),
}


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_becomes_one_operator(name: str, shape: str, opset: int) -> None:
    fuse, body, wanted = SPELLINGS[name]
    before = model(body, shape, opset)
    after = rewritten(before, fuse)
    assert sorted(operators(after)) == (wanted or ["Max", "Mul"])
    assert_same(before, after, feed(shape))


def test_relu6_of_a_shifted_value_that_is_divided_ends_as_one_operator() -> None:
    before = model("a = Add (x, three) r = Relu (a) c = Min (r, six) y = Div (c, six)")
    after = rewritten(before, FUSE_CLIP, FUSE_HARD_SIGMOID)
    assert operators(after) == ["HardSigmoid"]
    assert_same(before, after, feed("batch, 7"))


@pytest.mark.parametrize("slope", [(1, 24, 1, 1), (24, 1, 1), (24, 8, 8)])
def test_slopes_by_channel_are_a_product_and_a_maximum(slope: tuple[int, ...]) -> None:
    slopes = np.clip(normal(*slope), -1, 1)
    slopes.flat[:3] = 0, 1, -1
    before = model("y = PRelu (x, slopes)", "batch, 24, 8, 8", slopes=slopes)
    after = rewritten(before, FUSE_LEAKY_RELU)
    assert operators(after) == ["Mul", "Max"]
    assert_same(before, after, feed("batch, 24, 8, 8"))


@pytest.mark.parametrize("slope", [(1, 24, 1, 1), (24, 1, 1), (24, 8, 8)])
def test_slopes_above_1_are_a_product_of_the_negative_part(slope: tuple[int, ...]) -> None:
    slopes = 2 * normal(*slope)
    slopes.flat[:3] = 0, 1, 5
    before = model("y = PRelu (x, slopes)", "batch, 24, 8, 8", slopes=slopes)
    after = rewritten(before, FUSE_LEAKY_RELU)
    assert operators(after) == ["Min", "Mul", "Add"]
    assert_same(before, after, feed("batch, 24, 8, 8"))


def test_a_small_prelu_is_left_and_says_so() -> None:
    slopes = np.linspace(0, 1, 24, dtype=np.float32).reshape(24, 1, 1)
    _, report = rewrite(model("y = PRelu (x, slopes)", "batch, 24, 2, 2", slopes=slopes), [FUSE_LEAKY_RELU])
    assert not report.applied
    assert "fast enough" in next(iter(report.left.values())).reason


@pytest.mark.parametrize(
    ("fuse", "body"),
    [
        (FUSE_CLIP, "r = Max (x, six) y = Min (r, three)"),
        (FUSE_CLIP, "r = Relu (x) y = Max (r, six)"),
        (FUSE_CLIP, "r = Relu (x) y = Min (r, row)"),
        (FUSE_CLIP, "r = Relu (x) y = Min (r, x)"),
        (FUSE_CLIP, "r = Relu (x) y = Min (r, six, x)"),
        (FUSE_CLIP, "r = Max (x, minus_one, row) y = Min (r, six)"),
        (FUSE_CLIP, "r = Relu (x) y = Add (r, six)"),
        (FUSE_CLIP, "r = Max (x, minus_one) y = Max (r, three)"),
        (FUSE_CLIP, "r = Abs (x) y = Min (r, six)"),
        (FUSE_RELU, "y = Max (x, three)"),
        (FUSE_RELU, "y = Max (x, tenth)"),
        (FUSE_RELU, "y = Max (x, minus_one)"),
        (FUSE_RELU, "y = Max (x, row)"),
        (FUSE_RELU, "y = Max (x, x)"),
        (FUSE_RELU, "y = Max (zero, x, x)"),
        (FUSE_RELU, "y = Min (zero, x)"),
        (FUSE_RELU, "y = Add (x, zero)"),
        (FUSE_RELU, "y = Min (x, zero)"),
        (FUSE_RELU, "y = Max (x, zero, three)"),
        (FUSE_HARD_SIGMOID, "c = Clip (x, zero, six) y = Mul (c, tenth)"),
        (FUSE_HARD_SIGMOID, "c = Clip (x, minus_one, six) y = Mul (c, sixth)"),
        (FUSE_HARD_SIGMOID, "c = Clip (x, zero, six) y = Add (c, sixth)"),
        (FUSE_HARD_SIGMOID, "c = Clip (x, zero, six) y = Div (six, c)"),
        (FUSE_HARD_SIGMOID, "c = Clip (x, zero, six) y = Div (c, three)"),
        (FUSE_HARD_SIGMOID, "c = Clip (x, zero, six) y = Mul (c, row)"),
        (FUSE_HARD_SIGMOID, "c = Clip (x, zero, six) y = Mul (c, x)"),
        (FUSE_HARD_SIGMOID, "c = Clip (x, three, six) y = Mul (c, sixth)"),
        (FUSE_HARD_SIGMOID, "c = Min (x, six) y = Mul (c, sixth)"),
        (FUSE_HARD_SIGMOID, "c = Relu (x) y = Mul (c, sixth)"),
        (FUSE_LEAKY_RELU, "a = Mul (x, tenth) g = Less (x, zero) y = Where (g, x, a)"),
        (FUSE_LEAKY_RELU, "a = Mul (x, tenth) g = Equal (x, zero) y = Where (g, x, a)"),
        (FUSE_LEAKY_RELU, "a = Add (x, tenth) y = Max (x, a)"),
        (FUSE_LEAKY_RELU, "a = Mul (x, tenth) y = Max (a, a)"),
        (FUSE_LEAKY_RELU, "a = Mul (x, tenth) y = Max (x, a, zero)"),
        (FUSE_LEAKY_RELU, "a = Mul (x, two) y = Max (x, a)"),
        (FUSE_LEAKY_RELU, "a = Mul (x, minus_one) y = Max (x, a)"),
        (FUSE_LEAKY_RELU, "a = Mul (x, tenth) g = Greater (x, zero) y = Where (g, a, x)"),
        (FUSE_LEAKY_RELU, "a = Mul (x, tenth) g = Greater (x, three) y = Where (g, x, a)"),
        (FUSE_LEAKY_RELU, "a = Mul (x, tenth) y = Min (x, a)"),
        (FUSE_PRELU, "p = Relu (x) n = Neg (x) r = Relu (n) s = Mul (two, r) y = Sub (p, s)"),
        (FUSE_PRELU, "p = Relu (x) n = Neg (x) r = Relu (n) s = Mul (tenth, r) y = Mul (p, s)"),
        (FUSE_PRELU, "p = Relu (x) n = Neg (x) r = Relu (n) s = Mul (tenth, r) y = Sub (s, p)"),
        (FUSE_PRELU, "p = Relu (x) n = Neg (x) r = Relu (n) s = Mul (minus_two, r) y = Add (p, s)"),
        (FUSE_PRELU, "n = Neg (x) p = Relu (n) s = Mul (tenth, p) y = Sub (p, s)"),
        (FUSE_PRELU, "p = Relu (x) s = Mul (tenth, p) y = Sub (p, s)"),
        (FUSE_PRELU, "p = Sigmoid (x) n = Neg (x) r = Relu (n) s = Mul (tenth, r) y = Sub (p, s)"),
        (FUSE_PRELU, "p = Relu (x) n = Neg (x) r = Sigmoid (n) s = Mul (tenth, r) y = Sub (p, s)"),
        (FUSE_PRELU, "p = Relu (x) m = Exp (x) n = Neg (m) r = Relu (n) s = Mul (tenth, r) y = Sub (p, s)"),
        (FUSE_PRELU, "p = Relu (x) n = Abs (x) r = Relu (n) s = Mul (tenth, r) y = Sub (p, s)"),
    ],
)
def test_what_differs_is_left(fuse: Rewrite, body: str) -> None:
    assert_left(model(body, row=normal(7)), fuse)


@pytest.mark.parametrize("kind", ["double", "float16", "int32"])
def test_a_maximum_of_other_types_is_left(kind: str) -> None:
    text = f"g ({kind}[2, 3] x) => ({kind}[2, 3] y) <{kind} zero = {{0}}> {{ y = Max (x, zero) }}"
    assert_left(proto_of(text, {}), FUSE_RELU)


@pytest.mark.parametrize("kind", ["double", "float16", "int32"])
def test_other_types_are_left(kind: str) -> None:
    text = f"""g ({kind}[2, 3] x) => ({kind}[2, 3] y) <{kind} zero = {{0}}, {kind} six = {{6}}>
        {{ r = Max (x, zero) y = Min (r, six) }}"""
    assert_left(proto_of(text, {}), FUSE_CLIP)
