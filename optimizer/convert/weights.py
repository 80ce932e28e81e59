"""Puts the weights that never went through tf2onnx into the finished ONNX model.

    Conv(x, Transpose(kernel))  ->  Conv(x, kernel'),  kernel' = transposed once, here

A node between a weight and its only use is computed here, unless that would make the file larger.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from optimizer.external_data import PROTO_BYTES, data_file, data_writer, point_to_data
from optimizer.graph.structure import all_graphs, all_nodes

# Whatever TensorFlow or tf2onnx puts between a weight and its operator: a layout, a dtype, a scale.
_FOLDED = {"Add", "Cast", "Div", "Identity", "Mul", "Reshape", "Squeeze", "Sub", "Transpose", "Unsqueeze"}


Values = Mapping[str, Callable[[], NDArray[Any]]]


def attach_weights(
    proto: onnx.ModelProto, values: Values, target: Path, largest_bytes: int = PROTO_BYTES
) -> None:
    """Turn inputs of the graph into initializers, in place.

    Args:
        proto: The model.
        values: Name of the input to what reads its value; one is read at a time.
        target: The file that the model will be written to.
        largest_bytes: Where the weights together take more, each goes into the file beside `target`.
    """
    if sum(_bytes(value) for value in proto.graph.input if value.name in values) <= largest_bytes:
        _attach(proto, values, lambda name, value: numpy_helper.from_array(value, name))
        return
    with data_writer(target) as writer:

        def write(name: str, value: NDArray[Any]) -> onnx.TensorProto:
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            tensor = onnx.TensorProto(name=name, data_type=kind, dims=value.shape)
            point_to_data(tensor, data_file(target).name, *writer.add(value))
            return tensor

        _attach(proto, values, write)


def _bytes(value: onnx.ValueInfoProto) -> int:
    kind = value.type.tensor_type
    item = helper.tensor_dtype_to_np_dtype(kind.elem_type).itemsize
    return int(item) * math.prod(int(dimension.dim_value) for dimension in kind.shape.dim)


def _attach(
    proto: onnx.ModelProto, values: Values, store: Callable[[str, NDArray[Any]], onnx.TensorProto]
) -> None:
    graph = proto.graph
    kept = [value for value in graph.input if value.name not in values]
    given = [value.name for value in graph.input if value.name in values]
    del graph.input[:]
    graph.input.extend(kept)
    for name in given:
        given_value = values[name]()
        if given_value.dtype == ml_dtypes.bfloat16:
            given_value = given_value.astype(np.float32)  # in which the graph computes
        value = _folded(proto, name, given_value)
        if value is not None:
            graph.initializer.append(store(name, value))


def _folded(proto: onnx.ModelProto, name: str, value: NDArray[Any]) -> NDArray[Any] | None:
    """The value behind all nodes that can be computed now, which are removed; None where nothing uses it."""
    graph = proto.graph
    while True:
        uses = [node for node in all_nodes(graph) if name in node.input]
        if not uses:
            return None
        node = uses[0]
        constants = {tensor.name: tensor for tensor in graph.initializer if not tensor.external_data}
        others = [other for other in node.input if other != name]
        is_foldable = (
            len(uses) == 1
            and node.op_type in _FOLDED
            and node in graph.node
            and all(other in constants for other in others)
            and not _is_output(graph, node.output[0])
        )
        if not is_foldable:
            return value
        result = _compute(
            proto, node, {name: value} | {o: numpy_helper.to_array(constants[o]) for o in others}
        )
        if result.nbytes > value.nbytes:
            return value
        graph.node.remove(node)
        for user in all_nodes(graph):
            for index, source in enumerate(user.input):
                if source == node.output[0]:
                    user.input[index] = name
        value = result


def _is_output(graph: onnx.GraphProto, name: str) -> bool:
    return any(name == value.name for inner in all_graphs(graph) for value in inner.output)


def _compute(
    proto: onnx.ModelProto, node: onnx.NodeProto, inputs: Mapping[str, NDArray[Any]]
) -> NDArray[Any]:
    """Compute one node with ONNX's reference implementation."""
    specs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in inputs.items()
    ]
    result = onnx.ValueInfoProto(name=node.output[0])
    model = helper.make_model(
        helper.make_graph([node], "weight", specs, [result]), opset_imports=proto.opset_import
    )
    (computed,) = ReferenceEvaluator(model).run(None, dict(inputs))
    return np.ascontiguousarray(computed)
