"""Padding as part of the convolution or pool behind it.

    move(Pad(x))                       ->  Pad'(move(x))             so that a Pad meets its convolution
    Conv(Pad(x, 0), pads)              ->  Conv(x, pads + Pad's)
    AveragePool(Pad(x, 0))             ->  AveragePool(x, pads, count_include_pad = 1)
    MaxPool(Pad(x, -inf))              ->  MaxPool(x, pads)
    MaxPool(Pad(x, 0)), x >= 0         ->  MaxPool(x, pads)          behind Relu, Sigmoid, Clip from 0, ...

A pool's own padding never wins, and each of its windows holds a real element as long as the padding is
smaller than the window; so zeros may go where nothing is smaller. An average counts Pad's zeros, but not its
own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from optimizer.graph.infer_sizes import axes_of
from optimizer.graph.layout import is_move
from optimizer.graph.match import array, is_standard
from optimizer.graph.rewriter import (
    Builder,
    LeftAsItIs,
    Rewrite,
    attribute,
    attributes_of,
    automatic_padding,
    single_use,
)
from optimizer.graph.sizes import order_of, shape

if TYPE_CHECKING:
    import onnx_ir as ir

Pads = list[tuple[int, int]]
"""Of each axis, before and after."""

_LAYERS = frozenset({"AveragePool", "Conv", "MaxPool"})
_NEVER_NEGATIVE = frozenset({"Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt"})


def _pad_above(value: ir.Value | None) -> ir.Node | None:
    """The Pad that a value comes from."""
    node = value.producer() if value is not None else None
    return node if node is not None and is_standard(node, "Pad") else None


def _serves_layers_alone(pad: ir.Node) -> bool:
    """Whether a Pad goes once each of the layers behind it pads by itself."""
    value = pad.outputs[0]
    return not value.is_graph_output() and all(use.node.op_type in _LAYERS for use in value.uses())


def _pads(node: ir.Node) -> Pads | None:
    """What a Pad adds; None where it is computed, takes away, or is an attribute (before operator set 11)."""
    if len(node.inputs) < 2:
        return None
    rank, ends = len(shape(node.inputs[0]) or ()), array(node.inputs[1])
    chosen = array(node.inputs[3]) if len(node.inputs) > 3 and node.inputs[3] is not None else np.arange(rank)
    if ends is None or chosen is None or not rank or (ends < 0).any() or ends.size != 2 * chosen.size:
        return None
    pads = [(0, 0)] * rank
    for place, axis in enumerate(chosen.ravel()):
        pads[int(axis) % rank] = int(ends[place]), int(ends[place + chosen.size])
    return pads


def _fill(node: ir.Node) -> float | None:
    """The constant that a Pad adds; None in other modes, or where it is computed."""
    mode = node.attributes["mode"].as_string() if "mode" in node.attributes else "constant"
    if mode != "constant":
        return None
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return 0.0
    given = array(node.inputs[2])
    return None if given is None else float(given.item())


def _sink(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    pad = _pad_above(node.inputs[0])
    pads = _pads(pad) if pad is not None else None
    if pad is None or pads is None or not single_use(pad.outputs[0]) or not _is_of_use(node, pad):
        return None
    match node.op_type:
        case "Transpose":
            moved = [pads[axis] for axis in order_of(node)]
        case "Squeeze":
            axes = axes_of(node)
            if axes is None or any(pads[axis] != (0, 0) for axis in axes):
                return None
            moved = [each for axis, each in enumerate(pads) if axis not in axes]
        case _:
            axes = axes_of(node)
            if axes is None:
                return None
            rest = iter(pads)
            moved = [(0, 0) if axis in axes else next(rest) for axis in range(len(pads) + len(axes))]
    inside = build(node.op_type, pad.inputs[0], *node.inputs[1:], **attributes_of(node))
    ends = [*(before for before, _ in moved), *(after for _, after in moved)]
    fill = [pad.inputs[2]] if len(pad.inputs) > 2 else []
    return [build("Pad", inside, build.constant(ends), *fill, **attributes_of(pad))]


def _is_of_use(node: ir.Node, pad: ir.Node) -> bool:
    """Whether a move stands before the Pad, or a layer that pads behind the moves."""
    source = pad.inputs[0].producer() if pad.inputs[0] is not None else None
    if is_move(source):
        return True
    while is_move(node) and node.outputs[0].uses():
        users = [use.node for use in node.outputs[0].uses()]
        if all(user.op_type in _LAYERS for user in users):
            return True
        if len(users) > 1:
            return False
        node = users[0]
    return False


def _fold(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    pad = _pad_above(node.inputs[0])
    pads, fill = (_pads(pad), _fill(pad)) if pad is not None else (None, None)
    if pad is None or pads is None or fill is None or len(node.outputs) > 1 or not _serves_layers_alone(pad):
        return None
    if any(each != (0, 0) for each in pads[:2]) or len(pads) < 3 or attribute(node, "ceil_mode", 0):
        return None
    attributes = dict(attributes_of(node))
    automatic = automatic_padding(node)
    if automatic not in ("NOTSET", "VALID"):
        return None
    own = [0] * (2 * len(pads) - 4)
    if automatic == "NOTSET":
        own = attributes.get("pads", own)
    if node.op_type == "Conv":
        if fill != 0:
            return None
    elif not _pool_allows(node, pad, fill, any(own)):
        return None
    added = [*(before for before, _ in pads[2:]), *(after for _, after in pads[2:])]
    total = [int(old) + new for old, new in zip(own, added, strict=True)]
    if node.op_type != "Conv" and any(
        end >= size for end, size in zip(total, list(attributes["kernel_shape"]) * 2, strict=True)
    ):
        return None  # a window of padding alone
    attributes |= {"pads": total, "auto_pad": "NOTSET"}
    if node.op_type == "AveragePool":
        attributes["count_include_pad"] = 1
    return [build(node.op_type, pad.inputs[0], *node.inputs[1:], **attributes)]


def _pool_allows(node: ir.Node, pad: ir.Node, fill: float, pads_itself: bool) -> bool:
    if any(step != 1 for step in attributes_of(node).get("dilations", [1])):
        return False
    if node.op_type == "AveragePool":
        return fill == 0 and (not pads_itself or attribute(node, "count_include_pad", 0) == 1)
    if fill == -np.inf:
        return True
    if fill != 0:
        return False
    if not _is_never_negative(pad.inputs[0]):
        raise LeftAsItIs("the zeros of a Pad may be larger than what is pooled")
    return True


def _is_never_negative(value: ir.Value | None) -> bool:
    node = value.producer() if value is not None else None
    while node is not None and (is_move(node) or node.op_type in ("MaxPool", "AveragePool", "Identity")):
        node = node.inputs[0].producer() if node.inputs[0] is not None else None
    if node is None:
        return False
    if is_standard(node, "Clip"):
        lowest = array(node.inputs[1]) if len(node.inputs) > 1 else None
        return lowest is not None and bool(lowest.item() >= 0)
    return node.op_type in _NEVER_NEGATIVE and is_standard(node, node.op_type)


SINK_PAD = Rewrite("sink_pad", frozenset({"Squeeze", "Transpose", "Unsqueeze"}), _sink)
FOLD_PAD = Rewrite("fold_pad", _LAYERS, _fold)
