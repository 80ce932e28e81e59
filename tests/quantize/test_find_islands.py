"""What stays float between integer kernels is found with its cost; what is closed runs on integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from island_cases import NORM, cnn, feeds
from onnx import numpy_helper
from rewrite_cases import operators

from optimizer.benchmark import LaunchRequest, time_per_operator
from optimizer.calibrate import collect_ranges
from optimizer.evaluate import relative_l2
from optimizer.graph.verify import open_proto
from optimizer.model import from_proto, save_model
from optimizer.quantize import quantize_static
from optimizer.quantize.islands import find_islands
from optimizer.steps import QuantizeStatic, StaticOperators
from optimizer.timings import NodeTime

LOSS = 0.04  # relative, of three layers in 8 bits


def quantized(proto: onnx.ModelProto, kind: StaticOperators = "all") -> onnx.ModelProto:
    ranges = collect_ranges(from_proto(proto), [feeds(seed) for seed in range(4)], lambda _: None)
    return quantize_static(from_proto(proto), QuantizeStatic(operators=kind), ranges).model.to_proto()


def timed(path: Path) -> tuple[NodeTime, ...]:
    [times] = time_per_operator(LaunchRequest(models=(path,), budget_s=0.05), connected=True)
    return times.nodes


def error(proto: onnx.ModelProto, integer: onnx.ModelProto) -> float:
    exact, rounded = (open_proto(each).run(feeds(9))["y"].reshape(1, -1) for each in (proto, integer))
    return float(relative_l2(rounded, exact)[0])


def test_the_weight_of_a_depthwise_conv_has_no_rounding_error() -> None:
    proto = cnn(NORM, scale=np.geomspace(0.01, 10, 16).astype(np.float32))
    graph = quantized(proto).graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    dequantize = {node.output[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    conv = next(node for node in graph.node if any(a.name == "group" for a in node.attribute))
    weight, scale = (tensors[name] for name in dequantize[conv.input[1]].input[:2])
    given = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    wanted = given["scale"] / np.sqrt(given["variance"] + 0.01)
    np.testing.assert_allclose(weight.reshape(-1) * scale, wanted, rtol=1e-5)


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-6])
def test_a_channel_that_is_almost_off_keeps_its_bias(scale: float) -> None:
    proto = cnn(NORM, scale=np.array([scale] * 4 + [1.0] * 12, np.float32))
    assert error(proto, quantized(proto)) < LOSS


@pytest.mark.parametrize("kind", ["all", "conv_matmul_gemm", "conv"])
def test_a_normalization_and_the_pool_behind_it_run_as_integer_kernels(
    kind: StaticOperators, tmp_path: Path
) -> None:
    body = NORM.replace("m =", "b =") + "\n m = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (b)"
    proto = cnn(body)
    save_model(from_proto(quantized(proto, kind)), tmp_path / "integer.onnx")
    kernels = timed(tmp_path / "integer.onnx")
    assert find_islands(kernels) == ()
    assert not {"Relu", "BatchNormalization", "MaxPool"} & {kernel.op_type for kernel in kernels}
    assert sum(kernel.op_type == "QLinearConv" for kernel in kernels) == 3
    assert all(kernel.calls == 1 for kernel in kernels)
    assert error(proto, quantized(proto, kind)) < LOSS


def test_moves_stay_integer_whatever_the_operators(tmp_path: Path) -> None:
    proto = cnn("b = MaxPool <kernel_shape = [2, 2]> (a) \n m = Tile (b, two)", two=np.array([1, 1, 2, 1]))
    save_model(from_proto(quantized(proto, "conv")), tmp_path / "integer.onnx")
    kernels = timed(tmp_path / "integer.onnx")
    assert {"Tile", "NhwcMaxPool"} <= {kernel.op_type for kernel in kernels}
    assert find_islands(kernels) == ()


def test_an_activation_that_others_read_before_it_stays() -> None:
    proto = cnn("z = Exp (c) \n e = Add (a, z) \n m = Tanh (e)")
    assert "Relu" in operators(quantized(proto, "conv"))


def test_what_stays_float_is_named_with_its_cost(tmp_path: Path) -> None:
    proto = cnn("m = Tanh (a)", channels=256)  # enough to take over the microsecond that a profile counts in
    for node in proto.graph.node:
        node.name = f"{node.op_type} of {node.output[0]}"
    save_model(from_proto(quantized(proto)), tmp_path / "integer.onnx")
    kernels = timed(tmp_path / "integer.onnx")
    (island,) = find_islands(kernels)
    assert island.operators == ("Tanh Tanh of m",)
    total_ms = sum(kernel.time_ms for kernel in kernels)
    tanh_ms = next(kernel.time_ms for kernel in kernels if kernel.op_type == "Tanh")
    assert 0 < tanh_ms <= island.time_ms < total_ms
    assert island.share == pytest.approx(island.time_ms / total_ms)


def kernel(operator: str, reads: str, writes: str, types: str = "float", time_ms: float = 1.0) -> NodeTime:
    return NodeTime(
        node=f"n_{writes.split()[0]}",
        op_type=operator,
        calls=1,
        inputs=tuple(reads.split()),
        outputs=tuple(writes.split()),
        input_types=tuple(types.split()),
        time_ms=time_ms,
    )


def test_islands_are_told_apart_and_ends_are_none() -> None:
    kernels = (
        kernel("Exp", "x", "e"),
        kernel("QuantizeLinear", "e scale", "q"),
        kernel("QLinearConv", "q", "c", "uint8"),
        kernel("DequantizeLinear", "c scale", "d", "uint8"),
        kernel("DequantizeLinear", "w", "v", "int8", 2.0),
        kernel("PRelu", "d v", "p", time_ms=4.0),
        kernel("QuantizeLinear", "p scale", "r"),
        kernel("QLinearAdd", "r c", "a", "uint8 uint8"),
        kernel("DequantizeLinear", "a scale", "b", "uint8"),
        kernel("Elu", "b", "l"),
        kernel("Softmax", "b", "y"),
        kernel("QuantizeLinear", "l scale", "k"),
        kernel("MaxPool", "k", "m", "uint8"),
        kernel("DequantizeLinear", "m scale", "z", "uint8"),
    )
    first, second = find_islands(kernels)
    assert first.operators == ("PRelu n_p",)
    assert first.time_ms == 8.0
    assert first.share == pytest.approx(8 / 18)
    assert second.operators == ("Elu n_l",)
    assert second.time_ms == 3.0


def test_arithmetic_of_shapes_is_no_island() -> None:
    kernels = (
        kernel("QLinearConv", "q", "c", "uint8"),
        kernel("DequantizeLinear", "c scale", "d", "uint8"),
        kernel("Shape", "d", "s"),
        kernel("Gather", "s first", "n", "int64 int64"),
        kernel("Reshape", "c n", "r", "uint8 int64"),
    )
    assert find_islands(kernels) == ()


def test_a_model_without_integers_has_no_islands() -> None:
    assert find_islands((kernel("Conv", "x w", "c"), kernel("Relu", "c", "y"))) == ()
    assert find_islands(()) == ()
