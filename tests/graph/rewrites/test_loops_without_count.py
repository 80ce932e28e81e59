"""Loops that end by their condition alone, as Keras 2 writes masked layers."""

from __future__ import annotations

import onnx
import pytest
from recurrent_loops import Loop, feeds, loop_model, loop_text
from rewrite_cases import assert_left, assert_same, operators, rewritten

from optimizer.graph.rewrites.recurrence import FUSE_RECURRENCE

OPERATORS = {"lstm": "LSTM", "gru_after": "GRU", "gru_before": "GRU", "rnn": "RNN"}


def model(loop: Loop, *changes: tuple[str, str]) -> onnx.ModelProto:
    """The loop, changed, without a count."""
    text = loop_text(loop)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    proto = loop_model(loop, text)
    [node] = [node for node in proto.graph.node if node.op_type == "Loop"]
    node.input[0] = ""
    return proto


@pytest.mark.parametrize("result", ["last", "sequence", "state"])
@pytest.mark.parametrize("mask", ["", "where", "product"])
@pytest.mark.parametrize("count", ["fixed", "carried"])
@pytest.mark.parametrize("cell", OPERATORS)
def test_it_becomes_the_operator(cell: str, count: str, mask: str, result: str) -> None:
    loop = Loop(cell, count=count, mask=mask, result=result)
    before = model(loop)
    after = rewritten(before, FUSE_RECURRENCE)
    assert OPERATORS[cell] in operators(after)
    assert_same(before, after, feeds(loop), feeds(loop, seed=1))


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
@pytest.mark.parametrize(
    ("count", "old", "new"),
    [
        ("fixed", "on = Less (fk, ff)", "on = LessOrEqual (fk, ff)"),
        ("fixed", "on = Less (fk, ff)", "fg = Add (ff, one)  on = Less (fk, fg)"),
        ("fixed", "on = Less (fk, ff)", "on = Identity (go)"),
        ("fixed", "fk = Cast <to = 1> (k_next)", "fk = Cast <to = 1> (k)"),
        ("carried", "fk = Cast <to = 1> (k_next)", "fk = Cast <to = 1> (k)"),
        ("carried", "total_next = Identity (total)", "total_next = Add (total, one_step)"),
        ("fixed", "int64 {7}", "int64 {6}"),
        ("fixed", "int64 {7}", "int64 {0}"),
        ("computed", "on = Less (fk, ff)", "on = Less (fk, ff) "),  # of no steps it would take one
        ("carried", "begins = Less (zero_number, f_count)", "begins = Less (one, f_count)"),
        ("carried", "total_next = Identity (total)", "total_next = Sub (total, k)"),
        ("carried", "on = Less (fk, ff)", "fg = Mul (ff, ff)  on = Less (fk, fg)"),
        ("carried", "on = Less (fk, ff)", "gf = Add (fk, one)  on = Less (gf, ff)"),
    ],
)
def test_one_that_ends_elsewhere_is_left(count: str, old: str, new: str, cell: str) -> None:
    assert_left(model(Loop(cell, count=count), (old, new)), FUSE_RECURRENCE)
