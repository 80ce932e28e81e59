"""What goes into ONNX Runtime's quantizers, and what must hold of what comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optimizer.errors import OptimizerError, ToolError, UnsupportedModelError
from optimizer.graph.structure import name_nodes, opset
from optimizer.graph.verify import NotTheSameError, open_proto, restore_edges
from optimizer.model import Model, first_line, from_proto
from optimizer.quantize.bodies import round_captured

if TYPE_CHECKING:
    import onnx

_PER_CHANNEL_OPSET = 13
_TARGET_OPSET = 17
_HINT = "Keep the nodes that it cannot handle in float (keep_float), or use another recipe."


def prepared(model: Model, *, smallest_opset: int = _PER_CHANNEL_OPSET) -> onnx.ModelProto:
    """A copy for a quantizer to change: nodes named, constants in the main graph, a recent operator set.

    Raises:
        UnsupportedModelError: If the operator set is too old and ONNX cannot convert it.
    """
    import onnx
    import onnx_ir
    from onnx_ir.passes import Sequential, common

    # Tools copy a weight into each branch or body that reads it; the quantizers take equal names for one.
    lift = Sequential(
        common.LiftConstantsToInitializersPass(),
        common.LiftSubgraphInitializersToMainGraphPass(),
        common.DeduplicateInitializersPass(),
    )
    proto = onnx_ir.to_proto(lift(onnx_ir.from_proto(model.to_proto())).model)
    if opset(proto) < smallest_opset:
        try:
            proto = onnx.version_converter.convert_version(proto, _TARGET_OPSET)
        except Exception as error:  # onnx raises RuntimeError and its own, one per operator
            raise UnsupportedModelError(
                f"The model uses operator set {opset(proto)}; per-channel INT8 needs {smallest_opset}, and "
                f"ONNX cannot convert it: {first_line(error)}.",
                hint=f"Export the model with operator set {_TARGET_OPSET}.",
            ) from error
    name_nodes(proto)
    return proto


def finished(before: onnx.ModelProto, after: onnx.ModelProto, what: str) -> Model:
    """Check a quantizer's result and bring it into a stable form.

    Args:
        before: The model as it was, whose inputs and outputs the result must have.
        after: The quantizer's result.
        what: The step in words, for the error.

    Returns:
        The result: nodes in topological order, nothing unused, producer and edges as before.

    Raises:
        UnsupportedModelError: If ONNX Runtime cannot load it.
        ToolError: If the quantizer changed the inputs or outputs, or its result is not valid.
    """
    model = tidied(before, after, what)
    try:
        open_proto(model.to_proto())
    except OptimizerError as error:
        raise UnsupportedModelError(
            f"{what} gave a model that ONNX Runtime cannot load: {error.message}", hint=_HINT
        ) from error
    return from_proto(model.to_proto())


def tidied(before: onnx.ModelProto, after: onnx.ModelProto, what: str) -> Model:
    """Bring a quantizer's result into a stable form; see `finished`, which loads it too.

    Raises:
        ToolError: If the quantizer changed the inputs or outputs, or its result is not valid.
    """
    import onnx
    import onnx_ir
    from onnx_ir.passes import Sequential, common

    try:
        restore_edges(before, after)
        round_captured(after.graph)
        after.producer_name, after.producer_version = before.producer_name, before.producer_version
        del after.metadata_props[:]
        after.metadata_props.extend(before.metadata_props)
        passes = Sequential(
            common.TopologicalSortPass(), common.RemoveUnusedNodesPass(), common.RemoveUnusedOpsetsPass()
        )
        model = Model(passes(onnx_ir.from_proto(after)).model)
        onnx.checker.check_model(model.to_proto())
    except (NotTheSameError, onnx.checker.ValidationError, onnx_ir.passes.PassError, ValueError) as error:
        raise ToolError(f"{what} gave no valid model: {first_line(error)}.", hint=_HINT) from error
    return model


def tool_failure(error: Exception, what: str) -> UnsupportedModelError:
    """The error for a quantizer that gave up on a model."""
    return UnsupportedModelError(f"{what} failed: {type(error).__name__}: {first_line(error)}.", hint=_HINT)
