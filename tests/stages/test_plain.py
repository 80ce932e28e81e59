"""The upload as tf2onnx alone converts it: a row to compare with, whose failure costs nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import onnx
import onnx.parser
import pytest

from optimizer.benchmark import MeasureSettings, time_launch
from optimizer.goal import Goal
from optimizer.isolation import Reporter
from optimizer.results import Conversion, PlainConversion, TensorSpec
from optimizer.stages import plain
from optimizer.stages.measure import measure_plain
from optimizer.stages.plain import run
from optimizer.workspace import StageRequest, Workspace

TFLITE = Conversion(
    format="tflite",
    runtime="TFLite",
    inputs=(TensorSpec(name="x", dtype="float32", shape=(None, 8)),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=(None, 8)),),
)
TEXT = """
<ir_version: 8, opset_import: ["": 17]>
g (float[N, 8] x) => (float[N, 8] y) { y = OPERATOR (x) }
"""


def write(path: Path, operator: str = "Relu") -> Path:
    path.write_bytes(onnx.parser.parse_model(TEXT.replace("OPERATOR", operator)).SerializeToString())
    return path


@pytest.fixture
def convert(tmp_path: Path) -> Callable[..., PlainConversion]:
    """Run the stage on what the convert stage left."""
    files = Workspace(tmp_path)
    write(files.converted)

    def run_stage(conversion: Conversion, goal: Goal | None = None) -> PlainConversion:
        files.write("convert", conversion)
        request = StageRequest(stage="plain", workspace=tmp_path, goal=goal or Goal())
        descriptor = os.open(os.devnull, os.O_WRONLY)
        try:
            run(request, Reporter(descriptor))
        finally:
            os.close(descriptor)
        return files.read("plain", PlainConversion)

    return run_stage


def test_an_onnx_upload_has_nothing_to_convert(convert: Callable[..., PlainConversion]) -> None:
    upload = TFLITE.model_copy(update={"format": "onnx", "runtime": "ONNX Runtime"})
    assert convert(upload) == PlainConversion()


def test_a_large_model_is_not_tried_and_says_so(
    convert: Callable[..., PlainConversion], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "LARGEST_BYTES", 10)
    assert "it would take gigabytes of memory" in convert(TFLITE).refused


def test_fixed_shapes_are_not_known_to_it(convert: Callable[..., PlainConversion]) -> None:
    assert "fixed shapes" in convert(TFLITE, Goal(fixed_shapes={"x": (1, 8)})).refused


def test_what_tf2onnx_fails_on_is_a_reason_and_no_error(
    convert: Callable[..., PlainConversion], tmp_path: Path
) -> None:
    (tmp_path / "original").write_bytes(b"no TFLite file")
    found = convert(TFLITE)
    assert found.refused.startswith("tf2onnx alone fails with ")
    assert not (tmp_path / "plain.onnx").exists()


def test_it_is_measured_against_the_baseline(tmp_path: Path) -> None:
    files = Workspace(tmp_path)
    files.write("convert", TFLITE)
    files.write("plain", PlainConversion(inputs=("x",)))
    write(files.plain)
    settings = MeasureSettings(launches=2)
    rows, refused = measure_plain(files, write(tmp_path / "b.onnx"), settings, time_launch)
    assert refused == ""
    assert [row.model for row in rows] == ["plain"]
    assert rows[0].ratio is not None


def test_where_it_cannot_be_measured_the_row_says_so(tmp_path: Path) -> None:
    files = Workspace(tmp_path)
    files.write("convert", TFLITE)
    settings = MeasureSettings(launches=2)
    files.write("plain", PlainConversion(refused="tf2onnx alone fails with KeyError: 'x'"))
    baseline = write(tmp_path / "b.onnx")
    assert measure_plain(files, baseline, settings, time_launch) == (
        [],
        "tf2onnx alone fails with KeyError: 'x'",
    )
    files.write("plain", PlainConversion(inputs=("x",)))
    write(files.plain, "NoSuchOperator")
    rows, refused = measure_plain(files, baseline, settings, time_launch)
    assert rows == []
    assert refused.startswith("what tf2onnx alone writes does not run: plain.onnx")


def test_samples_named_like_our_inputs_are_not_given_to_a_file_with_others(tmp_path: Path) -> None:
    files = Workspace(tmp_path)
    two = (*TFLITE.inputs, TensorSpec(name="z", dtype="float32", shape=(None, 8)))
    files.write("convert", TFLITE.model_copy(update={"inputs": two}))
    files.write("plain", PlainConversion(inputs=("serving_x", "serving_z")))
    write(files.plain)
    # Samples that do not exist would fail, were they read.
    settings = MeasureSettings(launches=2, samples=tmp_path / "none.npz")
    rows, _ = measure_plain(files, write(tmp_path / "b.onnx"), settings, time_launch)
    assert [row.model for row in rows] == ["plain"]
