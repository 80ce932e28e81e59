"""Elementwise operators behind moves."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from rewrite_cases import Array, assert_left, assert_same, normal, operators, proto_of, rewritten

from optimizer.graph.rewrites.elementwise import RAISE_ELEMENTWISE
from optimizer.graph.rewrites.moves import COLLAPSE_MOVES

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
        <int64[1] axis = {{{axis}}}, int64[3] shape = {{-1, 4, 8}}>
        {{ s = Squeeze (x, axis) {body} }}"""
    return proto_of(text, constants)


def feed(axis: int) -> dict[str, Array]:
    return {"x": normal(2, 4, 1, 8) if axis == 2 else normal(2, 4, 8, 1)}


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_moves_before_the_squeeze(name: str, axis: int) -> None:
    before = model(f"y = {name} (s)", {}, axis)
    after = rewritten(before, RAISE_ELEMENTWISE)
    assert operators(after) == [name, "Squeeze"]
    assert_same(before, after, feed(axis))


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("name", ["Add", "Mul", "Sub", "Div", "Max", "Min"])
@pytest.mark.parametrize("constant", CONSTANTS)
def test_a_constant_operand_is_widened(constant: str, name: str, axis: int) -> None:
    before = model(f"y = {name} (s, c)", {"c": CONSTANTS[constant]}, axis)
    after = rewritten(before, RAISE_ELEMENTWISE)
    assert operators(after) == [name, "Squeeze"]
    assert_same(before, after, feed(axis))


def test_a_chain_ends_with_the_squeeze() -> None:
    before = model("a = Add (s, c) b = Relu (a) y = Mul (c, b)", {"c": CONSTANTS["channel"]})
    after = rewritten(before, RAISE_ELEMENTWISE, times=3)
    assert operators(after) == ["Add", "Relu", "Mul", "Squeeze"]
    assert_same(before, after, feed(2))


@pytest.mark.parametrize(
    "body",
    [
        "y = Softmax (s)",
        "a = Relu (s) b = Neg (s) y = Add (a, b)",
        "a = CumSum (s, n) y = Add (a, s)",
        "t = Relu (x) u = Reshape (t, shape) y = Add (s, u)",
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
        assert_left(proto_of(text, used), RAISE_ELEMENTWISE)
    else:
        assert_left(model(body, used), RAISE_ELEMENTWISE)


MOVES = {
    "transpose": ("x = Transpose <perm = [0, 2, 1]> (a)", (2, 6, 4), (4, 6)),
    "transposed batch": ("x = Transpose <perm = [1, 0, 2]> (a)", (4, 2, 6), (4, 6)),
    "split": ("x = Reshape (a, t)", (2, 12), (4, 3)),
    "split of two": ("x = Reshape (a, t)", (2, 5, 12), (5, 4, 3)),
    "joined": ("x = Reshape (a, t)", (2, 3, 4), (12,)),
    "unsqueezed": ("x = Unsqueeze (a, one)", (2, 4, 6), (1, 4, 6)),
    "flattened": ("x = Flatten (a)", (2, 3, 4), (12,)),
}


def moved(name: str, body: str, constants: dict[str, Array]) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    move, given, kept = MOVES[name]
    sizes = ", ".join(map(str, given))
    target = ", ".join(map(str, (2, *kept)))
    text = f"""
        g (float[{sizes}] a) => (float[{", ".join("pqrst"[: len(kept) + 1])}] y)
        <int64[{len(kept) + 1}] t = {{{target}}}, int64[1] one = {{1}}> {{ {move} {body} }}"""
    return proto_of(text, constants), given


@pytest.mark.parametrize("which", ["all", "last", "first", "number"])
@pytest.mark.parametrize("name", MOVES)
def test_a_constant_is_moved_back(name: str, which: str) -> None:
    kept = MOVES[name][2]
    shape = {"all": kept, "last": kept[-1:], "first": (kept[0], *(1 for _ in kept[1:])), "number": (1,)}[
        which
    ]
    before, given = moved(name, "y = Sub (c, x)", {"c": normal(*shape)})
    after = rewritten(before, RAISE_ELEMENTWISE)
    assert operators(after)[0] == "Sub"
    assert_same(before, after, {"a": normal(*given)})


@pytest.mark.parametrize("name", MOVES)
def test_two_values_that_are_moved_alike_are_moved_once(name: str) -> None:
    given = MOVES[name][1]
    move = MOVES[name][0]
    both = f"b = Neg (a) {move} {move.replace('x =', 'z =').replace('(a', '(b')} y = Mul (x, z)"
    sizes, kept = ", ".join(map(str, given)), MOVES[name][2]
    target = ", ".join(map(str, (2, *kept)))
    before = proto_of(
        f"""g (float[{sizes}] a) => (float[{", ".join("pqrst"[: len(kept) + 1])}] y)
        <int64[{len(kept) + 1}] t = {{{target}}}, int64[1] one = {{1}}> {{ {both} }}""",
        {},
    )
    after = rewritten(before, RAISE_ELEMENTWISE)
    assert operators(after) == ["Neg", "Mul", operators(before)[1]]
    assert_same(before, after, {"a": normal(*given)})


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("split", (2, 1, 1)),
        ("split", (1, 1, 4, 3)),
        ("transpose", (3, 1, 1, 1)),
        ("joined", (2, 12)),
        ("unsqueezed", (2, 3, 4, 6)),
    ],
)
def test_a_constant_by_example_moves_only_where_the_batch_is_fixed(name: str, shape: tuple[int, ...]) -> None:
    move, given, kept = MOVES[name]
    sizes = ", ".join(("batch", *map(str, given[1:])))
    text = f"""
        g (float[{sizes}] a) => (float[{", ".join("pqrst"[: max(len(kept) + 1, len(shape))])}] y)
        <int64[{len(kept) + 1}] t = {{{", ".join(map(str, (-1, *kept)))}}}, int64[1] one = {{1}}>
        {{ {move} y = Add (x, c) }}"""
    assert_left(proto_of(text, {"c": normal(*shape)}), RAISE_ELEMENTWISE)


def test_a_shared_move_is_left_behind_where_another_follows() -> None:
    """The residual of a one-dimensional network: Squeeze to a sum, and to the Unsqueeze of the next layer."""
    text = """
        g (float[batch, 4, 1, 8] x) => (float[batch, 4, 1, 8] y, float[batch, 4, 8] z)
        <int64[1] axis = {2}>
        { s = Squeeze (x, axis)  a = Relu (s)  b = Tanh (a)  u = Unsqueeze (b, axis)
          y = CumSum (u, n)  z = CumSum (s, n) }"""
    before = proto_of(text, {"n": np.array(1)})
    after = rewritten(before, COLLAPSE_MOVES, RAISE_ELEMENTWISE, times=2)
    assert sorted(operators(after)) == ["CumSum", "CumSum", "Relu", "Squeeze", "Tanh"]
    assert_same(before, after, {"x": normal(2, 4, 1, 8)})


@pytest.mark.parametrize(
    "second",
    [
        "Transpose <perm = [0, 2, 1]> (x)",
        "Transpose <perm = [2, 1, 0]> (x)",
        "Identity (x)",
        "Reshape (x, cube)",
    ],
)
def test_two_values_that_are_moved_apart_are_left(second: str) -> None:
    text = f"""
        g (float[3, 3, 3] x) => (float[3, 3, 3] y) <int64[3] cube = {{3, 3, 3}}>
        {{ n = Neg (x)  a = Transpose <perm = [1, 0, 2]> (n)  b = {second}  y = Sub (a, b) }}"""
    assert_left(proto_of(text, {}), RAISE_ELEMENTWISE)
