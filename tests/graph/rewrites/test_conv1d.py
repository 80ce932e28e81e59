"""One-dimensional layers between Squeeze and Unsqueeze."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from rewrite_cases import Array, assert_left, assert_same, normal, operators, proto_of, rewritten

from optimizer.graph.rewrites.conv1d import COLLAPSE_SQUEEZES

ACTIVATIONS = (
    "Relu",
    "Tanh",
    "Sigmoid",
    "Elu",
    "LeakyRelu",
    "Abs",
    "Neg",
    "Exp",
    "Erf",
    "Softplus",
    "HardSwish",
    "Selu",
)
CONSTANTS = {
    "channel": normal(1, 4, 1),
    "no batch axis": normal(4, 1),
    "position": normal(8),
    "number": np.array(2.0, np.float32),
    "each": normal(1, 4, 8),
}


def model(body: str, constants: dict[str, Array], axis: int = 2) -> onnx.ModelProto:
    shape = {2: "batch, 4, 1, 8", 3: "batch, 4, 8, 1"}[axis]
    text = f"""
        g (float[{shape}] x) => (float[batch, 4, 8] y)
        <int64[1] axis = {{{axis}}}, int64[1] other = {{2}}>
        {{ s = Squeeze (x, axis) {body} }}"""
    return proto_of(text, constants)


def feed(axis: int) -> dict[str, Array]:
    return {"x": normal(2, 4, 1, 8) if axis == 2 else normal(2, 4, 8, 1)}


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_moves_before_the_squeeze(name: str, axis: int) -> None:
    before = model(f"y = {name} (s)", {}, axis)
    after = rewritten(before, COLLAPSE_SQUEEZES)
    assert operators(after) == [name, "Squeeze"]
    assert_same(before, after, feed(axis))


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("name", ["Add", "Mul", "Sub", "Div", "Max", "Min"])
@pytest.mark.parametrize("constant", CONSTANTS)
def test_a_constant_operand_is_widened(constant: str, name: str, axis: int) -> None:
    before = model(f"y = {name} (s, c)", {"c": CONSTANTS[constant]}, axis)
    after = rewritten(before, COLLAPSE_SQUEEZES)
    assert operators(after) == [name, "Squeeze"]
    assert_same(before, after, feed(axis))


def test_a_chain_ends_with_the_squeeze() -> None:
    before = model("a = Add (s, c) b = Relu (a) y = Mul (c, b)", {"c": CONSTANTS["channel"]})
    after = rewritten(before, COLLAPSE_SQUEEZES, times=3)
    assert operators(after) == ["Add", "Relu", "Mul", "Squeeze"]
    assert_same(before, after, feed(2))


@pytest.mark.parametrize(
    "body",
    [
        "y = Softmax (s)",
        "y = Add (s, s)",
        "t = Relu (x) u = Squeeze (t, axis) y = Add (s, u)",
        "a = Relu (s) y = Add (a, s)",
        "y = CumSum (s, n)",
        "y = Transpose <perm = [0, 1, 2]> (s)",
        "y = PRelu (s, slope)",
        "y = Add (s, wide)",
    ],
)
def test_what_is_not_elementwise_or_read_twice_is_left(body: str) -> None:
    constants = {"n": np.array(1), "slope": normal(4, 1), "wide": normal(1, 1, 4, 8)}
    used = {name: value for name, value in constants.items() if f", {name})" in body}
    if "wide" in body:
        text = """
            g (float[1, 4, 1, 8] x) => (float[1, 1, 4, 8] y) <int64[1] axis = {2}>
            { s = Squeeze (x, axis) y = Add (s, wide) }"""
        assert_left(proto_of(text, used), COLLAPSE_SQUEEZES)
    else:
        assert_left(model(body, used), COLLAPSE_SQUEEZES)
