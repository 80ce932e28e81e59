"""Products of rows."""

from __future__ import annotations

import pytest
from rewrite_cases import assert_left, assert_same, normal, operators, proto_of, rewritten

from optimizer.graph.rewrites.rows import UNFOLD_ROWS

ROWS = {
    "back": ("b, s", "y0 = Reshape (g, back)", ""),
    "to heads": ("b, s", "y0 = Reshape (g, heads)", ""),
    "with a bias": ("b, s", "y0 = Reshape (g, back)", ", c"),
    "fixed": ("2, 5", "y0 = Reshape (g, back)", ", c"),
    "fixed length": ("b, 5", "y0 = Reshape (g, heads)", ", c"),
    "fixed length, back": ("b, 5", "y0 = Reshape (g, back)", ""),
    "fixed, to heads": ("2, 5", "y0 = Reshape (g, heads)", ""),
    "to heads with a bias": ("b, s", "y0 = Reshape (g, heads)", ", c"),
}


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("name", ROWS)
def test_rows_are_unfolded(name: str, turned: int, opset: int) -> None:
    sizes, back, bias = ROWS[name]
    free = "s" in sizes
    computed = """h = Shape (x)  n = Gather (h, both)  back = Concat <axis = 0> (n, last)
        heads = Concat <axis = 0> (n, split)"""
    target = sizes.replace("b", "-1")
    fixed = "" if free else f"int64[3] back = {{{target}, 8}}, int64[4] heads = {{{target}, 2, 4}},"
    text = f"""
        g (float[{sizes}, 6] x) => (float[{"p, q, r, s" if "heads" in back else "p, q, r"}] y)
        <int64[2] rows = {{-1, 6}}, {fixed}
         int64[2] both = {{0, 1}}, int64[1] last = {{8}}, int64[2] split = {{2, 4}}>
        {{ {computed if free else ""} r = Reshape (x, rows)  g = Gemm <transB = {turned}> (r, w{bias})
           {back}  y = Neg (y0) }}"""
    weights = {"w": normal(8, 6) if turned else normal(6, 8)} | ({"c": normal(8)} if bias else {})
    before = proto_of(text, weights, opset)
    after = rewritten(before, UNFOLD_ROWS)
    assert "Gemm" not in operators(after)
    assert len(operators(after)) <= len(operators(before))
    assert_same(before, after, {"x": normal(2, 5, 6)})


@pytest.mark.parametrize("place", ["Add (p, d)", "Add (d, p)"])
@pytest.mark.parametrize("bias", ["", ", c"])
def test_what_is_added_to_each_row_is_added_behind(bias: str, place: str) -> None:
    text = f"""
        g (float[b, 5, 6] x) => (float[p, q, r] y)
        <int64[2] rows = {{-1, 6}}, int64[3] back = {{-1, 5, 8}}>
        {{ r = Reshape (x, rows)  p = Gemm (r, w{bias})  g = {place}
           y0 = Reshape (g, back)  y = Neg (y0) }}"""
    weights = {"w": normal(6, 8), "d": normal(8, seed=1)} | ({"c": normal(8, seed=2)} if bias else {})
    before = proto_of(text, weights)
    after = rewritten(before, UNFOLD_ROWS)
    assert "Gemm" not in operators(after)
    assert_same(before, after, {"x": normal(2, 5, 6)})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Gemm (r, w)", "Gemm <alpha = 2.0> (r, w)"),
        ("Gemm (r, w)", "Gemm <transA = 1> (r, u)"),
        ("Gemm (r, w)", "Gemm <beta = 2.0> (r, w, c)"),
        ("Gemm (r, w)", "Gemm (r, z)"),
        ("Gemm (r, w)", "Gemm (r, w, z)"),
        ("Gemm (r, w)", "Gemm (r, w, rowwise)"),
        ("y0 = Reshape (g, back)", "e = Exp (g)  y0 = Reshape (e, back)"),
        (
            "y0 = Reshape (g, back)",
            "e = Reshape (g, back)  o = ReduceMax <keepdims = 0> (g)  y0 = Add (e, o)",
        ),
        ("y0 = Reshape (g, back)", "y0 = Transpose (g)"),
        ("y0 = Reshape (g, back)", "e = Add (g, each)  y0 = Reshape (e, back)"),
        ("r = Reshape (x, rows)", "r = MatMul (first, second)"),
        ("back = {2, 5, 6}", "back = {5, 2, 6}"),
    ],
)
def test_rows_that_are_something_else_are_left(old: str, new: str) -> None:
    graph = """
        g (float[2, 5, 6] x, float[6, 6] z) => (float[p, q, r] y)
        <int64[2] rows = {-1, 6}, int64[3] back = {2, 5, 6}>
        { r = Reshape (x, rows)  g = Gemm (r, w)  y0 = Reshape (g, back)  y = Neg (y0) }""".replace(old, new)
    constants = {
        "w": normal(6, 6), "u": normal(10, 6), "c": normal(6), "rowwise": normal(10, 1),
        "first": normal(10, 6), "second": normal(6, 6), "each": normal(10, 6),
    }  # fmt: skip
    used = {
        name: value for name, value in constants.items() if f", {name})" in graph or f", {name}," in graph
    }
    used |= {"first": constants["first"]} if "(first" in graph else {}
    graph = graph.replace("float[p, q, r]", "float[p, q]") if "Transpose" in new else graph
    assert_left(proto_of(graph, used), UNFOLD_ROWS)


def test_a_product_of_one_number_is_left() -> None:
    text = """g (float x) => (float[4] y) <int64[2] row = {1, 1}, int64[1] flat = {4}>
        { r = Reshape (x, row)  p = Gemm (r, w)  y = Reshape (p, flat) }"""
    assert_left(proto_of(text, {"w": normal(1, 4)}), UNFOLD_ROWS)


def test_a_bias_of_each_row_is_left() -> None:
    text = """
        g (float[2, 4, 6] x) => (float[2, 4, 8] y) <int64[2] rows = {-1, 6}, int64[3] back = {2, 4, 8}>
        { r = Reshape (x, rows)  p = Gemm (r, w, c)  y0 = Reshape (p, back)  y = Neg (y0) }"""
    assert_left(proto_of(text, {"w": normal(6, 8), "c": normal(8, 1)}), UNFOLD_ROWS)
