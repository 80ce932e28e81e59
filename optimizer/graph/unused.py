"""Removes what nothing reads: nodes, weights, functions, operator sets; and Identity and double weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

_WEIGHTS_NOT_INPUTS_IR = 4  # from this file version on, weights need not be listed among the inputs


def remove_unused(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A new model without them, whose weights are no inputs any more."""
    import onnx_ir as ir
    from onnx_ir.passes import Sequential, common

    model = ir.from_proto(proto)
    model.ir_version = max(proto.ir_version, _WEIGHTS_NOT_INPUTS_IR)
    passes = Sequential(
        common.RemoveInitializersFromInputsPass(),
        common.DeduplicateInitializersPass(),
        common.IdentityEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),  # type: ignore[no-untyped-call]  # onnx_ir left it untyped
        common.RemoveUnusedOpsetsPass(),
    )
    cleaned = passes(model).model
    for graph in cleaned.graph.subgraphs():
        _give_outputs_of_its_own(graph)
    return ir.to_proto(cleaned)


def _give_outputs_of_its_own(graph: ir.Graph) -> None:
    """A branch has to make what it gives: an Identity again where that comes from around it."""
    import onnx_ir as ir

    own = {output for node in graph for output in node.outputs} | set(graph.inputs)
    for place, value in enumerate(graph.outputs):
        if value not in own and value.name not in graph.initializers:
            node = ir.node("Identity", [value], name=f"{value.name}/{graph.name}/{place}")
            node.outputs[0].name = f"{value.name}/{graph.name}/{place}"
            graph.append(node)
            graph.outputs[place] = node.outputs[0]
