"""Finds post-processing inside a graph: what turns the last layers' values into a list of detections.

It is built around a few operators (non-maximum suppression, top-k). What follows these up to the outputs,
and what decodes boxes and scores between the last layers and them, belongs to it; what a further layer
follows on (the proposals of a two-stage detector) does not. Such operators decide by comparing values, so
that a rounding moves whole boxes: they are worth keeping in float, or outside the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optimizer.graph.structure import all_nodes, subgraphs

if TYPE_CHECKING:
    import onnx

_SELECTION = frozenset(
    {"NonMaxSuppression", "TopK"}  # ONNX
    | {f"NonMaxSuppressionV{version}" for version in (2, 3, 4, 5)}  # TensorFlow
    | {"CombinedNonMaxSuppression", "NonMaxSuppressionWithOverlaps", "TopKV2"}
    | {
        "NON_MAX_SUPPRESSION_V4",
        "NON_MAX_SUPPRESSION_V5",
        "TOPK_V2",
        "TFLite_Detection_PostProcess",
    }  # TFLite
)
_LAYERS = frozenset(
    {"Conv", "ConvTranspose", "MatMul", "Gemm", "Einsum", "LSTM", "GRU", "RNN", "Attention"}  # ONNX
    | {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger", "FusedConv", "FusedMatMul"}
    | {"Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "Conv3D", "BatchMatMul", "BatchMatMulV2"}
    | {"While", "StatelessWhile", "StatefulPartitionedCall", "PartitionedCall"}  # TensorFlow
    | {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL"}  # TFLite
)
_BIASES = frozenset({"Add", "AddV2", "BiasAdd"})


@dataclass(frozen=True)
class Node:
    """A node of a graph of any format; tensors by name."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Postprocessing:
    """The post-processing of a graph."""

    operators: tuple[str, ...]
    """The kinds of operator that it is built around; empty where there is none."""
    nodes: frozenset[str]
    """Names of all its nodes."""
    begins_at: tuple[str, ...]
    """The layers' tensors that go into it: a model cut here does without it."""


def find_postprocessing(nodes: Sequence[Node], inputs: Iterable[str]) -> Postprocessing:
    """Find the post-processing of a graph.

    Args:
        nodes: In topological order.
        inputs: The tensors that are fed.
    """
    graph = _Graph(nodes, inputs)
    chosen = [node for node in nodes if node.operator in _SELECTION and not graph.feeds_layer(node)]
    if not chosen:
        return Postprocessing((), frozenset(), ())
    found = {node.name for root in chosen for node in graph.followers(root)}
    begins: dict[str, None] = {}
    for node in chosen:
        graph.collect_decoding(node, found, begins)
    return Postprocessing(
        tuple(dict.fromkeys(node.operator for node in chosen)), frozenset(found), tuple(begins)
    )


def onnx_nodes(graph: onnx.GraphProto) -> list[Node]:
    """The nodes of an ONNX graph; what a node's nested graphs read, it reads."""
    return [
        Node(
            node.name or node.output[0],
            node.op_type,
            (*filter(None, node.input), *(name for inner in subgraphs(node) for name in _read(inner))),
            tuple(filter(None, node.output)),
        )
        for node in graph.node
    ]


def _read(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (name for node in all_nodes(graph) for name in node.input if name)
    yield from (value.name for value in graph.output)


class _Graph:
    """Who computes and who reads what, of the values that depend on the inputs."""

    def __init__(self, nodes: Sequence[Node], inputs: Iterable[str]) -> None:
        self._inputs = frozenset(inputs)
        self._sources: dict[str, Node] = {}
        self._readers: dict[str, list[Node]] = {}
        live = set(self._inputs)
        for node in nodes:
            if live.intersection(node.inputs):
                live.update(node.outputs)
                self._sources.update(dict.fromkeys(node.outputs, node))
            for name in node.inputs:
                self._readers.setdefault(name, []).append(node)
        self._feeding: set[str] = set()  # names of the nodes behind which a layer comes
        for node in reversed(nodes):
            readers = [reader for name in node.outputs for reader in self._readers.get(name, ())]
            if any(self._is_layer(reader) or reader.name in self._feeding for reader in readers):
                self._feeding.add(node.name)

    def feeds_layer(self, node: Node) -> bool:
        return node.name in self._feeding

    def followers(self, root: Node) -> Iterator[Node]:
        """A node and all that depend on it."""
        waiting, seen = [root], {root.name}
        while waiting:
            node = waiting.pop()
            yield node
            for reader in (reader for name in node.outputs for reader in self._readers.get(name, ())):
                if reader.name not in seen:
                    seen.add(reader.name)
                    waiting.append(reader)

    def collect_decoding(self, root: Node, found: set[str], begins: dict[str, None]) -> None:
        """Add what lies between the last layers and a node, and the tensors where it begins."""
        waiting, seen = list(reversed(root.inputs)), set[str]()
        while waiting:
            name = waiting.pop()
            node = self._sources.get(name)
            if node is None or name in seen:
                continue  # a constant, an input of the model, or known already
            seen.add(name)
            if self._is_layer(node) or self._is_bias(node) or self.feeds_layer(node):
                begins[name] = None
                continue
            found.update(follower.name for follower in self.followers(node))
            waiting += reversed(node.inputs)

    @staticmethod
    def _is_layer(node: Node) -> bool:
        return node.operator in _LAYERS

    def _is_bias(self, node: Node) -> bool:
        """Whether a node adds a constant to what a layer computes."""
        live = [name for name in node.inputs if name in self._sources or name in self._inputs]
        return (
            node.operator in _BIASES
            and len(live) == 1
            and live[0] in self._sources
            and self._is_layer(self._sources[live[0]])
        )
