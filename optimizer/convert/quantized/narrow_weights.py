"""Keeps weights in as few bits as the upload does where a model computes with them in float.

    W  ->  Cast(W16)         where each value of W is one of float16
    W  ->  Cast(W8) * s      for a DequantizeLinear of constants; W8 is int8, its zero point 0

ONNX Runtime computes both once, when it loads the file, so that the file is small and the model as fast as
with float32 weights. A DequantizeLinear of weights it would compute at each call, and keep a Conv from its
fastest layout (1.4 times slower on a small CNN): it is for graphs that run as integers.
"""

from __future__ import annotations

import numpy as np
import onnx
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
    """Write each DequantizeLinear of a constant that int8 can hold as Cast and Mul, in place."""
    graph = proto.graph
    lookup = look_up(graph)
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        weights = lookup.constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        scale = lookup.constant(node.input[1]) if weights is not None else None
        if weights is None or scale is None:
            continue
        zero_point = lookup.constant(node.input[2]) if len(node.input) > 2 else np.zeros(1, np.int8)
        # Unsigned weights have one zero point for all; biases of 32 bits have none.
        if zero_point is None or zero_point.min() != zero_point.max():
            continue
        offset = int(zero_point.flat[0])
        if offset and offset != _UNSIGNED:
            continue
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        shape = [1] * len(weights.dims)
        if scale.size > 1:
            shape[axis] = scale.size
        if offset:
            signed = (numpy_helper.to_array(weights).astype(np.int16) - offset).astype(np.int8)
            weights = numpy_helper.from_array(signed, f"{node.output[0]}_signed")
            graph.initializer.append(weights)
        name, real, result = f"{node.output[0]}_step", f"{node.output[0]}_real", node.output[0]
        graph.initializer.append(numpy_helper.from_array(scale.reshape(shape), name))
        node.CopyFrom(helper.make_node("Cast", [weights.name], [real], to=TensorProto.FLOAT))
        graph.node.insert(index + 1, helper.make_node("Mul", [real, name], [result]))
    drop_unused(graph)
