"""What simplify makes of outputs that nothing proves, of narrow weights, and of changes of attributes."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import parser
from rewrite_cases import Array, operators, proto_of

from optimizer.graph import simplify
from optimizer.model import Model, from_proto


def model(text: str, **weights: Array) -> Model:
    return from_proto(proto_of(text, weights))


CROPPED = """g (float[n, length, 2] x) => (float[n, left, 2] y OUTPUTS) {
    p = Identity (x) \n y = Slice (p, start, end, axis) \n z = Neg (p) }"""


@pytest.mark.parametrize("edge", [50, 1_000_000])
@pytest.mark.parametrize("others", ["", ", float[n, length, 2] z"])
def test_an_output_that_is_always_empty_is_named(edge: int, others: str) -> None:
    ends = {name: np.array([value]) for name, value in (("start", edge), ("end", -edge), ("axis", 1))}
    result = simplify(model(CROPPED.replace("OUTPUTS", others), **ends))
    is_simplified = "Identity" not in operators(result.model.to_proto())
    said = " ".join(result.refusals)
    assert is_simplified == (edge == 50 or others != "")
    assert ("Output y is empty" in said) == (edge != 50 and others != "")
    assert ("every output is empty" in said) == (edge != 50 and others == "")


def test_a_rewrite_that_changes_attributes_alone_counts() -> None:
    text = """g (float[5, 7] x) => (float[7, 1, 5] y) { u = Unsqueeze (x, one)
        y = Transpose <perm = [2, 1, 0]> (u) }"""
    result = simplify(model(text, one=np.array([1])))
    assert operators(result.model.to_proto()) == ["Transpose", "Unsqueeze"]
    again = simplify(result.model)
    assert again.model is result.model


@pytest.mark.parametrize("size", [200, 3000])
def test_a_large_file_with_narrow_weights_and_nothing_to_do_is_left(size: int) -> None:
    text = (
        f"g (float[n, {size}] x) => (float[n, {size}] y) {{ w = Cast <to = 1> (half) \n y = MatMul (x, w) }}"
    )
    given = model(text, half=np.random.default_rng(0).normal(size=(size, size)).astype(np.float16))
    assert simplify(given).model is given


def test_a_model_that_no_protobuf_holds_may_have_narrow_weights() -> None:
    text = """g (float[n, 64] x) => (float[n, 64] y) {
        w = Cast <to = 1> (half) \n p = MatMul (x, w) \n y = Identity (p) }"""
    result = simplify(model(text, half=np.ones((64, 64), np.float16)), largest_bytes=1000)
    assert "Identity" not in operators(result.model.to_proto())


def test_an_attribute_called_body_need_be_no_graph() -> None:
    text = """<ir_version: 8, opset_import: ["": 17, "my": 1]>
        g (float[n] x) => (float[n] y) { p = my.Say <body = "text"> (x) \n y = Identity (p) }
        <domain: "my", opset_import: ["": 17]> Say <body> (a) => (b) { b = Relu (a) }"""
    result = simplify(from_proto(parser.parse_model(text)))
    assert not [refusal for refusal in result.refusals if "nothing reads" in refusal]
