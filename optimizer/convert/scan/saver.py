"""Where a SavedModel's own saver stands: the one place for operators that write and read checkpoints.

TensorFlow puts a saver into every SavedModel, so that it can be saved again: SaveV2 and RestoreV2 in the
main graph (TensorFlow 1), or in the two functions that the nodes named by `saver_def` call (TensorFlow 2).
Loading runs the restoring half with the model's own variables folder, and never the saving half. The saver's
operators are allowed where that holds: in the part of the graph that nothing but the saver uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from optimizer.convert.formats.tensor_names import node_name
from optimizer.convert.scan.graphs import Exempt
from optimizer.convert.scan.operators import RESTORE, SAVER

if TYPE_CHECKING:
    from tensorflow.core.protobuf import meta_graph_pb2

_INITIALIZING = ("saved_model_main_op", "legacy_init_op", "table_initializer", "saved_model_train_op")
CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
"""Operators that call the function in their attribute `f`."""


def find_saver(meta_graph: meta_graph_pb2.MetaGraphDef) -> Exempt:
    """The nodes and functions of a SavedModel in which the saver's operators may stand."""
    if not meta_graph.HasField("saver_def"):
        return Exempt()
    saver = meta_graph.saver_def
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    save, restore = node_name(saver.save_tensor_name), node_name(saver.restore_op_name)
    file_name = node_name(saver.filename_tensor_name)
    started = _started_otherwise(meta_graph)
    saving = _private_part(nodes, save, started | {restore})
    restoring = _private_part(nodes, restore, started | {save})

    save_nodes = {name for name in saving if nodes[name].op in SAVER}
    restore_nodes = {
        name for name in restoring if nodes[name].op == RESTORE and _first_input(nodes[name]) == file_name
    }
    functions = {_called(nodes[save])} if save in saving else set()
    if restore in restoring and _first_input(nodes[restore]) == file_name:
        functions |= {_called(nodes[restore])}
    return Exempt(
        frozenset(save_nodes | restore_nodes),
        frozenset(_called_once(meta_graph, functions - {None}, {save, restore})),
    )


def _started_otherwise(meta_graph: Any) -> set[str]:
    """Nodes that loading or calling the model runs: initializers and the outputs of signatures."""
    started = set()
    for key, collection in meta_graph.collection_def.items():
        if key in _INITIALIZING:
            started |= {node_name(name) for name in collection.node_list.value}
    for signature in meta_graph.signature_def.values():
        for tensor in signature.outputs.values():
            started |= {node_name(name) for name in _tensor_names(tensor)}
    return started


def _tensor_names(tensor: Any) -> list[str]:
    if tensor.HasField("coo_sparse"):
        sparse = tensor.coo_sparse
        return [sparse.values_tensor_name, sparse.indices_tensor_name, sparse.dense_shape_tensor_name]
    if tensor.HasField("composite_tensor"):
        return [name for part in tensor.composite_tensor.components for name in _tensor_names(part)]
    return [tensor.name]


def _private_part(nodes: Mapping[str, Any], root: str, started: set[str]) -> set[str]:
    """What `root` needs and nothing else does."""
    needed = _needed(nodes, [root])
    others = (set(nodes) - needed) | (started - {root})
    if root in started:
        return set()
    return needed - _needed(nodes, others)


def _needed(nodes: Mapping[str, Any], roots: Iterable[str]) -> set[str]:
    """The nodes that `roots` depend on, themselves included."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in found or name not in nodes:
            continue
        found.add(name)
        waiting.extend(node_name(reference) for reference in nodes[name].input)
    return found


def _first_input(node: Any) -> str:
    return node_name(node.input[0]) if node.input else ""


def _called(node: Any) -> str | None:
    return node.attr["f"].func.name if node.op in CALLS else None


def _called_once(meta_graph: Any, functions: Iterable[str | None], callers: set[str]) -> list[str]:
    """Those functions that the saver's nodes alone call, and that read what they are given."""
    graph = meta_graph.graph_def
    elsewhere = functions_of_objects(meta_graph.object_graph_def)
    for node in graph.node:
        if node.name not in callers:
            elsewhere |= mentioned(node)
    for function in graph.library.function:
        for node in function.node_def:
            elsewhere |= mentioned(node)
    elsewhere |= {gradient.gradient_func for gradient in graph.library.gradient}
    elsewhere |= {gradient.gradient_func for gradient in graph.library.registered_gradients}
    return [
        function.signature.name
        for function in graph.library.function
        if function.signature.name in functions
        and function.signature.name not in elsewhere
        and _reads_its_argument(function)
    ]


def functions_of_objects(object_graph: Any) -> set[str]:
    """The functions that the objects of a TensorFlow 2 model can call: their methods and initializers."""
    names = set(object_graph.concrete_functions)
    for node in object_graph.nodes:
        names |= set(node.function.concrete_functions)
        names.add(node.bare_concrete_function.concrete_function_name)
    return names


def mentioned(node: Any) -> set[str]:
    """The functions that a node calls, under every name that may be one."""
    names = {node.op}
    for value in node.attr.values():
        names.add(value.func.name)
        names |= {called.name for called in value.list.func}
    return names


def _reads_its_argument(function: Any) -> bool:
    """Whether each RestoreV2 of a function reads the file that the function was given first."""
    arguments = function.signature.input_arg
    return all(
        bool(arguments) and list(node.input[:1]) == [arguments[0].name]  # no ":", so no node of that name
        for node in function.node_def
        if node.op == RESTORE
    )
