"""Comparisons with zero, axes that a reduction keeps, and whether any element is true."""

from __future__ import annotations

import numpy as np
import pytest
from rewrite_cases import Array, assert_left, assert_same, normal, operators, proto_of, rewritten

from optimizer.graph.rewrites.flags import FOLD_AXES_INTO_REDUCTION, FOLD_COMPARISON_WITH_ZERO, FUSE_ANY

NUMBERS = {"float": np.float32, "double": np.float64, "int32": np.int32, "int64": np.int64}


def some(kind: str, *shape: int) -> Array:
    """Numbers of which some are zero, and one is NaN where there is such."""
    values = np.random.default_rng(2).integers(-2, 3, shape).astype(NUMBERS[kind])
    if values.dtype.kind == "f":
        values.flat[0] = np.nan
    return values


@pytest.mark.parametrize("order", ["x, zero", "zero, x"])
@pytest.mark.parametrize("shape", ["batch", "batch, 4", "2, batch, 3", "2, 1, batch, 3"])
@pytest.mark.parametrize("kind", NUMBERS)
def test_not_equal_to_zero_is_a_cast(kind: str, shape: str, order: str) -> None:
    text = f"""g ({kind}[{shape}] x) => (bool[{shape}] y)
        <{kind} zero = {{0}}> {{ e = Equal ({order}) y = Not (e) }}"""
    before = proto_of(text, {})
    after = rewritten(before, FOLD_COMPARISON_WITH_ZERO)
    assert operators(after) == ["Cast"]
    sizes = [3 if part == "batch" else int(part) for part in shape.split(", ")]
    assert_same(before, after, {"x": some(kind, *sizes)})


def test_any_of_no_steps_is_false() -> None:
    text = """g (bool[2, n] b) => (float[2] y) <float zero = {0}, int64[1] axes = {1}>
        { f = Cast <to = 1> (b)  s = ReduceSum <keepdims = 0> (f, axes)  g = Greater (s, zero)
          y = Cast <to = 1> (g) }"""
    before = proto_of(text, {}, 18)
    after = rewritten(before, FUSE_ANY)
    assert operators(after) == ["Cast", "ReduceMax", "Relu"]
    for steps in (0, 3):
        assert_same(before, after, {"b": np.random.default_rng(0).random((2, steps)) < 0.3})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("zero = {0}", "zero = {1}"),
        ("y = Not (e)", "y = Identity (e)"),
        ("zero = {0}", "zero = {-1}"),
        ("Equal (x, zero)", "Less (x, zero)"),
        ("Equal (x, zero)", "LessOrEqual (x, zero)"),
        ("Equal (x, zero)", "Greater (x, zero)"),
        ("Equal (x, zero)", "GreaterOrEqual (x, zero)"),
        ("Equal (x, zero)", "Equal (x, x)"),
        ("float zero = {0}", "float[4] zero = {0, 0, 0, 0}"),
    ],
)
def test_another_comparison_is_left(old: str, new: str) -> None:
    text = "g (float[2, 4] x) => (bool[2, 4] y) <float zero = {0}> { e = Equal (x, zero) y = Not (e) }"
    assert_left(proto_of(text.replace(old, new), {}), FOLD_COMPARISON_WITH_ZERO)


KEPT = {
    "sum": ("s = ReduceSum <keepdims = 0> (x, axes)", "y = Unsqueeze (s, axes)", "float"),
    "compared": (
        "s = ReduceSum <keepdims = 0> (x, axes)",
        "c = Greater (s, zero) y = Unsqueeze (c, axes)",
        "bool",
    ),
    "not compared as less": (
        "s = ReduceSum <keepdims = 0> (x, axes)",
        "c = GreaterOrEqual (s, zero) y = Unsqueeze (c, axes)",
        "bool",
    ),
    "smallest": ("s = ReduceMin <keepdims = 0, axes = [AXES]> (x)", "y = Unsqueeze (s, axes)", "float"),
    "mean": ("s = ReduceMean <keepdims = 0, axes = [AXES]> (x)", "y = Unsqueeze (s, axes)", "float"),
    "largest": (
        "s = ReduceMax <keepdims = 0, axes = [AXES]> (x)",
        "c = Less (s, zero) y = Unsqueeze (c, axes)",
        "bool",
    ),
}


@pytest.mark.parametrize(
    ("axes", "result"),
    [
        ([2], "n, 3, 1"),
        ([-1], "n, 3, 1"),
        ([1], "n, 1, 4"),
        ([0], "1, 3, 4"),
        ([1, 2], "n, 1, 1"),
    ],
)
@pytest.mark.parametrize("name", KEPT)
def test_a_reduction_keeps_the_axes_itself(name: str, axes: list[int], result: str) -> None:
    first, then, kind = KEPT[name]
    body = f"{first} {then}".replace("AXES", ", ".join(map(str, axes)))
    text = f"g (float[n, 3, 4] x) => ({kind}[{result}] y) <float zero = {{0}}> {{ {body} }}"
    before = proto_of(text, {"axes": np.array(axes)})
    after = rewritten(before, FOLD_AXES_INTO_REDUCTION)
    assert "Unsqueeze" not in operators(after)
    assert_same(before, after, {"x": normal(2, 3, 4)})


@pytest.mark.parametrize(
    "body",
    [
        "s = ReduceSum <keepdims = 0> (x, one) y = Unsqueeze (s, two)",
        "s = ReduceSum <keepdims = 0> (x, one) r = Relu (s) y = Unsqueeze (r, one)",
        "s = ReduceSum <keepdims = 0> (x, one) p = Add (s, row) y = Unsqueeze (p, one)",
        "s = ReduceProd <keepdims = 0, axes = [1]> (x) y = Unsqueeze (s, one)",
        "s = ReduceL2 <keepdims = 0, axes = [1]> (x) y = Unsqueeze (s, one)",
        "s = ReduceLogSumExp <keepdims = 0, axes = [1]> (x) y = Unsqueeze (s, one)",
        "s = ReduceSum <keepdims = 0> (x, two) y = Unsqueeze (s, one)",
        "s = ReduceSum <keepdims = 0> (x, one) p = Mul (s, s) y = Unsqueeze (p, one)",
        "s = ReduceSum <keepdims = 0> (x, one) p = Greater (s, row) u = Unsqueeze (p, one) "
        "y = Cast <to = 1> (u)",
        "s = ArgMax <keepdims = 0, axis = 1> (x) p = Cast <to = 1> (s) y = Unsqueeze (p, one)",
    ],
)
def test_another_unsqueeze_is_left(body: str) -> None:
    text = f"""g (float[3, 4, 4] x) => (float[a, b, c] y)
        <int64[1] one = {{1}}, int64[1] two = {{2}}> {{ {body} }}"""
    assert_left(proto_of(text, {"row": normal(4)} if "row" in body else {}, 17), FOLD_AXES_INTO_REDUCTION)


KINDS = {"float": 1, "int32": 6, "double": 11}


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("axes", ["{2}", "{-1}", "{1}"])
@pytest.mark.parametrize("number", ["float", "int32", "double"])
def test_any_is_the_largest_flag(number: str, axes: str, keep: int, opset: int) -> None:
    text = f"""g (bool[n, 3, 4] b) => (float[{"i, j, k" if keep else "i, j"}] y)
        <{number} zero = {{0}}, int64[1] axes = {axes}>
        {{ f = Cast <to = {KINDS[number]}> (b)
           s = ReduceSum <keepdims = {keep}> (f, axes)
           g = Greater (s, zero)
           y = Cast <to = 1> (g) }}"""
    before = proto_of(text, {}, opset)
    after = rewritten(before, FUSE_ANY)
    assert operators(after) == ["Cast", "ReduceMax"]
    assert_same(before, after, {"b": np.random.default_rng(0).random((2, 3, 4)) < 0.3})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("zero = {0}", "zero = {1}"),
        ("zero = {0}", "zero = {-1}"),
        ("Greater (s, zero)", "Less (s, zero)"),
        ("Greater (s, zero)", "GreaterOrEqual (s, zero)"),
        ("Greater (s, zero)", "Greater (zero, s)"),
        ("Greater (s, zero)", "Greater (s, s)"),
        ("Greater (s, zero)", "Equal (s, zero)"),
        ("bool[n, 3, 4] b", "int32[n, 3, 4] b"),
        ("ReduceSum <keepdims = 1> (f, axes)", "CumSum (f, first)"),
        ("y = Cast <to = 1> (g)", "y = Cast <to = 11> (g)"),
    ],
)
def test_another_count_is_left(old: str, new: str) -> None:
    text = """g (bool[n, 3, 4] b) => (float[i, j, k] y)
        <float zero = {0}, int64[1] axes = {1}, int64 first = {1}>
        { f = Cast <to = 1> (b)  s = ReduceSum <keepdims = 1> (f, axes)
          g = Greater (s, zero)  y = Cast <to = 1> (g) }"""
    text = text.replace(old, new)
    text = text.replace("(float[i, j, k] y)", "(double[i, j, k] y)") if "11" in new else text
    assert_left(proto_of(text, {}), FUSE_ANY)


def test_a_comparison_of_texts_is_left() -> None:
    text = 'g (string[n] x) => (bool[n] y) <string[1] word = {"a"}> { e = Equal (x, word)  y = Not (e) }'
    assert_left(proto_of(text, {}, opset=19), FOLD_COMPARISON_WITH_ZERO)
