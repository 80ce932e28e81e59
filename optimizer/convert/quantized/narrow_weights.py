"""Keeps weights in as few bits as the upload does where a model computes with them in float.

    W  ->  Cast(W16)           where each value of W is one of float16
    W  ->  Cast(W8) * s        for a DequantizeLinear of constants; W8 is int8, its zero point 0
    W  ->  (Cast(W8) - z) * s  where its zero points are others

ONNX Runtime computes them once, when it loads the file, so that the file is small and the model as fast as
with float32 weights. A DequantizeLinear of weights it would compute at each call, and keep a Conv from its
fastest layout (1.4 times slower on a small CNN): it is for graphs that run as integers.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from optimizer.convert.quantized.graph_lookup import drop_unused, look_up

_LEAST_WEIGHTS = 1024
_UNSIGNED = 128
"""The zero point of weights that `integer_graph` has made unsigned."""


def keep_half_weights(proto: onnx.ModelProto) -> None:
    """Store the float32 weights that float16 holds exactly as such, in place; small ones stay."""
    graph = proto.graph
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < _LEAST_WEIGHTS:
            continue
        value = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):  # what is too large becomes infinity, and differs
            half = value.astype(np.float16)
        if (half.astype(np.float32) == value).all():
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
            graph.node.insert(0, helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))


def keep_integer_weights(proto: onnx.ModelProto) -> None:
    """Write each DequantizeLinear of constants as Cast and Mul, in place."""
    compute_at_load(
        proto.graph, {node.output[0] for node in proto.graph.node if node.op_type == "DequantizeLinear"}
    )


def compute_at_load(graph: onnx.GraphProto, names: Set[str]) -> None:
    """Write the DequantizeLinear nodes of constants that give these values as Cast and Mul, in place."""
    lookup = look_up(graph)
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        constant = all(name in lookup.constants for name in node.input)
        if node.op_type == "DequantizeLinear" and node.output[0] in names and constant:
            _write(graph, index, [numpy_helper.to_array(lookup.constants[name]) for name in node.input])
    drop_unused(graph)


def _write(graph: onnx.GraphProto, index: int, values: list[NDArray[Any]]) -> None:
    """Cast, Sub where a zero point is none of ours, and Mul, in the place of a DequantizeLinear."""
    node, (weights, scale) = graph.node[index], values[:2]
    zero_point = values[2] if len(values) > 2 else np.zeros(1, np.int8)
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    shape = [1] * weights.ndim
    if scale.size > 1:
        shape[axis] = scale.size
    result = node.output[0]
    parts, source = {f"{result}_factor": scale.reshape(shape)}, node.input[0]
    if zero_point.size and (zero_point == _UNSIGNED).all():
        source, zero_point = f"{result}_signed", np.zeros(1, np.int8)
        parts[source] = (weights.astype(np.int16) - _UNSIGNED).astype(np.int8)
    written = [helper.make_node("Cast", [source], [f"{result}_real"], to=TensorProto.FLOAT)]
    if zero_point.any():
        parts[f"{result}_offset"] = zero_point.astype(np.float32).reshape(shape)
        names = [f"{result}_real", f"{result}_offset"]
        written.append(helper.make_node("Sub", names, [f"{result}_moved"]))
    written.append(helper.make_node("Mul", [written[-1].output[0], f"{result}_factor"], [result]))
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in parts.items())
    del graph.node[index]
    for new in reversed(written):
        graph.node.insert(index, new)
