"""What stands around a recurrent operator: states of zeros at its start, its last output at its end.

LSTM(x, ..., zeros, zeros)           ->  LSTM(x, ...)
Slice(Squeeze(Y, 1), -1)             ->  Y_h
Slice(Y_h, -1)                       ->  Y_h
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from optimizer.graph.match import array, is_standard
from optimizer.graph.rewriter import Builder, Rewrite, attributes_of
from optimizer.graph.sizes import fixed
from optimizer.graph.structure import STANDARD_DOMAINS

if TYPE_CHECKING:
    import onnx_ir as ir

_STATES = {"GRU": (5,), "LSTM": (5, 6), "RNN": (5,)}
_MOVES = ("Cast", "Expand", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze", "Tile")
_FROM_END = np.iinfo(np.int32).max


def is_zeros(value: ir.Value | None) -> bool:
    """Whether a value is zero everywhere: a constant, one repeated, or ConstantOfShape."""
    while value is not None:
        known = array(value)
        if known is not None:
            return not known.any()
        node = value.producer()
        if node is None or node.domain not in STANDARD_DOMAINS:
            return False
        if node.op_type == "ConstantOfShape":
            return "value" not in node.attributes or not node.attributes["value"].as_tensor().numpy().any()
        if node.op_type not in _MOVES:
            return False
        value = node.inputs[0]
    return False


def _drop(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    inputs = list(node.inputs)
    places = [place for place in _STATES[node.op_type] if place < len(inputs) and inputs[place] is not None]
    if not places or not all(is_zeros(inputs[place]) for place in places):
        return None
    for place in places:
        inputs[place] = None
    while inputs[-1] is None:
        inputs.pop()
    return build.several(node.op_type, len(node.outputs), *inputs, **attributes_of(node))


def _last(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    """Slice(Squeeze(Y, 1), -1:) along time of a forward operator, where every step counts."""
    if not is_last_slice(node) or node.inputs[0] is None:
        return None
    if fixed(node.inputs[0], 0) == 1:
        return [node.inputs[0]]
    squeeze = node.inputs[0].producer()
    if squeeze is None or not is_standard(squeeze, "Squeeze"):
        return None
    y = squeeze.inputs[0]
    layer = y.producer() if y is not None else None
    if layer is None or layer.op_type not in _STATES or layer.outputs[0] is not y:
        return None
    axes = array(squeeze.inputs[1]) if len(squeeze.inputs) > 1 else None
    forward = "direction" not in layer.attributes or layer.attributes["direction"].as_string() == "forward"
    whole = len(layer.inputs) < 5 or layer.inputs[4] is None
    plain = "layout" not in layer.attributes or layer.attributes["layout"].as_int() == 0
    if axes is None or axes.tolist() != [1] or not forward or not whole or not plain:
        return None
    if len(layer.outputs) > 1:
        layer.outputs[1].name = layer.outputs[1].name or f"{node.outputs[0].name}/state"
        return [layer.outputs[1]]  # [1, batch, hidden], as the Slice of [steps, batch, hidden]
    made = build.several(layer.op_type, 2, *layer.inputs, **attributes_of(layer))
    return [made[1]]


def is_last_slice(node: ir.Node) -> bool:
    """Whether a node is Slice(x, -1:) along axis 0."""
    bounds = [array(each) for each in node.inputs[1:]]
    if (
        not is_standard(node, "Slice")
        or len(bounds) < 3
        or any(each is None or each.size != 1 for each in bounds)
    ):
        return False
    start, end, axis, *step = (int(each.item()) for each in bounds if each is not None)
    return start == -1 and end >= _FROM_END and axis == 0 and step in ([], [1])


ELIMINATE_ZERO_STATES = Rewrite("eliminate_zero_states", frozenset(_STATES), _drop)
FOLD_LAST_STEP = Rewrite("fold_last_step_into_recurrence", frozenset({"Slice"}), _last)
