from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, parser
from onnxruntime.quantization import quantize_dynamic

from optimizer.benchmark import LaunchRequest, time_per_operator
from optimizer.benchmark.operators import summed_up, with_connections
from optimizer.errors import InvalidOptionsError
from optimizer.runtime import KernelCall, profile_runs

Save = Callable[..., Path]

TINY_AND_HEAVY = """
<ir_version: 8, opset_import: ["": 17]>
g (float[256, 256] x) => (float[256, 256] y) {
  small = ReduceMean <axes = [0, 1], keepdims = 0> (x)
  h = MatMul (x, x)
  y = Add (h, small)
}
"""

LOOP = """
<ir_version: 8, opset_import: ["": 17]>
g (float[64, 64] x) => (float[64, 64] y) {
  steps = Constant <value = int64 {7}> ()
  yes = Constant <value = bool {1}> ()
  [loop] y = Loop (steps, yes, x) <body = b (int64 i, bool go, float[64, 64] h) => (bool on, float[64, 64] next) {
    on = Identity (go)
    [product] m = MatMul (h, h)
    [curve] next = Tanh (m)
  }>
}
"""  # noqa: E501  # a graph in ONNX's text form

SMALL_STEPS = """
<ir_version: 8, opset_import: ["": 17]>
g (float[128, 128] x, float[2] s) => (float[128, 128] y, float[2] t) {
  a = MatMul (x, x)
  y = MatMul (a, x)
  steps = Constant <value = int64 {150}> ()
  yes = Constant <value = bool {1}> ()
  [loop] t = Loop (steps, yes, s) <body = b (int64 i, bool go, float[2] h) => (bool on, float[2] next) {
    on = Identity (go)
    u = Tanh (h)
    v = Abs (u)
    next = Add (v, h)
  }>
}
"""


def calls(*each: tuple[str, int, int]) -> list[KernelCall]:
    """Calls of nodes that are named like their operators: name, start, duration."""
    return [KernelCall(name, name, start, duration) for name, start, duration in each]


def test_a_loop_is_told_without_its_body_and_without_the_profiler_in_it() -> None:
    # Between two calls the profiler takes 1; the loop itself takes 34 - (10 + 1) - (20 + 1) = 2.
    run = calls(("Relu", 0, 5), ("Loop", 6, 34), ("MatMul", 7, 10), ("MatMul", 18, 20))
    times = summed_up([run] * 4, latency_ms=1.0)  # more than they add up to: nothing is taken off
    found = [(one.node, one.calls, round(one.time_ms, 9)) for one in times.nodes]
    assert found == [("Relu", 1, 0.005), ("Loop", 1, 0.002), ("MatMul", 2, 0.030)]
    assert times.profiler_ms == pytest.approx(0.0)


def test_the_cost_of_the_profiler_is_taken_off_each_call() -> None:
    run = calls(("Relu", 0, 3), ("MatMul", 3, 13), ("Relu", 16, 3), ("Relu", 19, 3))
    times = summed_up([run] * 4, latency_ms=0.014)  # 22 in all: 2 a call
    assert {one.node: pytest.approx(one.time_ms) for one in times.nodes} == {"Relu": 0.003, "MatMul": 0.011}
    assert times.profiler_ms == pytest.approx(0.008)


def test_a_profiler_that_slows_the_kernels_slows_all_by_the_same_share() -> None:
    run = calls(("Relu", 0, 2), ("MatMul", 2, 12), ("Conv", 14, 32))
    times = summed_up([run] * 4, latency_ms=0.020)  # 2 a call for what costs nothing, then half of the rest
    assert {one.node: pytest.approx(one.time_ms) for one in times.nodes} == {
        "Relu": 0.0,
        "MatMul": 0.005,
        "Conv": 0.015,
    }
    assert times.by_operator() == {
        "Conv": pytest.approx(0.015),
        "MatMul": pytest.approx(0.005),
        "Relu": pytest.approx(0.0),
    }


def test_a_loop_and_its_body_pay_for_the_profiler_before_what_stands_beside_them() -> None:
    # In all 10 + 8 + 82 = 100; the loop's own 82 is what the profiler does between the calls of its body.
    run = calls(("Gemm", 0, 10), ("Loop", 10, 90), ("Tanh", 60, 4), ("Tanh", 64, 4))
    times = summed_up([run] * 4, latency_ms=0.024)  # 4 a call for what costs nothing: 6 + 0 + 78 are left
    assert {one.node: pytest.approx(one.time_ms) for one in times.nodes} == {
        "Gemm": 0.006,
        "Loop": 0.018,
        "Tanh": 0.0,
    }
    assert times.profiler_ms == pytest.approx(0.076)


def test_where_a_loop_cannot_pay_the_rest_is_a_share_of_what_stands_beside_it() -> None:
    run = calls(("Gemm", 0, 14), ("Conv", 14, 24), ("Loop", 38, 22), ("Tanh", 40, 4), ("Tanh", 44, 4))
    times = summed_up([run] * 4, latency_ms=0.015)  # 4 a call: 10 + 20 + 10 + 0 are left, twice what may be
    assert {one.node: pytest.approx(one.time_ms) for one in times.nodes} == {
        "Gemm": 0.005,
        "Conv": 0.010,
        "Loop": 0.0,
        "Tanh": 0.0,
    }


def test_a_loop_whose_body_takes_all_of_its_time_does_not_hide_the_cost_of_a_call() -> None:
    run = calls(("Gemm", 0, 10), ("Loop", 10, 20), ("Tanh", 10, 4), ("Relu", 14, 16))
    times = summed_up([run] * 4, latency_ms=0.014)  # 4 a call, of 30 in all: 6 + 0 + 0 + 12 are left
    assert {one.node: pytest.approx(one.time_ms) for one in times.nodes} == {
        "Gemm": 0.006,
        "Loop": 0.0,
        "Tanh": 0.0,
        "Relu": 0.008,
    }


def test_an_interrupted_run_does_not_count() -> None:
    usual, interrupted = calls(("MatMul", 0, 10)), calls(("MatMul", 0, 9000))
    times = summed_up([usual] * 6 + [interrupted] * 2, latency_ms=1.0)
    assert times.nodes[0].time_ms == pytest.approx(0.010)


def test_the_heavy_operator_takes_the_time(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(parser.parse_model(TINY_AND_HEAVY), str(path))
    [times] = time_per_operator(LaunchRequest(models=(path,), budget_s=0.4))
    spent = times.by_operator()
    assert next(iter(spent)) == "MatMul"
    assert spent["MatMul"] > 0.5 * sum(spent.values())
    assert sum(spent.values()) <= times.latency_ms * 1.0001
    assert {one.op_type for one in times.nodes} == {"ReduceMean", "MatMul", "Add"}


def test_the_body_of_a_loop_is_timed_step_by_step(tmp_path: Path) -> None:
    path = tmp_path / "loop.onnx"
    onnx.save(parser.parse_model(LOOP), str(path))
    [times] = time_per_operator(LaunchRequest(models=(path,), budget_s=0.4))
    found = {one.node: one for one in times.nodes}
    assert (found["product"].calls, found["curve"].calls, found["loop"].calls) == (7, 7, 1)
    assert found["loop"].time_ms < 0.5 * (found["product"].time_ms + found["curve"].time_ms)


def test_a_product_takes_as_long_beside_a_loop_of_small_steps_as_without_it(tmp_path: Path) -> None:
    beside, alone = tmp_path / "beside.onnx", tmp_path / "alone.onnx"
    model = parser.parse_model(SMALL_STEPS)
    onnx.save(model, str(beside))
    [loop] = (node for node in model.graph.node if node.op_type == "Loop")
    model.graph.node.remove(loop)
    del model.graph.output[1:]
    onnx.save(model, str(alone))
    both = time_per_operator(LaunchRequest(models=(beside, alone), budget_s=0.1))
    first, second = (times.by_operator()["MatMul"] for times in both)
    assert both[0].profiler_ms > both[0].latency_ms / 2  # the loop under the profiler takes far longer
    assert 0.5 < first / second < 2.0


def test_nodes_are_connected_in_the_order_of_their_graph_and_those_of_bodies_come_last(
    tmp_path: Path,
) -> None:
    path = tmp_path / "loop.onnx"
    model = parser.parse_model(LOOP)
    model.graph.node.append(helper.make_node("Relu", ["x"], ["z"], name="apart"))
    model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [64, 64]))
    onnx.save(model, str(path))
    [times] = time_per_operator(LaunchRequest(models=(path,), budget_s=0.02), connected=True)
    found = {one.node: one for one in times.nodes}
    assert (found["apart"].inputs, found["apart"].outputs) == (("x",), ("z",))
    assert (found["loop"].inputs[-1], found["loop"].outputs) == ("x", ("y",))
    assert found["loop"].input_types == ("int64", "bool", "float")
    assert (found["product"].inputs, found["product"].outputs, found["product"].calls) == ((), (), 7)
    assert {one.node for one in times.nodes[:2]} == {"apart", "loop"}


def test_nodes_of_one_name_have_equal_parts_of_its_time() -> None:
    run = calls(("Relu", 0, 4), ("Relu", 5, 6), ("MatMul", 12, 8))
    graph = parser.parse_graph("""g (float[2, 2] x) => (float[2, 2] y)
        { [Relu] a = Relu (x) \n [MatMul] b = MatMul (a, a) \n [Relu] y = Relu (b) }""")
    times = with_connections(summed_up([run] * 4, latency_ms=1.0), graph)
    assert [(one.node, one.calls, one.inputs, one.outputs) for one in times.nodes] == [
        ("Relu", 1, ("x",), ("a",)),
        ("MatMul", 1, ("a", "a"), ("b",)),
        ("Relu", 1, ("b",), ("y",)),
    ]
    assert [one.time_ms for one in times.nodes] == [pytest.approx(ms) for ms in (0.005, 0.008, 0.005)]


def test_a_quantized_file_shows_its_integer_operators(save_products: Save, tmp_path: Path) -> None:
    path = tmp_path / "int8.onnx"
    quantize_dynamic(save_products(2), path)
    first, second = time_per_operator(LaunchRequest(models=(save_products(2), path), budget_s=0.2))
    assert set(first.by_operator()) == {"MatMul"}
    assert {"DynamicQuantizeMatMul", "MatMulIntegerToFloat"} & set(second.by_operator())


def test_each_run_has_its_own_calls_and_the_first_is_left_out(save_products: Save) -> None:
    path = save_products(3)
    runs = profile_runs(path, {"x": np.ones((1, 128), np.float32)}, budget_s=0.01)
    assert len(runs) >= 5
    assert all([call.op_type for call in run] == ["MatMul"] * 3 for run in runs)


def test_a_gpu_is_refused_because_its_kernels_run_on(save_products: Save) -> None:
    with pytest.raises(InvalidOptionsError, match="on the CPU"):
        time_per_operator(LaunchRequest(models=(save_products(1),), provider="cuda"))
