"""Chains of operators that only move elements."""

from __future__ import annotations

import itertools

import pytest
from rewrite_cases import assert_left, assert_same, normal, operators, proto_of, rewrite, rewritten

from optimizer.graph.rewrites.moves import COLLAPSE_MOVES


def chain(given: str, steps: list[str], rank: int) -> str:
    """A graph of moves: `R -1 12` is a Reshape, `T 0 2 1` a Transpose, `U 1` and `S 1` the others."""
    constants, body = [], []
    for number, step in enumerate(steps):
        kind, *entries = step.split()
        listed = ", ".join(entries)
        source, result = f"x{number}", f"x{number + 1}"
        if kind == "T":
            body.append(f"{result} = Transpose <perm = [{listed}]> ({source})")
            continue
        op = {"R": "Reshape", "U": "Unsqueeze", "S": "Squeeze"}[kind]
        constants.append(f"int64[{len(entries)}] c{number} = {{{listed}}}")
        body.append(f"{result} = {op} ({source}, c{number})")
    listed = f"<{', '.join(constants)}>" if constants else ""
    free = ", ".join("pqrstuv"[:rank])
    return (
        f"g (float[{given}] x0) => (float[{free}] y) {listed} {{ {' '.join(body)} y = Neg (x{len(steps)}) }}"
    )


BOTH = ["Reshape", "Transpose"]
CASES: dict[str, tuple[str, list[str], int, list[str]]] = {
    "two transposes that cancel": ("b, 3, 4", ["T 0 2 1", "T 0 2 1"], 3, []),
    "three that cancel": ("b, 3, 4", ["T 1 2 0", "T 1 2 0", "T 1 2 0"], 3, []),
    "two transposes": ("b, 3, 4", ["T 1 2 0", "T 1 2 0"], 3, ["Transpose"]),
    "one channel": ("b, 5, 6, 1", ["T 0 3 1 2"], 4, ["Reshape"]),
    "one channel, last": ("b, 1, 5, 6", ["T 0 2 3 1"], 4, ["Reshape"]),
    "height one": ("b, 5, 1, 3", ["T 0 2 1 3"], 4, ["Reshape"]),
    "one example": ("1, 5, 3", ["T 1 0 2"], 3, ["Reshape"]),
    "through a Reshape": ("b, 3, 4", ["T 0 2 1", "R -1 2 2 3", "T 0 3 1 2"], 4, ["Reshape"]),
    "through an Unsqueeze": ("b, 3, 4", ["T 0 2 1", "U 1", "T 0 1 3 2"], 4, ["Unsqueeze"]),
    "through a Squeeze": ("b, 1, 3, 4", ["T 0 2 3 1", "S 3"], 3, ["Squeeze"]),
    "Keras 3, heads": ("b, 7, 12", ["R -1 7 3 4", "U 2", "T 0 3 2 1 4", "R -1 3 7 4"], 4, BOTH),
    "Keras 3, keys": ("b, 7, 12", ["R -1 7 3 4", "U 1", "T 0 3 1 4 2", "S 2"], 4, BOTH),
    "heads and back": ("b, 7, 12", ["R -1 7 3 4", "T 0 2 1 3", "T 0 2 1 3", "R -1 7 12"], 3, []),
    "to one axis": ("b, 3, 7, 4", ["T 0 2 1 3", "U 1", "R -1 7 12"], 3, BOTH[::-1]),
    "neighbours": ("b, 3, 7, 4", ["U 0", "T 0 1 4 2 3", "S 0"], 4, ["Transpose"]),
    "an image of one row": ("b, 9, 4", ["U 1", "T 0 3 2 1"], 4, ["Transpose", "Unsqueeze"]),
    "an image of one column": ("b, 9, 4", ["R -1 9 1 4", "T 0 3 1 2"], 4, ["Transpose", "Unsqueeze"]),
    "one row of an image": ("b, 1, 9, 4", ["T 0 3 2 1", "S 3"], 3, ["Squeeze", "Transpose"]),
    "joined and cut": ("b, 3, 7, 4", ["R -1 12", "R -1 3 4", "R -1 4 3"], 3, ["Reshape"]),
    "pixel shuffle": ("b, 2, 2, 3, 5", ["U 1", "T 0 1 2 4 3 5", "R -1 6 2 5"], 4, BOTH[::-1]),
    "free lengths": ("b, s, 12", ["R 0 0 3 4", "U 2", "T 0 3 2 1 4", "S 2"], 4, BOTH),
    "free sizes, none copied": ("b, 1, s, 3", ["U 4", "T 0 2 1 3 4"], 5, ["Squeeze", "Unsqueeze"]),
    "free lengths back": ("b, 3, s, 4", ["T 0 2 1 3", "U 1", "R 0 -1 3 4", "R 0 0 12"], 3, BOTH[::-1]),
    "free, cancelling": ("b, s, 12", ["T 1 0 2", "R 0 0 3 4", "T 1 0 2 3", "R 0 0 12"], 3, []),
}  # fmt: skip


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("name", CASES)
def test_a_chain_is_the_fewest_moves(name: str, opset: int) -> None:
    given, steps, rank, expected = CASES[name]
    before = proto_of(chain(given, steps, rank), {}, opset)
    after = rewritten(before, COLLAPSE_MOVES)
    assert operators(after) == [*expected, "Neg"]
    for batch, length in ((2, 5), (1, 1), (0, 5), (2, 0)):
        sizes = {"b": batch, "s": length}
        shape = [int(sizes.get(size.strip(), size)) for size in given.split(",")]
        if "-1" in "".join(steps) and 0 in shape:
            continue  # the chain itself may not run
        assert_same(before, after, {"x0": normal(*shape)})


@pytest.mark.parametrize("orders", list(itertools.product(itertools.permutations(range(3)), repeat=2)))
def test_any_two_transposes_of_three_axes(orders: tuple[tuple[int, ...], ...]) -> None:
    steps = [f"T {' '.join(map(str, order))}" for order in orders]
    before = proto_of(chain("2, 3, 4", steps, 3), {})
    after, _ = rewrite(before, (COLLAPSE_MOVES,))
    assert len(operators(after)) <= 2
    assert_same(before, after, {"x0": normal(2, 3, 4)})


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[1:])
@pytest.mark.parametrize("given", ["2, 1, 4, 1", "2, 12, 1, 3"])
def test_any_transpose_between_reshapes(order: tuple[int, ...], given: str) -> None:
    cut = "R 2 2 -1 2" if "12" not in given else "R 2 4 3 3"
    steps = ["R 2 -1", cut, f"T {' '.join(map(str, order))}", "R 2 -1"]
    before = proto_of(chain(given, steps, 2), {})
    after, report = rewrite(before, (COLLAPSE_MOVES,))
    assert report.applied
    assert len(operators(after)) <= 4
    assert_same(before, after, {"x0": normal(*map(int, given.split(", ")))})


LEFT = {
    "needed": ("b, 3, 4", ["T 0 2 1"], 3),
    "needed between Reshapes": ("b, 12", ["R -1 3 4", "T 0 2 1", "R -1 12"], 2),
    "cut": ("b, 12", ["R -1 3 4"], 3),
    "cut and turned": ("b, 12", ["R -1 3 4", "T 0 2 1"], 3),
    "turned and joined": ("b, 3, 4", ["T 0 2 1", "R -1 12"], 2),
    "a free axis that may be one": ("b, s, 4", ["T 1 0 2"], 3),
    "no pieces in common": ("b, 4, 6", ["T 0 2 1", "R -1 8 3", "T 0 2 1"], 3),
    "free sizes, of which a Reshape would copy one": ("b, 1, s, 3", ["T 0 2 1 3"], 4),
    "unsqueezed": ("b, 3", ["U 1"], 3),
    "squeezed": ("b, 1, 3", ["S 1"], 2),
    "two free sizes that move": ("b, s, 4", ["T 1 0 2", "R 0 -1 2 2"], 4),
}


@pytest.mark.parametrize("name", LEFT)
def test_a_chain_that_is_needed_is_left(name: str) -> None:
    given, steps, rank = LEFT[name]
    assert_left(proto_of(chain(given, steps, rank), {}), COLLAPSE_MOVES)


def test_a_move_that_several_read_is_left_behind_by_all_of_them() -> None:
    text = """
        g (float[b, 6] x) => (float[p, q, r] y, float[s, t, u] z)
        <int64[1] one = {1}, int64[3] first = {-1, 2, 3}, int64[3] second = {-1, 3, 2}>
        { m = Unsqueeze (x, one)  a = Reshape (m, first)  c = Reshape (m, second)
          y = Neg (a)  z = Abs (c) }"""
    before = proto_of(text, {})
    after = rewritten(before, COLLAPSE_MOVES, times=2)
    assert sorted(operators(after)) == ["Abs", "Neg", "Reshape", "Reshape"]
    assert_same(before, after, {"x": normal(2, 6)})


def test_a_transpose_that_is_read_elsewhere_stays_one() -> None:
    text = """
        g (float[b, 3, 4] x) => (float[p, q, r] y, float[s, t, u] z)
        { m = Transpose <perm = [0, 2, 1]> (x)  a = Transpose <perm = [1, 0, 2]> (m)
          y = Neg (a)  z = Abs (m) }"""
    assert_left(proto_of(text, {}), COLLAPSE_MOVES)
