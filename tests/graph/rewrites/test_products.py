"""Two products in a row."""

from __future__ import annotations

import tracemalloc

import numpy as np
import onnx
import pytest
from rewrite_cases import assert_left, assert_same, normal, operators, proto_of, rewritten

from optimizer.graph.rewrites.products import JOIN_PRODUCTS


def dense(steps: str, rank: int = 2, inner: int = 12, outer: int = 4) -> onnx.ModelProto:
    """Two dense layers, 8 -> inner -> outer."""
    free = ", ".join("bst"[: rank - 1])
    text = f"g (float[{free}, 8] x) => (float[{free}, n] y) {{ {steps}  y = Neg (o) }}"
    weights = {
        "v": normal(8, inner), "vt": normal(inner, 8),
        "w": normal(inner, outer, seed=1), "wt": normal(outer, inner),
        "b": normal(inner, seed=2), "br": normal(1, inner), "b1": normal(1), "c": normal(outer, seed=3),
        "cr": normal(1, outer), "c1": normal(1, 1), "big": normal(inner) * 100,
    }  # fmt: skip
    words = steps.replace("(", " ").replace(",", " ").replace(")", " ").split()
    return proto_of(text, {name: value for name, value in weights.items() if name in words})


FEEDS = {
    rank: [{"x": normal(*(2, 3, 5)[: rank - 1], 8)}, {"x": normal(*(1, 1, 1)[: rank - 1], 8)}]
    for rank in (2, 3, 4)
}


@pytest.mark.parametrize("rank", [2, 3, 4])
@pytest.mark.parametrize(("inner", "outer"), [(12, 4), (8, 8), (5, 13), (40, 9), (4, 8)])
def test_matmuls_become_one(rank: int, inner: int, outer: int) -> None:
    before = dense("h = MatMul (x, v)  o = MatMul (h, w)", rank, inner, outer)
    if 8 * outer > (8 + outer) * inner:
        assert_left(before, JOIN_PRODUCTS)
        return
    after = rewritten(before, JOIN_PRODUCTS)
    assert operators(after) == ["MatMul", "Neg"]
    assert_same(before, after, *FEEDS[rank])


@pytest.mark.parametrize("first", ["v", "v, b", "v, br", "v, b1", "vt, b", "vt"])
@pytest.mark.parametrize("last", ["w", "w, c", "w, cr", "wt, c1", "wt, c"])
def test_gemms_become_one(first: str, last: str) -> None:
    one, two = (f"<transB = {int('t' in name)}>" for name in (first, last))
    before = dense(f"h = Gemm {one} (x, {first})  o = Gemm {two} (h, {last})")
    after = rewritten(before, JOIN_PRODUCTS)
    assert operators(after) == ["Gemm" if "," in first + last else "MatMul", "Neg"]
    assert_same(before, after, *FEEDS[2])


@pytest.mark.parametrize(
    "steps",
    ["h = MatMul (x, v)  o = Gemm (h, w, c)", "h = Gemm (x, v, b)  o = MatMul (h, w)"],
)
def test_a_gemm_and_a_matmul_become_one(steps: str) -> None:
    before = dense(steps)
    after = rewritten(before, JOIN_PRODUCTS)
    assert operators(after) == ["Gemm", "Neg"]
    assert_same(before, after, *FEEDS[2])


@pytest.mark.parametrize(
    "steps",
    [
        "h = MatMul (x, v)  r = Relu (h)  o = MatMul (r, w)",
        "h = MatMul (x, v)  p = MatMul (h, w)  q = ReduceSum (h)  o = Add (p, q)",
        "h = Gemm (x, v, big)  o = Gemm (h, w)",
        "h = Gemm <alpha = 2.0> (x, v)  o = MatMul (h, w)",
        "h = Gemm <beta = 2.0> (x, v, b)  o = MatMul (h, w)",
        "h = MatMul (x, v)  o = Gemm <beta = 0.5> (h, w, c)",
        "column = ReduceSum (x)  h = Gemm (x, v, column)  o = MatMul (h, w)",
        "h = MatMul (x, v)  k = Abs (w)  o = MatMul (h, k)",
        "h = MatMul (x, v)  t = Transpose (h)  k = Transpose (w)  p = MatMul (k, t)  o = Transpose (p)",
    ],
)
def test_other_dense_layers_are_left(steps: str) -> None:
    assert_left(dense(steps), JOIN_PRODUCTS)


def convolutions(first: str, last: str, sizes: tuple[int, ...], biases: str, axes: int) -> onnx.ModelProto:
    """Two convolutions, 4 -> inner -> outer channels, by their attributes and the sizes of both kernels."""
    inner, outer, one, two = sizes
    free = ", ".join("hwd"[:axes])
    b, c = (f", {name}" if name in biases else "" for name in "bc")
    text = f"""g (float[n, 4, {free}] x) => (float[n, {outer}, {", ".join("pqr"[:axes])}] y)
        {{ h = Conv {first} (x, v{b})  o = Conv {last} (h, w{c})  y = Neg (o) }}"""
    weights = {
        "v": normal(inner, 4, *[one] * axes) / one**axes,
        "w": normal(outer, inner, *[two] * axes, seed=1) / two**axes,
        "b": normal(inner, seed=2),
        "c": normal(outer, seed=3),
    }
    return proto_of(text, {name: value for name, value in weights.items() if name in "vw" + biases})


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("biases", ["", "b", "c", "bc"])
@pytest.mark.parametrize(
    ("first", "last", "sizes"),
    [
        ("", "", (6, 3, 1, 1)),
        ("", "", (6, 3, 1, 3)),
        ("", "<strides = [2]>", (6, 3, 1, 3)),
        ("", "<dilations = [2], auto_pad = 'VALID'>", (4, 5, 1, 2)),
        ("<pads = [1, 1]>", "", (6, 3, 3, 1)),
        ("<pads = [1, 0], strides = [2]>", "", (6, 2, 3, 1)),
    ],
)
def test_convolutions_become_one(
    first: str, last: str, sizes: tuple[int, ...], biases: str, axes: int
) -> None:
    before = convolutions(wide(first, axes), wide(last, axes), sizes, biases, axes)
    after = rewritten(before, JOIN_PRODUCTS)
    assert operators(after) == ["Conv", "Neg"]
    assert_same(before, after, {"x": normal(2, 4, *[7] * axes)}, {"x": normal(1, 4, *[8] * axes)})


def wide(attributes: str, axes: int) -> str:
    """Attributes of one axis for several, alike for all."""
    for name, number in (("strides", "2"), ("dilations", "2")):
        attributes = attributes.replace(f"{name} = [{number}]", f"{name} = [{', '.join([number] * axes)}]")
    for begin, end in ("11", "10"):
        pads = [begin] * axes + [end] * axes
        attributes = attributes.replace(f"pads = [{begin}, {end}]", f"pads = [{', '.join(pads)}]")
    return attributes.replace("'", '"')


def test_padding_behind_a_layer_without_bias_stays() -> None:
    before = convolutions("", "<pads = [1, 1, 1, 1]>", (6, 3, 1, 3), "c", 2)
    after = rewritten(before, JOIN_PRODUCTS)
    assert_same(before, after, {"x": normal(2, 4, 7, 7)})


@pytest.mark.parametrize(
    ("first", "last", "sizes", "biases"),
    [
        ("", "<pads = [1, 1, 1, 1]>", (6, 3, 1, 3), "b"),
        ("", '<auto_pad = "SAME_UPPER">', (6, 3, 1, 3), "bc"),
        ("", "<pads = [1, 1, 1, 1]>", (6, 3, 1, 1), "b"),
        ("", "", (6, 3, 3, 3), ""),
        ("<strides = [2, 2]>", "", (6, 3, 1, 3), ""),
        ("<pads = [1, 1, 1, 1]>", "", (6, 3, 1, 3), ""),
        ("", "<strides = [2, 2]>", (6, 3, 3, 1), ""),
        ("", "<pads = [1, 1, 1, 1]>", (6, 3, 3, 1), "c"),
        ("", "", (2, 8, 3, 1), ""),
        ("", "", (2, 8, 1, 1), ""),
    ],
)
def test_other_convolutions_are_left(first: str, last: str, sizes: tuple[int, ...], biases: str) -> None:
    assert_left(convolutions(first, last, sizes, biases, 2), JOIN_PRODUCTS)


@pytest.mark.parametrize(("first", "last"), [("<group = 2>", ""), ("", "<group = 2>")])
def test_groups_are_left(first: str, last: str) -> None:
    text = f"""g (float[n, 4, 5, 5] x) => (float[n, 2, 5, 5] y)
        {{ h = Conv {first} (x, v)  y = Conv {last} (h, w) }}"""
    v, w = normal(4, 2 if first else 4, 1, 1), normal(2, 2 if last else 4, 1, 1)
    assert_left(proto_of(text, {"v": v, "w": w}), JOIN_PRODUCTS)


def test_half_precision_is_left() -> None:
    text = "g (float16[b, 4] x) => (float16[b, 2] y) { h = MatMul (x, v)  y = MatMul (h, w) }"
    weights = {"v": normal(4, 4).astype(np.float16), "w": normal(4, 2).astype(np.float16)}
    assert_left(proto_of(text, weights), JOIN_PRODUCTS)


def test_a_large_product_is_left_before_it_is_computed() -> None:
    text = "g (float[b, 50000] x) => (float[b, 50000] y) { h = MatMul (x, v)  y = MatMul (h, w) }"
    before = proto_of(text, {"v": np.zeros((50_000, 1), np.float32), "w": np.zeros((1, 50_000), np.float32)})
    tracemalloc.start()
    try:
        assert_left(before, JOIN_PRODUCTS)
        assert tracemalloc.get_traced_memory()[1] < 100e6  # the product in float64 has 20 GB
    finally:
        tracemalloc.stop()


def test_a_product_is_not_moved_into_a_branch() -> None:
    text = """
        g (float[b, 8] x, bool c) => (float[b, 4] y) {
            h = MatMul (x, v)
            y = If (c) <
                then_branch = t () => (float[b, 4] p) { p = MatMul (h, w) },
                else_branch = e () => (float[b, 4] q) { q = Identity (zeros) }
            >
        }
    """
    before = proto_of(text, {"v": normal(8, 12), "w": normal(12, 4), "zeros": normal(1, 4)})
    assert_left(before, JOIN_PRODUCTS)
