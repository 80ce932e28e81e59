"""Names the operators of a SavedModel that tf2onnx has no converter for, where its own error does not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tf2onnx import tfonnx  # noqa: F401  # importing it fills tf2onnx's registry
from tf2onnx.handler import tf_op

from optimizer.convert import op_converters  # noqa: F401  # importing it adds ours
from optimizer.convert.scan.savedmodel import read_savedmodel
from optimizer.convert.tensor_names import node_name

# Freezing and inlining remove these before tf2onnx looks.
_REMOVED = {
    "Assert",
    "NoOp",
    "PartitionedCall",
    "ReadVariableOp",
    "ResourceGather",
    "StatefulPartitionedCall",
    "VarHandleOp",
}


def operators_without_converter(folder: Path, signature: str) -> tuple[str, ...]:
    """The operators that the signature's outputs depend on and tf2onnx cannot convert, each with a node.

    Args:
        folder: A SavedModel's folder.
        signature: One of its signatures.

    Returns:
        Like "operator StringNGrams (node ngrams/StringNGrams)", each operator once.
    """
    saved_model = read_savedmodel(folder)
    meta_graph = next(graph for graph in saved_model.meta_graphs if signature in graph.signature_def)
    outputs = (info.name for info in meta_graph.signature_def[signature].outputs.values())
    known = {name for operators in tf_op.get_opsets()[""] for name in operators} | _REMOVED
    missing: dict[str, str] = {}
    for node in _needed(meta_graph.graph_def, outputs):
        if node.op not in known:
            missing.setdefault(node.op, node.name)
    return tuple(f"operator {op} (node {name})" for op, name in sorted(missing.items()))


def _needed(graph_def: Any, outputs: Iterable[str]) -> Iterator[Any]:
    """The nodes behind the outputs, and all nodes of the functions that these call, directly or not."""
    nodes = {node.name: node for node in graph_def.node}
    library = {function.signature.name: function.node_def for function in graph_def.library.function}
    waiting, seen = [node_name(output) for output in outputs], set[str]()
    called: list[str] = []
    while waiting:
        name = waiting.pop()
        if name in seen or name not in nodes:
            continue
        seen.add(name)
        waiting += map(node_name, nodes[name].input)
        called += _functions(nodes[name])
        if nodes[name].op not in library:
            yield nodes[name]
    walked: set[str] = set()
    while called:
        function = called.pop()
        if function in walked or function not in library:
            continue
        walked.add(function)
        for node in library[function]:
            called += _functions(node)
            if node.op not in library:
                yield node


def _functions(node: Any) -> list[str]:
    attributes = node.attr.values()
    lists = [function.name for attribute in attributes for function in attribute.list.func]
    return [node.op, *lists, *(attribute.func.name for attribute in attributes if attribute.func.name)]
