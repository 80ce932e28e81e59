"""Large weights never pass through TensorFlow's freezing or tf2onnx: they come into the finished file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from keras_models import convert, save_keras
from onnx import numpy_helper, parser

from optimizer.convert.convert import convert_model
from optimizer.convert.tensorflow_graph.freeze import LARGE_BYTES
from optimizer.convert.weights import attach_weights
from optimizer.goal import Goal


def initializers(path: Path) -> dict[str, Any]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(str(path)).graph.initializer}


def test_a_large_kernel_keeps_its_variables_name_and_lies_as_onnx_wants_it(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential(
        [
            keras.Input((6, 6, 32)),
            keras.layers.Conv2D(64, 3, name="wide"),
            keras.layers.Flatten(),
            keras.layers.Dense(32, name="head"),
        ]
    )
    kernel = model.get_layer("wide").kernel.numpy()  # [3, 3, 32, 64]
    assert kernel.nbytes > LARGE_BYTES
    conversion, workspace = convert(save_keras(model, tmp_path), "keras", tmp_path)
    assert conversion.parity is not None
    found = initializers(workspace.converted)
    (name,) = (name for name in found if name.endswith("wide/kernel"))
    np.testing.assert_array_equal(found[name], kernel.transpose(3, 2, 0, 1))
    (head,) = (name for name in found if name.endswith("head/kernel"))
    np.testing.assert_array_equal(found[head], model.get_layer("head").kernel.numpy())


def test_a_table_that_is_read_twice_is_stored_once(tmp_path: Path) -> None:
    import keras

    ids = keras.Input((5,), dtype="int32")
    table = keras.layers.ReversibleEmbedding(600, 64, name="table")
    model = keras.Model(ids, table(table(ids), reverse=True))
    _, workspace = convert(save_keras(model, tmp_path), "keras", tmp_path)
    size = 600 * 64 * 4
    assert workspace.converted.stat().st_size < 1.2 * size


def test_a_node_that_would_make_the_weight_larger_stays() -> None:
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 4] x, int8[4, 2] w) => (float[1, 2] y) {
            wide = Cast <to = 1> (w)
            y = MatMul (x, wide)
        }""")
    weight = np.arange(8, dtype=np.int8).reshape(4, 2)
    attach_weights(model, {"w": lambda: weight}, Path("model.onnx"))
    assert [node.op_type for node in model.graph.node] == ["Cast", "MatMul"]
    assert [value.name for value in model.graph.input] == ["x"]
    np.testing.assert_array_equal(numpy_helper.to_array(model.graph.initializer[0]), weight)


def test_nodes_between_a_weight_and_its_only_use_are_computed_once() -> None:
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[1, 2] x, float[4, 2] w) => (float[1, 4] y)
        <float scale = {2.0}> {
            turned = Transpose <perm = [1, 0]> (w)
            scaled = Mul (turned, scale)
            y = MatMul (x, scaled)
        }""")
    weight = np.arange(8, dtype=np.float32).reshape(4, 2)
    attach_weights(model, {"w": lambda: weight}, Path("model.onnx"))
    assert [node.op_type for node in model.graph.node] == ["MatMul"]
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    np.testing.assert_array_equal(stored["w"], weight.T * 2.0)


def test_a_weight_that_nothing_reads_leaves_the_model() -> None:
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[2] x, float[2] w) => (float[2] y) { y = Relu (x) }""")
    attach_weights(model, {"w": lambda: np.ones(2, np.float32)}, Path("model.onnx"))
    assert [value.name for value in model.graph.input] == ["x"]
    assert not model.graph.initializer


def test_weights_go_into_a_file_of_their_own_where_one_file_cannot_take_them(tmp_path: Path) -> None:
    import keras

    layers = [keras.Input((300,)), keras.layers.Dense(320, name="a"), keras.layers.Dense(320, name="b")]
    model = keras.Sequential(layers)
    upload = save_keras(model, tmp_path)
    conversion, workspace = convert(upload, "keras", tmp_path, largest_bytes=1 << 19)
    assert conversion.parity is not None
    assert sorted(path.name for path in workspace.folder.glob("*.onnx*")) == [
        "converted.onnx",
        "converted.onnx.data",
    ]
    assert workspace.converted.stat().st_size < 10_000
    found = initializers(workspace.converted)
    for name in ("a", "b"):
        (key,) = (key for key in found if key.endswith(f"{name}/kernel"))
        np.testing.assert_array_equal(found[key], model.get_layer(name).kernel.numpy())
    convert_model(upload, "keras", workspace, Goal(), None)  # again, into one file
    assert [path.name for path in workspace.folder.glob("*.onnx*")] == ["converted.onnx"]
