"""Takes out of a TensorFlow graph what says nothing of what it computes, and trips the tools that follow.

Attributes that begin with `_` are notes of whoever wrote the graph: marks for XLA, colocation, and shapes of
an earlier form (`_output_shapes`) that contradict the graph. Shapes are inferred again on import.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from optimizer.convert.formats.tensor_names import node_name
from optimizer.convert.scan.saver import mentioned

# What TensorFlow's runtime reads of these: how to run a call or a loop.
_READ_AT_RUN_TIME = frozenset({"_XlaMustCompile", "_lower_using_switch_merge", "_num_original_outputs"})


def strip_private_attributes(graph_def: Any) -> None:
    """Remove the attributes that begin with `_` from the nodes of a graph and of its functions, in place."""
    functions = graph_def.library.function
    for node in [*graph_def.node, *(node for function in functions for node in function.node_def)]:
        for name in [name for name in node.attr if name.startswith("_")]:
            del node.attr[name]


def strip_exporters_notes(graph_def: Any) -> None:
    """Remove such attributes, and devices, from a graph that TensorFlow still runs as it is, in place.

    Those that its runtime reads stay, and a function's notes of its arguments' shapes, from which the shapes
    inside loops are told, stay if there is one for each argument.
    """
    functions = graph_def.library.function
    for node in [*graph_def.node, *(node for function in functions for node in function.node_def)]:
        node.device = ""  # of the machine that it was trained on
        for name in [name for name in node.attr if name.startswith("_") and name not in _READ_AT_RUN_TIME]:
            del node.attr[name]
    for function in functions:
        if "_input_shapes" in function.attr:
            noted = len(function.attr["_input_shapes"].list.shape)
            if noted != len(function.signature.input_arg):
                del function.attr["_input_shapes"]


def resolve_defaults(graph_def: Any, inputs: Collection[str]) -> None:
    """Give each placeholder with a default its default, in place, save for those among the inputs' nodes."""
    for node in graph_def.node:
        if node.op == "PlaceholderWithDefault" and node.name not in inputs:
            dtype = node.attr["dtype"].type
            node.op = "Identity"
            node.ClearField("attr")
            node.attr["T"].type = dtype


def give_flags_their_rank(graph_def: Any) -> None:
    """Let a placeholder that decides a condition (is_training) be the scalar that it must be, in place."""
    nodes = {node.name: node for node in graph_def.node}
    for switch in graph_def.node:
        if switch.op not in ("Switch", "RefSwitch"):
            continue
        source = nodes.get(node_name(switch.input[1]))
        while source is not None and source.op == "Identity":
            source = nodes.get(node_name(source.input[0]))
        if source is not None and source.op == "Placeholder":
            source.attr["shape"].shape.Clear()


def keep_needed(graph_def: Any, roots: Iterable[str]) -> None:
    """Remove the nodes and functions that none of the roots (nodes or tensors) depends on, in place."""
    nodes = {node.name: node for node in graph_def.node}
    needed: set[str] = set()
    waiting = [node_name(root) for root in roots]
    while waiting:
        name = waiting.pop()
        if name not in needed and name in nodes:
            needed.add(name)
            waiting += map(node_name, nodes[name].input)
    _remove(graph_def.node, lambda node: node.name not in needed)
    _keep_called(graph_def)


def _keep_called(graph_def: Any) -> None:
    """Remove the functions that no node calls, directly or not."""
    library = graph_def.library
    bodies = {function.signature.name: function.node_def for function in library.function}
    called: set[str] = set()
    waiting = [name for node in graph_def.node for name in mentioned(node)]
    while waiting:
        name = waiting.pop()
        if name in bodies and name not in called:
            called.add(name)
            waiting += [inner for node in bodies[name] for inner in mentioned(node)]
    del library.gradient[:]  # of no use to who computes forward
    del library.registered_gradients[:]
    _remove(library.function, lambda function: function.signature.name not in called)


def _remove(messages: Any, is_unneeded: Callable[[Any], bool]) -> None:
    for index in reversed(range(len(messages))):
        if is_unneeded(messages[index]):
            del messages[index]
