"""SavedModels of other exporters: other tags than `serve`, and notes in the graph that contradict it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from keras_models import convert
from savedmodels import edit

from optimizer.errors import UnsupportedModelError


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small classifier, saved by TensorFlow 2 and in the way of TensorFlow 1."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("sources")
    module = tf.Module()
    module.weight = tf.Variable(tf.ones((3, 2)))
    inner = tf.function(lambda x: tf.nn.relu(x @ module.weight))
    spec = tf.TensorSpec((None, 3), tf.float32, name="x")
    module.call = tf.function(lambda x: {"y": tf.nn.softmax(inner(x))}, input_signature=[spec])
    tf.saved_model.save(module, str(folder / "tf2"), signatures=module.call)
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(v1.float32, (None, 3), "x")
        y = v1.nn.softmax(x @ v1.get_variable("w", (3, 2), use_resource=True))
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(folder / "tf1"), {"x": x}, {"y": y})
    return {name: folder / name for name in ("tf1", "tf2")}


@pytest.fixture(params=["tf1", "tf2"])
def upload(request: pytest.FixtureRequest, sources: dict[str, Path], tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(sources[request.param], tmp_path / "saved"))


def every_node(meta_graph: Any) -> Iterator[Any]:
    yield from meta_graph.graph_def.node
    for function in meta_graph.graph_def.library.function:
        yield from function.node_def


def wrong_shapes(meta_graph: Any) -> None:
    for node in every_node(meta_graph):
        node.attr["_output_shapes"].list.ClearField("shape")
        node.attr["_output_shapes"].list.shape.add().dim.add().size = 9


def input_shapes(meta_graph: Any) -> None:
    for node in every_node(meta_graph):
        node.attr["_input_shapes"].list.shape.add().dim.add().size = 7
    for function in meta_graph.graph_def.library.function:
        function.attr["_input_shapes"].list.ClearField("shape")
        function.attr["_input_shapes"].list.shape.add().dim.add().size = 7


def lost_neighbours(meta_graph: Any) -> None:
    for node in every_node(meta_graph):
        node.attr["_class"].list.s.append(b"loc:@removed/node")


def devices(meta_graph: Any) -> None:
    for node in every_node(meta_graph):
        node.device = "/job:worker/task:3/device:GPU:0"


@pytest.mark.parametrize("note", [wrong_shapes, input_shapes, lost_neighbours, devices])
def test_what_an_exporter_noted_in_the_graph_does_not_matter(
    note: Callable[[Any], None], upload: Path, tmp_path: Path
) -> None:
    conversion, _ = convert(edit(upload, note), "savedmodel", tmp_path)
    assert [spec.shape for spec in (*conversion.inputs, *conversion.outputs)] == [("batch", 3), ("batch", 2)]
    assert conversion.parity is not None
    assert conversion.notes == ()


def tag(*tags: str) -> Callable[[Any], None]:
    def change(meta_graph: Any) -> None:
        meta_graph.meta_info_def.tags[:] = tags

    return change


def add_graph(upload: Path, change: Callable[[Any], None]) -> Path:
    """Add a changed copy of the first graph."""
    from tensorflow.core.protobuf import saved_model_pb2

    path = upload / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    added = saved_model.meta_graphs.add()
    added.CopyFrom(saved_model.meta_graphs[0])
    change(added)
    path.write_bytes(saved_model.SerializeToString())
    return upload


@pytest.mark.parametrize("tags", [("serve", "gpu"), ("train",), ()])
def test_a_graph_with_other_tags_is_converted_with_a_note(
    tags: tuple[str, ...], upload: Path, tmp_path: Path
) -> None:
    conversion, _ = convert(edit(upload, tag(*tags)), "savedmodel", tmp_path)
    assert conversion.parity is not None
    assert (",".join(sorted(tags)) or "nothing") in conversion.notes[0]


def test_the_graph_tagged_serve_is_taken_among_several(upload: Path, tmp_path: Path) -> None:
    conversion, _ = convert(add_graph(upload, tag("serve", "gpu")), "savedmodel", tmp_path)
    assert conversion.parity is not None
    assert conversion.notes == ()


def test_of_several_graphs_the_one_with_signatures_is_taken(upload: Path, tmp_path: Path) -> None:
    def without_signatures(meta_graph: Any) -> None:
        meta_graph.signature_def.clear()
        meta_graph.meta_info_def.tags[:] = ["train"]

    edit(upload, tag("serve", "tpu"))
    conversion, _ = convert(add_graph(upload, without_signatures), "savedmodel", tmp_path)
    assert conversion.parity is not None
    assert "serve,tpu" in conversion.notes[0]


def test_several_graphs_with_signatures_are_listed(upload: Path, tmp_path: Path) -> None:
    edit(upload, tag("serve", "tpu"))
    with pytest.raises(UnsupportedModelError, match=r"serve,tpu \(serving_default\); gpu,serve") as caught:
        convert(add_graph(upload, tag("serve", "gpu")), "savedmodel", tmp_path)
    assert caught.value.hint
