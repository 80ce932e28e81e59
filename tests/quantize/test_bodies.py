"""Loop, Scan and If: their bodies stay in float, and what they read of the main graph survives."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from optimizer.calibrate import collect_ranges
from optimizer.errors import UnsupportedModelError
from optimizer.evaluate import relative_l2
from optimizer.graph.structure import all_nodes
from optimizer.graph.verify import open_proto
from optimizer.model import Model, from_proto
from optimizer.quantize import quantize_dynamic, quantize_static
from optimizer.quantize.bodies import captured
from optimizer.steps import QuantizeDynamic, QuantizeStatic

LOOP = """
    go = Constant <value = bool {1}> ()
    b = Loop (trip, go, x) <body = body (int64 i, bool c, float[batch, 6] h) =>
                                        (bool c2, float[batch, 6] h2) {
        c2 = Identity (c)
        row = ReduceMax <axes = [1, 2], keepdims = 0> (e)
        up = Unsqueeze (row, one)
        t = MatMul (h, w)
        u = Add (t, up)
        h2 = Tanh (u)
    }>
"""
ROWS = "g (int64[batch, 5] ids, float[batch, 6] x) => (float[batch, 6] y)"
SUMS = "g (float[batch, 3, 6] s, float[batch, 6] x) => (float[batch, 6] y)"
MOVES = {
    "nothing": "e = Gather (table, ids)",
    "Transpose": "r = Gather (table, ids)  e = Transpose <perm = [0, 2, 1]> (r)",
    "Reshape": "r = Gather (table, ids)  e = Reshape (r, shape)",
    "Slice": "r = Gather (table, ids)  e = Slice (r, one, three, one)",
    "several": "r = Gather (table, ids)  a = Unsqueeze (r, one)  m = Transpose <perm = [0, 2, 3, 1]> (a)\n"
    "e = Squeeze (m, three)  n = Shape (m)",
}


def model(main: str, edges: str = ROWS, last: str = "y = MatMul (b, v)") -> Model:
    constants = "<int64 trip = {3}, int64[1] one = {1}, int64[1] three = {3}, int64[3] shape = {0, 3, 10}>"
    proto = parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17]> {edges} {constants} {{ {main} {LOOP} {last} }}'
    )
    rng = np.random.default_rng(0)
    for name, size in {"w": (6, 6), "v": (6, 6), "table": (50, 6)}.items():
        array = rng.normal(0, 0.4, size).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return from_proto(proto)


def feeds(seed: int = 1) -> dict[str, NDArray[np.float32] | NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return {"ids": rng.integers(0, 50, (4, 5)), "x": rng.normal(size=(4, 6)).astype(np.float32)}


def loss(before: Model, after: Model, inputs: dict[str, NDArray[np.float32] | NDArray[np.int64]]) -> float:
    a, b = (open_proto(each.to_proto()).run(inputs)["y"] for each in (after, before))
    return float(relative_l2(a.reshape(1, -1), b.reshape(1, -1))[0])


@pytest.mark.parametrize("move", MOVES)
def test_rows_that_a_loop_reads_come_from_an_integer_table(move: str) -> None:
    # ONNX Runtime aborted the process where the rows were moved, and the quantizer lost them where not.
    built = model(MOVES[move])
    result = quantize_dynamic(built, QuantizeDynamic(reduce_range=True))
    assert result.changes == ("1 Gather with INT8 weights", "1 MatMul with INT8 weights")
    assert loss(built, result.model, feeds()) < 0.03
    again = quantize_dynamic(built, QuantizeDynamic(reduce_range=True)).model
    assert again.to_proto().SerializeToString() == result.model.to_proto().SerializeToString()


def test_what_a_body_holds_stays_in_float_and_is_named() -> None:
    result = quantize_dynamic(model(MOVES["Transpose"]), QuantizeDynamic())
    loop = next(node for node in result.model.to_proto().graph.node if node.op_type == "Loop")
    inside = [node.op_type for attribute in loop.attribute for node in all_nodes(attribute.g)]
    assert inside == ["Identity", "ReduceMax", "Unsqueeze", "MatMul", "Add", "Tanh"]
    assert result.refusals == (
        "Loop Loop_b keeps in float what is inside it (1 MatMul): only the main graph is quantized.",
    )


def test_where_only_a_body_multiplies_that_is_the_reason() -> None:
    built = model("e = Neg (s)", SUMS, last="y = Neg (b)")
    with pytest.raises(UnsupportedModelError, match=r"keeps in float what is inside it \(1 MatMul\)"):
        quantize_dynamic(built, QuantizeDynamic())


def test_a_product_that_is_transposed_for_a_loop_gets_static_ranges() -> None:
    built = model("p = MatMul (s, v)  e = Transpose <perm = [0, 2, 1]> (p)", SUMS)
    rng = np.random.default_rng(2)
    sizes = {"s": (32, 3, 6), "x": (32, 6)}
    inputs = {name: rng.normal(size=size).astype(np.float32) for name, size in sizes.items()}
    ranges = collect_ranges(built, [inputs], lambda done: None)
    step = QuantizeStatic(operators="conv_matmul_gemm", reduce_range=True)
    result = quantize_static(built, step, ranges)
    assert loss(built, result.model, inputs) < 0.05  # type: ignore[arg-type]  # a dict's values are invariant
    assert "keeps in float what is inside it (1 MatMul)" in "".join(result.refusals)


def test_captured_names_pass_through_bodies_in_bodies() -> None:
    proto = parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (bool a, float[2] x, float[2] z) => (float[2] y) {
            k = Neg (x)
            m = Abs (x)
            y = If (a) <
                then_branch = t () => (float[2] o) {
                    k = Exp (z)
                    o = If (a) <
                        then_branch = t2 () => (float[2] p) { p = Add (k, m) },
                        else_branch = e2 () => (float[2] q) { q = Identity (k) }>
                },
                else_branch = e () => (float[2] r) { r = Identity (z) }>
        }"""
    )
    assert captured(proto.graph) == {"a", "m", "z"}
