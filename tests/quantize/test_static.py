"""Static INT8: which nodes become integer, what is refused by name, and known traps of the quantizer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from small_models import SMALL_MODELS, model_of

from optimizer.calibrate import Ranges, collect_ranges
from optimizer.errors import InvalidOptionsError, UnsupportedModelError
from optimizer.evaluate import relative_l2
from optimizer.graph import simplify
from optimizer.graph.verify import open_proto
from optimizer.model import Model, from_proto, save_model
from optimizer.quantize import quantize_static
from optimizer.steps import QuantizeStatic

Feeds = dict[str, NDArray[Any]]


def ranges_of(built: Model, *batches: Feeds) -> Ranges:
    return collect_ranges(built, batches, lambda _: None)


def small(name: str) -> tuple[Model, Ranges, Feeds]:
    source = SMALL_MODELS[name]
    built = simplify(source.build()).model
    return built, ranges_of(built, *source.batches()), source.batches(1, 32, seed=9)[0]


def reads_integers(result: Model, operator: str) -> bool:
    graph = result.to_proto().graph
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    return any(node.op_type == operator and dequantized.intersection(node.input[:1]) for node in graph.node)


def loss(before: Model, after: Model, feeds: Feeds) -> float:
    a, b = (open_proto(each.to_proto()).run(feeds) for each in (after, before))
    return max(
        float(relative_l2(a[name].reshape(1, -1), b[name].reshape(1, -1))[0])
        for name in b
        if b[name].dtype.kind == "f"
    )


def test_weights_are_int8_per_output_channel_and_activations_uint8() -> None:
    built, ranges, _ = small("classifier")
    graph = quantize_static(built, QuantizeStatic(), ranges).model.to_proto().graph
    tensors = {t.name: t for t in graph.initializer}
    dequantize = {n.output[0]: n for n in graph.node if n.op_type == "DequantizeLinear"}
    conv = next(node for node in graph.node if node.op_type == "Conv")
    weight, activation = dequantize[conv.input[1]], dequantize[conv.input[0]]
    assert tensors[weight.input[0]].data_type == TensorProto.INT8
    assert list(tensors[weight.input[1]].dims) == [16]
    assert tensors[activation.input[2]].data_type == TensorProto.UINT8
    assert tensors[dequantize[conv.input[2]].input[0]].data_type == TensorProto.INT32


def test_int8_activations_are_symmetric() -> None:
    built, ranges, feeds = small("residual")
    result = quantize_static(built, QuantizeStatic(activations="int8"), ranges)
    graph = result.model.to_proto().graph
    zero_points = {node.input[2] for node in graph.node if node.op_type == "QuantizeLinear"}
    for tensor in graph.initializer:
        if tensor.name in zero_points:
            assert tensor.data_type == TensorProto.INT8
            assert numpy_helper.to_array(tensor) == 0
    assert loss(built, result.model, feeds) < 0.05


def test_reduce_range_uses_seven_bits_and_nothing_saturates() -> None:
    built, ranges, _ = small("mlp")
    full = quantize_static(built, QuantizeStatic(), ranges)
    reduced = quantize_static(built, QuantizeStatic(reduce_range=True), ranges)

    def largest(result: Model) -> int:
        tensors = result.to_proto().graph.initializer
        return max(
            int(np.abs(numpy_helper.to_array(t).astype(int)).max())
            for t in tensors
            if t.data_type == TensorProto.INT8 and t.name.endswith("_quantized")
        )

    assert largest(full.model) == 127
    assert largest(reduced.model) == 64
    assert any("can saturate on x86 CPUs without VNNI" in line for line in full.refusals)
    assert reduced.refusals == ()


@pytest.mark.parametrize("operators", ["all", "all_but_softmax_sigmoid", "conv_matmul_gemm"])
def test_the_final_softmax_is_never_quantized(operators: Any) -> None:
    built, ranges, feeds = small("classifier")
    result = quantize_static(built, QuantizeStatic(operators=operators), ranges)
    graph = result.model.to_proto().graph
    producer = next(node for node in graph.node if "scores" in node.output)
    assert producer.op_type == "Softmax"
    scores = open_proto(result.model.to_proto()).run(feeds)["scores"]
    assert scores.sum(axis=1) == pytest.approx(1.0, abs=1e-5)


def test_a_softmax_behind_which_values_only_move_is_final_too() -> None:
    built = model_of(
        """
        g (float[batch, 4, 6] x) => (float[batch, 24] y) <int64[2] shape = {-1, 24}>
        { a = Exp (x) \n s = Softmax <axis = 2> (a) \n t = Transpose <perm = [0, 2, 1]> (s)
          u = Reshape (t, shape) \n y = Identity (u) }"""
    )
    feeds = {"x": np.random.default_rng(0).random((2, 4, 6), np.float32)}
    with pytest.raises(UnsupportedModelError, match="Softmax Softmax_s stays in float: it is the final"):
        quantize_static(built, QuantizeStatic(), ranges_of(built, feeds))


def test_a_softmax_inside_attention_is_quantized_with_all_and_not_with_all_but() -> None:
    built, ranges, _ = small("attention")
    everything = quantize_static(built, QuantizeStatic(), ranges).model
    assert reads_integers(everything, "Softmax")
    without = quantize_static(built, QuantizeStatic(operators="conv_matmul_gemm"), ranges).model
    assert not reads_integers(without, "LayerNormalization")


def test_conv_only_leaves_matmul_in_float() -> None:
    built, ranges, _ = small("conv1d")
    result = quantize_static(built, QuantizeStatic(operators="conv"), ranges).model
    assert reads_integers(result, "Conv")
    assert not reads_integers(result, "MatMul")


def test_keep_float_takes_names_and_globs() -> None:
    built, ranges, _ = small("mlp")
    names = [node.name for node in built.graph_ir.graph]
    step = QuantizeStatic(operators="conv_matmul_gemm", keep_float=("Gemm_a",))
    assert "Gemm_a" in names
    graph = quantize_static(built, step, ranges).model.to_proto().graph
    kept = next(node for node in graph.node if node.name == "Gemm_a")
    assert not kept.input[1].endswith("DequantizeLinear_Output")
    with pytest.raises(UnsupportedModelError, match="nothing to do"):
        quantize_static(built, QuantizeStatic(keep_float=("*",)), ranges)


def test_an_unknown_name_in_keep_float_is_an_error_with_the_nearest_names() -> None:
    built, ranges, _ = small("mlp")
    with pytest.raises(InvalidOptionsError, match="'Gem_a'") as caught:
        quantize_static(built, QuantizeStatic(keep_float=("Gem_a",)), ranges)
    assert "Gemm_a" in caught.value.hint


def test_a_node_whose_values_have_no_range_stays_in_float_by_name() -> None:
    built, ranges, feeds = small("mlp")
    known = {name: pair for name, pair in ranges.values.items() if name != "e"}
    result = quantize_static(built, QuantizeStatic(reduce_range=True), Ranges(known))
    assert (
        "Sigmoid Sigmoid_e stays in float: e has no finite range in the calibration data." in result.refusals
    )
    assert loss(built, result.model, feeds) < 0.1


def test_layers_that_share_a_bias_survive_a_value_with_the_name_that_the_quantizer_gives_the_copy() -> None:
    # ONNX Runtime names the second copy of the bias `bias0`; basic-pitch has such a value.
    rng = np.random.default_rng(3)
    built = model_of(
        """
        g (float[batch, 4, 5, 5] x) => (float[batch, 4, 5, 5] y) {
            bias0 = Conv <kernel_shape = [1, 1]> (x, w1, bias)
            b = Conv <kernel_shape = [1, 1]> (bias0, w2, bias)
            y = Conv <kernel_shape = [1, 1]> (b, w3, bias)
        }""",
        bias=rng.normal(size=4).astype(np.float32),
        **{f"w{i}": rng.normal(0, 0.5, (4, 4, 1, 1)).astype(np.float32) for i in (1, 2, 3)},
    )
    feeds = {"x": rng.random((16, 4, 5, 5), np.float32)}
    result = quantize_static(built, QuantizeStatic(reduce_range=True), ranges_of(built, feeds))
    assert loss(built, result.model, feeds) < 0.05


def test_an_embedding_that_is_also_the_last_layers_weight_stays_in_float() -> None:
    rng = np.random.default_rng(3)
    built = model_of(
        """
        g (int64[batch, 4] ids) => (float[batch, 4, 20] y) {
            e = Gather (table, ids)
            h = MatMul (e, w)
            turned = Transpose <perm = [1, 0]> (table)
            y = MatMul (h, turned)
        }""",
        table=rng.normal(size=(20, 8)).astype(np.float32),
        w=rng.normal(0, 0.4, (8, 8)).astype(np.float32),
    )
    feeds = {"ids": rng.integers(0, 20, (16, 4))}
    result = quantize_static(built, QuantizeStatic(), ranges_of(built, feeds))
    assert "Gather Gather_e stays in float: its table is also the weight of a Transpose." in result.refusals
    assert loss(built, result.model, feeds) < 0.1


def test_an_operator_of_onnx_runtimes_own_between_two_layers_does_not_stop_them() -> None:
    rng = np.random.default_rng(3)
    built = model_of(
        """
        g (float[batch, 8] x) => (float[batch, 8] y) {
            a = MatMul (x, w1)
            b = com.microsoft.Gelu (a)
            y = MatMul (b, w2)
        }""",
        w1=rng.normal(0, 0.4, (8, 8)).astype(np.float32),
        w2=rng.normal(0, 0.4, (8, 8)).astype(np.float32),
    )
    feeds = {"x": rng.normal(size=(16, 8)).astype(np.float32)}
    step = QuantizeStatic(operators="conv_matmul_gemm", reduce_range=True)
    result = quantize_static(built, step, ranges_of(built, feeds))
    graph = result.model.to_proto().graph
    multiplied = [node for node in graph.node if node.op_type == "MatMul"]
    assert all(name.endswith("DequantizeLinear_Output") for node in multiplied for name in node.input)
    assert loss(built, result.model, feeds) < 0.1


def test_an_old_operator_set_is_converted_for_per_channel_scales() -> None:
    rng = np.random.default_rng(3)
    proto = model_of(
        "g (float[batch, 8] x) => (float[batch, 4] y) { y = Gemm (x, w, b) }",
        w=rng.normal(size=(8, 4)).astype(np.float32),
        b=rng.normal(size=4).astype(np.float32),
    ).to_proto()
    del proto.opset_import[:]
    proto.opset_import.append(helper.make_opsetid("", 11))
    built = from_proto(proto)
    feeds = {"x": rng.normal(size=(16, 8)).astype(np.float32)}
    result = quantize_static(built, QuantizeStatic(), ranges_of(built, feeds))
    assert loss(built, result.model, feeds) < 0.1


def test_two_processes_give_the_same_bytes(tmp_path: Path) -> None:
    built, ranges, _ = small("residual")
    save_model(built, tmp_path / "in.onnx")
    ranges.save(tmp_path / "ranges.npz")
    script = (
        "import os, pathlib\n"
        "from optimizer.calibrate import Ranges\n"
        "from optimizer.model import load_model, save_model\n"
        "from optimizer.quantize import quantize_static\n"
        "from optimizer.steps import QuantizeStatic\n"
        "folder = pathlib.Path(os.environ['FOLDER'])\n"
        "ranges = Ranges.load(folder / 'ranges.npz')\n"
        "result = quantize_static(load_model(folder / 'in.onnx'), QuantizeStatic(), ranges)\n"
        "save_model(result.model, folder / os.environ['PYTHONHASHSEED'])"
    )
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", script],
            check=True,
            env={"PYTHONHASHSEED": seed, "FOLDER": str(tmp_path)},
        )
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
