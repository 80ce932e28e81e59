from __future__ import annotations

import base64
import json
import marshal
import warnings
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from optimizer.convert.scan import scan
from optimizer.errors import InvalidModelError, OptimizerError, UnsafeModelError, UnsupportedModelError


def layer(class_name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": {"name": "first", **config}}


def keras3_layer(class_name: str, module: str | None = "keras.layers", **config: Any) -> dict[str, Any]:
    return {**layer(class_name, **config), "module": module, "registered_name": None}


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "model", "layers": list(layers)}}


def write_h5(path: Path, config: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
    return path


def write_keras(path: Path, config: Any) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        archive.writestr("config.json", json.dumps(config))
    return path


def lambda_that_writes(marker: Path) -> dict[str, Any]:
    """A Lambda layer as Keras 2 stores it: the marshalled code of a function that writes a file."""
    code = compile(f"open({str(marker)!r}, 'w').close()", "hostile", "exec")
    packed = base64.b64encode(marshal.dumps(code)).decode()
    return layer("Lambda", function=[packed, None, None], function_type="lambda")


def test_a_keras2_lambda_is_refused_and_its_code_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = write_h5(tmp_path / "model.h5", sequential(lambda_that_writes(marker)))
    with pytest.raises(UnsafeModelError, match=r"model\.h5: layer first \(Lambda\)"):
        scan(path, "keras2_h5")
    assert not marker.exists()


def test_a_lambda_inside_a_wrapper_inside_a_submodel_is_refused(tmp_path: Path) -> None:
    inner = sequential(layer("TimeDistributed", layer=lambda_that_writes(tmp_path / "marker")))
    with pytest.raises(UnsafeModelError, match="Lambda"):
        scan(write_h5(tmp_path / "model.h5", sequential(inner)), "keras2_h5")


@pytest.mark.parametrize(
    ("hostile", "kind", "says"),
    [
        (keras3_layer("Lambda", function={"class_name": "__lambda__"}), UnsafeModelError, "first .*Lambda"),
        (
            keras3_layer("Dense", activation={"class_name": "__lambda__", "config": {}}),
            UnsafeModelError,
            "lambda",
        ),
        (keras3_layer("TFSMLayer", filepath="x"), UnsafeModelError, "loads another SavedModel"),
        (keras3_layer("StringLookup", vocabulary="/etc/passwd"), UnsafeModelError, "path of a file"),
        (keras3_layer("TextVectorization", vocabulary="words.txt"), UnsafeModelError, "path of a file"),
        (keras3_layer("Own", module=None), UnsupportedModelError, "layer first uses Own, .* not Keras's own"),
        (keras3_layer("Own", module="my_package.layers"), UnsupportedModelError, r"my_package\.layers\.Own"),
        (keras3_layer("Custom>Own"), UnsupportedModelError, "Custom>Own"),
        (keras3_layer("Popen", module="subprocess"), UnsupportedModelError, r"subprocess\.Popen"),
        (keras3_layer("Sequence", module="keras.utils"), UnsupportedModelError, r"keras\.utils"),
        (
            keras3_layer("Dense", activation={"class_name": "function", "module": "os", "config": "system"}),
            UnsupportedModelError,
            r"os\.system",
        ),
        (
            keras3_layer(
                "Dense", activation={"class_name": "function", "module": "builtins", "config": "eval"}
            ),
            UnsupportedModelError,
            r"builtins\.eval",
        ),
        (
            keras3_layer(
                "Dense", activation={"class_name": "function", "module": "keras.utils", "config": "get_file"}
            ),
            UnsupportedModelError,
            r"keras\.utils\.get_file",
        ),
    ],
)
def test_a_keras_archive_with_a_hostile_or_foreign_layer_is_refused(
    tmp_path: Path, hostile: dict[str, Any], kind: type[OptimizerError], says: str
) -> None:
    config = {**sequential(hostile), "module": "keras", "registered_name": None}
    with pytest.raises(kind, match=says) as caught:
        scan(write_keras(tmp_path / "model.keras", config), "keras")
    assert "model.keras" in caught.value.message


@pytest.mark.parametrize(
    ("hostile", "kind", "says"),
    [
        (layer("MyOwnLayer"), UnsupportedModelError, "MyOwnLayer"),
        (layer("TFOpLambda", function="io.write_file"), UnsafeModelError, r"calls io\.write_file"),
        (layer("TFOpLambda", function="py_function"), UnsafeModelError, "calls py_function"),
        (layer("TFOpLambda", function="raw_ops.ReadFile"), UnsafeModelError, r"raw_ops\.ReadFile"),
        (layer("TFOpLambda", function="compat.v1.py_func"), UnsafeModelError, "py_func"),
        (layer("ClassMethod", cls_symbol="io.TFRecordWriter"), UnsafeModelError, "TFRecordWriter"),
        (layer("TensorFlowOpLayer", node_def={"op": "WriteFile"}), UnsafeModelError, "operator WriteFile"),
        (
            layer("RNN", cell=layer("ResidualWrapper", residual_fn="4w", residual_fn_type="lambda")),
            UnsafeModelError,
            "residual_fn",
        ),
    ],
)
def test_a_keras2_file_with_a_hostile_or_foreign_layer_is_refused(
    tmp_path: Path, hostile: dict[str, Any], kind: type[OptimizerError], says: str
) -> None:
    with pytest.raises(kind, match=says):
        scan(write_h5(tmp_path / "model.h5", sequential(hostile)), "keras2_h5")


def test_an_hdf5_file_with_a_link_into_another_file_is_refused(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "model.h5", sequential(layer("Dense", units=1)))
    with h5py.File(path, "a") as file:
        file.create_group("weights")["kernel"] = h5py.ExternalLink("other.h5", "/secret")
    with pytest.raises(UnsafeModelError, match=r"/weights/kernel in model\.h5 is a link into another file"):
        scan(path, "keras_h5")


def test_an_hdf5_file_with_values_in_another_file_is_refused(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "model.h5", sequential(layer("Dense", units=1)))
    with h5py.File(path, "a") as file:
        file.create_dataset("kernel", (4,), "u1", external=[(str(tmp_path / "secret"), 0, 4)])
    with pytest.raises(UnsafeModelError, match="keeps its values in another file"):
        scan(path, "keras_h5")


def test_an_hdf5_file_with_a_virtual_dataset_is_refused(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "model.h5", sequential(layer("Dense", units=1)))
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "secret", (4,))
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset("kernel", layout)
    with pytest.raises(UnsafeModelError, match="keeps its values in another file"):
        scan(path, "keras_h5")


def test_weights_inside_a_keras_archive_are_scanned_too(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "model.keras", sequential(layer("Dense", units=1)))
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["kernel"] = h5py.ExternalLink("other.h5", "/secret")
    with zipfile.ZipFile(path, "a") as archive:
        archive.write(tmp_path / "weights.h5", "model.weights.h5")
    with pytest.raises(UnsafeModelError, match=r"kernel in model\.weights\.h5 in model\.keras"):
        scan(path, "keras")


def test_a_member_outside_the_archive_is_refused(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "model.keras", sequential(layer("Dense", units=1)))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../assets/x", b"")
    with pytest.raises(UnsafeModelError, match=r"\.\./assets/x"):
        scan(path, "keras")


def test_a_config_that_nests_without_end_is_refused(tmp_path: Path) -> None:
    config: Any = layer("Dense")
    for _ in range(300):
        config = layer("TimeDistributed", layer=config)
    with pytest.raises(InvalidModelError, match="deep"):
        scan(write_h5(tmp_path / "model.h5", config), "keras2_h5")


def test_honest_keras3_files_pass(tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, activation="gelu", kernel_regularizer=keras.regularizers.L2(0.01))(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = keras.ops.relu(x) + keras.ops.mean(x, axis=[1, 2], keepdims=True)
    x = keras.layers.TimeDistributed(keras.layers.Bidirectional(keras.layers.LSTM(2)))(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    model.compile("adam", lambda a, b: keras.ops.mean(a - b))  # a loss of one's own: never loaded
    words = keras.Sequential(
        [keras.Input((1,), dtype="string"), keras.layers.StringLookup(vocabulary=["a", "b"])]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns of lambdas and of HDF5
        model.save(tmp_path / "model.keras")
        words.save(tmp_path / "words.keras")
        layers = [keras.Input((8,)), keras.layers.Embedding(9, 4), keras.layers.GRU(2), keras.layers.Dense(1)]
        keras.Sequential(layers).save(tmp_path / "model.h5")
    scan(tmp_path / "model.keras", "keras")
    scan(tmp_path / "words.keras", "keras")
    scan(tmp_path / "model.h5", "keras_h5")


def test_honest_keras2_files_pass(tmp_path: Path) -> None:
    import tensorflow as tf
    import tf_keras

    inputs = tf_keras.Input((8, 4))
    x = tf_keras.layers.Bidirectional(tf_keras.layers.LSTM(3, return_sequences=True))(inputs)
    x = tf.nn.relu(tf.reduce_mean(x, axis=1)) * 2.0
    x = tf.concat([x, tf.math.sigmoid(x)[:, 1:]], axis=1)
    x = tf_keras.layers.Dense(3, activation=tf.nn.softmax, kernel_constraint="max_norm")(x)
    model = tf_keras.Model(inputs, x)
    assert model.predict(np.zeros((1, 8, 4), np.float32), verbose=0).shape == (1, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(tmp_path / "model.h5")
        model.save(tmp_path / "model.keras")
    scan(tmp_path / "model.h5", "keras2_h5")
    scan(tmp_path / "model.keras", "keras2")
