"""Lets a graph compute in float what it would in 16-bit integers, for which ONNX Runtime has no kernels.

    DQ(move(Q(x)))  ->  move(x)
    Q(x)            ->  Cast(clip(round(x / s)))     at an output
    DQ(q)           ->  Cast(q) * s                  at an input

TFLite's 16-bit activations have the zero point 0. Their rounding, 1 in 65,536, is what is lost.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from optimizer.convert.quantized.graph_lookup import Lookup, drop_unused, look_up
from optimizer.convert.quantized.integer_graph import find_ends


def compute_in_float(proto: onnx.ModelProto) -> None:
    """Take every QuantizeLinear and DequantizeLinear to and from int16 out of a graph, in place."""
    graph = proto.graph
    lookup = look_up(graph)
    passed: set[str] = set()  # outputs of the nodes that hand on what they take
    for node in graph.node:
        if _is_wide(node, "QuantizeLinear", lookup):
            ends = find_ends(node.output[0], lookup, moved := set[str]())
            if ends is not None:
                passed |= {node.output[0], *(end.output[0] for end in ends)}
                for info in [info for info in graph.value_info if info.name in moved]:
                    graph.value_info.remove(info)  # of another type now
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if any(name in passed for name in node.output):
            nodes.append(helper.make_node("Identity", [node.input[0]], node.output))
        elif _is_wide(node, "QuantizeLinear", lookup):
            nodes += _quantized(graph, node)
        elif _is_wide(node, "DequantizeLinear", lookup):
            nodes += _dequantized(node)
        else:
            nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del graph.node[:]
    graph.node.extend(nodes)
    drop_unused(graph)


def _is_wide(node: onnx.NodeProto, operator: str, lookup: Lookup) -> bool:
    zero_point = lookup.constant(node.input[2]) if node.op_type == operator and len(node.input) > 2 else None
    return zero_point is not None and zero_point.dtype == np.int16


def _quantized(graph: onnx.GraphProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    result = node.output[0]
    divided, rounded, clipped = (f"{result}_{what}" for what in ("divided", "rounded", "clipped"))
    ends = np.iinfo(np.int16)
    bounds = [f"{result}_least", f"{result}_most"]
    for name, value in zip(bounds, (ends.min, ends.max), strict=True):
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
    return [
        helper.make_node("Div", [node.input[0], node.input[1]], [divided]),
        helper.make_node("Round", [divided], [rounded]),
        helper.make_node("Clip", [rounded, *bounds], [clipped]),
        helper.make_node("Cast", [clipped], [result], to=TensorProto.INT16),
    ]


def _dequantized(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    result = node.output[0]
    return [
        helper.make_node("Cast", [node.input[0]], [f"{result}_cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{result}_cast", node.input[1]], [result]),
    ]
