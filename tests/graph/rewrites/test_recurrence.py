"""Loops that become LSTM, GRU and RNN, and loops that only look so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir
import pytest
from recurrent_loops import Loop, feeds, loop_model, loop_text
from rewrite_cases import assert_left, assert_same, normal, operators, proto_of, rewritten

from optimizer.graph.rewriter import apply_rewrites
from optimizer.graph.rewrites.recurrence import ELIMINATE_ZERO_STATES, FOLD_LAST_STEP, FUSE_RECURRENCE

CELLS = {"lstm": "LSTM", "gru_after": "GRU", "gru_before": "GRU", "rnn": "RNN"}


def check(loop: Loop) -> None:
    before = loop_model(loop)
    after = rewritten(before, FUSE_RECURRENCE)
    assert "Loop" not in operators(after)
    assert CELLS[loop.cell] in operators(after)
    assert_same(before, after, feeds(loop), feeds(loop, seed=1))


@pytest.mark.parametrize("start", ["zeros", "given"])
@pytest.mark.parametrize("result", ["last", "sequence", "state"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_loop_becomes_the_operator(cell: str, result: str, start: str) -> None:
    check(Loop(cell, result=result, start=start))


@pytest.mark.parametrize("masked_output", ["carried", "zeros"])
@pytest.mark.parametrize("result", ["last", "sequence", "state"])
@pytest.mark.parametrize("mask", ["where", "product"])
@pytest.mark.parametrize("cell", CELLS)
def test_any_mask_is_exact(cell: str, mask: str, result: str, masked_output: str) -> None:
    check(Loop(cell, mask=mask, result=result, masked_output=masked_output))


MASKED_INPUTS = {
    "chosen": "x_kept = Where (wide, x_given, zero_number)",
    "multiplied": "flags = Cast <to = 1> (wide)  x_kept = Mul (x_given, flags)",
}


@pytest.mark.parametrize("spelling", MASKED_INPUTS)
@pytest.mark.parametrize("cell", CELLS)
def test_steps_that_the_same_mask_sets_to_zero_are_read_as_they_are(cell: str, spelling: str) -> None:
    loop = Loop(cell, mask="where")
    before = loop_model(loop, masked_input(loop, MASKED_INPUTS[spelling]))
    after = rewritten(before, FUSE_RECURRENCE)
    assert not {"Where", "Mul"} & set(operators(after))
    assert_same(before, after, feeds(loop))


def test_steps_that_another_mask_sets_to_zero_stay_zero() -> None:
    loop = Loop("lstm", mask="where")
    other = "less = Not (wide)  x_kept = Where (less, x_given, zero_number)"
    before = loop_model(loop, masked_input(loop, other))
    after = rewritten(before, FUSE_RECURRENCE)
    assert "Where" in operators(after)
    assert_same(before, after, feeds(loop))


def masked_input(loop: Loop, choice: str) -> str:
    """The text of a loop of five samples whose input goes through a choice."""
    text = loop_text(loop).replace("batch", "5").replace("xs = Transpose <perm = [1, 0, 2]> (x_in)", "", 1)
    first = "wide = Unsqueeze (mask, two_axis)"
    chosen = choice.replace("x_given", "x_in")
    return text.replace(first, f"{first}  {chosen}  xs = Transpose <perm = [1, 0, 2]> (x_kept)")


@pytest.mark.parametrize("gates", ["split", "slice"])
@pytest.mark.parametrize("sums", ["add", "gemm", "transposed"])
@pytest.mark.parametrize("count", ["fixed", "computed", "carried"])
@pytest.mark.parametrize("cell", CELLS)
def test_every_spelling_is_read(cell: str, count: str, sums: str, gates: str) -> None:
    check(Loop(cell, gates=gates, sums=sums, count=count))


SLICED = """
    none = Constant <value = int64[2] {0, 0}> ()  two = Constant <value = int64[2] {2147483647, 8}> ()
    one_gate = Constant <value = int64[2] {0, 4}> ()  end_one = Constant <value = int64[2] {2147483647, 4}> ()
    two_gates = Constant <value = int64[2] {0, 8}> ()
    all_three = Constant <value = int64[2] {2147483647, 12}> ()
    r_zr = Slice (r, none, two, both)  hzr = MatMul (h, r_zr)
    hz = Slice (hzr, none, end_one, both)  hr = Slice (hzr, one_gate, two, both)
    r_n = Slice (r, two_gates, all_three, both)
"""


@pytest.mark.parametrize("result", ["last", "sequence"])
def test_keras_cuts_the_weight_of_a_gru_that_resets_before_inside_the_loop(result: str) -> None:
    loop = Loop("gru_before", result=result)
    text = loop_text(loop).replace("hz = MatMul (h, rz)  hr = MatMul (h, rr)", SLICED)
    text = text.replace("MatMul (qh, rn)", "MatMul (qh, r_n)")
    before = loop_model(loop, text)
    after = rewritten(before, FUSE_RECURRENCE)
    assert "GRU" in operators(after)
    assert_same(before, after, feeds(loop))


BROKEN = {
    "fewer steps than the sequence": ("int64 {7}", "int64 {6}"),
    "every step the same element": ("x = Gather (xs, k)", "x = Gather (xs, first)"),
    "a counter by two": ("k_next = Add (k, one_step)", "k_next = Add (k, t)"),
    "an early end": ("on = Less (fk, ff)", "sq = Mul (fk, fk)  on = Less (sq, ff)"),
    "another output": ("y = Identity (h_new)", "y = Neg (h_new)"),
    "another state": ("h_next = Identity (h_new)", "h_next = Neg (h_new)"),
    "a gate without input": ("z = Add (fx, fh)", "z = Identity (fh)"),
    "another activation": ("Tanh (z", "Sin (z"),
    "a state that is squared": ("fh_p = MatMul (h, r)", "hh = Mul (h, h)  fh_p = MatMul (hh, r)"),
    "a step that starts late": ("int64 first = {0}", "int64 first = {1}"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_a_loop_that_differs_is_left(cell: str, name: str) -> None:
    loop = Loop(cell)
    old, new = BROKEN[name]
    text = loop_text(loop)
    assert old in text
    assert_left(loop_model(loop, text.replace(old, new)), FUSE_RECURRENCE)


def test_a_gate_of_the_last_sample_alone_is_no_gate_of_all() -> None:
    text, first = loop_text(Loop("lstm", gates="slice")), "zi_s = Constant <value = int64[2] {"
    assert f"{first}0, 0}}" in text
    assert_left(loop_model(Loop("lstm"), text.replace(f"{first}0, 0}}", f"{first}-1, 0}}")), FUSE_RECURRENCE)


@pytest.mark.parametrize("cell", ["lstm", "gru_after", "rnn"])
def test_a_masked_loop_with_a_state_of_its_own_is_left(cell: str) -> None:
    assert_left(loop_model(Loop(cell, mask="where", start="given")), FUSE_RECURRENCE)


def test_weights_that_change_from_step_to_step_are_left() -> None:
    loop = Loop("rnn")
    text = loop_text(loop).replace("fx_p = MatMul (x, w)", "wk = Add (w, h_sum)  fx_p = MatMul (x, wk)")
    text = text.replace("x = Gather (xs, k)", "x = Gather (xs, k)  h_sum = ReduceSum <keepdims = 0> (h)")
    assert_left(loop_model(loop, text), FUSE_RECURRENCE)


LAST = """
    g (float[{steps}, batch, 3] x) => (float[1, batch, 4] y)
    <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] last = {{-1}}, int64[1] far = {{{far}}}>
    {{ {outputs} = {operator} <hidden_size = 4> (x, w, r)
       s = Squeeze (all, one)  y = Slice (s, last, far, zero{step}) }}"""


@pytest.mark.parametrize("step", ["", ", one"])
@pytest.mark.parametrize("far", [2**31 - 1, 2**63 - 1])
@pytest.mark.parametrize("steps", ["2", "6", "n"])
@pytest.mark.parametrize("outputs", ["all", "all, state"])
@pytest.mark.parametrize("operator", ["LSTM", "GRU", "RNN"])
def test_the_last_step_of_any_operator_is_its_state(
    operator: str, outputs: str, steps: str, far: int, step: str
) -> None:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[operator]
    text = LAST.format(steps=steps, far=far, outputs=outputs, operator=operator, step=step)
    before = proto_of(text, {"w": normal(1, gates * 4, 3), "r": normal(1, gates * 4, 4)})
    after = rewritten(before, FOLD_LAST_STEP)
    assert operators(after)[0] == operator
    assert "Slice" not in operators(after)
    assert_same(before, after, {"x": normal(5 if steps == "n" else int(steps), 2, 3)})


@pytest.mark.parametrize("operator", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("last = {-1}", "last = {-2}"),
        ("last, far, zero", "last, far, one"),
        ("hidden_size = 4", 'hidden_size = 4, direction = "reverse"'),
        ("last = {-1}, int64[1] far = {2147483647}", "last = {0}, int64[1] far = {1}"),
    ],
)
def test_what_is_not_the_last_step_of_any_operator_is_left(operator: str, old: str, new: str) -> None:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[operator]
    text = LAST.format(steps="6", far=2**31 - 1, outputs="all", operator=operator, step="")
    assert old in text
    text = text.replace(old, new).replace("float[1, batch, 4] y", "float[p, q, r0] y")
    assert_left(proto_of(text, {"w": normal(1, gates * 4, 3), "r": normal(1, gates * 4, 4)}), FOLD_LAST_STEP)


LSTM = """
    g (float[{steps}, batch, 3] x) => ({shape} y)
    <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] start = {{{start}}}, int64[1] far = {{2147483647}}>
    {{ all, last, memory = LSTM <hidden_size = 4{attributes}> (x, w, r)
       s = Squeeze (all, one)  t = Slice (s, start, far, zero)  y = Squeeze (t, zero) }}"""


@pytest.mark.parametrize("steps", ["1", "6"])
def test_the_last_output_is_the_state(steps: str) -> None:
    text = LSTM.format(steps=steps, shape="float[batch, 4]", start=-1, attributes="")
    before = proto_of(text, {"w": normal(1, 16, 3), "r": normal(1, 16, 4)})
    after = rewritten(before, FOLD_LAST_STEP)
    assert "Slice" not in operators(after)
    assert_same(before, after, {"x": normal(int(steps), 2, 3)})


@pytest.mark.parametrize(
    ("start", "attributes"), [(-1, ', direction = "reverse"'), (-2, ""), (0, ""), (-1, ", layout = 0, x")]
)
def test_another_output_is_not_the_state(start: int, attributes: str) -> None:
    shape = "float[batch, 4]" if start == -1 else "float[n, batch, 4]"
    text = LSTM.format(
        steps="6", shape=shape, start=start, attributes=attributes.replace(", layout = 0, x", "")
    )
    if start != -1:
        text = text.replace("y = Squeeze (t, zero)", "y = Identity (t)")
    if attributes.endswith("x"):
        text = text.replace("(x, w, r)", "(x, w, r, , lens)").replace("batch", "2")
    weights = {"w": normal(1, 16, 3), "r": normal(1, 16, 4), "lens": np.array([6, 2], np.int32)}
    used = {name: value for name, value in weights.items() if name != "lens" or "lens" in text}
    assert_left(proto_of(text, used), FOLD_LAST_STEP)


BATCH = "s = Shape (x)  n = Slice (s, one, two, zero)"
STATES = {
    "constant": "h = Identity (nothing)",
    "repeated": f"{BATCH}  d = Concat <axis = 0> (one, n, four)  h = Expand (off, d)",
    "of a shape": f"{BATCH}  d = Concat <axis = 0> (one, n, four)  h = ConstantOfShape (d)",
    "transposed": "h = Transpose <perm = [0, 1, 2]> (nothing)",
    "squeezed and unsqueezed": "e = Squeeze (nothing, zero)  h = Unsqueeze (e, zero)",
    "of another type": "e = Cast <to = 11> (nothing)  h = Cast <to = 1> (e)",
    "tiled": "e = Slice (nothing, zero, one, one)  d = Concat <axis = 0> (one, two, one)  h = Tile (e, d)",
    "cut and repeated": "e = Slice (nothing, zero, one, one)  d = Concat <axis = 0> (one, two, four)  "
    "h = Expand (e, d)",
    "reshaped": "d = Concat <axis = 0> (one, two, four)  h = Reshape (nothing, d)",
    "unsqueezed": f"{BATCH}  d = Concat <axis = 0> (n, four)  e = Expand (off, d)  h = Unsqueeze (e, zero)",
}


@pytest.mark.parametrize("operator", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("state", STATES)
def test_a_state_of_zeros_goes(state: str, operator: str) -> None:
    before = state_model(STATES[state], operator)
    after = rewritten(before, ELIMINATE_ZERO_STATES)
    assert operators(after) == [operator]
    assert_same(before, after, {"x": normal(5, 2, 3)})


@pytest.mark.parametrize("operator", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("state", STATES)
def test_another_state_stays(state: str, operator: str) -> None:
    body = STATES[state].replace("(off", "(on").replace("nothing", "something")
    body = body.replace("ConstantOfShape (d)", "ConstantOfShape <value = float[1] {2.0}> (d)")
    assert_left(state_model(body, operator), ELIMINATE_ZERO_STATES)


@pytest.mark.parametrize("states", ["h, k", "k, h"])
def test_an_lstm_of_which_one_state_is_zeros_keeps_both(states: str) -> None:
    proto = state_model("h = Identity (nothing)  k = Identity (something)", "LSTM", states)
    assert_left(proto, ELIMINATE_ZERO_STATES)


def state_model(body: str, operator: str, states: str = "h, h") -> onnx.ModelProto:
    gates = {"LSTM": 4, "GRU": 3, "RNN": 1}[operator]
    states = states if operator == "LSTM" else "h"
    text = f"""
        g (float[5, 2, 3] x) => (float[5, 1, 2, 4] y)
        <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] two = {{2}}, int64[1] four = {{4}},
         float off = {{0}}, float on = {{0.5}}>
        {{ {body}
           y = {operator} <hidden_size = 4> (x, w, r, , , {states}) }}"""
    weights = {"w": normal(1, gates * 4, 3), "r": normal(1, gates * 4, 4)}
    if "nothing" in body:
        weights["nothing"] = np.zeros((1, 2, 4), np.float32)
    if "something" in body:
        weights["something"] = np.maximum(normal(1, 2, 4), 0)
    return proto_of(text, weights)


def test_a_computed_count_that_is_not_the_sequences_is_left() -> None:
    loop = replace(Loop("rnn"), count="computed")
    text = loop_text(loop).replace("all_sizes = Shape (xs)", "all_sizes = Shape (x_in)")
    assert_left(loop_model(loop, text), FUSE_RECURRENCE)


def test_a_loop_that_is_left_after_a_try_reads_no_more_than_before() -> None:
    text = loop_text(Loop("lstm")).replace("y = Identity (h_new)", "y = Neg (h_new)")
    model = onnx_ir.from_proto(loop_model(Loop("lstm"), text))
    before = {value.name: len(value.uses()) for node in model.graph for value in node.outputs}
    report = apply_rewrites(model, (FUSE_RECURRENCE,))
    assert "another value than its state" in next(iter(report.left.values())).reason
    assert {value.name: len(value.uses()) for node in model.graph for value in node.outputs} == before


@pytest.mark.parametrize("cell", ["lstm", "rnn"])
def test_a_loop_with_a_bound_beside_its_count_is_left(cell: str) -> None:
    loop = Loop(cell, count="computed")
    text = loop_text(loop).replace("on = Less (fk, ff)", "on = Less (fk, twenty)")
    text = text.replace("float one = {1}", "float one = {1}, float twenty = {20}")
    assert "twenty" in text
    assert_left(loop_model(loop, text), FUSE_RECURRENCE)
