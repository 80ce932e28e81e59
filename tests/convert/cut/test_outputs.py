"""The option `outputs` ends a model at named tensors: those come out, in that order, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import convert, is_proven, output_names, save_keras

from optimizer.convert.parity.original import load_original
from optimizer.errors import InvalidOptionsError
from optimizer.runtime import open_session

IMAGE = np.random.default_rng(0).random((2, 6, 6, 3), np.float32)


@pytest.fixture(scope="module")
def detector() -> Any:
    """Two heads and a nested model; the second input serves one head alone."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    image, scale = keras.Input((6, 6, 3), name="image"), keras.Input((1,), name="scale")
    backbone = keras.Sequential(
        [keras.Input((6, 6, 3)), layers.Conv2D(4, 3, activation="relu", name="stem")], name="backbone"
    )
    features = layers.GlobalAveragePooling2D(name="pool")(backbone(image))
    boxes = layers.Multiply(name="scaled")([layers.Dense(4, name="boxes")(features), scale])
    scores = layers.Dense(3, activation="sigmoid", name="scores")(features)
    return keras.Model([image, scale], {"where": boxes, "what": scores})


@pytest.fixture(scope="module")
def saved(detector: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detector") / "saved"
    detector.export(str(folder), verbose=False)
    return folder


def test_a_keras_layer_stands_for_what_it_gives(detector: Any, tmp_path: Path) -> None:
    import keras

    upload = save_keras(detector, tmp_path)
    conversion, workspace = convert(upload, "keras", tmp_path, outputs=("scores", "pool"))
    assert output_names(conversion) == ["scores", "pool"]
    assert is_proven(conversion)
    assert [spec.name for spec in conversion.inputs] == ["image"]
    assert conversion.notes == ("inputs that no output needs were left out: scale",)
    found = open_session(workspace.converted).run({"image": IMAGE})
    layer = detector.get_layer("pool").output
    expected = keras.Model(detector.inputs, layer)([IMAGE, np.ones((2, 1), np.float32)])
    np.testing.assert_allclose(found["pool"], expected, atol=1e-6)


def test_outputs_and_tensors_inside_a_nested_keras_model_come_out_together(
    detector: Any, tmp_path: Path
) -> None:
    upload = save_keras(detector, tmp_path)
    asked = ("what", "backbone_1/stem_1/Relu", "where")
    conversion, _ = convert(upload, "keras", tmp_path, outputs=asked)
    assert output_names(conversion) == list(asked)
    assert is_proven(conversion)
    assert [spec.shape for spec in conversion.outputs] == [("batch", 3), ("batch", 4, 4, 4), ("batch", 4)]


def test_a_keras_layer_that_is_called_twice_gives_two_outputs(tmp_path: Path) -> None:
    import keras

    one, two = keras.Input((3,), name="one"), keras.Input((3,), name="two")
    tower = keras.layers.Dense(2, name="tower")
    upload = save_keras(keras.Model([one, two], keras.layers.Add()([tower(one), tower(two)])), tmp_path)
    conversion, _ = convert(upload, "keras", tmp_path, outputs=("tower",))
    assert output_names(conversion) == ["tower", "tower_1"]
    assert is_proven(conversion)


def test_a_misspelled_keras_layer_is_answered_with_the_nearest(detector: Any, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionsError, match="'boxs'") as caught:
        convert(save_keras(detector, tmp_path), "keras", tmp_path, outputs=("scores", "boxs"))
    assert "boxes" in caught.value.hint


def test_a_sequential_keras_model_ends_at_a_layer(tmp_path: Path) -> None:
    import keras

    layers = [keras.Input((3,)), keras.layers.Dense(4, name="inner"), keras.layers.Softmax(name="last")]
    conversion, _ = convert(
        save_keras(keras.Sequential(layers), tmp_path), "keras", tmp_path, outputs=("inner",)
    )
    assert output_names(conversion) == ["inner"]
    assert is_proven(conversion)


LEGACY = """
import sys
import tf_keras
from tf_keras import layers
image = layers.Input((6,), name="image")
features = layers.Dense(4, activation="relu", name="features")(image)
tf_keras.Model(image, layers.Dense(2, name="scores")(features)).save(sys.argv[1])
"""


def test_a_keras_2_layer_stands_for_what_it_gives(tmp_path: Path) -> None:
    upload = tmp_path / "model.h5"
    command = [sys.executable, "-W", "ignore", "-c", LEGACY, str(upload)]
    subprocess.run(command, check=True, capture_output=True, env={"TF_USE_LEGACY_KERAS": "1"})
    conversion, _ = convert(upload, "keras2_h5", tmp_path, outputs=("features",))
    assert output_names(conversion) == ["features"]
    assert is_proven(conversion)


def test_a_savedmodel_ends_inside_the_functions_that_its_signature_calls(saved: Path, tmp_path: Path) -> None:
    conversion, workspace = convert(saved, "savedmodel", tmp_path, outputs=("boxes_1/BiasAdd", "what"))
    assert output_names(conversion) == ["boxes_1/BiasAdd", "what"]
    assert is_proven(conversion)
    assert conversion.signature == "serving_default"
    original = load_original(workspace.original, "TensorFlow", conversion.signature)
    found = open_session(workspace.converted).run({"image": IMAGE})
    theirs = original.run({"image": IMAGE})
    assert theirs.keys() == found.keys()
    np.testing.assert_allclose(found["boxes_1/BiasAdd"], theirs["boxes_1/BiasAdd"], atol=1e-6)


def test_an_unknown_tensor_of_a_savedmodel_is_answered_with_those_in_its_scope(
    saved: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidOptionsError, match="'boxes_1'") as caught:
        convert(saved, "savedmodel", tmp_path, outputs=("boxes_1",))
    assert "boxes_1/BiasAdd" in caught.value.hint


def test_a_name_that_several_tensors_end_with_is_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionsError, match="names 2 tensors") as caught:
        convert(saved, "savedmodel", tmp_path, outputs=("MatMul",))
    assert "boxes_1/MatMul" in caught.value.hint


def test_a_weight_is_no_output(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionsError, match="needs none of the inputs"):
        convert(saved, "savedmodel", tmp_path, outputs=("boxes_1/Cast/ReadVariableOp",))


def test_tables_and_the_second_tensor_of_a_node_survive_the_cut(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([5, 7], tf.int64)), -1
    )

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.string, "words")])  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def serve(words: Any) -> Any:
        ids = module.table.lookup(words)
        return {"y": tf.math.top_k(tf.cast(ids, tf.float32), 2, name="best").values * 2.0}

    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=serve)
    conversion, workspace = convert(tmp_path / "saved", "savedmodel", tmp_path, outputs=("best:1", "best:0"))
    assert output_names(conversion) == ["best:1", "best"]
    words = np.array([["x", "b", "a", "b"]], object)
    found = open_session(workspace.converted).run({"words": words})
    assert found["best"].tolist() == [[7, 7]]
    assert found["best:1"].tolist() == [[1, 3]]


def test_each_table_of_a_keras_model_survives_the_cut(tmp_path: Path) -> None:
    import keras
    from keras import layers

    words = [keras.Input((2,), dtype="string", name=name) for name in ("pet", "food")]
    tables = [
        layers.StringLookup(vocabulary=known, name=name)
        for name, known in {"pets": ["cat", "dog"], "foods": ["egg", "fig", "cat"]}.items()
    ]
    rows = layers.Concatenate(name="rows")(
        [layers.Rescaling(2.0)(table(word)) for table, word in zip(tables, words, strict=True)]
    )
    model = keras.Model(words, layers.Dense(2)(rows))
    path = save_keras(model, tmp_path)
    (tmp_path / "whole").mkdir()
    assert is_proven(convert(path, "keras", tmp_path / "whole")[0])
    conversion, workspace = convert(path, "keras", tmp_path, outputs=("rows", "pets"))
    assert output_names(conversion) == ["rows", "pets"]
    assert is_proven(conversion)
    texts = {
        "pet": np.array([["dog", "cat"], ["egg", "dog"]], object),
        "food": np.array([["cat", "egg"], ["fig", "dog"]], object),
    }
    found = open_session(workspace.converted).run(texts)
    np.testing.assert_array_equal(found["pets"], [[2, 1], [0, 2]])
    np.testing.assert_array_equal(found["rows"], [[4, 2, 6, 2], [0, 4, 4, 0]])


def test_what_has_no_converter_can_be_left_outside(tmp_path: Path) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, "x")])  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def serve(x: Any) -> Any:
        return {"y": tf.math.digamma(tf.nn.softplus(x, name="rates"))}

    tf.saved_model.save(tf.Module(), str(tmp_path / "saved"), signatures=serve)
    conversion, _ = convert(tmp_path / "saved", "savedmodel", tmp_path, outputs=("rates",))
    assert output_names(conversion) == ["rates"]
    assert is_proven(conversion)
