from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from keras_models import MODELS, cnn, convert, operators, save_keras

from optimizer.errors import UnsupportedModelError
from optimizer.runtime import open_session

LEGACY = """
import sys
import tf_keras
from tf_keras import layers
model = tf_keras.Sequential([
    layers.Input((6,), dtype="int32", name="ids"), layers.Embedding(20, 4), layers.Conv1D(4, 3),
    layers.LSTM(5), layers.Dropout(0.5), layers.Dense(2, activation="softmax", name="kind")])
for path in sys.argv[1:]:
    model.save(path)
"""


@pytest.fixture(scope="module")
def legacy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Keras 2 model, saved as model.h5 and model.keras."""
    folder = tmp_path_factory.mktemp("legacy")
    files = [str(folder / name) for name in ("model.h5", "model.keras")]
    command = [sys.executable, "-W", "ignore", "-c", LEGACY, *files]
    subprocess.run(command, check=True, capture_output=True, env={"TF_USE_LEGACY_KERAS": "1"})
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_a_keras_3_file_converts_with_parity_at_two_batch_sizes(name: str, tmp_path: Path) -> None:
    conversion, workspace = convert(save_keras(MODELS[name](), tmp_path), "keras", tmp_path)
    assert conversion.parity is not None
    assert conversion.parity.batch_sizes == (1, 3)
    assert conversion.parity.reference == "TensorFlow"
    assert {output.output for output in conversion.parity.outputs} == {o.name for o in conversion.outputs}
    assert all(spec.shape[0] == "batch" for spec in (*conversion.inputs, *conversion.outputs))
    assert onnx.load(str(workspace.converted)).opset_import[0].version == 17


def test_the_converted_file_computes_what_the_live_model_computes(tmp_path: Path) -> None:
    model = cnn()
    conversion, workspace = convert(save_keras(model, tmp_path), "keras", tmp_path)
    images = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype(np.float32)
    found = open_session(workspace.converted).run({"image": images})["digit"]
    np.testing.assert_allclose(found, model(images, training=False).numpy(), atol=1e-6)
    assert [spec.name for spec in conversion.outputs] == ["digit"]


def test_inputs_and_outputs_keep_the_keys_of_dicts(tmp_path: Path) -> None:
    model = MODELS["two_in_two_out"]()
    _, workspace = convert(save_keras(model, tmp_path), "keras", tmp_path)
    feeds = {"wide": np.ones((2, 4), np.float32), "narrow": np.full((2, 2), 2.0, np.float32)}
    found = open_session(workspace.converted).run(feeds)
    for name, expected in model(feeds).items():
        np.testing.assert_allclose(found[name], expected.numpy(), atol=1e-6)


def test_inputs_and_outputs_of_lists_keep_their_order(tmp_path: Path) -> None:
    import keras

    width, height = keras.Input((2,), name="width"), keras.Input((3,), name="height")
    outputs = [
        keras.layers.Dense(size, name=name)(value)
        for size, name, value in ((4, "z", width), (5, "b", height), (1, "m", width))
    ]
    upload = save_keras(keras.Model([width, height], outputs), tmp_path)
    conversion, workspace = convert(upload, "keras", tmp_path)
    session = open_session(workspace.converted)
    for ends in (conversion, session):
        assert [spec.name for spec in ends.inputs] == ["width", "height"]
        assert [spec.name for spec in ends.outputs] == ["z", "b", "m"]
    assert conversion.parity is not None
    assert [(each.output, each.value < 1e-5) for each in conversion.parity.outputs] == [
        ("z", True),
        ("b", True),
        ("m", True),
    ]


def test_twelve_outputs_keep_their_own_values(tmp_path: Path) -> None:
    model = MODELS["twelve_outputs"]()
    _, workspace = convert(save_keras(model, tmp_path), "keras", tmp_path)
    value = np.array([[1.0, 2.0]], np.float32)
    found = open_session(workspace.converted).run({"x": value})
    for number, expected in enumerate(model(value)):
        np.testing.assert_allclose(found[f"y_{number}"], expected.numpy(), atol=1e-6)


def test_an_lstm_becomes_the_operator_and_layer_norm_no_pooling(tmp_path: Path) -> None:
    _, lstm = convert(save_keras(MODELS["text_lstm"](), tmp_path, "lstm.keras"), "keras", tmp_path)
    assert "LSTM" in operators(lstm)
    _, mlp = convert(save_keras(MODELS["gelu_mlp"](), tmp_path, "mlp.keras"), "keras", tmp_path)
    assert "GlobalAveragePool" not in operators(mlp)


def test_an_h5_file_of_keras_3_converts_whatever_its_ending(tmp_path: Path) -> None:
    upload = save_keras(cnn(), tmp_path, "model.h5").rename(tmp_path / "upload.bin")
    conversion, workspace = convert(upload, "keras_h5", tmp_path)
    assert conversion.producer.startswith("Keras 3.")
    assert sorted(path.name for path in workspace.folder.iterdir()) == ["converted.onnx", "original"]


@pytest.mark.parametrize(("file", "format"), [("model.h5", "keras2_h5"), ("model.keras", "keras2")])
def test_a_keras_2_file_converts(file: str, format: Any, legacy: Path, tmp_path: Path) -> None:
    conversion, _ = convert(legacy / file, format, tmp_path)
    assert conversion.producer.startswith("Keras 2.")
    assert [(spec.name, spec.dtype) for spec in conversion.inputs] == [("ids", "int32")]
    assert [spec.name for spec in conversion.outputs] == ["kind"]
    assert conversion.parity is not None
    assert conversion.parity.batch_sizes == (1, 3)


def test_a_class_of_the_users_own_is_named_and_its_code_not_sought(tmp_path: Path) -> None:
    source = save_keras(cnn(), tmp_path)
    upload = tmp_path / "custom.keras"
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(upload, "w") as changed:
        for member in archive.namelist():
            content = archive.read(member)
            if member == "config.json":
                config = json.loads(content)
                layer = config["config"]["layers"][1]
                layer |= {"module": "their_code", "class_name": "TheirLayer", "registered_name": "TheirLayer"}
                content = json.dumps(config).encode()
            changed.writestr(member, content)
    with pytest.raises(UnsupportedModelError, match="TheirLayer") as caught:
        convert(upload, "keras", tmp_path)
    assert "never run" in caught.value.hint


def test_half_precision_layers_convert_with_their_own_tolerance(tmp_path: Path) -> None:
    import keras

    dense = keras.layers.Dense(2, dtype="mixed_float16")
    model = keras.Sequential([keras.Input((4,)), dense, keras.layers.Dense(2, dtype="float32")])
    conversion, _ = convert(save_keras(model, tmp_path), "keras", tmp_path)
    assert conversion.parity is not None
    assert conversion.parity.outputs[0].tolerance == 1e-2


def test_layers_quantized_by_keras_get_the_weaker_test(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(8), keras.layers.Dense(4)])
    for layer in model.layers:
        layer.quantize("int8")
    conversion, _ = convert(save_keras(model, tmp_path), "keras", tmp_path)
    assert conversion.parity is not None
    assert "weaker test" in conversion.parity.note


def test_a_file_that_keras_cannot_load_is_named(tmp_path: Path) -> None:
    source = save_keras(cnn(), tmp_path)
    upload = tmp_path / "incomplete.keras"
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(upload, "w") as changed:
        for member in archive.namelist():
            if member != "model.weights.h5":
                changed.writestr(member, archive.read(member))
    with pytest.raises(UnsupportedModelError, match=r"Keras cannot load incomplete\.keras"):
        convert(upload, "keras", tmp_path)


def test_the_users_samples_serve_for_the_comparison(tmp_path: Path) -> None:
    samples = tmp_path / "samples.npz"
    np.savez(samples, image=np.random.default_rng(1).random((7, 8, 8, 3), np.float32))
    conversion, _ = convert(save_keras(cnn(), tmp_path), "keras", tmp_path, samples=samples)
    assert conversion.parity is not None
    assert conversion.parity.inputs_from == "samples"
    assert conversion.parity.batch_sizes == (1, 3)


def test_a_layer_that_keeps_its_state_between_calls_is_refused_by_name(tmp_path: Path) -> None:
    import keras

    memory = keras.layers.LSTM(3, stateful=True, name="memory")
    model = keras.Sequential([keras.Input((5, 4), batch_size=2), memory])
    with pytest.raises(UnsupportedModelError, match=r"memory \(LSTM\) keeps its state") as caught:
        convert(save_keras(model, tmp_path), "keras", tmp_path)
    assert "stateful=False" in caught.value.hint


def test_float8_layers_are_refused_by_name(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential([keras.Input((16,)), keras.layers.Dense(16, name="narrow")])
    model.get_layer("narrow").quantize("float8")
    with pytest.raises(UnsupportedModelError, match=r"narrow \(Dense\) is quantized to float8"):
        convert(save_keras(model, tmp_path), "keras", tmp_path)


def test_an_input_keeps_its_capital_letters(tmp_path: Path) -> None:
    import keras

    image = keras.Input((3,), name="ImageA")
    model = keras.Model(image, keras.layers.Dense(2, name="end")(keras.layers.Dense(2, name="mid")(image)))
    path = save_keras(model, tmp_path)
    (tmp_path / "cut").mkdir()
    for folder, outputs in ((tmp_path, ()), (tmp_path / "cut", ("mid",))):
        conversion, _ = convert(path, "keras", folder, outputs=outputs)
        assert [spec.name for spec in conversion.inputs] == ["ImageA"]
        assert conversion.parity is not None


def test_images_of_free_size_are_resized_by_a_factor(tmp_path: Path) -> None:
    import keras

    image = keras.Input((None, None, 3))
    deep = keras.layers.Conv2D(8, 3, strides=4, padding="same")(image)
    wide = keras.layers.UpSampling2D(4, interpolation="bilinear")(deep)
    conversion, _ = convert(save_keras(keras.Model(image, wide), tmp_path), "keras", tmp_path)
    assert conversion.parity is not None
    assert not any(isinstance(size, int) for size in conversion.outputs[0].shape[1:3])


@pytest.mark.parametrize("kind", ["dense", "convolution", "masked"])
def test_a_layer_at_each_of_a_free_number_of_steps_computes_what_keras_computes(
    kind: str, tmp_path: Path
) -> None:
    import keras

    layers, rng = keras.layers, np.random.default_rng(0)
    shape = (None, 8, 8, 3) if kind == "convolution" else (None, 6)
    steps = keras.Input(shape)
    y = layers.Masking()(steps) if kind == "masked" else steps
    y = layers.LSTM(6, return_sequences=True)(y) if kind == "masked" else y
    layer = layers.Conv2D(4, 3) if kind == "convolution" else layers.Dense(3, activation="tanh")
    model = keras.Model(steps, layers.TimeDistributed(layer)(y))
    x = rng.normal(size=(3, 10, *shape[1:])).astype(np.float32)
    x[1, 4:] = 0.0
    _, workspace = convert(save_keras(model, tmp_path), "keras", tmp_path)
    session = open_session(workspace.converted)
    [ours] = session.run({session.inputs[0].name: x}).values()
    np.testing.assert_allclose(ours, model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
