from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from keras_models import cnn, convert, operators

from optimizer.convert.parity.original import open_original
from optimizer.errors import InvalidModelError, UnsupportedModelError
from optimizer.runtime import open_session


def calls() -> Any:
    generator = np.random.default_rng(0)
    for _ in range(20):
        yield [generator.random((1, 8, 8, 3), np.float32)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The convolutional network as a SavedModel, which TFLite's converter reads."""
    import keras

    model, folder = cnn(), tmp_path_factory.mktemp("saved") / "model"
    archive = keras.export.ExportArchive()
    archive.track(model)
    specs = [keras.InputSpec(shape=(None, 8, 8, 3), dtype="float32", name="image")]
    archive.add_endpoint("serve", lambda image: {"digit": model(image, training=False)}, specs)
    archive.write_out(str(folder), verbose=False)
    return folder


def tflite(saved: Path, folder: Path, **settings: Any) -> Path:
    """Convert to TFLite with the settings of its converter."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    for name, value in settings.items():
        setattr(converter, name, value)
    path = folder / "model.tflite"
    path.write_bytes(converter.convert())
    return path


def full_integer(**more: Any) -> dict[str, Any]:
    """Converter settings for integer weights and activations."""
    import tensorflow as tf

    return {"optimizations": [tf.lite.Optimize.DEFAULT], "representative_dataset": calls, **more}


def test_a_float_file_converts_with_the_names_of_its_signature(saved: Path, tmp_path: Path) -> None:
    conversion, workspace = convert(tflite(saved, tmp_path), "tflite", tmp_path)
    assert conversion.runtime == "TFLite"
    assert [spec.name for spec in (*conversion.inputs, *conversion.outputs)] == ["image", "digit"]
    assert conversion.parity is not None
    assert conversion.parity.batch_sizes == (1, 3)
    assert conversion.parity.outputs[0].value <= conversion.parity.outputs[0].tolerance == 1e-4
    images = np.random.default_rng(1).random((2, 8, 8, 3), np.float32)
    original = open_original(workspace, conversion, threads=1).run({"image": images})
    converted = open_session(workspace.converted).run({"image": images})
    np.testing.assert_allclose(converted["digit"], original["digit"], atol=1e-6)


def test_an_int8_file_stays_integer_and_is_judged_by_quantization_steps(saved: Path, tmp_path: Path) -> None:
    conversion, workspace = convert(tflite(saved, tmp_path, **full_integer()), "tflite", tmp_path)
    assert {"QuantizeLinear", "DequantizeLinear"} <= operators(workspace)
    assert conversion.parity is not None
    assert "two quantization steps" in conversion.parity.note
    assert 1e-4 < conversion.parity.outputs[0].tolerance < 0.05


@pytest.mark.parametrize("integer_io", [None, "int8", "uint8"])
def test_every_layer_of_an_int8_file_runs_as_an_integer_kernel(
    integer_io: str | None, saved: Path, tmp_path: Path
) -> None:
    import onnxruntime as ort
    import tensorflow as tf

    io = (
        {}
        if integer_io is None
        else dict.fromkeys(("inference_input_type", "inference_output_type"), tf.as_dtype(integer_io))
    )
    _, workspace = convert(tflite(saved, tmp_path, **full_integer(**io)), "tflite", tmp_path)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    ort.InferenceSession(str(workspace.converted), options, providers=["CPUExecutionProvider"])
    nodes = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert not {"Conv", "FusedConv", "MatMul", "Gemm"} & set(nodes)
    assert (nodes.count("QLinearConv"), nodes.count("QLinearMatMul") + nodes.count("QGemm")) == (1, 1)


def test_integer_inputs_and_outputs_stay_integer(saved: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    settings = full_integer(inference_input_type=tf.int8, inference_output_type=tf.int8)
    conversion, _ = convert(tflite(saved, tmp_path, **settings), "tflite", tmp_path)
    assert [spec.dtype for spec in (*conversion.inputs, *conversion.outputs)] == ["int8", "int8"]


def test_a_half_precision_file_meets_the_float_tolerance(saved: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    spec = tf.lite.TargetSpec(supported_types=[tf.float16])
    settings = {"optimizations": [tf.lite.Optimize.DEFAULT], "target_spec": spec}
    conversion, _ = convert(tflite(saved, tmp_path, **settings), "tflite", tmp_path)
    assert conversion.parity is not None
    assert conversion.parity.outputs[0].tolerance == 1e-4


def test_integer_weights_alone_get_the_weaker_test_and_say_so(tmp_path: Path) -> None:
    import keras
    import tensorflow as tf
    from keras import layers

    wide = keras.Sequential([keras.Input((64,)), layers.Dense(64, activation="relu"), layers.Dense(32)])
    wide.export(str(tmp_path / "wide"), verbose=False)
    upload = tflite(tmp_path / "wide", tmp_path, optimizations=[tf.lite.Optimize.DEFAULT])
    conversion, _ = convert(upload, "tflite", tmp_path)
    assert conversion.parity is not None
    assert "weaker test" in conversion.parity.note
    assert conversion.parity.outputs[0].measure in ("relative_l2", "agreement")


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu_converts_in_both_forms(approximate: bool, tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 9), tf.float32, name="x")])  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def gelu(x: Any) -> dict[str, Any]:
        return {"y": tf.nn.gelu(x * 8.0 - 4.0, approximate=approximate)}

    tf.saved_model.save(tf.Module(), str(tmp_path / "gelu"), signatures=gelu)
    samples = tmp_path / "samples.npz"
    np.savez(samples, x=np.random.default_rng(0).random((6, 9), np.float32))
    conversion, _ = convert(tflite(tmp_path / "gelu", tmp_path), "tflite", tmp_path, samples=samples)
    assert conversion.parity is not None
    assert conversion.parity.outputs[0].value < 1e-5


@pytest.mark.parametrize(
    "content", [b"nothing of the kind", b"\x1c\0\0\0TFL3" + b"\xff" * 64], ids=["other", "cut"]
)
def test_a_broken_file_is_invalid(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(InvalidModelError, match=r"model\.tflite"):
        convert(path, "tflite", tmp_path)


def test_sparse_weights_are_refused_by_the_name_of_their_tensor(saved: Path, tmp_path: Path) -> None:
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    path = tflite(saved, tmp_path)
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    weight = model.subgraphs[0].tensors[1]
    weight.sparsity = schema.SparsityParametersT()
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    with pytest.raises(UnsupportedModelError, match="sparse form") as caught:
        convert(path, "tflite", tmp_path)
    assert weight.name.decode() in caught.value.message
