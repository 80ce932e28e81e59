"""Turns a TensorFlow 1 checkpoint into a SavedModel: its graph up to the outputs, the weights as constants.

TensorFlow's own import of a .meta file is not used: it would take in the whole training, and load what the
file says of Python objects. The graph is cut to what the outputs need, checked, imported, given its weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from optimizer.convert.formats.checkpoint_files import find_checkpoint
from optimizer.convert.formats.tensor_names import node_name
from optimizer.convert.loaders.graph_ends import VARIABLES, Ends, find_ends
from optimizer.convert.loaders.graphdef import SIGNATURE, save_graph
from optimizer.convert.prepared import Prepared
from optimizer.convert.scan.checkpoint import read_checkpoint_graph
from optimizer.convert.scan.graphs import check_graph
from optimizer.convert.scan.operators import RESTORE
from optimizer.convert.tensorflow_graph.clean_graph import (
    keep_needed,
    resolve_defaults,
    strip_private_attributes,
)
from optimizer.errors import InvalidModelError, UnsupportedModelError
from optimizer.model import first_line
from optimizer.workspace import Workspace

_ASSIGNS = {"Assign", "AssignVariableOp"}


def prepare_checkpoint(upload: Path, workspace: Workspace, outputs: Sequence[str] = ()) -> Prepared:
    """Write `Workspace.original`, a SavedModel whose signature has the graph's placeholders and results.

    Args:
        upload: The folder that holds the checkpoint's files.
        workspace: Where the SavedModel goes.
        outputs: Nodes or tensors that shall come out; empty takes those that nobody consumes.

    Raises:
        InvalidModelError: If a file is damaged, or a weight is missing.
        InvalidOptionsError: If the graph has no node that was asked for.
        UnsafeModelError: If an operator that the outputs need is not harmless.
        UnsupportedModelError: If the graph's ends cannot be told.
    """
    files = find_checkpoint(upload)
    graph_def = read_checkpoint_graph(upload, files)
    ends = find_ends(graph_def, outputs)
    saved_as = _names_in_checkpoint(graph_def)
    keep_needed(graph_def, [*ends.inputs, *ends.outputs])
    check_graph(graph_def)
    strip_private_attributes(graph_def)
    resolve_defaults(graph_def, {node_name(name) for name in ends.inputs})
    values = dict(_read_weights(f"{upload}/{files.prefix}", graph_def, saved_as))
    names = save_graph(_frozen(graph_def, ends, values), ends, workspace.original)
    return Prepared("TensorFlow", SIGNATURE, "TensorFlow 1 checkpoint", notes=ends.notes, outputs=names)


def _names_in_checkpoint(graph_def: Any) -> dict[str, tuple[str, str]]:
    """Variable's node to its name in the checkpoint, and to the slice of the value that it holds.

    The graph's own saver knows: it restores each variable from one output of a RestoreV2.
    """
    nodes = {node.name: node for node in graph_def.node}
    found = {}
    for node in graph_def.node:
        if node.op not in _ASSIGNS or len(node.input) < 2:
            continue
        source = node.input[1]
        while (before := nodes.get(node_name(source))) is not None and before.op == "Identity":
            source = before.input[0]
        if before is None or before.op != RESTORE:
            continue
        index = int(source.partition(":")[2] or 0)
        names, slices = (_strings(nodes.get(node_name(name))) for name in before.input[1:3])
        if index < len(names):
            found[node_name(node.input[0])] = names[index], slices[index] if index < len(slices) else ""
    return found


def _strings(node: Any) -> list[str]:
    """The values of a constant of strings."""
    if node is None or node.op != "Const":
        return []
    return [value.decode("utf-8", "replace") for value in node.attr["value"].tensor.string_val]


def _read_weights(
    prefix: str, graph_def: Any, saved_as: Mapping[str, tuple[str, str]]
) -> Iterator[tuple[str, NDArray[Any]]]:
    """The value of each variable of a graph."""
    shown_as = Path(prefix).name
    try:
        # Not load_checkpoint: of a prefix that is a folder it follows the path in the file `checkpoint`.
        reader = tf.compat.v1.train.NewCheckpointReader(prefix)
        there = reader.get_variable_to_shape_map()
        for node in graph_def.node:
            if node.op not in VARIABLES:
                continue
            name, part = saved_as.get(node.name, (node.name, ""))
            if name not in there:
                raise InvalidModelError(
                    f"The checkpoint {shown_as} has no value for the variable {node.name}.",
                    hint="Give the checkpoint that belongs to this graph.",
                )
            value = np.asarray(reader.get_tensor(name))
            yield node.name, _sliced(value, part)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise InvalidModelError(
            f"The checkpoint {shown_as} cannot be read: {first_line(error)}.",
            hint="Check that all of its files are there, and complete.",
        ) from error


def _sliced(value: NDArray[Any], part: str) -> NDArray[Any]:
    """The slice of a partitioned variable; "10 3 5,5:0,3" are rows 5 to 9 of ten, with all 3 columns."""
    if not part:
        return value
    cuts = [cut.split(",") for cut in part.split(" ")[-1].split(":")]
    return value[tuple(slice(None) if c == ["-"] else slice(int(c[0]), int(c[0]) + int(c[1])) for c in cuts)]


def _frozen(graph_def: Any, ends: Ends, values: Mapping[str, NDArray[Any]]) -> Any:
    """The graph with a constant for each variable."""
    names = sorted({node_name(name) for name in [*ends.inputs, *ends.outputs]})
    try:
        with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
            tf.import_graph_def(graph_def, name="")
            for name, value in values.items():
                _assign(session, name, value)
            freeze = tf.compat.v1.graph_util.convert_variables_to_constants
            return freeze(session, graph.as_graph_def(), names)
    except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
        raise UnsupportedModelError(
            f"TensorFlow cannot freeze the graph with its checkpoint: {first_line(error)}.",
            hint="Restore the checkpoint in your own code, and save a SavedModel.",
        ) from error


def _assign(session: Any, name: str, value: NDArray[Any]) -> None:
    variable = session.graph.get_tensor_by_name(f"{name}:0")
    given = tf.compat.v1.placeholder(value.dtype, value.shape)
    if variable.dtype == tf.resource:
        assign = tf.raw_ops.AssignVariableOp(resource=variable, value=given)
        read = f"{name}/Read/ReadVariableOp"  # where TensorFlow's freezing looks for the value
        if not any(operation.name == read for operation in session.graph.get_operations()):
            tf.raw_ops.ReadVariableOp(resource=variable, dtype=given.dtype, name=read)
    else:
        assign = tf.raw_ops.Assign(ref=variable, value=given).op
    session.run(assign, {given: value})
