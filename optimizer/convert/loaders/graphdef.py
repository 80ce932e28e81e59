"""Turns a frozen GraphDef (.pb, .pbtxt) into a SavedModel with one signature."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from optimizer.convert.formats.tensor_names import node_name
from optimizer.convert.loaders.graph_ends import VARIABLES, Ends, find_ends
from optimizer.convert.naming import unique_names
from optimizer.convert.prepared import Prepared
from optimizer.convert.scan.graphdef import read_graphdef
from optimizer.convert.signatures.save import save_signature
from optimizer.convert.tensorflow_graph.clean_graph import (
    give_flags_their_rank,
    keep_needed,
    resolve_defaults,
    strip_private_attributes,
)
from optimizer.errors import UnsupportedModelError
from optimizer.model import first_line
from optimizer.workspace import Workspace

SIGNATURE = "serve"


def prepare_graphdef(upload: Path, workspace: Workspace, outputs: Sequence[str] = ()) -> Prepared:
    """Write `Workspace.original`, a SavedModel whose signature has the graph's placeholders and results.

    Inputs and outputs are called like their nodes.

    Args:
        upload: The file.
        workspace: Where the SavedModel goes.
        outputs: Nodes or tensors that shall come out; empty takes those that nobody consumes.

    Raises:
        InvalidModelError: If the file is no GraphDef.
        InvalidOptionsError: If the graph has no node that was asked for.
        UnsupportedModelError: If the graph holds variables, or has no inputs or results to go by.
    """
    graph_def = read_graphdef(upload)
    ends = find_ends(graph_def, outputs)
    keep_needed(graph_def, [*ends.inputs, *ends.outputs])
    _refuse_variables(graph_def)
    names = save_graph(graph_def, ends, workspace.original)
    return Prepared("TensorFlow", SIGNATURE, "TensorFlow GraphDef", notes=ends.notes, outputs=names)


def save_graph(graph_def: Any, ends: Ends, folder: Path) -> tuple[str, ...]:
    """Write a graph without variables as a SavedModel with the signature `serve`; its outputs' names.

    Raises:
        UnsupportedModelError: If TensorFlow refuses the graph.
    """
    strip_private_attributes(graph_def)
    resolve_defaults(graph_def, {node_name(name) for name in ends.inputs})
    give_flags_their_rank(graph_def)
    for node in graph_def.node:
        node.device = ""  # of the machine that it was trained on
    try:
        wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
        feeds = [wrapped.graph.get_tensor_by_name(name) for name in ends.inputs]
        fetches = _fetches(wrapped.graph, ends)
        pruned = wrapped.prune(feeds, fetches)
        inputs = {node_name(name): feed for name, feed in zip(ends.inputs, feeds, strict=True)}
        names = unique_names(tensor.op.name for tensor in fetches)
        save_signature(pruned, (SIGNATURE, inputs, names), folder)
    except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
        raise UnsupportedModelError(
            f"TensorFlow cannot run the graph: {first_line(error)}.",
            hint="Hand in the SavedModel that it was frozen from.",
        ) from error
    return names


def _fetches(graph: Any, ends: Ends) -> list[Any]:
    """The outputs' tensors; of a node that nobody consumes, all."""
    fetches: list[Any] = []
    for name in ends.outputs:
        tensors = (
            [graph.get_tensor_by_name(name)] if ":" in name else graph.get_operation_by_name(name).outputs
        )
        fetches += [tensor for tensor in tensors if all(tensor is not other for other in fetches)]
    return fetches


def _refuse_variables(graph_def: Any) -> None:
    functions = (node for function in graph_def.library.function for node in function.node_def)
    for node in [*graph_def.node, *functions]:
        if node.op in VARIABLES or node.op == "ReadVariableOp":
            raise UnsupportedModelError(
                f"The graph is not frozen: node {node.name} ({node.op}) is of a variable without a value.",
                hint="Give it in a folder or .zip with its checkpoint (.index, .data), or the SavedModel.",
            )
