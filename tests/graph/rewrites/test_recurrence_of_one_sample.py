"""Cells of a batch of one, where TensorFlow adds the one row of a product as if it were a bias."""

from __future__ import annotations

import pytest
from recurrent_loops import Loop, feeds, loop_model, loop_text
from rewrite_cases import assert_left, assert_same, operators, rewritten

from optimizer.graph.rewrites.recurrence import FUSE_RECURRENCE


def text_of(loop: Loop, squeeze: str) -> str:
    old = "z = Add (fx, fh)"
    text = loop_text(loop).replace("batch", "1")
    assert old in text
    return text.replace(old, f"{squeeze}  sum = Gemm (x, w, row)  z = Add (sum, b)")


@pytest.mark.parametrize("squeeze", ["row = Squeeze (fh_p, zero)", "row = Squeeze (fh_p)"])
@pytest.mark.parametrize("result", ["last", "sequence", "state"])
@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_a_row_of_the_state_is_a_term_of_the_sum(cell: str, result: str, squeeze: str) -> None:
    loop = Loop(cell, result=result)
    before = loop_model(loop, text_of(loop, squeeze))
    after = rewritten(before, FUSE_RECURRENCE)
    assert "Loop" not in operators(after)
    one = {name: value[:1] for name, value in feeds(loop).items()}
    assert_same(before, after, one)


@pytest.mark.parametrize(
    "row",
    [
        "t_p = Tanh (fh_p)  row = Squeeze (t_p, zero)",
        "doubled = MatMul (x, w)  row = Squeeze (doubled, zero)",
        "part = ReduceSum (fh_p, one_axis)  row = Squeeze (part, one_axis)",
    ],
)
def test_another_row_is_left(row: str) -> None:
    loop = Loop("lstm")
    assert_left(loop_model(loop, text_of(loop, row)), FUSE_RECURRENCE)
