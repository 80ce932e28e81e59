"""Sizes that are fixed are constants, whatever reads them out of a shape."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from rewrite_cases import assert_left, assert_same, normal, operators, proto_of, rewritten

from optimizer.graph.rewrites.reshapes import FOLD_SIZE, RAISE_SIZE

NUMBERS = {
    "one": np.array(1),
    "minus_two": np.array(-2),
    "pair": np.array([2, 1]),
    "ends": np.array([0, 2]),
    "at_0": np.array([0]),
    "at_1": np.array([1]),
    "at_2": np.array([2]),
    "past": np.array([9]),
    "at_minus_1": np.array([-1]),
    "at_minus_2": np.array([-2]),
}


def model(read: str, shape: str, sizes: str, cast: str = "") -> onnx.ModelProto:
    """`read` makes k of the sizes s, which is tripled; `shape` is that of k."""
    kind = cast or "int64"
    first = "r = Shape (x) \n s = Cast <to = 6> (r)" if cast else "s = Shape (x)"
    text = f"g (float[{sizes}] x) => ({kind}{shape} y) {{ {first} \n {read} \n y = Mul (k, three) }}"
    words = text.replace("(", " ").replace(")", " ").replace(",", " ").split()
    weights = {name: value for name, value in NUMBERS.items() if name in words}
    return proto_of(text, weights | {"three": np.array(3, kind)})


@pytest.mark.parametrize("cast", ["", "int32"])
@pytest.mark.parametrize("sizes", ["b, 4, 5", "b, 1, 7"])
@pytest.mark.parametrize(
    ("read", "shape", "times"),
    [
        ("k = Gather (s, one)", "", 1),
        ("k = Gather <axis = 0> (s, minus_two)", "", 1),
        ("k = Gather (s, pair)", "[2]", 1),
        ("k = Slice (s, at_1, at_2)", "[1]", 1),
        ("k = Slice (s, at_1, past)", "[2]", 1),
        ("k = Slice (s, at_minus_2, at_minus_1, at_0)", "[1]", 1),
        ("k = Slice (s, at_1, past, at_0, at_1)", "[2]", 1),
        ("c = Slice (s, at_1, at_2) \n k = Squeeze (c, at_0)", "", 2),
        ("c = Slice (s, at_2, past) \n k = Squeeze (c)", "", 2),
    ],
)
def test_what_is_read_is_a_constant(read: str, shape: str, times: int, sizes: str, cast: str) -> None:
    before = model(read, shape, sizes, cast)
    after = rewritten(before, FOLD_SIZE, times=times)
    assert operators(after) == ["Mul"]
    given = [3 if size == "b" else int(size) for size in sizes.split(", ")]
    assert_same(before, after, {"x": normal(*given)})


@pytest.mark.parametrize("sizes", ["4, 5", "2", "1, 3, 5, 7"])
def test_a_whole_shape_of_fixed_sizes_is_one(sizes: str) -> None:
    before = model("k = Identity (s)", f"[{sizes.count(',') + 1}]", sizes)
    after = rewritten(before, FOLD_SIZE)
    assert "Shape" not in operators(after)
    assert_same(before, after, {"x": normal(*map(int, sizes.split(", ")))})


@pytest.mark.parametrize(
    ("read", "shape", "sizes"),
    [
        ("k = Gather (s, one)", "", "b, n, 5"),
        ("k = Gather (s, minus_two)", "", "b, n, 5"),
        ("k = Gather (s, pair)", "[2]", "b, n, 5"),
        ("k = Gather (s, ends)", "[2]", "b, 4, 5"),
        ("k = Slice (s, at_0, at_1)", "[1]", "b, 4, 5"),
        ("k = Slice (s, at_0, past)", "[3]", "b, 4, 5"),
        ("k = Slice (s, at_1, past)", "[2]", "b, 4, n"),
        ("c = Slice (s, at_0, at_1) \n k = Squeeze (c, at_0)", "", "b, 4, 5"),
        ("k = Identity (s)", "[3]", "b, 4, 5"),
        ("c = Cast <to = 1> (s) \n d = Gather (c, one) \n k = Cast <to = 7> (d)", "", "b, 4, 5"),
    ],
)
def test_a_size_that_is_free_or_no_integer_is_left(read: str, shape: str, sizes: str) -> None:
    assert_left(model(read, shape, sizes), FOLD_SIZE)


MOVES = {
    "turned": ("m = Transpose <perm = [1, 0, 2]> (x)", "[n, b, 5]", {0: 1, 1: 0}),
    "channels first": ("m = Transpose <perm = [0, 2, 1]> (x)", "[b, 5, n]", {0: 0, 2: 1}),
    "unsqueezed": ("m = Unsqueeze (x, at_1)", "[b, 1, n, 5]", {0: 0, 2: 1}),
    "joined": ("m = Reshape (x, rest)", "[b, k]", {0: 0}),
    "twice": (
        "t = Transpose <perm = [1, 0, 2]> (x) \n m = Unsqueeze (t, at_0)",
        "[1, n, b, 5]",
        {1: 1, 2: 0},
    ),
}


def moved(move: str, places: list[int], index: str = "", head: str = "m") -> onnx.ModelProto:
    """Sizes of what was moved, and what was moved."""
    steps, _, _ = MOVES[move]
    kind = f"[{len(places)}]" if not index else ""
    text = f"""g (float[b, n, 5] x) => (int64{kind} y, float z)
        {{ {steps} \n s = Shape ({head}) \n k = Gather <axis = 0> (s, i)
           y = Neg (k) \n z = ReduceSum <keepdims = 0> (m) }}"""
    words = text.replace("(", " ").replace(")", " ").replace(",", " ").split()
    weights = NUMBERS | {"rest": np.array([0, -1]), "i": np.array(places if not index else places[0])}
    return proto_of(text, {name: value for name, value in weights.items() if name in words})


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("kind", ["one", "scalar", "from the end", "several", "the same twice"])
@pytest.mark.parametrize("place", [0, -1])
def test_a_free_size_is_read_before_the_move(move: str, kind: str, place: int) -> None:
    axes = MOVES[move][2]
    rank = MOVES[move][1].count(",") + 1
    one = list(axes)[place]
    places = {
        "one": [one],
        "scalar": [one],
        "from the end": [one - rank],
        "several": list(axes)[::-1],
        "the same twice": [one, one],
    }[kind]
    before = moved(move, places, "scalar" if kind == "scalar" else "")
    after = rewritten(before, RAISE_SIZE)
    assert next(node.input[0] for node in after.graph.node if node.op_type == "Shape") == "x"
    assert_same(before, after, {"x": normal(2, 3, 5)}, {"x": normal(1, 7, 5)})


@pytest.mark.parametrize(
    ("move", "places"),
    [
        *(("turned", places) for places in ([2], [0, 2], [-1])),
        *(("channels first", places) for places in ([1], [0, 1])),
        *(("unsqueezed", places) for places in ([1], [3], [0, 1, 2])),
        *(("joined", places) for places in ([1], [0, 1])),
    ],
)
def test_a_size_that_is_fixed_or_made_by_the_move_is_not_read_before(move: str, places: list[int]) -> None:
    assert_left(moved(move, places), RAISE_SIZE)


def test_a_size_of_what_was_computed_is_not_read_before() -> None:
    assert_left(moved("turned", [0], head="x"), RAISE_SIZE)
