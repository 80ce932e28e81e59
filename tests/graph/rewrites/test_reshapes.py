"""Moves that move nothing."""

from __future__ import annotations

import numpy as np
import pytest
from rewrite_cases import assert_left, assert_same, normal, operators, proto_of, rewrite, rewritten

from optimizer.graph.rewrites.moves import COLLAPSE_MOVES
from optimizer.graph.rewrites.reshapes import ELIMINATE_RESHAPES_AROUND_MATMUL, FOLD_RESHAPE_TARGET

TENSORDOT = """
    g (float[batch, {middle}, 6] x) => (float[batch, {middle}, 4] y)
    <int64[2] rows = {{-1, 6}}, int64[2] free = {{0, 1}}, int64[1] width = {{4}}>
    {{ shape = Shape (x)
       narrow = Cast <to = 6> (shape)
       kept = Gather (narrow, free)
       last = Cast <to = 6> (width)
       target = Concat <axis = 0> (kept, last)
       wide = Cast <to = 7> (target)
       flat = Reshape (x, rows)
       product = MatMul (flat, w)
       y = Reshape (product, wide) }}"""


@pytest.mark.parametrize("middle", ["1", "3", "steps"])
def test_a_product_over_the_last_axis_needs_no_reshapes(middle: str) -> None:
    before = proto_of(TENSORDOT.format(middle=middle), {"w": normal(6, 4)})
    after = rewritten(before, ELIMINATE_RESHAPES_AROUND_MATMUL)
    assert operators(after) == ["MatMul"]
    steps = 5 if middle == "steps" else int(middle)
    assert_same(before, after, {"x": normal(2, steps, 6)}, {"x": normal(1, steps, 6)})


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("kind", ["float", "double"])
@pytest.mark.parametrize("width", [1, 4])
@pytest.mark.parametrize("sizes", ["b, 3", "2, 5", "b, 2, 3", "b, 1, 1, 4"])
def test_any_rank_and_type_needs_no_reshapes(sizes: str, width: int, kind: str, opset: int) -> None:
    target = sizes.replace("b", "-1")
    rank = sizes.count(",") + 2
    text = f"""
        g ({kind}[{sizes}, 6] x) => ({kind}[{", ".join("pqrst"[:rank])}] y)
        <int64[2] rows = {{-1, 6}}, int64[{rank}] back = {{{target}, {width}}}>
        {{ flat = Reshape (x, rows)  product = MatMul (flat, w)  y = Reshape (product, back) }}"""
    dtype = np.float32 if kind == "float" else np.float64
    before = proto_of(text, {"w": normal(6, width).astype(dtype)}, opset)
    after = rewritten(before, ELIMINATE_RESHAPES_AROUND_MATMUL)
    assert operators(after) == ["MatMul"]
    shape = [2 if size == "b" else int(size) for size in sizes.split(", ")]
    assert_same(before, after, {"x": normal(*shape, 6).astype(dtype)})


@pytest.mark.parametrize(
    ("given", "body", "weight"),
    [
        ("2, 3, 6", "p = MatMul (f, w)  y = Reshape (p, pair)", (6,)),
        ("2, 3, 6", "p = MatMul (f, w)  y = Reshape (p, back)", (1, 6, 4)),
        ("2, 3, 6", "p = MatMul (f, w)  y = Reshape (p, turned)", (6, 4)),
        ("2, 3, 6", "p = Gemm (f, w)  y = Reshape (p, back)", (6, 4)),
        ("2, 3, 6", "p = MatMul (f, w)  r = Relu (p)  y = Reshape (r, back)", (6, 4)),
        ("2, 9, 2", "p = MatMul (f, w)  y = Reshape (p, back)", (6, 4)),
        ("2, 18", "p = MatMul (f, w)  y = Reshape (p, back)", (6, 4)),
        ("36", "p = MatMul (f, w)  y = Reshape (p, back)", (6, 4)),
    ],
)
def test_a_product_of_something_else_keeps_its_reshapes(
    given: str, body: str, weight: tuple[int, ...]
) -> None:
    rank = 2 if "pair" in body else 3
    text = f"""
        g (float[{given}] x) => (float[{", ".join("pqr"[:rank])}] y)
        <int64[2] rows = {{-1, 6}}, int64[3] back = {{2, 3, 4}}, int64[3] turned = {{3, 2, 4}},
         int64[2] pair = {{2, 3}}> {{ f = Reshape (x, rows)  {body} }}"""
    assert_left(proto_of(text, {"w": normal(*weight)}), ELIMINATE_RESHAPES_AROUND_MATMUL)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rows = {{-1, 6}}", "rows = {{6, -1}}"),
        ("MatMul (flat, w)", "MatMul (flat, v)"),
        ("Reshape (x, rows)", "Identity (x)"),
    ],
)
def test_a_product_over_another_axis_keeps_its_reshapes(old: str, new: str) -> None:
    text = TENSORDOT.replace(old, new).format(middle="6").replace("batch", "6")
    if "v)" in new:
        text = text.replace("x) =>", "x, float[6, 4] v) =>")
    if "6, -1" in new:
        text = text.replace("MatMul (flat, w)", "MatMul (turned, w)").replace(
            "product =", "turned = Transpose (flat) product ="
        )
    used = {"w": normal(6, 4)} if ", w)" in text else {}
    proto = proto_of(text, used)
    if "v)" in new:  # a matrix that is fed is as good as a constant one
        rewritten(proto, ELIMINATE_RESHAPES_AROUND_MATMUL)
    else:
        assert_left(proto, ELIMINATE_RESHAPES_AROUND_MATMUL)


def test_a_product_that_takes_another_shape_keeps_its_reshapes() -> None:
    text = """
        g (float[batch, 3, 6] x) => (float[batch, 12] y) <int64[2] rows = {-1, 6}, int64[2] joined = {-1, 12}>
        { flat = Reshape (x, rows)  product = MatMul (flat, w)  y = Reshape (product, joined) }"""
    assert_left(proto_of(text, {"w": normal(6, 4)}), ELIMINATE_RESHAPES_AROUND_MATMUL)


TARGETS = {
    "gathered": "s = Shape (x) b = Gather (s, zero) t = Concat <axis = 0> (b, twelve)",
    "sliced": "s = Shape (x) b = Slice (s, zero, one, zero) t = Concat <axis = 0> (b, twelve)",
    "cast": "s = Shape (x) n = Cast <to = 6> (s) b = Slice (n, zero, one, zero) c = Cast <to = 7> (b) "
    "t = Concat <axis = 0> (c, twelve)",
    "product": "s = Shape (x) p = Gather (s, zero_one) q = ReduceProd <keepdims = 1> (p) d = Div (q, three) "
    "b = Gather (s, zero) t = Concat <axis = 0> (b, rest)",
    "with a rest": "s = Shape (x) b = Gather (s, zero) t = Concat <axis = 0> (b, rest)",
}


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("sizes", [(3, 4), (2, 6), (12, 1), (1, 12)])
def test_a_computed_target_becomes_a_constant(name: str, opset: int, sizes: tuple[int, int]) -> None:
    text = f"""
        g (float[batch, {sizes[0]}, {sizes[1]}] x) => (float[batch, 12] y)
        <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[2] zero_one = {{0, 1}}, int64[1] twelve = {{12}},
         int64[1] rest = {{-1}}, int64 three = {{{sizes[0]}}}>
        {{ {TARGETS[name]} y = Reshape (x, t) }}"""
    before = proto_of(text, {}, opset)
    after = rewritten(before, FOLD_RESHAPE_TARGET)
    assert operators(after) == ["Reshape"]
    assert_same(before, after, {"x": normal(2, *sizes)}, {"x": normal(1, *sizes)})


@pytest.mark.parametrize(
    "body",
    [
        "t = Concat <axis = 0> (k, rest)",
        "t = Concat <axis = 0> (k, k)",
        "t = Identity (pair)",
        "u = Shape (z)  t = Concat <axis = 0> (u, rest)",
        "u = Shape (z)  m = Add (u, k)  t = Concat <axis = 0> (m, rest)",
        "n = NonZero (z)  u = Shape (n)  c = Gather (u, one)  t = Concat <axis = 0> (c, rest)",
        "s = Shape (x)  b = Gather (s, zero)  m = Mul (b, k)  t = Concat <axis = 0> (m, rest)",
        "s = Shape (x)  b = Gather (s, zero)  m = Min (b, k)  t = Concat <axis = 0> (m, rest)",
    ],
)
def test_a_target_that_something_else_decides_is_left(body: str) -> None:
    text = f"""
        g (float[batch, 12] x, int64[1] k, int64[2] pair, float[c] z) => (float[p, q] y)
        <int64[1] rest = {{-1}}, int64[1] zero = {{0}}, int64[1] one = {{1}}>
        {{ {body}  y = Reshape (x, t) }}"""
    assert_left(proto_of(text, {}), FOLD_RESHAPE_TARGET)


@pytest.mark.parametrize("places", ["0, 1", "1, 0"])
def test_two_free_sizes_are_copied_where_they_stand_and_left_elsewhere(places: str) -> None:
    text = f"""
        g (float[batch, steps, 4] x) => (float[p, q, 2, 2] y)
        <int64[2] two = {{2, 2}}, int64[2] p = {{{places}}}>
        {{ s = Shape (x) k = Gather (s, p) t = Concat <axis = 0> (k, two) y = Reshape (x, t) }}"""
    before = proto_of(text, {})
    if places == "1, 0":
        assert_left(before, FOLD_RESHAPE_TARGET)
        return
    after = rewritten(before, FOLD_RESHAPE_TARGET)
    assert operators(after) == ["Reshape"]
    assert_same(before, after, {"x": normal(2, 3, 4)}, {"x": normal(1, 5, 4)})


def test_a_size_that_only_the_runtime_knows_is_what_is_left() -> None:
    """The larger of two batches: a product of heads that is broadcast."""
    text = """
        g (float[a, 3, 4] x, float[b] z) => (float[p, 12] y)
        <int64[1] zero = {0}, int64[1] twelve = {12}>
        { s = Shape (x)  u = Shape (z)  m = Gather (s, zero)  n = Gather (u, zero)  k = Max (m, n)
          t = Concat <axis = 0> (k, twelve)  y = Reshape (x, t) }"""
    before = proto_of(text, {})
    after = rewritten(before, FOLD_RESHAPE_TARGET)
    assert operators(after) == ["Reshape"]
    assert_same(before, after, {"x": normal(2, 3, 4), "z": normal(1)})


CHAINS = {
    "there and back": ("a = Reshape (x, flat) y = Reshape (a, back)", []),
    "unsqueezed and squeezed": ("a = Unsqueeze (x, one) y = Squeeze (a, one)", []),
    "squeezed elsewhere": ("a = Unsqueeze (x, zero) b = Reshape (a, same) y = Squeeze (b, last)", []),
    "two reshapes": ("a = Reshape (x, flat) b = Unsqueeze (a, zero) y = Reshape (b, swapped)", ["Reshape"]),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_of_moves_is_one_or_none(name: str) -> None:
    body, expected = CHAINS[name]
    shape = "batch, 4, 3" if "swapped" in body else "batch, 3, 4"
    text = f"""
        g (float[batch, 3, 4] x) => (float[{shape}] z)
        <int64[2] flat = {{-1, 12}}, int64[3] back = {{-1, 3, 4}},
         int64[1] one = {{1}}, int64[1] zero = {{0}}, int64[4] same = {{-1, 3, 4, 1}},
         int64[1] last = {{3}}, int64[3] swapped = {{-1, 4, 3}}>
        {{ {body} z = Neg (y) }}"""
    before = proto_of(text, {})
    after = rewritten(before, COLLAPSE_MOVES)
    assert operators(after) == [*expected, "Neg"]
    assert_same(before, after, {"x": normal(2, 3, 4)}, {"x": normal(1, 3, 4)})


@pytest.mark.parametrize(
    "body",
    [
        "y = Reshape (x, swapped)",
        "y = Unsqueeze (x, one)",
        "a = Reshape (x, flat) b = Neg (a) y = Reshape (b, back)",
    ],
)
def test_a_move_that_is_needed_is_left(body: str) -> None:
    shape = {"swapped": "2, 4, 3", "one": "2, 1, 3, 4"}.get(body.split()[-1].rstrip(")"), "2, 3, 4")
    text = f"""
        g (float[2, 3, 4] x) => (float[{shape}] y)
        <int64[2] flat = {{-1, 12}}, int64[3] back = {{-1, 3, 4}},
         int64[1] one = {{1}},
         int64[3] swapped = {{-1, 4, 3}}>
        {{ {body} }}"""
    assert_left(proto_of(text, {}), COLLAPSE_MOVES)


def test_a_target_that_names_zero_sizes_is_left() -> None:
    text = """
        g (float[batch, 0, 4] x) => (float[4, 0] y) <int64[2] t = {4, 0}>
        { s = Shape (x) k = Slice (s, one, two, zero) f = Concat <axis = 0> (four, k)
          y = Reshape <allowzero = 1> (x, f) }"""
    numbers = {"zero": [0], "one": [1], "two": [2], "four": [4]}
    proto = proto_of(text, {name: np.array(value, np.int64) for name, value in numbers.items()})
    assert_left(proto, FOLD_RESHAPE_TARGET)


def test_two_inputs_of_which_each_has_a_batch_of_its_own_are_not_mixed_up() -> None:
    """A file calls the first axis of all its inputs `batch`, whether they have to be equal or not."""
    text = """
        g (float[batch, 4] a, float[batch, 2] z) => (float[n, m] y)
        <int64[1] zero = {0}, int64[1] rest = {-1}>
        { s = Shape (z)  b = Gather (s, zero)  t = Concat <axis = 0> (b, rest)  y = Reshape (a, t) }"""
    before = proto_of(text, {})
    after, _ = rewrite(before, (FOLD_RESHAPE_TARGET, COLLAPSE_MOVES))
    assert_same(before, after, {"a": normal(4, 4), "z": normal(2, 2)}, {"a": normal(4, 4), "z": normal(4, 2)})
    assert [str(value) for value in after.graph.input] == [str(value) for value in before.graph.input]


def test_the_elements_of_a_matrix_of_sizes_are_not_taken_in_another_order() -> None:
    text = """
        g (float[2, 4, 3, 2] x) => (float[p, q, r, s] y)
        <int64[2] a = {2, 3}, int64[2] b = {4, 2}, int64[1] one = {1}, int64[1] flat = {-1}>
        { u = Unsqueeze (a, one)  v = Unsqueeze (b, one)  m = Concat <axis = 1> (u, v)
          t = Reshape (m, flat)  y = Reshape (x, t) }"""
    before = proto_of(text, {})
    after, _ = rewrite(before, (FOLD_RESHAPE_TARGET, COLLAPSE_MOVES))
    assert_same(before, after, {"x": normal(2, 4, 3, 2)})
