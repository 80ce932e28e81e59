"""Parts of parts: slices, splits, joins and look-ups in a row."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from rewrite_cases import Array, assert_left, assert_same, normal, operators, proto_of, rewritten

from optimizer.graph.rewrites.parts import COLLAPSE_GATHERS, COLLAPSE_PARTS, COLLAPSE_SLICES

END = 2**63 - 1
Places = int | list[int] | list[list[int]]
LENGTHS = [{"x": normal(2, length, 9)} for length in (1, 4, 7, 12)]


def slices(*ranges: tuple[int, int, int, int], opset: int = 17) -> onnx.ModelProto:
    """Slices in a row, each by axis, start, end and step, of what has a free length."""
    names = "abcdefgh"[: len(ranges)]
    constants = ", ".join(
        f"int64[1] {name}{part} = {{{number}}}"
        for name, (axis, start, end, step) in zip(names, ranges, strict=True)
        for part, number in (("s", start), ("e", end), ("a", axis), ("t", step))
    )
    steps, value = "", "x"
    for name in names:
        steps += f"{name} = Slice ({value}, {name}s, {name}e, {name}a, {name}t) "
        value = name
    text = f"g (float[b, s, 9] x) => (float[p, q, r] y) <{constants}> {{ {steps} y = Neg ({value}) }}"
    return proto_of(text, {}, opset)


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize(
    "ranges",
    [
        ((1, 1, 4, 1), (2, 2, 5, 1)),
        ((2, 8, 0, -3), (1, 0, 2, 1)),
        ((0, 0, END, 2), (1, 3, 0, -1)),
        ((2, 1, 7, 2), (1, -1, END, 1), (0, 0, 1, 1)),
        ((1, 0, END, 1), (1, 2, 3, 1)),
        ((1, 1, 9, 1), (1, 1, 4, 1), (1, 0, 2, 1)),
        ((-1, 0, 8, 1), (2, 3, 8, 1)),
        ((1, 1, END, 1), (2, -3, END, 1)),
        ((-2, 1, END, 1), (-1, -1, -8, -2)),
        ((1, 0, END, 2), (2, 0, END, 2)),
        ((0, 1, END, 1), (1, -2, END, 1), (2, 1, -1, 1)),
        ((1, 1, END, 1), (1, 1, END, 1)),
        ((1, 1, 6, 1), (1, 2, 3, 1)),
        ((1, 1, 6, 1), (1, 2, 30, 1)),
        ((1, 3, 6, 1), (1, 5, 9, 1)),
        ((2, 2, 8, 1), (-1, 1, 4, 1), (1, 1, 3, 1)),
        ((1, 2, END, 1), (-2, 0, END - 1, 1)),
        ((1, 0, 3, 1), (1, 3, 5, 1)),
    ],
)
def test_slices_in_a_row_become_one(ranges: tuple[tuple[int, int, int, int], ...], opset: int) -> None:
    before = slices(*ranges, opset=opset)
    after = rewritten(before, COLLAPSE_SLICES, times=len(ranges) - 1)
    assert operators(after) == ["Slice", "Neg"]
    assert_same(before, after, *LENGTHS)


@pytest.mark.parametrize(
    "ranges",
    [
        ((1, -3, END, 1), (1, 1, 2, 1)),
        ((1, 1, -1, 1), (1, 1, 2, 1)),
        ((1, 1, 5, 1), (1, -2, 3, 1)),
        ((1, 1, 5, 1), (1, 1, -1, 1)),
        ((1, 0, 5, 2), (1, 1, 2, 1)),
        ((1, 0, 5, 1), (1, 0, 3, 2)),
        ((1, 5, 0, -1), (-2, 1, 2, 1)),
        ((-2, -4, -1, 1), (1, 0, 2, 1)),
        ((1, 0, 6, 1), (1, 3, 0, -1)),
        ((2, 1, END, 2), (-1, 1, 3, 1)),
    ],
)
def test_slices_of_one_axis_that_count_otherwise_are_left(
    ranges: tuple[tuple[int, int, int, int], ...],
) -> None:
    assert_left(slices(*ranges), COLLAPSE_SLICES)


PARTS = {
    "all of a Split": ("a, b, c = Split <axis = 1> (x, s)  o = Concat <axis = 1> (a, b, c)", "Neg"),
    "its first parts": ("a, b, c = Split <axis = 1> (x, s)  o = Concat <axis = 1> (a, b)", "Slice Neg"),
    "its last parts": ("a, b, c = Split <axis = 1> (x, s)  o = Concat <axis = -2> (b, c)", "Slice Neg"),
    "one of it": ("a, b, c = Split <axis = 1> (x, s)  o = Exp (b)", "Slice Exp Neg"),
    "the last of it": ("a, b, c = Split <axis = -2> (x, s)  o = Exp (c)", "Slice Exp Neg"),
    "all Slices": (
        "a = Slice (x, n0, n2, n1)  b = Slice (x, n2, n6, n1)  o = Concat <axis = 1> (a, b)", "Neg",
    ),
    "from the end": (
        "a = Slice (x, n0, m4, n1)  b = Slice (x, m4, n9, n1)  o = Concat <axis = 1> (a, b)", "Neg",
    ),
    "neighbours": (
        "a = Slice (x, n1, n2, n1)  b = Slice (x, n2, n4, n1)  o = Concat <axis = 1> (a, b)", "Slice Neg",
    ),
    "a first operand": ("j = Concat <axis = 1> (x, z)  o = Slice (j, n0, n6, n1)", "Neg"),
    "a last operand": ("j = Concat <axis = 1> (x, z)  o = Slice (j, n6, n9, n1)", "Neg"),
    "in an operand": ("j = Concat <axis = 1> (x, z)  o = Slice (j, n2, n4, n1)", "Slice Neg"),
    "in the last operand": ("j = Concat <axis = 1> (z, x)  o = Slice (j, n4, n6, n1)", "Slice Neg"),
    "the end of an operand": ("j = Concat <axis = 1> (x, z)  o = Slice (j, m2, n9, n1)", "Slice Neg"),
    "operands by Split": (
        "j = Concat <axis = 1> (x, z)  a, b = Split <axis = 1> (j, s2)  o = Concat <axis = 0> (a, x)",
        "Concat Neg",
    ),
    "operands of operands": (
        "k = Concat <axis = 1> (z, x)  j = Concat <axis = 1> (k, z)  o = Slice (j, n4, m4, n1)", "Neg",
    ),
    "two operands turned": (
        "j = Concat <axis = 1> (x, z)  a, b = Split <axis = 1> (j, s2)  o = Concat <axis = 1> (b, a)",
        "Concat Neg",
    ),
    "of a Slice": ("a = Slice (x, m4, n9, n1)  e = Exp (a)  b = Slice (a, n1, n2, n1)  o = Mul (e, b)", ""),
    "fewer operands": (
        "a, b, c = Split <axis = 1> (x, s)  o = Concat <axis = 1> (a, b, c, z)", "Concat Neg",
    ),
    "one operand": ("o = Concat <axis = 1> (x)", "Neg"),
    "other axes whole": ("j = Concat <axis = 1> (x, z)  o = Slice (j, w0, w9, w1)", "Neg"),
}  # fmt: skip
CONSTANTS = """int64[3] s = {2, 3, 1}, int64[2] s2 = {6, 4}, int64[1] n0 = {0}, int64[1] n1 = {1},
    int64[1] n2 = {2}, int64[1] n4 = {4}, int64[1] n6 = {6}, int64[1] n9 = {99},
    int64[1] m2 = {-2}, int64[1] m4 = {-4}, int64[2] w0 = {0, 0},
    int64[2] w9 = {99, 6}, int64[2] w1 = {2, 1}"""


def parts(steps: str, opset: int = 17) -> onnx.ModelProto:
    text = f"""g (float[b, 6, 3] x, float[b, 4, 3] z) => (float[p, q, r] y) <{CONSTANTS}>
        {{ {steps}  y = Neg (o) }}"""
    return proto_of(text, {}, opset)


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("name", PARTS)
def test_parts_are_read_where_they_come_from(name: str, opset: int) -> None:
    steps, wanted = PARTS[name]
    before = parts(steps, opset)
    after = rewritten(before, COLLAPSE_PARTS)
    if wanted:
        assert operators(after) == wanted.split()
    assert len(operators(after)) <= len(operators(before))
    assert_same(before, after, *({"x": normal(n, 6, 3), "z": normal(n, 4, 3, seed=1)} for n in (1, 2)))


@pytest.mark.parametrize(
    "steps",
    [
        "a, b, c = Split <axis = 1> (x, s)  o = Concat <axis = 1> (b, a, c)",
        "a, b, c = Split <axis = 1> (x, s)  o = Concat <axis = 1> (a, c)",
        "a, b = Split <axis = 1> (x)  o = Concat <axis = 2> (a, b)",
        "a = Slice (x, n0, n2, n1)  b = Slice (x, n1, n6, n1)  o = Concat <axis = 1> (a, b)",
        "a = Slice (x, n0, n2, n1)  b = Slice (x, n4, n6, n1)  o = Concat <axis = 1> (a, b)",
        "a = Slice (x, n0, n2, n1)  k = Neg (x)  b = Slice (k, n2, n6, n1)  o = Concat <axis = 1> (a, b)",
        "a = Slice (x, n0, n6, n1, n2)  b = Slice (x, n1, n6, n1, n2)  o = Concat <axis = 1> (a, b)",
        "j = Concat <axis = 1> (x, z)  o = Slice (j, n4, n9, n1)",
        "j = Concat <axis = 0> (x, x)  o = Slice (j, n1, n4, n1)",
        "j = Concat <axis = 0> (x, x)  o = Slice (j, n0, n2, n0)",
        "j = Concat <axis = 1> (x, z)  a, b = Split <axis = 1> (j)  o = Concat <axis = 0> (a, b)",
        "k = Concat <axis = 1> (x, z)  e = Exp (k)  o = Concat <axis = 1> (e, k, z)",
        "a, b, c = Split <axis = 1> (x, s)  o = Concat <axis = 1> (a, b, z)",
        "o = Slice (x, n1, n4, n1)",
    ],
)
def test_other_parts_are_left(steps: str) -> None:
    assert_left(parts(steps), COLLAPSE_PARTS)


@pytest.mark.parametrize("kind", [np.int32, np.int64])
@pytest.mark.parametrize("outer", [[0, 2], [[-1, 1], [0, -3]], 1, -3, [2, 2, 2, 0, 1]])
@pytest.mark.parametrize(
    ("inner", "axis"), [([4, -2, 0], 1), ([1, 3, -4], -1), ([[0, 1], [2, 3], [-1, 0]], 1)]
)
def test_look_ups_in_look_ups_become_one(inner: Places, axis: int, outer: Places, kind: type) -> None:
    i: Array = np.array(inner, kind)
    j: Array = np.array(outer, kind)
    rank = 2 + i.ndim - 1 + j.ndim
    then = axis if axis > 0 else 2
    text = f"""g (float[b, 5, 4] x) => (float[{", ".join("pqrstu"[:rank])}] y)
        {{ h = Gather <axis = {axis}> (x, i)  o = Gather <axis = {then}> (h, j)  y = Neg (o) }}"""
    before = proto_of(text, {"i": i, "j": j})
    after = rewritten(before, COLLAPSE_GATHERS)
    assert operators(after) == ["Gather", "Neg"]
    assert_same(before, after, {"x": normal(2, 5, 4)}, {"x": normal(1, 5, 4)})


@pytest.mark.parametrize(
    ("i", "j", "axis", "then"),
    [
        ([1, 2], [0, 1], 1, 2),
        ([1, 2], [0, 1], 2, 1),
        ([1, 2], [0, 2], 1, 1),
        ([1, 2], [-3, 0], 1, 1),
        ([[1, 2]], [0, 1], 1, 2),
        (2, [0, 1], 1, 1),
        (2, [0, 1], 0, 0),
        ([0, 1], [[0], [1]], 2, 0),
    ],
)
def test_other_look_ups_are_left(i: Places, j: Places, axis: int, then: int) -> None:
    text = f"""g (float[3, 5, 4] x) => (y)
        {{ h = Gather <axis = {axis}> (x, i)  y = Gather <axis = {then}> (h, j) }}"""
    rank = 3 + np.ndim(i) - 1 + np.ndim(j) - 1
    text = text.replace("(y)", f"(float[{', '.join('pqrstu'[:rank])}] y)", 1)
    assert_left(proto_of(text, {"i": np.array(i), "j": np.array(j)}), COLLAPSE_GATHERS)


@pytest.mark.parametrize("computed", ["i", "j"])
def test_a_look_up_at_computed_places_is_left(computed: str) -> None:
    known = "j" if computed == "i" else "i"
    text = f"""g (float[b, 5] x, int64[n] {computed}) => (float[b, m] y) <int64[2] {known} = {{1, 0}}>
        {{ h = Gather <axis = 1> (x, i)  y = Gather <axis = 1> (h, j) }}"""
    assert_left(proto_of(text, {}), COLLAPSE_GATHERS)


def test_outputs_that_are_inputs_of_nodes_without_a_name() -> None:
    text = """g (float[b, 6] x, float[b, 4] z) => (float[p, q] y, float[r, s] u) <int64[2] s2 = {6, 4}>
        { j = Concat <axis = 1> (x, z)  y, u = Split <axis = 1> (j, s2) }"""
    before = proto_of(text, {})
    after = rewritten(before, COLLAPSE_PARTS)
    assert operators(after) == ["Identity", "Identity"]
    assert_same(before, after, {"x": normal(2, 6), "z": normal(2, 4)})


def test_a_value_that_is_joined_with_itself_again_and_again_is_left_soon() -> None:
    steps = "".join(f"c{n + 1} = Concat <axis = 1> (c{n}, c{n})\n" for n in range(26))
    text = f"g (float[1, 1] x) => (float[1, m] y) {{ c0 = Neg (x) \n {steps} y = Neg (c26) }}"
    assert_left(proto_of(text, {}), COLLAPSE_PARTS)
