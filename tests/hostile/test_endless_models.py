"""Files that would keep a converter busy for ever, fill its memory or crash it: the scan refuses them."""

from __future__ import annotations

import shutil
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest
import tensorflow as tf
from savedmodels import edit, function_with, save

from optimizer.convert.detect import detect
from optimizer.convert.scan import scan
from optimizer.convert.scan.expansion import CALL_DEPTH_LIMIT
from optimizer.errors import (
    InvalidModelError,
    OptimizerError,
    ResourceLimitError,
    UnsupportedModelError,
)
from optimizer.isolation import Limits
from optimizer.pipeline import Run, convert_to_onnx
from optimizer.results import Format

FLOAT = tf.float32.as_datatype_enum
NESTED = "[" * 200_000 + "]" * 200_000


@pytest.fixture(autouse=True)
def frugal() -> Iterator[None]:
    """Each file here is small, and so must be what looking at it takes."""
    tracemalloc.start()
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 60
    assert tracemalloc.get_traced_memory()[1] < 200 << 20
    tracemalloc.stop()


@pytest.fixture(scope="module")
def relu_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("relu") / "model", tf.nn.relu)


@pytest.fixture
def relu(relu_source: Path, tmp_path: Path) -> Path:
    """A SavedModel with one function, of one Relu, that a test may change."""
    return Path(shutil.copytree(relu_source, tmp_path / "relu"))


def call(node: Any, function: str) -> None:
    """Make a node of a function's body a call of another."""
    node.op = "PartitionedCall"
    node.ClearField("attr")
    node.attr["f"].func.name = function
    node.attr["Tin"].list.type.append(FLOAT)
    node.attr["Tout"].list.type.append(FLOAT)


def tower(levels: int, calls: int) -> Callable[[Any], None]:
    """Functions f0, f1, ...: each calls the next so many times, one after another."""

    def change(meta_graph: Any) -> None:
        top = function_with(meta_graph, "Relu")
        entry = next(node for node in top.node_def if node.op == "Relu")
        for level in range(levels):
            function = meta_graph.graph_def.library.function.add()
            function.signature.name = f"f{level}"
            function.signature.input_arg.add(name="x", type=FLOAT)
            function.signature.output_arg.add(name="y", type=FLOAT)
            source = "x"
            for number in range(calls):
                node = function.node_def.add(name=f"n{number}", input=[source])
                if level < levels - 1:
                    call(node, f"f{level + 1}")
                    source = f"{node.name}:output:0"
                else:
                    node.op = "Relu"
                    node.attr["T"].type = FLOAT
                    source = f"{node.name}:activations:0"
            function.ret["y"] = source
        redirect(top, entry, "f0")

    return change


def redirect(body: Any, entry: Any, function: str) -> None:
    """Make the body's Relu a call, and let its readers read that."""
    call(entry, function)
    old, new = f"{entry.name}:activations:0", f"{entry.name}:output:0"
    for node in body.node_def:
        node.input[:] = [new if name == old else name for name in node.input]
    for key, value in body.ret.items():
        body.ret[key] = new if value == old else value


def refused(path: Path, format: Format, kind: type[OptimizerError]) -> str:
    with pytest.raises(kind) as caught:
        scan(path, format)
    assert type(caught.value) is kind
    assert caught.value.hint
    return caught.value.message


def test_functions_that_multiply_are_refused(relu: Path) -> None:
    message = refused(edit(relu, tower(40, 2)), "savedmodel", ResourceLimitError)
    assert "500,000 nodes" in message


def test_functions_that_multiply_by_the_branches_of_one_node_are_refused(relu: Path) -> None:
    def change(meta_graph: Any) -> None:
        tower(8, 1)(meta_graph)
        for function in meta_graph.graph_def.library.function:
            for node in function.node_def:
                if node.attr["f"].func.name.startswith("f"):
                    branches = node.attr["branches"].list.func
                    for _ in range(10):
                        branches.add().name = node.attr["f"].func.name
                    node.op = "Case"
                    del node.attr["f"]

    assert "nodes" in refused(edit(relu, change), "savedmodel", ResourceLimitError)


def test_a_chain_of_functions_that_is_too_deep_is_refused(relu: Path) -> None:
    message = refused(edit(relu, tower(900, 1)), "savedmodel", ResourceLimitError)
    assert f"a depth of {CALL_DEPTH_LIMIT}" in message


def test_a_function_that_calls_itself_is_refused_by_name(relu: Path) -> None:
    def change(meta_graph: Any) -> None:
        tower(3, 1)(meta_graph)
        last = next(f for f in meta_graph.graph_def.library.function if f.signature.name == "f2")
        redirect(last, last.node_def[0], "f1")

    message = refused(edit(relu, change), "savedmodel", UnsupportedModelError)
    assert "Function f1, f2 of the model calls itself" in message


def test_a_ring_of_nodes_in_a_function_is_refused_by_name(relu: Path) -> None:
    def change(meta_graph: Any) -> None:
        body = function_with(meta_graph, "Relu")
        node = next(node for node in body.node_def if node.op == "Relu")
        back = body.node_def.add(name="back", op="Relu", input=[f"{node.name}:activations:0"])
        back.attr["T"].type = FLOAT
        node.input[0] = "back:activations:0"

    assert "in a ring: Relu, back" in refused(edit(relu, change), "savedmodel", InvalidModelError)


def test_a_ring_of_nodes_in_a_frozen_graph_is_refused(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        tf.nn.relu(tf.compat.v1.placeholder(tf.float32, (None, 3), "x"), name="y")
    definition = graph.as_graph_def()
    definition.node[-1].input[0] = "z"
    definition.node.add(name="z", op="Relu", input=["y"]).attr["T"].type = FLOAT
    path = tmp_path / "model.pb"
    path.write_bytes(definition.SerializeToString())
    assert "Nodes of the main graph" in refused(path, "graphdef", InvalidModelError)


def test_a_loop_of_tensorflow_1_is_no_ring(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        tf.compat.v1.disable_control_flow_v2()
        try:
            x = tf.compat.v1.placeholder(tf.float32, (), "x")
            tf.while_loop(lambda x: x < 9.0, lambda x: x + 1.0, [x])
        finally:
            tf.compat.v1.enable_control_flow_v2()
    definition = graph.as_graph_def()
    assert any(node.op == "NextIteration" for node in definition.node)
    path = tmp_path / "model.pb"
    path.write_bytes(definition.SerializeToString())
    scan(path, "graphdef")


def test_an_endless_loop_ends_at_the_time_limit_and_leaves_nothing(tmp_path: Path) -> None:
    def endless(x: Any) -> Any:
        return tf.while_loop(lambda i, y: tf.constant(True), lambda i, y: (i + 1, y * 1.0), [0, x])[1]

    folder = save(tmp_path / "model", endless)
    with pytest.raises(ResourceLimitError, match="convert took longer than 20 s"):
        convert_to_onnx(folder, tmp_path / "out" / "model.onnx", run=Run(limits=Limits(time_s=20)))
    assert not (tmp_path / "out").exists()


def test_json_that_nests_without_end_is_invalid_in_each_keras_file(tmp_path: Path) -> None:
    for member in ("metadata.json", "config.json"):
        path = tmp_path / f"{member}.keras"
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("metadata.json", "config.json"):
                archive.writestr(name, NESTED if name == member else '{"keras_version": "3.1"}')
        with pytest.raises(InvalidModelError, match=path.name):
            scan(path, detect(path))
    path = tmp_path / "model.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file.attrs["model_config"] = NESTED
        file.attrs["keras_version"] = "3.1"
    assert "recursion" in refused(path, detect(path), InvalidModelError)


def test_json_that_swells_in_a_keras_archive_is_invalid(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.1"}')
        with archive.open("config.json", "w") as member:
            for _ in range(100):
                member.write(b" " * (1 << 20))
    assert "larger than 64 MiB" in refused(path, "keras", InvalidModelError)
