"""Bodies of Loop, Scan and If: they stay in float, and what they read of the main graph is there in float.

A value that a body reads without being handed it (it *captures* the value) is no input of any node of the
main graph, and two tools overlook it:

    ONNX Runtime's quantizer   leaves a captured row of an integer table without its DequantizeLinear
    ONNX Runtime's optimizer   aborts the process where it moves a DequantizeLinear over a Reshape, Slice,
                               Transpose, ... whose result is captured (QDQPropagationTransformer, 1.31)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from optimizer.graph.structure import STANDARD_DOMAINS, all_nodes, subgraphs

if TYPE_CHECKING:
    import onnx

# What ONNX Runtime moves a DequantizeLinear over: values go on as they are.
_MOVED_OVER = frozenset({"MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})


def captured(graph: onnx.GraphProto) -> frozenset[str]:
    """Names of the graph's own values that bodies inside it read without being handed them."""
    own = {name for node in graph.node for name in node.output}
    own.update(value.name for value in graph.input)
    return frozenset(own & {name for node in graph.node for name in _outer(node)})


def _outer(node: onnx.NodeProto) -> Iterator[str]:
    """Names that the bodies of a node take from outside."""
    for body in subgraphs(node):
        inside = {value.name for value in (*body.input, *body.initializer)}
        inside.update(name for inner in body.node for name in inner.output)
        read = [name for inner in body.node for name in (*inner.input, *_outer(inner))]
        read.extend(value.name for value in body.output)
        yield from (name for name in read if name and name not in inside)


def body_refusals(graph: onnx.GraphProto, operators: frozenset[str]) -> tuple[str, ...]:
    """A sentence for each node of the main graph in whose bodies some of these operators stay in float."""
    sentences = []
    for node in graph.node:
        inner = [each for body in subgraphs(node) for each in all_nodes(body)]
        found = Counter(each.op_type for each in inner if each.domain in STANDARD_DOMAINS)
        counts = [f"{count} {name}" for name, count in sorted(found.items()) if name in operators]
        if counts:
            sentences.append(
                f"{node.op_type} {node.name} keeps in float what is inside it ({', '.join(counts)}): "
                "only the main graph is quantized."
            )
    return tuple(sentences)


def round_captured(graph: onnx.GraphProto) -> None:
    """Round again, with the same scale, what a body captures behind a DequantizeLinear and moves, in place.

        DequantizeLinear - Transpose - captured  ->  DequantizeLinear - Transpose - QuantizeLinear -
                                                     DequantizeLinear - captured

    The second rounding changes no value: they are multiples of the scale already. ONNX Runtime makes the same
    of every such pair, and where its optimizer finds it made, it leaves it alone. Needs a sort afterwards.
    """
    from onnx import helper

    producers = {name: node for node in graph.node for name in node.output}
    for name in sorted(captured(graph)):
        source = _dequantized_source(producers, name)
        if source is None:
            continue
        moved, rounded, scale = f"{name}/moved", f"{name}/rounded", list(source.input[1:])
        last = producers[name]
        last.output[0] = moved
        graph.node.append(helper.make_node("QuantizeLinear", [moved, *scale], [rounded], name=rounded))
        graph.node.append(
            helper.make_node("DequantizeLinear", [rounded, *scale], [name], name=f"{name}/again")
        )


def _dequantized_source(producers: dict[str, onnx.NodeProto], name: str) -> onnx.NodeProto | None:
    """The DequantizeLinear whose values come to this name moved, but not changed."""
    node = producers.get(name)
    if node is None or node.op_type not in _MOVED_OVER or node.output[0] != name:
        return None
    while node is not None and node.op_type in _MOVED_OVER:
        node = producers.get(node.input[0])
    return node if node is not None and node.op_type == "DequantizeLinear" else None
