"""The proof that a rewritten graph is still the same function."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from rewrite_cases import normal, proto_of

from optimizer.errors import InvalidDataError
from optimizer.graph.verify import NotTheSameError, check_same, witness


def scores(last: str, shift: float) -> onnx.ModelProto:
    """An output of about 1e-4: a Sigmoid's, or the same by the formula."""
    text = f"""g (float[batch, 4] x) => (float[batch, 1] y) <float one = {{1}}>
        {{ p = MatMul (x, w) s = Sub (p, far) {last} }}"""
    return proto_of(text, {"w": 0.01 * normal(4, 1), "far": np.array(9 + shift, np.float32)})


FORMULA = "n = Neg (s) e = Exp (n) d = Add (e, one) y = Reciprocal (d)"


def test_a_sigmoid_may_differ_by_its_rounding_relative_to_1() -> None:
    before, after = (scores("y = Sigmoid (s)", shift) for shift in (0, 1e-3))  # 1.2e-7 of 1.2e-4
    assert check_same(before, after, witness(before)) > 1e-4


@pytest.mark.parametrize(("last", "shift"), [("y = Sigmoid (s)", 1e-2), (FORMULA, 1e-3)])
def test_more_than_that_is_another_function(last: str, shift: float) -> None:
    before, after = (scores(last, change) for change in (0, shift))
    with pytest.raises(NotTheSameError, match="output y differs"):
        check_same(before, after, witness(before))


@pytest.mark.parametrize(("axes", "kernel", "size"), [("length", (41,), 64), ("height, width", (3, 70), 128)])
def test_made_up_inputs_grow_until_a_layer_takes_them(axes: str, kernel: tuple[int, ...], size: int) -> None:
    left = axes.replace(",", "_left,") + "_left"
    text = f"g (float[n, 2, {axes}] x) => (float[n, 3, {left}] y) {{ y = Conv (x, w) }}"
    found = witness(proto_of(text, {"w": normal(3, 2, *kernel)}))
    assert {feed["x"].shape[2:] for feed in found.feeds} == {(size,) * len(kernel)}


def test_samples_show_what_generated_inputs_do_not() -> None:
    texts = ("s = Sub (x, five) y = Relu (s)", "y = Mul (x, zero)")  # the same below 5
    constants = {"five": np.array(5, np.float32), "zero": np.array(0, np.float32)}
    before, after = (
        proto_of(f"g (float[batch, 2] x) => (float[batch, 2] y) {{ {text} }}", constants) for text in texts
    )
    assert check_same(before, after, witness(before)) == 0
    expected = witness(before, samples=[{"x": np.array([[3, 9]], np.float32)}])
    assert expected.source == "the samples and generated inputs"
    with pytest.raises(NotTheSameError, match="output y differs"):
        check_same(before, after, expected)


def test_samples_stand_in_where_generated_inputs_do_not_run() -> None:
    text = """g (float[batch, 3] x, int64[k] at) => (float[batch, k] y)
        { place = Sub (at, hundred) y = Gather <axis = 1> (x, place) }"""
    proto = proto_of(text, {"hundred": np.array(100)})
    with pytest.raises(InvalidDataError):
        witness(proto)
    sample = {"x": normal(1, 3), "at": np.array([102, 100])}
    expected = witness(proto, samples=[sample])
    assert expected.source == "the samples"
    assert [feed["at"].tolist() for feed in expected.feeds] == [[102, 100]]
    assert check_same(proto, proto, expected) == 0
