from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray

from optimizer.convert.quantized.integer_graph import expose_integer_kernels

HEAD = '<ir_version: 8, opset_import: ["" : 17]> m '


def model(clamp: str, scale: float, ends: str) -> onnx.ModelProto:
    """A clamp and Transposes between a Conv and its Q and DQ, and a value that two nodes read."""
    return onnx.parser.parse_model(
        f"""{HEAD} (float[1, 4, 4, 2] x) => (float[1, 2, 4, 4] y)
        <float s = {{0.0513}}, int8 z = {{-128}}, int8 zw = {{0}}, float so = {{{scale}}}, {ends}
         int8[2, 2, 1, 1] w = {{60, -40, 30, 50}}> {{
          q = QuantizeLinear (x, s, z)     qt = Transpose <perm = [0, 3, 1, 2]> (q)
          xf = DequantizeLinear (qt, s, z)
          wf = DequantizeLinear (w, s, zw) c = Conv (xf, wf)  a = {clamp}
          qa = QuantizeLinear (a, so, z)   left = DequantizeLinear (qa, so, z)
          e = Conv (left, wf)              qe = QuantizeLinear (e, s, zw)
          right = DequantizeLinear (qe, s, zw)   again = DequantizeLinear (qa, so, z)
          y = Add (again, right) }}"""
    )


def run(
    proto: onnx.ModelProto, folder: Path, values: NDArray[Any] | None = None
) -> tuple[NDArray[Any], set[str]]:
    """The output, and the operators that ONNX Runtime makes of the model."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    session = ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    if values is None:
        values = np.random.default_rng(0).random((1, 4, 4, 2), np.float32) * 12
    [found] = session.run(None, {session.get_inputs()[0].name: values})
    return found, {node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node}


@pytest.mark.parametrize(
    ("clamp", "scale", "ends"),
    [
        ("Relu (c)", 0.1037, ""),
        ("Clip (c, low, high)", 6 / 255, "float low = {0}, float high = {6},"),
        ("Clip (c, low)", 0.1037, "float low = {0},"),
    ],
)
def test_a_convolution_becomes_an_integer_kernel_with_the_same_integers(
    clamp: str, scale: float, ends: str, tmp_path: Path
) -> None:
    proto = model(clamp, scale, ends)
    expected, before = run(proto, tmp_path)
    expose_integer_kernels(proto)
    onnx.checker.check_model(proto, full_check=True)
    found, after = run(proto, tmp_path)
    assert "Conv" in before
    assert "QLinearConv" in after
    assert "Conv" not in after
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("high", [3.0, 5.9])
def test_a_clamp_that_cuts_off_more_than_the_integers_do_stays(high: float, tmp_path: Path) -> None:
    proto = model("Clip (c, low, high)", 6 / 255, f"float low = {{0}}, float high = {{{high}}},")
    expected, _ = run(proto, tmp_path)
    expose_integer_kernels(proto)
    assert "Clip" in {node.op_type for node in proto.graph.node}
    np.testing.assert_array_equal(run(proto, tmp_path)[0], expected)


def test_a_value_that_others_read_too_stays_where_it_is() -> None:
    text = f"""{HEAD} (float[2] x) => (int8[2] y, float[2] r)
        <float s = {{0.1}}, int8 z = {{-128}}> {{ r = Relu (x)  y = QuantizeLinear (r, s, z) }}"""
    proto = onnx.parser.parse_model(text)
    before = proto.SerializeToString()
    expose_integer_kernels(proto)
    assert proto.SerializeToString() == before


def test_signed_inputs_and_outputs_keep_their_type_around_unsigned_kernels(tmp_path: Path) -> None:
    text = f"""{HEAD} (int8[1, 4, 4, 2] q) => (int8[1, 4, 4, 2] y)
        <float s = {{0.0513}}, int8 z = {{-128}}, int8 zw = {{0}},
         int8[2, 2, 1, 1] w = {{60, -40, 30, 50}}> {{
          qt = Transpose <perm = [0, 3, 1, 2]> (q)   x = DequantizeLinear (qt, s, z)
          wf = DequantizeLinear (w, s, zw)  c = Conv (x, wf)  qc = QuantizeLinear (c, s, zw)
          y = Transpose <perm = [0, 2, 3, 1]> (qc) }}"""
    proto = onnx.parser.parse_model(text)
    values = np.random.default_rng(0).integers(-128, 128, (1, 4, 4, 2)).astype(np.int8)
    expected, _ = run(proto, tmp_path, values)
    expose_integer_kernels(proto)
    onnx.checker.check_model(proto, full_check=True)
    found, after = run(proto, tmp_path, values)
    assert "QLinearConv" in after
    assert "Conv" not in after
    assert found.dtype == np.int8
    np.testing.assert_array_equal(found, expected)


def grouped(groups: int, outputs: int, tail: str, zero_point: int = 0) -> onnx.ModelProto:
    """A Conv of 4 channels in groups, with as many outputs a group, and what follows it."""
    rows, inputs = groups * outputs, 4 // groups
    text = f"""{HEAD} (float[1, 4, 4, 4] x) => (float[1, {rows}, 4, 4] y)
        <float s = {{0.0513}}, uint8 z = {{0}}, float so = {{0.1037}}, uint8 zo = {{100}}, int32[{rows}] zb,
         int8[{rows}, {inputs}, 3, 3] w, int32[{rows}] b, float[{rows}] sw, float[{rows}] sb,
         int8[{rows}] zw> {{
          q = QuantizeLinear (x, s, z)  xf = DequantizeLinear (q, s, z)
          wf = DequantizeLinear <axis = 0> (w, sw, zw)  bf = DequantizeLinear <axis = 0> (b, sb, zb)
          c = Conv <group = {groups}, pads = [1, 1, 1, 1]> (xf, wf, bf)  {tail} }}"""
    random = np.random.default_rng(rows)
    steps = random.uniform(0.001, 0.01, rows).astype(np.float32)
    values: dict[str, NDArray[Any]] = {
        "w": random.integers(-100, 100, (rows, inputs, 3, 3)).astype(np.int8),
        "b": random.integers(-999, 999, rows).astype(np.int32),
        "sw": steps,
        "sb": steps * np.float32(0.0513),
        "zw": np.full(rows, zero_point, np.int8),
        "zb": np.zeros(rows, np.int32),
    }
    proto = onnx.parser.parse_model(text)
    known = [tensor for tensor in proto.graph.initializer if tensor.name not in values]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(known)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(v, name) for name, v in values.items())
    return proto


ROUNDED = "qc = QuantizeLinear (c, so, zo)  y = DequantizeLinear (qc, so, zo)"


@pytest.mark.parametrize(
    ("groups", "outputs", "kernel"),
    [(1, 8, "QLinearConv"), (4, 1, "QLinearConv"), (2, 16, "QLinearConv"), (4, 2, "Conv"), (2, 4, "Conv")],
)
def test_groups_that_fill_no_tile_of_the_integer_kernel_stay_in_float(
    groups: int, outputs: int, kernel: str, tmp_path: Path
) -> None:
    proto = grouped(groups, outputs, ROUNDED)
    values = np.random.default_rng(0).random((1, 4, 4, 4), np.float32) * 12
    expected, before = run(proto, tmp_path, values)
    expose_integer_kernels(proto)
    onnx.checker.check_model(proto, full_check=True)
    found, after = run(proto, tmp_path, values)
    assert "QLinearConv" in before
    assert {"Conv", "QLinearConv"} & after == {kernel}
    assert np.abs(found - expected).max() < 0.1037 * 1.01  # a tie may round the other way


@pytest.mark.parametrize("zero_point", [0, 3])
def test_weights_of_a_convolution_that_nothing_rounds_are_computed_once(
    zero_point: int, tmp_path: Path
) -> None:
    proto = grouped(1, 4, "y = Sigmoid (c)", zero_point)
    values = np.random.default_rng(0).random((1, 4, 4, 4), np.float32) * 12
    expected, _ = run(proto, tmp_path, values)
    expose_integer_kernels(proto)
    onnx.checker.check_model(proto, full_check=True)
    found, _ = run(proto, tmp_path, values)
    loaded = onnx.load(tmp_path / "optimized.onnx").graph
    assert sum(node.op_type == "DequantizeLinear" for node in loaded.node) == 1  # of x
    assert sum(tensor.data_type == onnx.TensorProto.INT8 for tensor in proto.graph.initializer) >= 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
