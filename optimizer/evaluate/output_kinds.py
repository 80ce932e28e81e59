"""Finds what each output means from the operator that ends in it: class scores, yes/no scores, or neither.

Softmax and LogSoftmax over the output's last axis are class scores (argmax), Sigmoid and HardSigmoid are
yes/no scores (side of 0.5). Operators that only move, reshape or re-type values are looked through.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from optimizer.model import Model

if TYPE_CHECKING:
    import onnx_ir

Kind = Literal["softmax", "sigmoid", "other"]

_KEEPS_VALUES = {
    "Cast",
    "DequantizeLinear",
    "Flatten",
    "Identity",
    "QuantizeLinear",
    "Reshape",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}


def output_kinds(model: Model) -> dict[str, Kind]:
    """What each output of a model means.

    Returns:
        "softmax", "sigmoid" or "other" per output name, in the model's order.
    """
    return {str(value.name): _kind(value) for value in model.graph_ir.graph.outputs}


def declared_kinds(kinds: Mapping[str, Kind], metric: str) -> dict[str, Kind]:
    """The kinds, where a class metric declares a single output of unknown kind to be class scores.

    >>> declared_kinds({"logits": "other"}, "top-1")
    {'logits': 'softmax'}
    """
    if metric in ("top-1", "top-5") and list(kinds.values()) == ["other"]:
        return dict.fromkeys(kinds, "softmax")
    return dict(kinds)


def _kind(value: onnx_ir.Value) -> Kind:
    axis: int | None = None if value.shape is None else len(value.shape) - 1
    # The axis of `value` that became the output's last one; None where that cannot be followed.
    while (node := value.producer()) is not None:
        if node.op_type in ("Sigmoid", "HardSigmoid"):
            return "sigmoid"
        if node.op_type in ("Softmax", "LogSoftmax"):
            return "softmax" if _is_over(node, value, axis) else "other"
        source = node.inputs[0] if node.inputs else None
        if node.op_type not in _KEEPS_VALUES or source is None:
            return "other"
        axis = _axis_before(node, source, value, axis)
        value = source
    return "other"


def _is_over(node: onnx_ir.Node, value: onnx_ir.Value, axis: int | None) -> bool:
    """Whether a Softmax runs over this axis of its output."""
    version = node.version or 17
    over = node.attributes.get_int("axis", -1 if version >= 13 else 1)
    rank = None if value.shape is None else len(value.shape)
    if rank is None:
        return over == -1 and axis is None
    return axis is not None and over % rank == axis


def _axis_before(
    node: onnx_ir.Node, source: onnx_ir.Value, value: onnx_ir.Value, axis: int | None
) -> int | None:
    """Which axis of a node's input this axis of its output was."""
    if node.op_type in ("Cast", "Identity", "QuantizeLinear", "DequantizeLinear"):
        return axis
    if source.shape is None or value.shape is None or axis is None:
        return None
    rank = len(source.shape)
    if node.op_type == "Transpose":
        order = node.attributes.get_ints("perm", tuple(reversed(range(rank))))
        return order[axis]
    # Reshapes keep the last axis where its size is the same, number or name.
    last = axis == len(value.shape) - 1 and rank > 0
    return rank - 1 if last and source.shape[-1] == value.shape[-1] else None


__all__ = ["Kind", "declared_kinds", "output_kinds"]
