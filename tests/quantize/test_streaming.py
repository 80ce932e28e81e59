"""INT8 weights made one after another are those that ONNX Runtime's quantizer makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from external_models import ALWAYS_EXTERNAL, wide_model, write_wide
from onnx import numpy_helper
from onnxruntime.quantization.quant_utils import QuantType, quantize_data

from optimizer.graph import simplify
from optimizer.model import Model, load_model, save_model
from optimizer.quantize import quantize_dynamic
from optimizer.quantize.streaming import quantize_columns
from optimizer.runtime import open_session
from optimizer.steps import QuantizeDynamic


def constants(model: Model) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.to_proto().graph.initializer}


@pytest.mark.parametrize("reduce_range", [False, True])
def test_columns_are_quantized_as_onnx_runtime_does(reduce_range: bool) -> None:
    weight = np.random.default_rng(0).normal(size=(7, 40)).astype(np.float32)
    weight[:, 3] = 0
    weight[:, 4] = 1e-42
    weight[:, 5] = [127, 0.5, 1.5, 2.5, -2.5, -127, 3.5]
    quantized, scales, zeros = quantize_columns(weight, reduce_range=reduce_range)
    for i in range(weight.shape[1]):
        zero, scale, expected = quantize_data(
            weight[:, i], QuantType.QInt8.tensor_type, True, reduce_range=reduce_range
        )
        assert scales[i] == np.float32(scale)
        assert zeros[i] == zero
        np.testing.assert_array_equal(quantized[:, i], expected)


def test_bands_of_columns_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = np.random.default_rng(0).normal(size=(30, 50)).astype(np.float32)
    whole = quantize_columns(weight, reduce_range=False)
    monkeypatch.setattr("optimizer.quantize.streaming._BAND_BYTES", 30 * 4 * 7)
    for one, other in zip(whole, quantize_columns(weight, reduce_range=False), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("keep_float", [(), ("MatMul_a",), ("Gemm_d",)])
@pytest.mark.parametrize("reduce_range", [False, True])
def test_a_model_of_two_files_becomes_the_same_int8_model(
    tmp_path: Path, keep_float: tuple[str, ...], reduce_range: bool
) -> None:
    step = QuantizeDynamic(keep_float=keep_float, reduce_range=reduce_range)
    whole = quantize_dynamic(wide_model(), step)
    streamed = quantize_dynamic(
        load_model(write_wide(tmp_path / "model.onnx")), step, largest_bytes=ALWAYS_EXTERNAL
    )
    assert streamed.changes == whole.changes
    nodes = [[n.op_type for n in r.model.to_proto().graph.node] for r in (whole, streamed)]
    assert nodes[0] == nodes[1]
    expected, found = constants(whole.model), constants(streamed.model)
    found.pop("unused", None)
    expected.pop("unused", None)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, strict=True, err_msg=name)


def test_the_streamed_model_runs_and_answers_like_the_float_model(tmp_path: Path) -> None:
    model = simplify(load_model(write_wide(tmp_path / "m.onnx")), largest_bytes=ALWAYS_EXTERNAL).model
    result = quantize_dynamic(model, QuantizeDynamic(), largest_bytes=ALWAYS_EXTERNAL)
    save_model(result.model, tmp_path / "int8.onnx")
    x = np.random.default_rng(1).random((8, 512), np.float32)
    before = open_session(tmp_path / "m.onnx").run({"x": x})["y"]
    after = open_session(tmp_path / "int8.onnx").run({"x": x})["y"]
    assert np.linalg.norm(before - after) / np.linalg.norm(before) < 0.05
    assert (tmp_path / "int8.onnx").stat().st_size < 0.3 * model.weight_bytes
