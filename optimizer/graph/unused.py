"""Removes what nothing reads: nodes, weights, functions, operator sets; and Identity and double weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizer.graph.structure import STANDARD_DOMAINS

if TYPE_CHECKING:
    import onnx_ir as ir

_WEIGHTS_NOT_INPUTS_IR = 4  # from this file version on, weights need not be listed among the inputs


def remove_unused(model: ir.Model) -> None:
    """Remove them, in place; weights are no inputs any more."""
    from onnx_ir.passes import Sequential, common

    model.ir_version = max(model.ir_version, _WEIGHTS_NOT_INPUTS_IR)
    Sequential(
        common.RemoveInitializersFromInputsPass(),
        common.DeduplicateInitializersPass(),
    )(model)
    graphs = [model.graph, *(function.graph for function in model.functions.values())]
    nodes = [node for graph in graphs for node in graph.all_nodes()]
    bodies = [
        node.attributes["body"].as_graph()
        for node in nodes
        if node.op_type in ("Loop", "Scan") and node.domain in STANDARD_DOMAINS
    ]
    for node in nodes:
        if node.op_type == "Identity" and node.domain in STANDARD_DOMAINS:
            _remove_identity(node, is_in_body=node.graph in bodies)
    Sequential(
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),  # type: ignore[no-untyped-call]  # onnx_ir left it untyped
        common.RemoveUnusedOpsetsPass(),
    )(model)


def _remove_identity(node: ir.Node, *, is_in_body: bool) -> None:
    """Let readers take what an Identity is of; it stays where a graph gives what is not its own.

    onnx_ir's own pass lets a branch give a value from around it, which ONNX does not allow. A loop's body may
    give one value twice, a branch may not: ONNX Runtime does not run it.
    """
    import onnx_ir as ir

    (value,), (output,) = node.inputs, node.outputs
    if value is None or node.graph is None:
        return
    producer, is_given, is_another = value.producer(), output.is_graph_output(), value.is_graph_output()
    if is_given and (producer is None or producer.graph is not node.graph or (is_another and not is_in_body)):
        return
    value.type = value.type or output.type
    ir.convenience.replace_all_uses_with(output, value, replace_graph_outputs=True)
    if is_given and not is_another:
        value.name = output.name
        value.shape = output.shape or value.shape
    node.graph.remove(node, safe=True)
