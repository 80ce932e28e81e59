"""Slices that take all or one, and indices that are wrapped by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from rewrite_cases import Array, assert_left, assert_same, normal, operators, proto_of, rewritten

from optimizer.graph.rewrites.slices import ELIMINATE_INDEX_WRAP, ELIMINATE_SLICE, FOLD_SLICE_INTO_GATHER

END = 2**31 - 1
Numbers = list[int]
Listed = Numbers | None


def sliced(
    starts: Numbers, ends: Numbers, axes: Listed, steps: Listed, last: str, opset: int = 17
) -> onnx.ModelProto:
    given = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
    constants = ", ".join(
        f"int64[{len(value)}] {name} = {{{', '.join(map(str, value))}}}"
        for name, value in given.items()
        if value
    )
    names = ", ".join(["starts", "ends", *(["axes"] if axes else []), *(["steps"] if steps else [])])
    rank = 3 if last.startswith("y = Neg") else 2
    text = f"""
        g (float[b, 5, 4] x) => (float[{", ".join("pqr"[:rank])}] y)
        <{constants},
         int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] zero = {{0}}, int64[1] minus = {{-2}}>
        {{ s = Slice (x, {names}) {last} }}"""
    return proto_of(text, {}, opset)


FEEDS = [{"x": normal(2, 5, 4)}, {"x": normal(1, 5, 4)}]


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([0, 0, 0], [END, END, END], None, None),
        ([0, 0], [5, 4], [1, 2], None),
        ([0], [4], [2], None),
        ([0], [4], [-1], None),
        ([0], [END], [0], [1]),
        ([0], [2**63 - 1], [1], [1]),
        ([-5], [5], [1], None),
        ([-4], [4], [-1], [1]),
        ([0, -5], [END, END], [0, 1], [1, 1]),
        ([0, 0], [END, END], [0, 2], None),
        ([0, 0, 0], [10**9] * 3, [0, 1, 2], [1, 1, 1]),
        ([0], [5], [1], None),
        ([0], [5], [-2], [1]),
        ([-5], [7], [1], [1]),
        ([-4, 0], [END, 2**62], [2, 0], None),
    ],
)
def test_a_slice_of_all_goes(
    starts: list[int], ends: list[int], axes: list[int] | None, steps: list[int] | None, opset: int
) -> None:
    before = sliced(starts, ends, axes, steps, "y = Neg (s)", opset)
    after = rewritten(before, ELIMINATE_SLICE)
    assert operators(after) == ["Neg"]
    assert_same(before, after, *FEEDS)


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([1], [END], [1], None),
        ([0], [4], [1], None),
        ([0], [-1], [1], None),
        ([0], [5], [0], None),
        ([0], [END], [1], [2]),
        ([-1], [-(2**31)], [1], [-1]),
        ([-1], [END], [0], None),
        ([0, 0], [END, 3], [0, 1], None),
        ([-2], [END], [0], None),
        ([0], [1], [0], None),
    ],
)
def test_a_slice_of_some_is_left(
    starts: list[int], ends: list[int], axes: list[int], steps: list[int] | None
) -> None:
    assert_left(sliced(starts, ends, axes, steps, "y = Neg (s)"), ELIMINATE_SLICE)


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize(
    ("start", "end", "axis", "squeezed"),
    [
        (0, 1, 1, "one"),
        (3, 4, 1, "one"),
        (-1, END, 1, "one"),
        (-2, -1, 1, "one"),
        (-3, -2, 2, "two"),
        (0, 1, 2, "two"),
        (3, 4, -1, "two"),
        (0, 1, 1, "minus"),
    ],
)
def test_one_that_is_squeezed_is_gathered(
    start: int, end: int, axis: int, squeezed: str, whole: bool, opset: int
) -> None:
    others = ([0], [END], [0]) if whole else ([], [], [])
    before = sliced(
        [*others[0], start],
        [*others[1], end],
        [*others[2], axis],
        None,
        f"y = Squeeze (s, {squeezed})",
        opset,
    )
    after = rewritten(before, FOLD_SLICE_INTO_GATHER)
    assert operators(after) == ["Gather"]
    assert_same(before, after, *FEEDS)


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps", "last"),
    [
        ([0], [1], [0], None, "t = Relu (s)  y = Squeeze (t, zero)"),
        ([4], [END], [1], None, "y = Squeeze (s, one)"),
        ([0], [2], [1], [2], "y = Squeeze (s, one)"),
        ([0, 0], [1, 2], [1, 2], None, "y = Squeeze (s, one)"),
        ([-1], [-2], [1], [-1], "y = Squeeze (s, one)"),
        ([-2], [0], [1], None, "t = ReduceMax <axes = [1]> (s)  y = Squeeze (t, one)"),
        (
            [0],
            [1],
            [1],
            None,
            "t = Squeeze (s, one)  u = ReduceMax <axes = [1], keepdims = 0> (s)  y = Add (t, u)",
        ),
        ([1], [3], [1], None, "t = ReduceMax <axes = [1]> (s)  y = Squeeze (t, one)"),
        ([-3], [-1], [1], None, "t = ReduceMax <axes = [1]> (s)  y = Squeeze (t, one)"),
        ([0, 0], [1, 1], [1, 2], None, "t = Squeeze (s, one)  y = Neg (t)"),
    ],
)
def test_what_is_not_one_by_its_bounds_is_left(
    starts: Numbers, ends: Numbers, axes: Listed, steps: Listed, last: str
) -> None:
    assert_left(sliced(starts, ends, axes, steps, last), FOLD_SLICE_INTO_GATHER)


def wrapped(
    condition: str, chosen: str, size: int = 5, kind: str = "int32", axis: int = 0, opset: int = 17
) -> onnx.ModelProto:
    text = f"""
        g ({kind}[b, 3] i) => (float[{"p, q, r" if axis == 0 else "r, p, q"}] y)
        {{ {condition}  m = Add (i, n)  w = Where ({chosen})  y = Gather <axis = {axis}> (t, w) }}"""
    dtype = np.dtype(kind)
    constants: dict[str, Array] = {
        "n": np.array(size, dtype),
        "zero": np.array(0, dtype),
        "real": np.array(0, np.float32),
        "exact": np.array(0, np.float64),
        "t": normal(5, 4) if axis == 0 else normal(4, 5),
    }
    used = {name: value for name, value in constants.items() if name in text.replace("(t, w)", ", t")}
    return proto_of(text, used, opset)


DIRECT, CAST = "c = Less (i, zero)", "r = Cast <to = 1> (i)  c = Less (r, real)"
EXACT = "r = Cast <to = 11> (i)  c = Less (r, exact)"


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("kind", ["int32", "int64"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("condition", [DIRECT, CAST, EXACT])
def test_gather_counts_from_the_end_by_itself(condition: str, axis: int, kind: str, opset: int) -> None:
    before = wrapped(condition, "c, m, i", kind=kind, axis=axis, opset=opset)
    after = rewritten(before, ELIMINATE_INDEX_WRAP)
    assert operators(after) == ["Gather"]
    indices = np.array([[0, 4, 2], [-1, -5, -3]], kind)
    assert_same(before, after, {"i": indices}, {"i": indices[1:]})


@pytest.mark.parametrize(
    ("condition", "chosen", "size"),
    [
        (DIRECT, "c, m, i", 4),
        (DIRECT, "c, m, i", 6),
        (DIRECT, "c, i, m", 5),
        ("c = Less (zero, i)", "c, m, i", 5),
        ("c = Greater (i, zero)", "c, m, i", 5),
        ("c = LessOrEqual (i, zero)", "c, m, i", 5),
        ("k = Neg (i)  c = Less (k, zero)", "c, m, i", 5),
        ("c = Less (i, n)", "c, m, i", 5),
        ("c = Less (i, zero)  k = Abs (i)", "c, m, k", 5),
        ("o = Less (i, zero)  c = Not (o)", "c, m, i", 5),
    ],
)
def test_other_choices_of_an_index_are_left(condition: str, chosen: str, size: int) -> None:
    assert_left(wrapped(condition, chosen, size), ELIMINATE_INDEX_WRAP)


def test_a_size_that_widens_the_index_is_left() -> None:
    text = """g (int64[3] i) => (float[1, 3, 4] y) <int64 zero = {0}, int64[1, 1] n = {5}>
        { l = Less (i, zero)  a = Add (i, n)  w = Where (l, a, i)  y = Gather (table, w) }"""
    assert_left(proto_of(text, {"table": normal(5, 4)}), ELIMINATE_INDEX_WRAP)
