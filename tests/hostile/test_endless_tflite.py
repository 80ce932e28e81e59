"""TFLite files that claim more than they hold, or lead back to themselves: the interpreter would crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from optimizer.convert.scan import scan
from optimizer.errors import InvalidModelError, OptimizerError, UnsafeModelError, UnsupportedModelError


def refused(path: Path, kind: type[OptimizerError]) -> str:
    with pytest.raises(kind) as caught:
        scan(path, "tflite")
    assert caught.value.hint
    return caught.value.message


@pytest.fixture(scope="module")
def tflite_source() -> bytes:
    """Two operators in a chain, and a loop of three graphs."""
    module = tf.Module()

    def compute(x: Any) -> Any:
        return tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 2.0), [0, tf.nn.softmax(x * 2.0)])[
            1
        ]

    module.call = tf.function(compute, input_signature=[tf.TensorSpec([2, 3], tf.float32)])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.call.get_concrete_function()], module)
    return bytes(converter.convert())


@pytest.fixture
def model(tflite_source: bytes) -> Any:
    return schema.ModelT.InitFromPackedBuf(tflite_source, 0)


def written(model: Any, folder: Path) -> Path:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path = folder / "model.tflite"
    path.write_bytes(builder.Output())
    return path


def test_a_tflite_loop_passes(model: Any, tmp_path: Path) -> None:
    scan(written(model, tmp_path), "tflite")


def loop_of(model: Any) -> Any:
    return next(
        operator
        for operator in model.subgraphs[0].operators
        if model.operatorCodes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.WHILE
    )


def test_a_tflite_graph_that_calls_itself_is_refused(model: Any, tmp_path: Path) -> None:
    loop_of(model).builtinOptions.bodySubgraphIndex = 0
    assert "Graph 0" in refused(written(model, tmp_path), UnsupportedModelError)


def test_a_tflite_loop_over_a_graph_that_is_not_there_is_invalid(model: Any, tmp_path: Path) -> None:
    loop_of(model).builtinOptions.bodySubgraphIndex = 99
    assert "graph 99" in refused(written(model, tmp_path), InvalidModelError)


def test_a_tflite_operator_that_reads_what_comes_later_is_invalid(model: Any, tmp_path: Path) -> None:
    first, *_, last = model.subgraphs[0].operators
    first.inputs = np.array([last.outputs[0], *first.inputs[1:]], np.int32)
    assert "computed after it" in refused(written(model, tmp_path), InvalidModelError)


@pytest.mark.parametrize("index", [-7, 10_000])
def test_a_tflite_tensor_that_is_not_there_is_invalid(model: Any, index: int, tmp_path: Path) -> None:
    model.subgraphs[0].operators[0].inputs = np.array([index], np.int32)
    assert f"tensor {index}" in refused(written(model, tmp_path), InvalidModelError)


@pytest.mark.parametrize("shape", [(1 << 20, 1 << 15), (1 << 30,) * 6])
def test_a_tflite_tensor_of_a_huge_shape_is_refused(
    model: Any, shape: tuple[int, ...], tmp_path: Path
) -> None:
    model.subgraphs[0].tensors[0].shape = np.array(shape, np.int32)
    assert "GiB" in refused(written(model, tmp_path), UnsafeModelError)


def test_a_tflite_table_that_stands_for_millions_is_refused(model: Any, tmp_path: Path) -> None:
    """All tensors at one place: each entry of the list of tensors points to the same table."""
    content = bytearray(written(model, tmp_path).read_bytes())
    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    tensors = graph._tab.Vector(graph._tab.Offset(4))
    content[tensors - 4 : tensors] = (1 << 30).to_bytes(4, "little")
    path = tmp_path / "bomb.tflite"
    path.write_bytes(content)
    assert "more parts than it has room for" in refused(path, InvalidModelError)


def test_a_tflite_table_that_is_its_own_part_is_refused(model: Any, tmp_path: Path) -> None:
    """The offset to the only graph leads back to the model itself."""
    content = bytearray(written(model, tmp_path).read_bytes())
    root = schema.Model.GetRootAs(content, 0)
    graphs = root._tab.Vector(root._tab.Offset(8))
    content[graphs : graphs + 4] = (root._tab.Pos - graphs & 0xFFFFFFFF).to_bytes(4, "little")
    path = tmp_path / "ring.tflite"
    path.write_bytes(content)
    with pytest.raises((InvalidModelError, UnsupportedModelError)):
        scan(path, "tflite")
