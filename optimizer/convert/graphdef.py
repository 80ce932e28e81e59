"""Turns a frozen GraphDef (.pb) into a SavedModel: placeholders go in, what nobody consumes comes out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import tensorflow as tf

from optimizer.convert.naming import unique_names
from optimizer.convert.prepared import Prepared
from optimizer.convert.scan.graphdef import read_graphdef
from optimizer.convert.tensor_names import node_name
from optimizer.errors import UnsupportedModelError
from optimizer.model import first_line
from optimizer.workspace import Workspace

_SIGNATURE = "serve"
_VARIABLES = {"Variable", "VariableV2", "VarHandleOp", "AutoReloadVariable"}
# Nodes without consumers that are no results: effects, checks, constants left over from training.
_NO_RESULT = {"NoOp", "Const", "Assert", "Placeholder", "PlaceholderWithDefault"}


def prepare_graphdef(upload: Path, workspace: Workspace) -> Prepared:
    """Write `Workspace.original`, a SavedModel whose signature has the graph's placeholders and results.

    Names are those of the nodes, with `_` for what a signature cannot hold (`scope/x` becomes `scope_x`).

    Raises:
        InvalidModelError: If the file is no GraphDef.
        UnsupportedModelError: If the graph holds variables, or has no inputs or results to go by.
    """
    graph_def = read_graphdef(upload)
    _refuse_variables(graph_def)
    inputs = [node.name for node in graph_def.node if node.op == "Placeholder"]
    results = _results(graph_def, set(inputs))
    if not inputs or not results:
        missing = "no Placeholder, so no inputs" if not inputs else "no result that depends on its inputs"
        nodes = ", ".join(node.name for node in graph_def.node[-5:])
        raise UnsupportedModelError(
            f"{upload.name} has {missing}; its last nodes are: {nodes}.",
            hint="Hand in a SavedModel, whose signature names inputs and outputs.",
        )
    outputs = _save(graph_def, inputs, results, workspace.original)
    note = f"outputs, taken from the nodes that nobody consumes: {', '.join(outputs)}"
    return Prepared("TensorFlow", _SIGNATURE, "TensorFlow GraphDef", notes=(note,))


def _refuse_variables(graph_def: Any) -> None:
    functions = (node for function in graph_def.library.function for node in function.node_def)
    for node in [*graph_def.node, *functions]:
        if node.op in _VARIABLES:
            raise UnsupportedModelError(
                f"The graph is not frozen: node {node.name} is a variable ({node.op}) without a value.",
                hint="Freeze it (convert_variables_to_constants), or hand in the SavedModel.",
            )


def _results(graph_def: Any, inputs: set[str]) -> list[str]:
    """Nodes that depend on an input and that no node consumes, in the file's order."""
    consumers: dict[str, list[str]] = {}
    for node in graph_def.node:
        for source in node.input:
            consumers.setdefault(node_name(source), []).append(node.name)
    reached, frontier = set(inputs), list(inputs)
    while frontier:
        for name in consumers.get(frontier.pop(), ()):
            if name not in reached:
                reached.add(name)
                frontier.append(name)
    no_result = {node.name for node in graph_def.node if node.op in _NO_RESULT}
    # A check behind a result consumes it, but does not make it less of one.
    return [
        node.name
        for node in graph_def.node
        if node.name in reached - no_result and not set(consumers.get(node.name, ())) - no_result
    ]


def _save(graph_def: Any, inputs: list[str], results: list[str], folder: Path) -> tuple[str, ...]:
    """Write the graph as a SavedModel; returns the outputs' names."""
    try:
        wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
        graph = wrapped.graph
        feeds = [graph.get_operation_by_name(name).outputs[0] for name in inputs]
        fetches = [tensor for name in results for tensor in graph.get_operation_by_name(name).outputs]
        pruned = wrapped.prune(feeds, fetches)
        names = unique_names(re.sub(r"\W", "_", tensor.op.name) for tensor in fetches)
        feed_names = unique_names(re.sub(r"\W", "_", name) for name in inputs)
        specs = [
            tf.TensorSpec(feed.shape, feed.dtype, name=name)
            for feed, name in zip(feeds, feed_names, strict=True)
        ]

        @tf.function(input_signature=specs, autograph=False)  # type: ignore[untyped-decorator]  # TensorFlow has no types
        def serve(*tensors: Any) -> dict[str, Any]:
            return dict(zip(names, pruned(*tensors), strict=True))

        tf.saved_model.save(tf.Module(), str(folder), signatures={_SIGNATURE: serve})
    except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
        raise UnsupportedModelError(
            f"TensorFlow cannot run the graph: {first_line(error)}.",
            hint="Hand in the SavedModel that it was frozen from.",
        ) from error
    return names
