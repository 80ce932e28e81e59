"""Products of heads."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from rewrite_cases import Array, assert_left, assert_same, normal, operators, proto_of, rewrite, rewritten

from optimizer.graph.rewrites import REWRITES
from optimizer.graph.rewrites.attention import FOLD_SCALE, SPLIT_BATCH, TURN_PRODUCT
from optimizer.graph.rewrites.elementwise import RAISE_ELEMENTWISE


def graph_of(text: str, weights: Mapping[str, Array]) -> onnx.ModelProto:
    """A model from the text of its graph, in which T021 is Transpose <perm = [0, 2, 1]>."""
    order = re.compile(r"\bT(\d+) ")
    return proto_of(order.sub(lambda found: f"Transpose <perm = [{', '.join(found[1])}]> ", text), weights)


HEADS = "q = T0213 (x)  k = T0231 (z)"
FLAT = "a = Reshape (q, rows)  c = Reshape (k, columns)  m = MatMul (a, c)"
BEHIND = {
    "alone": "s = Reshape (m, scores)",
    "scaled": "n = Mul (m, half)  s = Reshape (n, scores)",
    "divided": "n = Div (m, half)  s = Reshape (n, scores)",
    "scaled from the left": "n = Mul (half, m)  s = Reshape (n, scores)",
    "in a row of examples": "s = Reshape (m, apart)",
}


def product(
    behind: str,
    batch: str = "b",
    heads: int = 3,
    length: int = 5,
    change: tuple[str, str] = ("", ""),
    weights: dict[str, Array] | None = None,
) -> onnx.ModelProto:
    text = f"""
        g (float[{batch}, {length}, {heads}, 4] x, float[{batch}, {length}, {heads}, 4] z)
        => (float[p, q, r, s] y)
        <int64[3] rows = {{-1, {length}, 4}}, int64[3] columns = {{-1, 4, {length}}},
         int64[4] scores = {{-1, {heads}, {length}, {length}}},
         int64[4] apart = {{-1, {heads}, {length}, {length}}}, float half = {{0.5}}>
        {{ {HEADS} {FLAT} {behind}  y = Softmax (s) }}"""
    return graph_of(text.replace(*change) if change[0] else text, weights or {})


@pytest.mark.parametrize("length", [1, 5])
@pytest.mark.parametrize(("batch", "heads"), [("b", 3), ("b", 2), ("2", 3), ("1", 3)])
@pytest.mark.parametrize("name", BEHIND)
def test_a_product_over_a_joint_axis_has_four_axes(name: str, batch: str, heads: int, length: int) -> None:
    before = product(BEHIND[name], batch, heads, length)
    if batch == "1":  # one axis is no joint one
        assert_left(before, SPLIT_BATCH)
        return
    after = rewritten(before, SPLIT_BATCH)
    assert operators(after).count("Reshape") <= 2 * (length == 1)
    assert len(operators(after)) < len(operators(before))
    sizes = (2, 1) if batch == "b" else (2,)
    feeds = [
        {"x": normal(size, length, heads, 4), "z": normal(size, length, heads, 4, seed=1)} for size in sizes
    ]
    assert_same(before, after, *feeds)


@pytest.mark.parametrize(
    "change",
    [
        ("m = MatMul (a, c)", "d = Relu (a)  m = MatMul (d, c)"),
        ("m = MatMul (a, c)", "u = MatMul (a, c)  m = Add (u, u)"),
        ("m = MatMul (a, c)", "m = MatMul (c, a)"),
        ("scores = {-1, 3, 5, 5}", "scores = {3, -1, 5, 5}"),
        ("k = T0231 (z)", "k = T2031 (z)"),
        ("q = T0213 (x)", "q = T2013 (x)"),
        ("s = Reshape (m, scores)", "n = Mul (m, m)  s = Reshape (n, scores)"),
        ("s = Reshape (m, scores)", "n = Exp (m)  s = Reshape (n, scores)"),
        ("s = Reshape (m, scores)", "n = Add (m, half)  s = Reshape (n, scores)"),
        ("m = MatMul (a, c)", "m = MatMul (a, w)"),
    ],
)
def test_a_product_that_is_not_of_heads_is_left(change: tuple[str, str]) -> None:
    before = product(BEHIND["alone"], change=change, weights={"w": normal(4, 5)} if "w)" in change[1] else {})
    assert_left(before, SPLIT_BATCH)


SCALES = {
    "of the scores": "q = MatMul (x, w)  k = MatMul (x, v)  t = T021 (k) m = MatMul (q, t)  y = Mul (m, s)",
    "divided": "q = MatMul (x, w)  k = MatMul (x, v)  t = T021 (k) m = MatMul (q, t)  y = Div (m, s)",
    "of the keys alone": "k = MatMul (x, w)  t = T021 (k)  m = MatMul (x, t)  y = Mul (s, m)",
    "with a bias": "p = MatMul (x, w)  q = Add (p, c)  k = MatMul (x, v)  t = T021 (k) "
    "m = MatMul (q, t)  y = Mul (m, s)",
    "of the queries": "p = MatMul (x, w)  q = Add (c, p)  y = Mul (q, s)",
    "of moved queries": "p = MatMul (x, w)  q = Add (p, c)  r = Reshape (q, heads)  u = Transpose (r) "
    "y = Mul (u, s)",
    "of a product": "p = MatMul (x, w)  y = Mul (p, s)",
}


@pytest.mark.parametrize("scale", [0.5, 1 / 3, -7.0])
@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("name", SCALES)
def test_a_scale_goes_into_the_weight(name: str, shape: tuple[int, ...], scale: float) -> None:
    rank = 4 if "moved" in name else 3
    text = f"""
        g (float[b, 5, 6] x) => (float[{", ".join("pqrs"[:rank])}] y) <int64[4] heads = {{-1, 5, 3, 2}}>
        {{ {SCALES[name]} }}"""
    weights = {"w": normal(6, 6), "s": np.full(shape, scale, np.float32)}
    if "v)" in text:
        weights["v"] = normal(6, 6, seed=1)
    if "bias" in name or "queries" in name:
        weights["c"] = normal(6)
    before = graph_of(text, weights)
    after = rewritten(before, FOLD_SCALE)
    assert not {"Mul", "Div"} & set(operators(after))
    assert len(operators(after)) == len(operators(before)) - 1
    assert_same(before, after, {"x": normal(2, 5, 6)}, {"x": normal(1, 5, 6)})


@pytest.mark.parametrize(
    "body",
    [
        "p = MatMul (x, w)  q = Relu (p)  y = Mul (q, s)",
        "p = MatMul (x, w)  y = Div (s, p)",
        "p = MatMul (x, w)  y = Mul (p, by)",
        "p = MatMul (x, w)  y = Mul (p, wide)",
        "p = MatMul (x, w)  q = Neg (p)  o = Mul (p, s)  y = Add (o, q)",
        "p = MatMul (x, w)  q = MatMul (p, w)  y = Mul (q, s)",
        "p = MatMul (x, w)  q = Add (p, x)  y = Mul (q, s)",
        "p = MatMul (x, w)  q = Softmax (p)  y = Mul (q, s)",
        "t = T021 (x)  m = MatMul (x, t)  y = Mul (m, s)",
        "q = MatMul (x, w)  a = Softmax (q)  t = T021 (a)  m = MatMul (x, t)  y = Mul (m, s)",
        "y = Mul (x, s)",
    ],
)  # fmt: skip
def test_a_scale_of_what_is_not_linear_in_a_weight_is_left(body: str) -> None:
    rank = 4 if "wide" in body else 3
    constants = {
        "w": normal(6, 6),
        "s": np.array(0.5, np.float32),
        "by": normal(6),
        "wide": normal(1, 1, 1, 1),
    }
    used = {name: value for name, value in constants.items() if f", {name})" in body or f"({name}, " in body}
    text = f"g (float[b, 6, 6] x) => (float[{', '.join('pqrs'[:rank])}] y) {{ {body} }}"
    assert_left(graph_of(text, used), FOLD_SCALE)


@pytest.mark.parametrize("softmax", [None, 2, -2, 3, -1])
@pytest.mark.parametrize("names", ["b, s", "2, 5", "b, 5", "b, 2", "3, 1", "1, 1"])
def test_keys_times_queries_are_queries_times_keys(names: str, softmax: int | None) -> None:
    between = "p = Identity (m)" if softmax is None else f"p = Softmax <axis = {softmax}> (m)"
    text = f"""
        g (float[{names}, 3, 4] x, float[{names}, 3, 4] z) => (float[p, q, r, s] y)
        {{ k = T0213 (x)  q = T0231 (z)
           m = MatMul (k, q)  {between}  t = T0132 (p)  y = Neg (t) }}"""
    before = graph_of(
        text.replace("p = Identity (m)", "").replace("(p)", "(m)" if softmax is None else "(p)"), {}
    )
    after = rewritten(before, TURN_PRODUCT)
    assert operators(after).count("Transpose") + operators(after).count("Reshape") == 2
    sizes = [2 if size == "b" else 5 if size == "s" else int(size) for size in names.split(", ")]
    assert_same(before, after, {"x": normal(*sizes, 3, 4), "z": normal(*sizes, 3, 4, seed=1)})


@pytest.mark.parametrize(
    "body",
    [
        "m = MatMul (x, z)  t = T0132 (m)",
        "k = T0132 (x)  m = MatMul (k, z)  t = T0213 (m)",
        "k = T0132 (x)  m = MatMul (k, z)  n = Exp (m)  t = T0132 (n)",
        "k = T0132 (x)  m = MatMul (k, z)  u = T0132 (m)  t = Add (u, m)",
        "q = T0213 (x)  m = MatMul (q, z)  t = T0132 (m)",
        "m = MatMul (x, z)  t = T0213 (m)",
        "m = MatMul (x, x)  t = T0132 (m)",
        "m = Mul (x, z)  t = T0132 (m)",
        "k = T0132 (x)  m = MatMul (k, z)  t = T1032 (m)",
        "k = T0132 (x)  m = MatMul (k, z)  n = Softmax (m)  o = Relu (n)  t = T0132 (o)",
    ],
)  # fmt: skip
def test_a_product_that_would_need_as_many_transposes_is_left(body: str) -> None:
    text = f"g (float[2, 4, 4, 4] x, float[2, 4, 4, 4] z) => (float[p, q, r, s] y) {{ {body}  y = Neg (t) }}"
    assert_left(graph_of(text, {}), TURN_PRODUCT)


@pytest.mark.parametrize("spelling", ["Keras 3", "PyTorch", "einsum of free lengths"])
def test_attention_is_six_products_and_four_transposes(spelling: str) -> None:
    """What is left of a layer with all rewrites: no operator but those of the formula."""
    batch = "b, s" if "free" in spelling else "b, 5"
    copied = "0, 0" if "free" in spelling else "-1, 5"
    layer = "{0} = MatMul (x, w{0})  {0}1 = {1}"
    bias_first = layer.format("{0}", "Add ({0}, c)  {0}2 = Reshape ({0}1, heads)")
    bias_last = layer.format("{0}", "Reshape ({0}, heads)  {0}2 = Add ({0}1, d)")
    spelled = bias_first if spelling == "PyTorch" else bias_last
    layers = " ".join(spelled.format(name) for name in "qkv")
    if spelling == "einsum of free lengths":
        scores = """i = Mul (q2, half)  q3 = T0231 (i)
            k3 = T0213 (k2)  m = MatMul (k3, q3)  p0 = Softmax <axis = 2> (m)
            p = T0132 (p0)  v3 = T0213 (v2)  o = MatMul (p, v3)"""
    elif spelling == "PyTorch":
        scores = """q3 = T0213 (q2)  k3 = T0231 (k2)
            m0 = MatMul (q3, k3)  m = Div (m0, half)  p = Softmax (m)
            v3 = T0213 (v2)  o = MatMul (p, v3)"""
    else:
        scores = """u = Unsqueeze (q2, three)  q3 = T02134 (u)  q4 = Reshape (q3, rows)
            l = Unsqueeze (k2, one)  k3 = T03124 (l)  k4 = Reshape (k3, rows)
            k5 = T021 (k4)  m0 = MatMul (q4, k5)  m1 = Mul (m0, half)
            m = Reshape (m1, scores)  p0 = Softmax (m)  p = Reshape (p0, square)
            v3 = T0213 (v2)  v4 = Reshape (v3, rows)  o0 = MatMul (p, v4)
            o = Reshape (o0, outer)"""
    text = f"""
        g (float[{batch}, 12] x) => (float[t, u, v] y)
        <int64[4] heads = {{{copied}, 3, 4}}, int64[1] three = {{3}}, int64[1] one = {{1}},
         int64[3] rows = {{-1, 5, 4}}, int64[4] scores = {{-1, 3, 5, 5}}, int64[3] square = {{-1, 5, 5}},
         int64[4] outer = {{-1, 3, 5, 4}}, int64[3] joined = {{{copied}, 12}}>
        {{ {layers} {scores} o1 = T0213 (o)  o2 = Reshape (o1, joined)
           y0 = MatMul (o2, wo)  y = Add (y0, c) }}"""
    weights = {f"w{name}": normal(12, 12, seed=seed) for seed, name in enumerate("qkvo")}
    before = graph_of(text, weights | {"c": normal(12), "d": normal(3, 4), "half": np.array(0.5, np.float32)})
    after, _ = rewrite(before, REWRITES)
    kinds = operators(after)
    assert {kind: kinds.count(kind) for kind in sorted(set(kinds))} == {
        "Add": 4, "MatMul": 6, "Reshape": 4, "Softmax": 1, "Transpose": 4,
    }  # fmt: skip
    assert_same(before, after, {"x": normal(2, 5, 12)}, {"x": normal(1, 5, 12, seed=3)})


def test_half_precision_keeps_its_type() -> None:
    text = """
        g (float16[b, 6, 6] x) => (float16[b, 6, 6] y)
        { p = MatMul (x, w)  q = Add (p, c)  y = Mul (q, s) }"""
    weights = {"w": normal(6, 6), "c": normal(6), "s": np.array(0.5)}
    before = graph_of(text, {name: value.astype(np.float16) for name, value in weights.items()})
    after = rewritten(before, FOLD_SCALE)
    assert {tensor.data_type for tensor in after.graph.initializer} == {onnx.TensorProto.FLOAT16}


def test_a_bias_behind_a_cut_is_raised_before_the_scale_is_folded() -> None:
    text = """
        g (float[b, 5, 12] x) => (float[p, q, r, s] y) <int64[4] heads = {-1, 5, 3, 4}>
        { p = MatMul (x, w)  h = Reshape (p, heads)  a = Add (h, c)  y = Mul (a, s) }"""
    before = graph_of(text, {"w": normal(12, 12), "c": normal(3, 4), "s": np.array(0.5, np.float32)})
    after = rewritten(before, RAISE_ELEMENTWISE, FOLD_SCALE)
    assert operators(after) == ["MatMul", "Add", "Reshape"]
    assert_same(before, after, {"x": normal(2, 5, 12)})


def test_a_division_by_zero_is_left() -> None:
    weights = {"w": normal(6, 6), "s": np.zeros((), np.float32)}
    text = "g (float[b, 6, 6] x) => (float[b, 6, 6] y) { p = MatMul (x, w)  y = Div (p, s) }"
    assert_left(graph_of(text, weights), FOLD_SCALE)
