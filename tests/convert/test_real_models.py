"""Models that others trained and published: each converts with parity, on real inputs where it has some."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from keras_models import convert
from real_inputs import Inputs

from optimizer.convert.detect import detect
from optimizer.evaluate import max_norm
from optimizer.runtime import open_session

RealModel = Callable[[str], Path]
RealSamples = Callable[[str, int], Inputs | None]


@pytest.mark.parametrize(
    ("name", "format", "measure"),
    [
        ("basic-pitch", "savedmodel", "max_norm"),
        ("fer", "keras2_h5", "max_norm"),
        ("fer-tflite", "tflite", "relative_l2"),
        ("dgaintel", "keras2_h5", "max_norm"),
    ],
)
def test_a_published_model_computes_the_same_as_onnx(
    tmp_path: Path, real_model: RealModel, real_samples: RealSamples, name: str, format: str, measure: str
) -> None:
    upload = real_model(name)
    assert detect(upload) == format
    inputs = real_samples(name, 8)
    if inputs is None:
        pytest.skip("no word list (Debian: wamerican)")
    np.savez(tmp_path / "samples.npz", **inputs)  # type: ignore[arg-type]  # NumPy takes arrays by any name
    conversion, _ = convert(upload, detect(upload), tmp_path, samples=tmp_path / "samples.npz")
    assert conversion.parity is not None
    assert conversion.parity.inputs_from == "samples"
    assert {output.measure for output in conversion.parity.outputs} == {measure}
    assert all(output.value <= output.tolerance for output in conversion.parity.outputs)


@pytest.mark.parametrize(
    "name",
    [
        "face-detection",
        "face-detection-back",
        "face-detection-full",
        "face-detection-short",
        "face-landmark",
        "iris-landmark",
        "speech-embedding",
        "wakeword",
    ],
)
def test_a_published_tflite_file_computes_the_same_as_onnx(
    tmp_path: Path, real_model: RealModel, name: str
) -> None:
    conversion, _ = convert(real_model(name), "tflite", tmp_path)
    assert conversion.parity is not None
    assert all(output.value <= 5e-6 for output in conversion.parity.outputs)


def test_a_published_file_with_sparse_weights_computes_the_same(
    tmp_path: Path, real_model: RealModel
) -> None:
    conversion, _ = convert(real_model("face-detection-sparse"), "tflite", tmp_path)
    assert conversion.parity is not None
    assert all(output.value <= 5e-6 for output in conversion.parity.outputs)
    assert any("sparse weights" in note for note in conversion.notes)


def test_a_published_checkpoint_keeps_its_flag_for_training(tmp_path: Path, real_model: RealModel) -> None:
    conversion, _ = convert(real_model("musicnn"), "checkpoint", tmp_path)
    assert [(spec.dtype, len(spec.shape)) for spec in conversion.inputs] == [("float32", 3), ("bool", 0)]
    assert conversion.parity is not None
    assert [output.output for output in conversion.parity.outputs] == ["model/Sigmoid"]
    assert conversion.parity.outputs[0].value <= 1e-5


def test_basic_pitch_agrees_with_the_onnx_file_of_its_authors(
    tmp_path: Path, real_model: RealModel, real_samples: RealSamples
) -> None:
    _, workspace = convert(real_model("basic-pitch-tflite"), "tflite", tmp_path)
    ours, theirs = open_session(workspace.converted), open_session(real_model("basic-pitch-onnx"))
    inputs = real_samples("basic-pitch", 1)
    assert inputs is not None
    [audio] = inputs.values()
    mine = ours.run({ours.inputs[0].name: audio})
    reference = theirs.run({theirs.inputs[0].name: audio})
    for value in mine.values():
        nearest = min(max_norm(value, other) for other in reference.values() if other.shape == value.shape)
        assert nearest < 1e-4


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("basic-pitch", ("note", "onset/reshape_2/Reshape")),
        ("fer", ("global_average_pooling2d_1", "max_pooling2d_4")),
    ],
)
def test_a_published_model_ends_inside_where_outputs_says(
    tmp_path: Path, real_model: RealModel, name: str, outputs: tuple[str, ...]
) -> None:
    upload = real_model(name)
    conversion, _ = convert(upload, detect(upload), tmp_path, outputs=outputs)
    assert tuple(spec.name for spec in conversion.outputs) == outputs
    assert conversion.parity is not None
    assert all(entry.value <= entry.tolerance for entry in conversion.parity.outputs)
