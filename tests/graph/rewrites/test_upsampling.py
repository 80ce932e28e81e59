"""Rows and columns that are repeated."""

from __future__ import annotations

import pytest
from rewrite_cases import assert_left, assert_same, normal, operators, proto_of, rewritten

from optimizer.graph.rewrites.moves import COLLAPSE_MOVES
from optimizer.graph.rewrites.upsampling import FUSE_UPSAMPLING

KERAS = """a = Unsqueeze (x, three)  b = Tile (a, times)  c = Transpose <perm = [0, 2, 3, 4, 1]> (b)
    d = Reshape (c, rows)  e = Tile (d, times)  f = Reshape (e, columns)
    u = Transpose <perm = [0, 3, 1, 2]> (f)"""
PYTORCH = "a = Reshape (x, apart)  b = Tile (a, both)  u = Reshape (b, joined)"
ROWS = "a = Unsqueeze (x, three)  b = Tile (a, times)  u = Reshape (b, high)"
TURNED = """t = Transpose <perm = [0, 2, 3, 1]> (x)  a = Unsqueeze (t, two)  b = Tile (a, second)
    c = Reshape (b, wide)  u = Transpose <perm = [0, 3, 1, 2]> (c)"""
CHANNELS_LAST = """a = Unsqueeze (x, three)  b = Tile (a, times)  h = Reshape (b, high)
    u = Transpose <perm = [0, 2, 3, 1]> (h)"""
CHANNELS = """a = Unsqueeze (x, two)  b = Tile (a, second)  c = Transpose <perm = [0, 3, 4, 1, 2]> (b)
    u = Reshape (c, more)"""
HIGH_LAST = """a = Unsqueeze (x, three)  b = Tile (a, times)  c = Transpose <perm = [0, 2, 3, 4, 1]> (b)
    u = Reshape (c, last)"""
SPELLINGS = {
    "Keras": (KERAS, ["Resize"]),
    "both at once": (PYTORCH, ["Resize"]),
    "rows": (ROWS, ["Resize"]),
    "columns, turned": (TURNED, ["Resize"]),
    "channels last behind": (CHANNELS_LAST, ["Resize", "Transpose"]),
    "channels, moved in between": (CHANNELS, ["Transpose", "Resize"]),
    "rows, moved in between": (HIGH_LAST, ["Resize", "Transpose"]),
}


def graph(body: str, height: int, width: int, times: int, batch: str = "n") -> str:
    h, w, c, r = height, width, 3, times
    return f"""
        g (float[{batch}, {c}, {h}, {w}] x) => (float[p, q, s, t] y)
        <int64[1] three = {{3}}, int64[1] two = {{2}}, int64[5] times = {{1, 1, 1, {r}, 1}},
         int64[5] second = {{1, 1, {r}, 1, 1}}, int64[5] rows = {{-1, {r * h}, {w}, 1, {c}}},
         int64[4] columns = {{-1, {r * h}, {r * w}, {c}}}, int64[6] apart = {{-1, {c}, {h}, 1, {w}, 1}},
         int64[6] both = {{1, 1, 1, {r}, 1, {r}}}, int64[4] joined = {{-1, {c}, {r * h}, {r * w}}},
         int64[4] high = {{-1, {c}, {r * h}, {w}}}, int64[4] wide = {{-1, {r * h}, {w}, {c}}},
         int64[4] more = {{-1, {h}, {w}, {r * c}}}, int64[4] last = {{-1, {r * h}, {w}, {c}}}>
        {{ {body}  y = Neg (u) }}"""


@pytest.mark.parametrize(("height", "width"), [(4, 5), (1, 5), (4, 1)])
@pytest.mark.parametrize("times", [2, 3, 5])
@pytest.mark.parametrize("name", SPELLINGS)
def test_repeated_rows_are_resized(name: str, times: int, height: int, width: int) -> None:
    body, expected = SPELLINGS[name]
    before = proto_of(graph(body, height, width, times), {})
    after = rewritten(before, COLLAPSE_MOVES, FUSE_UPSAMPLING)
    assert "Resize" in operators(after)
    assert len(operators(after)) <= len(expected) + 1 + (height == 1)  # a row may be moved by a Reshape
    assert_same(before, after, {"x": normal(2, 3, height, width)}, {"x": normal(1, 3, height, width)})


@pytest.mark.parametrize(
    "body",
    [
        "u = Tile (x, whole)",
        "a = Reshape (x, before)  b = Tile (a, fourth)  u = Reshape (b, joined)",
        "a = Unsqueeze (x, three)  u = Squeeze (a, three)",
        "a = Unsqueeze (x, three)  b = Tile (a, computed)  u = Reshape (b, high)",
        "a = Unsqueeze (x, three)  b = Tile (a, times)  v = Neg (b)  u = Reshape (v, high)",
        "a = Unsqueeze (x, three)  b = Tile (a, times)  h = Reshape (b, high)  m = ReduceMax (b) "
        "n = Squeeze (m, three)  o = Reshape (n, unit)  u = Add (h, o)",
        "a = Unsqueeze (x, three)  b = Tile (a, times)  u = Reshape (b, split)",
        "a = Unsqueeze (x, three)  b = Tile (a, once)  u = Squeeze (b, three)",
        "a = Unsqueeze (x, one)  b = Tile (a, channels)  u = Reshape (b, many)",
        "a = Unsqueeze (x, three)  b = Tile (a, times)  u = Reshape (b, mixed)",
    ],
)  # fmt: skip
def test_other_repetitions_are_left(body: str) -> None:
    text = f"""
        g (float[n, 3, 4, 5] x, int64[5] computed) => (float[p, q, s, t] y)
        <int64[1] three = {{3}}, int64[1] one = {{1}}, int64[5] times = {{1, 1, 1, 2, 1}},
         int64[4] whole = {{1, 1, 2, 2}}, int64[5] once = {{1, 1, 1, 1, 1}}, int64[4] high = {{-1, 3, 8, 5}},
         int64[5] before = {{-1, 3, 1, 4, 5}}, int64[5] fourth = {{1, 1, 2, 1, 1}},
         int64[4] joined = {{-1, 3, 8, 5}}, int64[4] split = {{-1, 12, 2, 5}},
         int64[5] channels = {{1, 2, 1, 1, 1}}, int64[4] many = {{-1, 6, 4, 5}},
         int64[4] mixed = {{-1, 8, 3, 5}}, int64[4] unit = {{1, 1, 1, 1}}>
        {{ {body}  y = Neg (u) }}"""
    assert_left(proto_of(text, {}), FUSE_UPSAMPLING)


def test_five_axes_stay_tiles() -> None:
    text = """
        g (float[n, 3, 4, 5, 2] x) => (float[p, q, s, t, u] y)
        <int64[1] four = {4}, int64[6] times = {1, 1, 1, 1, 2, 1}, int64[5] joined = {-1, 3, 4, 10, 2}>
        { a = Unsqueeze (x, four)  b = Tile (a, times)  y = Reshape (b, joined) }"""
    assert_left(proto_of(text, {}), FUSE_UPSAMPLING)


@pytest.mark.parametrize("kind", ["int64", "bool", "double"])
def test_types_without_a_kernel_stay_tiles(kind: str) -> None:
    text = f"""
        g ({kind}[n, 3, 4, 5] x) => ({kind}[p, q, s, t] y)
        <int64[1] three = {{3}}, int64[5] times = {{1, 1, 1, 2, 1}}, int64[4] high = {{-1, 3, 8, 5}}>
        {{ a = Unsqueeze (x, three)  b = Tile (a, times)  y = Reshape (b, high) }}"""
    assert_left(proto_of(text, {}), FUSE_UPSAMPLING)
