"""A graph's nodes and constants by the names of their values, for rewrites of converted models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from optimizer.graph.structure import all_nodes, subgraphs

MOVES = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Flatten"})
"""Operators that move elements, and compute nothing."""


@dataclass(frozen=True)
class Lookup:
    """What `look_up` found; it is not kept up to date with changes to the graph."""

    producers: Mapping[str, onnx.NodeProto]
    consumers: Mapping[str, list[onnx.NodeProto]]
    uses: Mapping[str, int]
    constants: Mapping[str, onnx.TensorProto]

    def only_consumer(self, value: str) -> onnx.NodeProto | None:
        """The node that alone reads a value, which is no output of the graph either."""
        return self.consumers[value][0] if self.uses[value] == 1 and value in self.consumers else None

    def producer(self, value: str, *operators: str) -> onnx.NodeProto | None:
        """The node that computes a value, if it is one of these operators."""
        node = self.producers.get(value)
        return node if node is not None and node.op_type in operators else None

    def constant(self, value: str) -> NDArray[np.generic] | None:
        """The value of an initializer; None for any other."""
        return numpy_helper.to_array(self.constants[value]) if value in self.constants else None


def look_up(graph: onnx.GraphProto) -> Lookup:
    """Read a graph; what nested graphs read of it counts among the uses."""
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    uses = Counter({name: len(nodes) for name, nodes in consumers.items()})
    uses.update(value.name for value in graph.output)
    for node in graph.node:  # a nested graph may read any value around it
        for nested in subgraphs(node):
            uses.update(name for inner in all_nodes(nested) for name in inner.input)
    return Lookup(
        producers={name: node for node in graph.node for name in node.output},
        consumers=consumers,
        uses=uses,
        constants={tensor.name: tensor for tensor in graph.initializer if not tensor.external_data},
    )


def drop_unused(graph: onnx.GraphProto) -> None:
    """Remove the nodes and initializers that nothing reads, in place."""
    uses = Counter(look_up(graph).uses)
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if not any(uses[name] for name in node.output):
            uses.subtract(node.input)
            del graph.node[index]
    for index in reversed(range(len(graph.initializer))):
        if not uses[graph.initializer[index].name]:
            del graph.initializer[index]
