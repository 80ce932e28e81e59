"""The proof that a rewritten graph is still the same function."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from rewrite_cases import normal, proto_of

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
