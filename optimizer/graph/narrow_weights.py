"""Weights that a file stores in few bits, and that ONNX Runtime computes when it loads the file.

    W = Cast(W16)      W = Cast(W8) * s      W = (Cast(W8) - z) * s      each maybe behind a Reshape

Tools and quantizers take only constants for weights, so these become constants in float32 for them; what is
left of them afterwards is stored in few bits again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from optimizer.graph.structure import all_graphs, all_nodes
from optimizer.model import Model, from_proto

_NARROW = {
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.INT8,
    TensorProto.UINT8,
    TensorProto.INT4,
    TensorProto.UINT4,
}
_ARITHMETIC = {"Mul": np.multiply, "Sub": np.subtract}
_FEWEST_KEPT = 1024
"""Fewer weights stay in float32: nodes take bytes too."""
_LARGEST_BYTES = 1 << 30


@dataclass(frozen=True)
class NarrowWeight:
    """How one weight is computed."""

    value: NDArray[Any]
    nodes: Sequence[onnx.NodeProto]
    """In order; the last one gives the weight."""
    constants: Sequence[onnx.TensorProto]


def fold_narrow_weights(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[NarrowWeight, ...]]:
    """Make constants of the weights that are computed from narrower ones.

    Returns:
        A new model, or the given one where it has no such weight; and how each was computed.
    """
    computed = _computed(proto.graph)
    inner = {id(node) for weight in computed.values() for node in weight.nodes}
    read = {name for node in all_nodes(proto.graph) if id(node) not in inner for name in node.input}
    read |= {value.name for graph in all_graphs(proto.graph) for value in graph.output}
    weights = {name: weight for name, weight in computed.items() if name in read}
    if not weights or sum(weight.value.nbytes for weight in weights.values()) > _LARGEST_BYTES:
        return proto, ()
    folded = onnx.ModelProto()
    folded.CopyFrom(proto)
    del folded.graph.node[:], folded.graph.initializer[:]
    folded.graph.node.extend(node for node in proto.graph.node if id(node) not in inner)
    narrow = {constant.name for weight in weights.values() for constant in weight.constants} - read
    folded.graph.initializer.extend(each for each in proto.graph.initializer if each.name not in narrow)
    folded.graph.initializer.extend(
        numpy_helper.from_array(weight.value, name) for name, weight in weights.items()
    )
    return folded, tuple(weights.values())


def with_float_weights(model: Model) -> Model:
    """The model with its weights as constants in float32, for steps that round them."""
    if model.weight_bytes > _LARGEST_BYTES:  # their copy in float32 would not fit beside them
        return model
    folded, weights = fold_narrow_weights(model.to_proto())
    return from_proto(folded) if weights else model


def keep_narrow(proto: onnx.ModelProto, weights: Sequence[NarrowWeight]) -> onnx.ModelProto:
    """Store each constant that is one of these weights as that was stored.

    Returns:
        A new model, or the given one where it has no such constant.
    """
    by_content = {_content(weight.value): weight for weight in weights if weight.value.size >= _FEWEST_KEPT}
    if not by_content:
        return proto
    stored = {
        tensor.name: weight
        for tensor in proto.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
        and (weight := by_content.get(_content(numpy_helper.to_array(tensor)))) is not None
    }
    if not stored:
        return proto
    kept = onnx.ModelProto()
    kept.CopyFrom(proto)
    del kept.graph.initializer[:], kept.graph.node[:]
    kept.graph.initializer.extend(each for each in proto.graph.initializer if each.name not in stored)
    taken = {each.name for graph in all_graphs(proto.graph) for each in (*graph.initializer, *graph.input)}
    taken |= {name for node in all_nodes(proto.graph) for name in node.output}
    for name, weight in stored.items():
        _write(kept.graph, name, weight, taken)
    kept.graph.node.extend(proto.graph.node)
    return kept


def _content(value: NDArray[Any]) -> tuple[tuple[int, ...], bytes]:
    return value.shape, hashlib.sha256(np.ascontiguousarray(value).data).digest()


def _write(graph: onnx.GraphProto, name: str, weight: NarrowWeight, taken: set[str]) -> None:
    """Compute a value as a weight is computed, behind the nodes that the graph has; names get taken."""
    last, names = weight.nodes[-1].output[0], {}
    for old in (*(each.name for each in weight.constants), *(node.output[0] for node in weight.nodes)):
        names[old] = name if old == last else _free(name, taken)
    for constant in weight.constants:
        graph.initializer.add().CopyFrom(constant)
        graph.initializer[-1].name = names[constant.name]
    for node in weight.nodes:
        graph.node.add().CopyFrom(node)
        graph.node[-1].name = ""
        graph.node[-1].input[:] = [names[each] for each in node.input]
        graph.node[-1].output[:] = [names[node.output[0]]]


def _free(stem: str, taken: set[str]) -> str:
    """A name of its own, which is taken by that."""
    name = next(name for n in count() if (name := f"{stem}_{n}") not in taken)
    taken.add(name)
    return name


def _computed(graph: onnx.GraphProto) -> dict[str, NarrowWeight]:
    """Every value that is computed from narrow constants alone."""
    constants = {tensor.name: tensor for tensor in graph.initializer if not tensor.external_data}
    computed: dict[str, NarrowWeight] = {}
    for node in graph.node:
        value = _value(node, constants, computed)
        if value is not None:
            before = [computed[name] for name in node.input if name in computed]
            # Several of them may read the same nodes and constants, which are there once.
            nodes = {each.output[0]: each for weight in before for each in weight.nodes}
            narrow = {each.name: each for weight in before for each in weight.constants}
            narrow |= {name: constants[name] for name in node.input if name in constants}
            computed[node.output[0]] = NarrowWeight(value, (*nodes.values(), node), tuple(narrow.values()))
    return computed


def _value(
    node: onnx.NodeProto,
    constants: Mapping[str, onnx.TensorProto],
    computed: Mapping[str, NarrowWeight],
) -> NDArray[Any] | None:
    if node.op_type == "Cast":
        tensor = constants.get(node.input[0])
        is_widened = tensor is not None and tensor.data_type in _NARROW
        if tensor is None or not is_widened or helper.get_node_attr_value(node, "to") != TensorProto.FLOAT:
            return None
        return numpy_helper.to_array(tensor).astype(np.float32)
    if not any(name in computed for name in node.input):
        return None
    if not all(name in computed or name in constants for name in node.input):
        return None
    operands = [
        computed[name].value if name in computed else numpy_helper.to_array(constants[name])
        for name in node.input
    ]
    if node.op_type == "Reshape" and (operands[1] != 0).all():
        return operands[0].reshape(operands[1])
    return _ARITHMETIC[node.op_type](*operands) if node.op_type in _ARITHMETIC else None
