"""Dilated convolutions of free sizes are one operator, whatever the size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from optimizer.convert.tensorflow_graph.dilations import with_dilations
from optimizer.convert.tf2onnx_tool import convert_savedmodel
from optimizer.runtime import open_session


def layer(kind: str, **options: Any) -> Any:
    import keras

    keras.utils.set_random_seed(0)
    made = getattr(keras.layers, kind)(bias_initializer="normal", **options)
    shape = (None, 4) if kind.endswith("1D") else (None, None, 4)
    value = keras.Input(shape, name="x")
    return keras.Model(value, made(value))


def converted(model: Any, folder: Path) -> onnx.ModelProto:
    model.export(str(folder / "saved"), verbose=False)
    proto = convert_savedmodel(folder / "saved", "serve", folder / "model.onnx")
    (folder / "model.onnx").write_bytes(proto.SerializeToString())
    return proto


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("Conv1D", {"filters": 5, "kernel_size": 3, "dilation_rate": 2}),
        ("Conv1D", {"filters": 5, "kernel_size": 4, "dilation_rate": 5, "use_bias": False}),
        ("Conv1D", {"filters": 4, "kernel_size": 2, "dilation_rate": 16}),
        ("Conv2D", {"filters": 5, "kernel_size": 3, "dilation_rate": 2}),
        ("Conv2D", {"filters": 5, "kernel_size": (2, 5), "dilation_rate": (3, 2)}),
        ("Conv2D", {"filters": 5, "kernel_size": (1, 3), "dilation_rate": (1, 4)}),
        ("DepthwiseConv2D", {"kernel_size": 3, "dilation_rate": 2}),
        ("DepthwiseConv2D", {"kernel_size": (4, 3), "dilation_rate": 3, "depth_multiplier": 2}),
        ("SeparableConv1D", {"filters": 5, "kernel_size": 3, "dilation_rate": 3}),
    ],
)
def test_it_is_one_convolution_for_every_size(
    kind: str, options: dict[str, Any], padding: str, tmp_path: Path
) -> None:
    model = layer(kind, padding=padding, **options)
    proto = converted(model, tmp_path)
    operators = [node.op_type for node in proto.graph.node]
    assert operators.count("Conv") <= 2
    assert not {"Shape", "Mod", "Loop", "Gather", "SpaceToDepth", "DepthToSpace"} & set(operators)
    session = open_session(tmp_path / "model.onnx")
    rng = np.random.default_rng(0)
    for height, width in [(17, 33), (18, 32), (19, 41), (34, 35), (40, 48)]:
        shape = (2, width, 4) if kind.endswith("1D") else (2, height, width, 4)
        value = rng.normal(size=shape).astype(np.float32)
        (found,) = session.run({"x": value}).values()
        np.testing.assert_allclose(found, model(value).numpy(), atol=1e-5)


def test_a_causal_one_is_padded_in_front(tmp_path: Path) -> None:
    model = layer("Conv1D", filters=5, kernel_size=3, dilation_rate=4, padding="causal")
    proto = converted(model, tmp_path)
    assert "Mod" not in {node.op_type for node in proto.graph.node}
    session = open_session(tmp_path / "model.onnx")
    for width in (9, 12, 15):
        value = np.random.default_rng(0).normal(size=(2, width, 4)).astype(np.float32)
        (found,) = session.run({"x": value}).values()
        np.testing.assert_allclose(found, model(value).numpy(), atol=1e-5)


def graph_of(change: str) -> Any:
    """A dilated convolution by hand, with one thing that is not as TensorFlow writes it."""
    import tensorflow as tf

    weights = np.random.default_rng(0).normal(size=(3, 3, 4, 4)).astype(np.float32)
    blocks = [2, 2]
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (None, None, None, 4), name="x")
        size = tf.shape(tf.nn.relu(x) if change == "another size" else x)[1:3]
        pads, crops = tf.required_space_to_batch_paddings(size, blocks, [[2, 2], [2, 2]])
        more = 2 * (size[0] // 16)
        pads += {"more behind": [[0, 2], [0, 2]], "growing": [[0, more], [0, more]]}.get(change, 0)
        crops += {"more is cut": [[0, 6], [0, 6]], "cut in front": [[1, 0], [1, 0]]}.get(change, 0)
        value = tf.space_to_batch(x, blocks, pads)
        if change == "bias ahead":
            value = tf.nn.bias_add(value, [1.0, 2.0, 3.0, 4.0])
        padding = "SAME" if change == "borders" else "VALID"
        value = tf.nn.conv2d(value, weights, 2 if change == "strides" else 1, padding)
        if change == "bias":
            value = tf.nn.bias_add(value, [1.0, 2.0, 3.0, 4.0])
        if change == "relu":
            value = tf.nn.relu(value)
        if change == "convolved twice":
            value = tf.nn.conv2d(value, weights[:1, :1], 1, "VALID")
        if change == "read twice":
            tf.identity(value, name="inner")
        tf.identity(tf.batch_to_space(value, [1, 4] if change == "other blocks" else blocks, crops), name="y")
    return graph.as_graph_def()


def run(graph_def: Any, value: Any) -> Any:
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        tf.import_graph_def(graph_def, name="")
    with tf.compat.v1.Session(graph=graph) as session:
        return session.run("y:0", {"x:0": value})


@pytest.mark.parametrize("change", ["none", "bias", "more behind", "cut in front"])
def test_it_is_told_by_what_is_computed(change: str) -> None:
    graph_def = graph_of(change)
    given = type(graph_def).FromString(graph_def.SerializeToString())
    with_dilations(graph_def, ["x:0", "y:0"])
    assert not {"SpaceToBatchND", "BatchToSpaceND"} & {node.op for node in graph_def.node}
    for size in ((17, 18), (21, 24), (40, 39)):
        value = np.random.default_rng(0).normal(size=(2, *size, 4)).astype(np.float32)
        np.testing.assert_allclose(run(graph_def, value), run(given, value), atol=1e-5)
    once = graph_def.SerializeToString(deterministic=True)
    with_dilations(graph_def, ["x:0", "y:0"])
    assert graph_def.SerializeToString(deterministic=True) == once


@pytest.mark.parametrize(
    "change",
    [
        *("another size", "growing", "more is cut", "borders", "strides", "relu", "read twice"),
        *("convolved twice", "other blocks", "bias ahead"),
    ],
)
def test_what_is_none_is_left(change: str) -> None:
    graph_def = graph_of(change)
    given = graph_def.SerializeToString(deterministic=True)
    with_dilations(graph_def, ["x:0", "y:0", *(["inner:0"] if change == "read twice" else [])])
    assert graph_def.SerializeToString(deterministic=True) == given
