from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from savedmodels import edit, function_with, refusal, save

from optimizer.convert.scan import scan
from optimizer.errors import InvalidModelError, UnsupportedModelError


def test_reading_a_file_in_a_function_is_refused_with_operator_node_and_function(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", lambda x: (tf.shape(tf.io.read_file("/etc/passwd")), x))
    message = refusal(folder)
    assert "Operator ReadFile, node ReadFile, in function __inference_" in message
    assert "reads files" in message


def test_a_function_of_a_function_is_walked(tmp_path: Path) -> None:
    inner = tf.function(lambda x: tf.strings.length(tf.io.read_file("/etc/passwd")) + tf.size(x))
    outer = tf.function(lambda x: inner(x) + 1)
    assert "ReadFile" in refusal(save(tmp_path / "model", outer, outer=outer, inner=inner))


def test_a_branch_of_a_condition_is_walked(tmp_path: Path) -> None:
    def call(x: Any) -> Any:
        return tf.cond(tf.size(x) > 9, lambda: tf.strings.length(tf.io.read_file("x")), lambda: 0)

    assert "ReadFile" in refusal(save(tmp_path / "model", call))


def test_writing_a_file_in_an_initializer_is_refused_and_does_not_happen(tmp_path: Path) -> None:
    marker = tmp_path / "marker"

    class Resource(tf.saved_model.experimental.TrackableResource):  # type: ignore[misc]  # no types of its own
        def _create_resource(self) -> Any:
            return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[])

        def _initialize(self) -> Any:
            tf.io.write_file(str(marker), "x")
            return 1

    folder = save(tmp_path / "model", lambda x: x, resource=Resource())
    marker.unlink(missing_ok=True)
    assert "WriteFile" in refusal(folder)
    assert not marker.exists()


def test_python_code_in_a_graph_is_refused(tmp_path: Path) -> None:
    folder = save(tmp_path / "model", lambda x: tf.numpy_function(lambda a: a, [x], tf.float32))
    assert "runs Python code" in refusal(folder)


@pytest.mark.parametrize(
    ("operator", "says"),
    [
        ("PrintV2", "writes files"),
        ("TensorDataset", "graphs of its own"),
        ("Recv", "other processes"),
        ("ImmutableConst", "reads files"),
        ("RestoreV2", "reads files"),
        ("MergeV2Checkpoints", "writes files"),
    ],
)
def test_an_operator_that_reaches_outside_is_refused_wherever_it_is_put(
    plain: Path, operator: str, says: str
) -> None:
    def put(meta_graph: Any) -> None:
        function_with(meta_graph, "Sum").node_def.add(name="hostile", op=operator)

    message = refusal(edit(plain, put))
    assert f"Operator {operator}, node hostile" in message
    assert says in message


def test_an_operator_that_tensorflow_has_not_is_unsupported(plain: Path) -> None:
    edit(plain, lambda meta_graph: meta_graph.graph_def.node.add(name="own", op="MyCustomOp"))
    assert "MyCustomOp, node own, in the main graph" in refusal(plain, UnsupportedModelError)


def test_a_function_named_like_an_operator_is_refused(plain: Path) -> None:
    def put(meta_graph: Any) -> None:
        meta_graph.graph_def.library.function.add().signature.name = "ReadFile"
        meta_graph.graph_def.node.add(name="call", op="ReadFile")

    assert "ReadFile" in refusal(edit(plain, put))


def test_a_call_of_a_function_that_is_not_there_is_invalid(plain: Path) -> None:
    def put(meta_graph: Any) -> None:
        meta_graph.graph_def.node.add(name="c", op="PartitionedCall").attr["f"].func.name = "nowhere"

    assert "nowhere" in refusal(edit(plain, put), InvalidModelError)


def test_a_constant_that_claims_more_than_two_gibibytes_is_refused_cheaply(plain: Path) -> None:
    def put(meta_graph: Any) -> None:
        node = function_with(meta_graph, "Sum").node_def.add(name="bomb", op="Const")
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(1.0))
        node.attr["value"].tensor.tensor_shape.dim.add(size=4_000_000_000)

    message = refusal(edit(plain, put))
    assert "node bomb" in message
    assert "14.9 GiB" in message


def test_a_serialized_object_in_a_constant_is_refused(plain: Path) -> None:
    def put(meta_graph: Any) -> None:
        node = meta_graph.graph_def.node.add(name="packed", op="Const")
        node.attr["value"].tensor.dtype = tf.variant.as_datatype_enum
        node.attr["value"].tensor.variant_val.add().type_name = "tensorflow::WrappedDatasetVariant"

    assert "node packed" in refusal(edit(plain, put))


def test_a_damaged_savedmodel_is_invalid(plain: Path) -> None:
    (plain / "saved_model.pb").write_bytes(b"\xff" * 40)
    assert "cannot be parsed" in refusal(plain, InvalidModelError)


def test_honest_keras_exports_pass(tmp_path: Path) -> None:
    import keras

    model = keras.Sequential(
        [keras.Input((8, 3)), keras.layers.GRU(4, return_sequences=True), keras.layers.LSTM(3)]
    )
    model.export(tmp_path / "recurrent", verbose=False)
    words = keras.Sequential(
        [keras.Input((1,), dtype="string"), keras.layers.TextVectorization(vocabulary=["a"])]
    )
    words.export(tmp_path / "words", verbose=False)
    scan(tmp_path / "recurrent", "savedmodel")
    scan(tmp_path / "words", "savedmodel")


def test_an_honest_keras2_savedmodel_passes(tmp_path: Path) -> None:
    import tf_keras

    layers = [
        tf_keras.layers.Input((8, 8, 3)),
        tf_keras.layers.Conv2D(2, 3),
        tf_keras.layers.BatchNormalization(),
    ]
    tf_keras.Sequential(layers).save(tmp_path / "model", save_format="tf")
    scan(tmp_path / "model", "savedmodel")


@pytest.mark.parametrize("resource", [True, False])
def test_an_honest_tensorflow_1_savedmodel_passes(tmp_path: Path, resource: bool) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, (None, 3), "x")
        weight = v1.get_variable("w", (3, 2), use_resource=resource)
        y = tf.nn.softmax(tf.matmul(x, weight))
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            v1.saved_model.simple_save(session, str(tmp_path / "model"), {"x": x}, {"y": y})
    scan(tmp_path / "model", "savedmodel")
