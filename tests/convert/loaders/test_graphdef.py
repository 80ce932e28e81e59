from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras_models import convert

from optimizer.convert.scan import scan
from optimizer.errors import (
    InvalidModelError,
    InvalidOptionsError,
    ResourceLimitError,
    UnsafeModelError,
    UnsupportedModelError,
)
from optimizer.runtime import open_session


def graph(folder: Path, build: Callable[[Any], None]) -> Path:
    """Write the graph that `build` makes with TensorFlow 1's functions."""
    import tensorflow as tf

    with tf.Graph().as_default() as made:
        build(tf.compat.v1)
    path = folder / "frozen.pb"
    path.write_bytes(made.as_graph_def().SerializeToString())
    return path


def scores(v1: Any) -> None:
    x = v1.placeholder(v1.float32, (None, 2), name="in/x")
    hidden = v1.nn.relu(v1.matmul(x, v1.constant([[1.0, -2.0], [3.0, 0.5]])))
    with v1.control_dependencies([v1.debugging.assert_non_negative(hidden)]):
        v1.nn.softmax(hidden, name="out/scores")
    v1.constant(3.0, name="left_over")
    v1.no_op(name="init")


def test_placeholders_go_in_and_what_nobody_consumes_comes_out(tmp_path: Path) -> None:
    conversion, workspace = convert(graph(tmp_path, scores), "graphdef", tmp_path)
    assert [spec.name for spec in conversion.inputs] == ["in/x"]
    assert [spec.name for spec in conversion.outputs] == ["out/scores"]
    assert "out/scores" in conversion.notes[0]
    assert conversion.parity is not None
    assert conversion.parity.batch_sizes == (1, 3)
    found = open_session(workspace.converted).run({"in/x": np.zeros((2, 2), np.float32)})
    np.testing.assert_allclose(found["out/scores"], np.full((2, 2), 0.5), atol=1e-7)


def test_two_results_are_told_apart(tmp_path: Path) -> None:
    def build(v1: Any) -> None:
        x = v1.placeholder(v1.float32, (None, 2), name="x")
        v1.add(x, 1.0, name="z_more")
        v1.subtract(x, 1.0, name="a_less")

    _, workspace = convert(graph(tmp_path, build), "graphdef", tmp_path)
    found = open_session(workspace.converted).run({"x": np.zeros((1, 2), np.float32)})
    assert found["z_more"][0, 0] == 1.0
    assert found["a_less"][0, 0] == -1.0


def test_a_graph_with_variables_is_not_frozen_and_says_which(tmp_path: Path) -> None:
    def build(v1: Any) -> None:
        x = v1.placeholder(v1.float32, (None, 2), name="x")
        v1.matmul(x, v1.Variable(np.eye(2, dtype=np.float32), name="their_weight", use_resource=True))

    with pytest.raises(UnsupportedModelError, match="their_weight"):
        convert(graph(tmp_path, build), "graphdef", tmp_path)


def test_a_traced_graph_whose_variables_come_from_outside_is_not_frozen(tmp_path: Path) -> None:
    import tensorflow as tf

    weight = tf.Variable(tf.ones((4, 3)))
    traced = tf.function(lambda x: tf.nn.softmax(x @ weight))
    graph = traced.get_concrete_function(tf.TensorSpec((None, 4), tf.float32, name="x")).graph
    (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(UnsupportedModelError, match="not frozen: node matmul/ReadVariableOp"):
        convert(tmp_path / "graph.pb", "graphdef", tmp_path)


def test_a_graph_without_inputs_is_refused_with_its_last_nodes(tmp_path: Path) -> None:
    upload = graph(tmp_path, lambda v1: v1.constant(3.0, name="only"))
    with pytest.raises(UnsupportedModelError, match=r"no Placeholder.*only"):
        convert(upload, "graphdef", tmp_path)


def test_a_file_of_another_kind_is_invalid(tmp_path: Path) -> None:
    path = tmp_path / "frozen.pb"
    path.write_bytes(b"\xff" * 40)
    with pytest.raises(InvalidModelError, match=r"frozen\.pb"):
        convert(path, "graphdef", tmp_path)


def as_text(binary: Path, text: str = "") -> Path:
    """The same graph in text form, or other text."""
    from google.protobuf import text_format
    from tensorflow.core.framework import graph_pb2

    path = binary.with_suffix(".pbtxt")
    path.write_text(text or text_format.MessageToString(graph_pb2.GraphDef.FromString(binary.read_bytes())))
    return path


def test_a_graph_in_text_form_is_converted(tmp_path: Path) -> None:
    upload = as_text(graph(tmp_path, scores))
    scan(upload, "graphdef")
    conversion, _ = convert(upload, "graphdef", tmp_path)
    assert [spec.name for spec in conversion.outputs] == ["out/scores"]


def test_a_graph_in_text_form_is_scanned(tmp_path: Path) -> None:
    upload = as_text(tmp_path / "graph.pb", 'node { name: "their_node" op: "WriteFile" }')
    with pytest.raises(UnsafeModelError, match="their_node"):
        scan(upload, "graphdef")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('node { name: "a" op: "Relu" inputs: "b" }', "cannot be parsed as text"),
        ('node { name: "a" attr { key: "v" value { ' + 'func { attr { key: "v" value { ' * 400, "too deeply"),
    ],
)
def test_broken_or_endless_text_is_invalid(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(InvalidModelError, match=says):
        scan(as_text(tmp_path / "graph.pb", text), "graphdef")


def test_long_text_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "graph.pbtxt"
    with path.open("wb") as file:
        file.write(b"node {\n")
        file.truncate(33 << 20)
    with pytest.raises(ResourceLimitError, match="text form of more than 32 MB"):
        scan(path, "graphdef")


def with_settings(v1: Any) -> None:
    import tensorflow as tf

    x = v1.placeholder(v1.float32, (None, 3), name="x")
    keep = v1.placeholder_with_default(1.0, (), name="keep_prob")
    training = v1.placeholder_with_default(False, (), name="is_training")
    v1.cond(training, lambda: tf.nn.dropout(x, 0.5), lambda: x / keep, name="y")


def test_placeholders_with_a_default_take_it_and_are_no_inputs(tmp_path: Path) -> None:
    conversion, workspace = convert(graph(tmp_path, with_settings), "graphdef", tmp_path)
    assert [spec.name for spec in conversion.inputs] == ["x"]
    assert "placeholders that have a default keep it, and are no inputs: keep_prob, is_training" in (
        conversion.notes
    )
    value = np.array([[1.0, -2.0, 0.5]], np.float32)
    (found,) = open_session(workspace.converted).run({"x": value}).values()
    np.testing.assert_allclose(found, value, rtol=1e-7)


def test_a_placeholder_with_a_default_is_the_input_where_there_is_no_other(tmp_path: Path) -> None:
    def build(v1: Any) -> None:
        x = v1.placeholder_with_default(np.zeros((1, 2), np.float32), (None, 2), name="x")
        v1.multiply(x, v1.placeholder_with_default(3.0, (), name="scale"), name="y")

    conversion, workspace = convert(graph(tmp_path, build), "graphdef", tmp_path)
    assert [spec.name for spec in conversion.inputs] == ["x"]
    assert open_session(workspace.converted).run({"x": np.ones((1, 2), np.float32)})["y"].tolist() == [[3, 3]]


def test_the_nodes_asked_for_come_out_and_what_they_do_not_need_stays_out(tmp_path: Path) -> None:
    def build(v1: Any) -> None:
        x, z = v1.placeholder(v1.float32, (None, 2), "x"), v1.placeholder(v1.float32, (None, 2), "z")
        v1.add(v1.multiply(x, 2.0, name="inner/twice"), z, name="y")

    conversion, _ = convert(graph(tmp_path, build), "graphdef", tmp_path, outputs=("inner/twice",))
    assert [spec.name for spec in conversion.outputs] == ["inner/twice"]
    assert [spec.name for spec in conversion.inputs] == ["x"]
    assert conversion.notes == ("placeholders that no output needs were left out: z",)


def test_an_unknown_node_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionsError, match="'out/score'") as caught:
        convert(graph(tmp_path, scores), "graphdef", tmp_path, outputs=("out/score",))
    assert "out/scores" in caught.value.hint


def test_shapes_that_another_exporter_left_do_not_matter(tmp_path: Path) -> None:
    from tensorflow.core.framework import graph_pb2

    upload = graph(tmp_path, scores)
    definition = graph_pb2.GraphDef.FromString(upload.read_bytes())
    for node in definition.node:
        node.attr["_output_shapes"].list.shape.add().dim.add().size = 9
    upload.write_bytes(definition.SerializeToString())
    conversion, _ = convert(upload, "graphdef", tmp_path)
    assert conversion.outputs[0].shape == ("batch", 2)


def test_every_tensor_of_a_last_node_comes_out(tmp_path: Path) -> None:
    def build(v1: Any) -> None:
        v1.math.top_k(v1.placeholder(v1.float32, (None, 5), name="x"), 2, name="best")

    _, workspace = convert(graph(tmp_path, build), "graphdef", tmp_path)
    found = open_session(workspace.converted).run({"x": np.array([[0, 5, 1, 9, 2]], np.float32)})
    assert found["best"].tolist() == [[9, 5]]
    assert found["best_1"].tolist() == [[3, 1]]


@pytest.mark.parametrize("name", ["class", "1x", "self", "x.y-z"])
def test_an_input_keeps_a_name_that_is_no_python_name(tmp_path: Path, name: str) -> None:
    def build(v1: Any) -> None:
        v1.multiply(v1.placeholder(v1.float32, (None, 2), name=name), 2.0, name="y")

    conversion, _ = convert(graph(tmp_path, build), "graphdef", tmp_path)
    assert [spec.name for spec in conversion.inputs] == [name]
    assert conversion.parity is not None
