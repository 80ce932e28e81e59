"""What simplify removes, what it must not touch, and that a tool's wrong result is undone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import numpy_helper, parser
from small_models import SMALL_MODELS

from optimizer.graph import simplify
from optimizer.graph.rewriter import Builder, Rewrite
from optimizer.graph.simplify import _TOOLS as TOOLS
from optimizer.graph.simplify import _rewriting as rewriting
from optimizer.graph.structure import all_nodes
from optimizer.graph.verify import NotTheSameError, check_same, restore_edges, witness
from optimizer.model import Model, from_proto, save_model


def operators(model: Model) -> list[str]:
    return sorted(node.op_type for node in all_nodes(model.to_proto().graph))


def model(text: str, **weights: np.ndarray) -> Model:
    proto = parser.parse_model('<ir_version: 8, opset_import: ["": 17]>' + text)
    for name, array in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    return from_proto(proto)


def test_batch_normalization_is_folded_into_the_convolution_and_dead_nodes_go() -> None:
    result = simplify(SMALL_MODELS["classifier"].build())
    found = operators(result.model)
    assert "BatchNormalization" not in found
    assert "Exp" not in found
    assert "Identity" not in found
    assert "folded 1 BatchNormalization into the layers before them" in result.changes
    assert "10 -> 7 nodes" in result.changes


def test_mul_and_add_behind_a_convolution_as_tf2onnx_writes_batch_normalization_are_folded() -> None:
    rng = np.random.default_rng(0)
    before = model(
        """
        g (float[batch, 3, 6, 6] x) => (float[batch, 4, 6, 6] y) {
            c = Conv <kernel_shape = [1, 1]> (x, w)
            m = Mul (c, scale)
            y = Add (m, shift)
        }""",
        w=rng.normal(size=(4, 3, 1, 1)).astype(np.float32),
        scale=rng.uniform(1, 2, (1, 4, 1, 1)).astype(np.float32),
        shift=rng.normal(size=(1, 4, 1, 1)).astype(np.float32),
    )
    assert operators(simplify(before).model) == ["Conv"]


def test_unused_initializers_go_and_constant_expressions_are_computed() -> None:
    before = model(
        """
        g (float[batch, 2] x) => (float[batch, 2] y)
        <float[1] two = {2.0}, float[1] three = {3.0}, float[1] unused = {9.0}>
        { six = Mul (two, three)
          y = Mul (x, six) }"""
    )
    after = simplify(before).model.to_proto()
    assert [node.op_type for node in after.graph.node] == ["Mul"]
    assert [numpy_helper.to_array(t).tolist() for t in after.graph.initializer] == [[6.0]]


def test_an_input_that_nothing_reads_stays_and_is_named() -> None:
    result = simplify(SMALL_MODELS["multi"].build())
    assert [value.name for value in result.model.to_proto().graph.input] == ["a", "b", "ignored"]
    assert "Input ignored is read by no node; it stays, since callers feed it." in result.refusals


def test_the_batch_dimension_keeps_its_name_and_outputs_keep_their_order() -> None:
    before = SMALL_MODELS["multi"].build().to_proto()
    after = simplify(from_proto(before)).model.to_proto()
    assert list(map(str, after.graph.input)) == list(map(str, before.graph.input))
    assert list(map(str, after.graph.output)) == list(map(str, before.graph.output))
    assert after.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_no_operator_of_onnx_runtimes_own_and_no_older_operator_set_comes_in() -> None:
    for small in SMALL_MODELS.values():
        after = simplify(small.build()).model.to_proto()
        assert {node.domain for node in after.graph.node} <= {""}
        assert [(entry.domain, entry.version) for entry in after.opset_import] == [("", 17)]
        assert after.ir_version >= 8


def test_weights_listed_among_the_inputs_as_old_files_do_become_constants() -> None:
    proto = SMALL_MODELS["mlp"].build().to_proto()
    for tensor in proto.graph.initializer:
        value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        proto.graph.input.append(value)
    after = simplify(from_proto(proto)).model.to_proto()
    assert [value.name for value in after.graph.input] == ["x"]


def test_a_model_that_rejects_made_up_inputs_comes_back_as_it_was_with_the_reason() -> None:
    before = model(
        """
        g (int64[batch] row, float[2] table) => (float[batch] y) <int64 five = {5}>
        { beyond = Add (row, five)
          dead = Neg (table)
          y = Gather (table, beyond) }"""
    )
    result = simplify(before)
    assert result.model is before
    assert result.changes == ()
    assert "does not run on generated inputs" in result.refusals[0]


def test_a_tool_that_fails_is_left_out_and_named_while_the_others_still_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("cannot\nsecond line")

    monkeypatch.setattr("onnxslim.slim", fail)
    result = simplify(SMALL_MODELS["classifier"].build())
    assert "onnxslim was left out: it failed with RuntimeError: cannot." in result.refusals
    assert "BatchNormalization" not in operators(result.model)


def test_the_difference_that_was_verified_is_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    before = model("g (float[batch, 2] x) => (float[batch, 2] y) <float[1] two = {2.0}> { y = Mul (x, two) }")

    def rounding(proto: onnx.ModelProto) -> onnx.ModelProto:
        proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array([2.000002], np.float32), "two"))
        return proto

    monkeypatch.setattr("onnxslim.slim", rounding)
    result = simplify(before)
    original = before.to_proto()
    measured = check_same(original, result.model.to_proto(), witness(original))
    assert result.difference == measured == pytest.approx(1e-6, rel=0.2)


def test_the_difference_is_none_where_nothing_was_changed() -> None:
    result = simplify(model("g (float[batch, 2] x) => (float[batch, 2] y) { y = Relu (x) }"))
    assert (result.changes, result.difference) == ((), 0.0)


def test_a_tool_that_changes_what_is_computed_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(proto: onnx.ModelProto) -> onnx.ModelProto:
        del proto.graph.initializer[0].float_data[:]
        bias = next(tensor for tensor in proto.graph.initializer if tensor.name == "b1")
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(0.1), "b1"))
        return proto

    monkeypatch.setattr("onnxslim.slim", wrong)
    small = SMALL_MODELS["mlp"]
    result = simplify(small.build())
    assert any(line.startswith("onnxslim was left out: output y differs by") for line in result.refusals)
    kept = [numpy_helper.to_array(t).sum() for t in result.model.to_proto().graph.initializer]
    had = [numpy_helper.to_array(t).sum() for t in small.build().to_proto().graph.initializer]
    assert sorted(kept) == pytest.approx(sorted(had))


def test_swapped_outputs_are_noticed() -> None:
    before = model(
        "g (float[batch, 2] x) => (float[batch, 2] a, float[batch, 2] b) { a = Exp(x) \n b = Neg(x) }"
    )
    after = before.to_proto()
    after.graph.node[0].output[0], after.graph.node[1].output[0] = "b", "a"
    with pytest.raises(NotTheSameError, match="output a differs"):
        check_same(before.to_proto(), after, witness(before.to_proto()))


def test_a_graph_that_asks_for_another_input_is_noticed() -> None:
    before = model("g (float[2] x) => (float[2] y) { y = Exp(x) }").to_proto()
    after = model("g (float[2] z) => (float[2] y) { y = Exp(z) }").to_proto()
    with pytest.raises(NotTheSameError, match=r"inputs \['z'\]"):
        restore_edges(before, after)


@pytest.mark.parametrize("name", ["classifier", "residual"])
def test_two_processes_give_the_same_bytes(name: str, tmp_path: Path) -> None:
    source = tmp_path / "in.onnx"
    save_model(SMALL_MODELS[name].build(), source)
    script = (
        "import sys, pathlib; from optimizer.graph import simplify; pass\n"
        "from optimizer.model import load_model, save_model\n"
        "save_model(simplify(load_model(pathlib.Path(sys.argv[1]))).model, pathlib.Path(sys.argv[2]))"
    )
    results = []
    for seed in ("1", "2"):
        target = tmp_path / f"{seed}.onnx"
        subprocess.run(
            [sys.executable, "-c", script, str(source), str(target)],
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
        )
        results.append(target.read_bytes())
    assert results[0] == results[1]


GELU = """
    g (float[batch, 4] x) => (float[batch, 4] y)
    <float root = {0.70710678}, float one = {1}, float half = {0.5}>
    { a = Mul (x, root)  e = Erf (a)  f = Add (e, one)  h = Mul (x, half)  y = Mul (h, f) }"""


def test_a_rewrite_raises_the_operator_set_as_far_as_it_needs_and_no_further_than_allowed() -> None:
    raised = simplify(model(GELU))
    assert operators(raised.model) == ["Gelu"]
    assert raised.model.to_proto().opset_import[0].version == 20
    assert [(rewrite.name, rewrite.count) for rewrite in raised.rewrites] == [("fuse_gelu", 1)]
    kept = simplify(model(GELU), highest_opset=17)
    assert "Gelu" not in operators(kept.model)
    assert kept.model.to_proto().opset_import[0].version == 17


def test_a_rewrite_that_is_wrong_is_undone_and_named_while_the_others_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def squared(node: onnx_ir.Node, build: Builder) -> list[onnx_ir.Value]:
        return [build("Mul", node.inputs[0], node.inputs[0])]

    wrong = Rewrite("square_sums", frozenset({"Add"}), squared)
    module = sys.modules["optimizer.graph.simplify"]  # whose name in the package is the function's
    tools = [tool if not tool.rewrites else rewriting(*tool.rewrites, wrong) for tool in TOOLS]
    monkeypatch.setattr(module, "_TOOLS", tuple(tools))
    text = GELU.replace("float[batch, 4] y)", "float[batch, 4] y, float[batch, 4] z)").replace(
        "y = Mul (h, f)", "y = Mul (h, f)  z = Add (x, y)"
    )
    result = simplify(model(text))
    assert any(refusal.startswith("The rewrite square_sums was left out: ") for refusal in result.refusals)
    assert operators(result.model) == ["Add", "Gelu"]


@pytest.mark.parametrize(
    ("kind", "dtype", "is_kept"), [("float16", np.float16, True), ("float", np.float32, False)]
)
def test_a_model_in_half_precision_may_differ_by_its_own_rounding(
    kind: str, dtype: type, is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rounding(proto: onnx.ModelProto) -> onnx.ModelProto:
        for tensor in proto.graph.initializer:  # of which ONNX Runtime makes another
            value = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(np.full_like(value, 2.004), tensor.name))
        return proto

    monkeypatch.setattr("onnxslim.slim", rounding)
    text = f"g ({kind}[batch, 2] x) => ({kind}[batch, 2] y) {{ y = Mul (x, two) }}"
    result = simplify(model(text, two=np.array([2], dtype)))
    left_out = [refusal for refusal in result.refusals if "onnxslim was left out" in refusal]
    assert (left_out == []) == is_kept, left_out


def test_a_raised_operator_set_keeps_what_the_file_says_of_itself() -> None:
    proto = model(GELU).to_proto()
    proto.producer_name = "someone"
    proto.metadata_props.add(key="precision", value="bfloat16")
    after = simplify(from_proto(proto)).model.to_proto()
    assert after.opset_import[0].version == 20
    assert after.producer_name == "someone"
    assert [(entry.key, entry.value) for entry in after.metadata_props] == [("precision", "bfloat16")]


def test_the_size_that_a_model_needs_is_handed_on() -> None:
    text = "g (float[n, 2, length] x) => (float[n, 3, left] y) { p = Conv (x, w) \n y = Identity (p) }"
    result = simplify(model(text, w=np.ones((3, 2, 41), np.float32)))
    assert result.made_up_scale == 4
    assert len(result.model.graph_ir.graph) == 1
    assert simplify(result.model).made_up_scale == 4
