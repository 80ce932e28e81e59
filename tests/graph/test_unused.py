"""What nothing reads goes, whatever the graphs inside a graph give."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import onnx
import onnx_ir
import pytest
from rewrite_cases import assert_same, normal, proto_of

from optimizer.graph.structure import all_nodes
from optimizer.graph.unused import remove_unused


def cleaned_of(proto: onnx.ModelProto) -> onnx.ModelProto:
    model = onnx_ir.from_proto(proto)
    remove_unused(model)
    return onnx_ir.to_proto(model)


INNER = """If (d) <
    then_branch = b () => (float[n, 4] u) { u = Identity (a) },
    else_branch = e () => (float[n, 4] v) { v = Neg (a) }
>"""
ELSE = "else_branch = e () => (float[n, 4] w) { w = Neg (a) }"
BRANCHES = {
    "a value from around it": f"""y = If (c) <
        then_branch = b () => (float[n, 4] t) {{ t = Identity (a) }}, {ELSE}
    >""",
    "the same value as a branch inside": f"""y = If (c) <
        then_branch = b () => (float[n, 4] t) {{ i = {INNER} j = Relu (i) t = Identity (a) }}, {ELSE}
    >""",
    "what a branch inside gives": f"""y = If (c) <
        then_branch = b () => (float[n, 4] t) {{ i = {INNER} t = Identity (i) }}, {ELSE}
    >""",
    "one value twice": """p, q = If (c) <
        then_branch = b () => (float[n, 4] t, float[n, 4] s) {
            m = Exp (a) t = Identity (m) s = Identity (m)
        },
        else_branch = e () => (float[n, 4] w, float[n, 4] o) { w = Neg (a) o = Identity (a) }
    > y = Add (p, q)""",
}


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_branch_gives_values_of_its_own(branch: str) -> None:
    body = f"a = Relu (x) z = Exp (x) {BRANCHES[branch]}"
    given = proto_of(f"g (float[n, 4] x, bool c, bool d) => (float[n, 4] y) {{ {body} }}", {})
    before = given.SerializeToString()
    cleaned = cleaned_of(given)
    assert given.SerializeToString() == before
    onnx.checker.check_model(cleaned)
    operators = [Counter(node.op_type for node in all_nodes(proto.graph)) for proto in (given, cleaned)]
    assert operators[1].total() < operators[0].total()
    for c, d in product((True, False), repeat=2):
        assert_same(given, cleaned, {"x": normal(3, 4), "c": np.array(c), "d": np.array(d)})


def test_an_identity_goes_and_the_output_keeps_its_name_and_shape() -> None:
    given = proto_of(
        "g (float[n, 4] x) => (float[n, 4] y) { a = Identity (x) b = Relu (a) y = Identity (b) }", {}
    )
    cleaned = cleaned_of(given)
    assert [(node.op_type, list(node.input), list(node.output)) for node in cleaned.graph.node] == [
        ("Relu", ["x"], ["y"])
    ]
    assert cleaned.graph.output == given.graph.output


def test_an_input_is_given_through_an_identity() -> None:
    given = proto_of("g (float[n, 4] x) => (float[n, 4] y) { y = Identity (x) }", {})
    assert [node.op_type for node in cleaned_of(given).graph.node] == ["Identity"]


def test_outputs_of_a_model_keep_their_names() -> None:
    given = proto_of(
        "g (float[n, 4] x) => (float[n, 4] y, float[n, 4] z) { y = Relu (x) z = Identity (y) }", {}
    )
    assert [node.op_type for node in cleaned_of(given).graph.node] == ["Relu", "Identity"]
