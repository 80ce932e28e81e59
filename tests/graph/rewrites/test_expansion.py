"""Broadcasts that the next operator does, and reductions of squeezed values."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from rewrite_cases import Array, assert_left, assert_same, normal, operators, proto_of, rewritten

from optimizer.graph.rewrites.expansion import ELIMINATE_EXPAND, REDUCE_SQUEEZED

SHAPES = {
    "Shape": "n = Shape (s)",
    "cast twice": "h = Shape (s)  i = Cast <to = 6> (h)  n = Cast <to = 7> (i)",
    "of an operator": "r = Relu (s)  n = Shape (r)",
}
MASKS = {"all": (), "by key": (1, 1, 1, 5), "by query": (5, 1), "causal": (1, 1, 5, 5), "by head": (3, 1, 1)}


def masked(body: str, mask: Array | None, batch: str = "b") -> onnx.ModelProto:
    text = f"""
        g (float[{batch}, 3, 5, 5] s, bool[{batch}, 1, 1, 5] given) => (float[p, q, r, t] y)
        <float low = {{-1000.0}}> {{ {body} }}"""
    return proto_of(text, {} if mask is None else {"c": mask})


FEEDS = [
    {
        "s": normal(size, 3, 5, 5),
        "given": np.arange(5)[None, None, None] < np.array([4, 2])[:size, None, None, None],
    }
    for size in (2, 1)
]


@pytest.mark.parametrize("combined", ["And (e, given)", "And (given, e)", "Or (e, given)", "Xor (e, given)"])
@pytest.mark.parametrize("source", SHAPES)
@pytest.mark.parametrize("mask", MASKS)
def test_a_mask_is_not_made_as_large_as_the_scores(mask: str, source: str, combined: str) -> None:
    constant = np.random.default_rng(0).random(MASKS[mask]) < 0.7
    before = masked(
        f"{SHAPES[source]}  e = Expand (c, n)  m = {combined}  y = Where (m, s, low)", np.asarray(constant)
    )
    after = rewritten(before, ELIMINATE_EXPAND)
    assert "Expand" not in operators(after)
    assert_same(before, after, *FEEDS)


@pytest.mark.parametrize("passes", [True, False])
def test_a_mask_that_lets_all_pass_goes(passes: bool) -> None:
    before = masked(
        f"{SHAPES['Shape']}  e = Expand (c, n)  m = And (e, given)  y = Where (m, s, low)", np.array(passes)
    )
    after = rewritten(before, ELIMINATE_EXPAND)
    assert operators(after) == (["Where"] if passes else ["And", "Where"])
    assert_same(before, after, *FEEDS)


@pytest.mark.parametrize("op", ["Add", "Mul", "Sub", "Max"])
def test_a_number_is_not_expanded_for_an_operator_that_broadcasts(op: str) -> None:
    before = masked(f"{SHAPES['Shape']}  e = Expand (low, n)  y = {op} (e, s)", None)
    after = rewritten(before, ELIMINATE_EXPAND)
    assert operators(after) == [op]
    assert_same(before, after, *FEEDS)


@pytest.mark.parametrize(
    "body",
    [
        "n = Shape (s)  e = Expand (low, n)  y = Neg (e)",
        "n = Shape (s)  e = Expand (low, n)  o = ReduceMax <keepdims = 1> (s)  y = Add (e, o)",
        "n = Shape (s)  e = Expand (low, n)  y = Add (e, low)",
        "n = Shape (s)  e = Expand (low, n)  y = Mul (low, e)",
        "n = Shape (given)  e = Expand (low, n)  o = ReduceMax <axes = [2]> (s)  y = Add (e, o)",
        "n = Shape (given)  e = Expand (low, n)  y = Add (e, s)",
        "h = Shape (s)  n = Identity (h)  k = Expand (low, n)  e = Exp (k)  y = Add (e, low)",
        "e = Expand (c, wide)  y = Add (e, s)",
        "n = Shape (s)  e = Expand (c, n)  m = And (e, given)  k = Not (m)  z = Cast <to = 1> (m) "
        "o = Cast <to = 1> (k)  y = Add (z, o)",
        "n = Shape (s)  e = Expand (c, n)  m = And (e, given)  k = Cast <to = 1> (m) "
        "v = Where (m, s, low)  y = Add (k, v)",
    ],
)  # fmt: skip
def test_an_expansion_that_is_needed_is_left(body: str) -> None:
    constant: Array | None = np.array(True) if "And" in body else None
    if "wide" in body:
        text = f"""
            g (float[1, 3, 5, 5] s, float[1] c) => (float[p, q, r, t] y)
            <int64[4] wide = {{2, 3, 5, 5}}> {{ {body} }}"""
        assert_left(proto_of(text, {}), ELIMINATE_EXPAND)
    else:
        assert_left(masked(body, constant), ELIMINATE_EXPAND)


REDUCTIONS = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum")


def reduced(op: str, squeezed: list[int], axes: list[int], opset: int, keep: int = 0) -> onnx.ModelProto:
    as_input = opset >= 18 or op == "ReduceSum"
    sizes = ["b", "4", "1", "6", "1"]
    rank = 5 - len(squeezed) - (0 if keep else len(axes))
    listed = ", ".join(map(str, axes))
    call = f"<keepdims = {keep}> (s, axes)" if as_input else f"<keepdims = {keep}, axes = [{listed}]> (s)"
    text = f"""
        g (float[{", ".join(sizes)}] x) => (float[{", ".join("pqrst"[:rank])}] y)
        <int64[{len(squeezed)}] units = {{{", ".join(map(str, squeezed))}}},
         int64[{len(axes)}] axes = {{{listed}}}>
        {{ s = Squeeze (x, units)  y = {op} {call} }}"""
    return proto_of(text, {}, opset)


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize(("squeezed", "axes"), [([2], [2]), ([4], [3, 1]), ([2, 4], [-1]), ([-1], [2])])
@pytest.mark.parametrize("op", REDUCTIONS)
def test_a_reduction_takes_squeezed_axes_with_it(
    op: str, squeezed: list[int], axes: list[int], opset: int
) -> None:
    before = reduced(op, squeezed, axes, opset)
    after = rewritten(before, REDUCE_SQUEEZED)
    assert operators(after) == [op]
    assert_same(before, after, {"x": normal(2, 4, 1, 6, 1)}, {"x": normal(1, 4, 1, 6, 1)})


@pytest.mark.parametrize("op", REDUCTIONS)
def test_a_reduction_that_keeps_its_axes_is_left(op: str) -> None:
    assert_left(reduced(op, [2], [2], 13, keep=1), REDUCE_SQUEEZED)


@pytest.mark.parametrize(
    "body",
    [
        "r = Reshape (x, rows)  y = ReduceMax <keepdims = 0, axes = [1]> (r)",
        "s = Squeeze (x, one)  t = Neg (s)  u = ReduceMax <keepdims = 0, axes = [1]> (s) "
        "v = ReduceMax <keepdims = 0, axes = [1]> (t)  y = Add (u, v)",
        "s = Squeeze (x, one)  y = ReduceL2 <keepdims = 0, axes = [1]> (s)",
        "s = Squeeze (x, one)  y = ArgMax <keepdims = 0, axis = 1> (s)",
        "s = Squeeze (x, one)  u = ReduceMax <keepdims = 0> (s)  y = Unsqueeze (u, zero)",
    ],
)  # fmt: skip
def test_other_reductions_are_left(body: str) -> None:
    kind = "int64" if "ArgMax" in body else "float"
    text = f"""
        g (float[b, 1, 5] x) => ({kind}[p] y)
        <int64[1] one = {{1}}, int64[1] zero = {{0}}, int64[2] rows = {{-1, 5}}> {{ {body} }}"""
    assert_left(proto_of(text, {}), REDUCE_SQUEEZED)
