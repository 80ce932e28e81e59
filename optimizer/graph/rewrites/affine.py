"""Products and sums by column fold into the layer before them.

    MatMul(x, W) * s                  ->  MatMul(x, W * s)
    Gemm(x, W, b) * s + t             ->  Gemm(x, W * s, b * s + t)
    Conv(x, W, b) * s + t             ->  Conv(x, W * s, b * s + t)       s, t by output channel
    ConvTranspose(x, W, b) * s + t    ->  the same, W's second axis
    LayerNormalization(x, g, b) * s + t  ->  LayerNormalization(x, g * s, b * s + t)
    BatchNormalization(layer, g, b, m, v)  ->  layer * s + t      s = g / sqrt(v + epsilon), t = b - m s

BatchNormalization behind a Dense layer arrives as a product and a sum, and no other tool folds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.graph.match import array
from optimizer.graph.rewriter import Builder, Rewrite, attribute, attributes_of, is_plain_gemm, single_use
from optimizer.graph.sizes import shape
from optimizer.graph.structure import STANDARD_DOMAINS

if TYPE_CHECKING:
    import onnx_ir as ir

Array = NDArray[Any]
Changes = Sequence[tuple[str, Array]]
"""Operators by element, one behind the other, with their constants."""

_LAYERS = ("Conv", "ConvTranspose", "Gemm", "InstanceNormalization", "LayerNormalization", "MatMul")


def _fold(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    layer, changes = _of_batch_normalization(node) or _layer_and_change(node)
    if layer is None or not changes:
        return None
    weight, bias = array(layer.inputs[1]), array(layer.inputs[2]) if len(layer.inputs) > 2 else None
    if (
        weight is None
        or weight.dtype.kind in "iub"
        or (len(layer.inputs) > 2 and layer.inputs[2] is not None and bias is None)
    ):
        return None
    folded = _folded(layer, changes, build)
    new = folded[0].producer() if folded else None
    while new is not None and new.op_type != layer.op_type:
        new = new.inputs[0].producer() if new.inputs[0] is not None else None
    if new is not None:
        new.name = layer.name or f"{layer.op_type}_{layer.outputs[0].name}"  # by which a user may name it
    return folded


def _folded(layer: ir.Node, changes: Changes, build: Builder) -> Sequence[ir.Value] | None:
    match layer.op_type:
        case "MatMul":
            weight = array(layer.inputs[1])
            return _fold_matmul(layer, changes, build) if weight is not None and weight.ndim == 2 else None
        case "Gemm":
            return _fold_gemm(layer, changes, build)
        case "Conv" | "ConvTranspose":
            return _fold_conv(layer, changes, build)
        case "LayerNormalization" | "InstanceNormalization":
            return _fold_norm(layer, changes, build)
    return None


def _layer_of(value: ir.Value | None) -> ir.Node | None:
    """The layer that a value comes from, where nothing else reads it."""
    layer = value.producer() if value is not None else None
    if layer is None or layer.domain not in STANDARD_DOMAINS or layer.op_type not in _LAYERS:
        return None
    return layer if single_use(layer.outputs[0]) else None


def _layer_and_change(node: ir.Node) -> tuple[ir.Node | None, Changes]:
    if len(node.inputs) != 2:
        return None, []
    pairs = [(node.inputs[0], node.inputs[1])]
    if node.op_type in ("Add", "Mul"):
        pairs.append((node.inputs[1], node.inputs[0]))
    for value, other in pairs:
        layer, constant = _layer_of(value), array(other)
        if layer is not None and constant is not None:
            return layer, [(node.op_type, constant)]
    return None, []


def _of_batch_normalization(node: ir.Node) -> tuple[ir.Node, Changes] | None:
    """The layer in front of a BatchNormalization, and its product and sum by the second axis."""
    if node.op_type != "BatchNormalization" or attribute(node, "training_mode", 0):
        return None
    layer, sizes = _layer_of(node.inputs[0]), shape(node.outputs[0])
    known = [array(value) for value in node.inputs[1:5]]
    parameters = [each.astype(np.float64) for each in known if each is not None]
    if layer is None or sizes is None or len(parameters) < 4 or any(each.uses() for each in node.outputs[1:]):
        return None
    gamma, beta, mean, variance = parameters
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    scale = gamma / np.sqrt(variance + epsilon)
    changes = [("Mul", scale), ("Add", beta - mean * scale)]
    kind = np.asarray(known[0]).dtype
    wide = (-1,) + (1,) * (len(sizes) - 2)
    return layer, [(op_type, change.reshape(wide).astype(kind)) for op_type, change in changes]


def _by_channel(constant: Array, channels: int, rank: int, axis: int) -> Array | None:
    """A constant as one number a channel, or None where it varies along another axis."""
    padded = (1,) * (rank - constant.ndim) + constant.shape
    wanted = tuple(channels if number == axis else 1 for number in range(rank))
    if constant.size == 1 and len(padded) == rank:
        return np.full(channels, constant.item(), constant.dtype)
    return constant.reshape(channels) if padded == wanted else None


def _fold_matmul(layer: ir.Node, changes: Changes, build: Builder) -> Sequence[ir.Value] | None:
    weight, sizes = array(layer.inputs[1]), shape(layer.outputs[0])
    (op_type, constant), *sums = changes
    if weight is None or sizes is None or op_type not in ("Mul", "Div"):
        return None  # a sum needs a Gemm, which ONNX Runtime makes itself
    scale = _by_channel(constant, weight.shape[1], len(sizes), len(sizes) - 1)
    if scale is None:
        return None
    folded = weight * scale if op_type == "Mul" else weight / scale  # [in, out]
    value = build("MatMul", layer.inputs[0], build.constant(folded))
    for op_type, constant in sums:
        value = build(op_type, value, build.constant(constant))
    return [value]


def _fold_gemm(layer: ir.Node, changes: Changes, build: Builder) -> Sequence[ir.Value] | None:
    weight = array(layer.inputs[1])
    if weight is None or not is_plain_gemm(layer):
        return None
    across = attribute(layer, "transB", 0) == 1
    channels = weight.shape[0 if across else 1]
    given = array(layer.inputs[2]) if len(layer.inputs) > 2 else None
    bias = np.zeros(channels, weight.dtype) if given is None else _by_channel(given, channels, 2, 1)
    if bias is None:
        return None
    for op_type, constant in changes:
        change = _by_channel(constant, channels, 2, 1)
        if change is None:
            return None
        weight, bias = _changed(op_type, (weight, bias), (change[:, None] if across else change, change))
    inputs = (layer.inputs[0], build.constant(weight), build.constant(bias))
    return [build("Gemm", *inputs, **attributes_of(layer))]


def _fold_conv(layer: ir.Node, changes: Changes, build: Builder) -> Sequence[ir.Value] | None:
    weight = array(layer.inputs[1])
    if weight is None:
        return None
    group = attribute(layer, "group", 1)
    transposed = layer.op_type == "ConvTranspose"
    channels = weight.shape[1] * group if transposed else weight.shape[0]
    given = array(layer.inputs[2]) if len(layer.inputs) > 2 else None
    bias = np.zeros(channels, weight.dtype) if given is None else given
    for op_type, constant in changes:
        change = _by_channel(constant, channels, weight.ndim, 1)
        if change is None:
            return None
        wide = change.reshape((channels,) + (1,) * (weight.ndim - 1))
        if transposed:  # [in, out / group, ...]
            by_group = change.reshape(group, 1, weight.shape[1]).repeat(weight.shape[0] // group, axis=1)
            wide = by_group.reshape(weight.shape[:2] + (1,) * (weight.ndim - 2))
        weight, bias = _changed(op_type, (weight, bias), (wide, change))
    inputs = (layer.inputs[0], build.constant(weight), build.constant(bias))
    return [build(layer.op_type, *inputs, **attributes_of(layer))]


def _fold_norm(layer: ir.Node, changes: Changes, build: Builder) -> Sequence[ir.Value] | None:
    """Gamma and beta of a norm: along the last axis, or by channel."""
    gamma, sizes = array(layer.inputs[1]), shape(layer.outputs[0])
    if gamma is None or sizes is None or gamma.ndim != 1 or len(layer.outputs) > 1:
        return None
    axis = len(sizes) - 1 if layer.op_type == "LayerNormalization" else 1
    given = array(layer.inputs[2]) if len(layer.inputs) > 2 else None
    beta = np.zeros(gamma.size, gamma.dtype) if given is None else given
    for op_type, constant in changes:
        change = _by_channel(constant, gamma.size, len(sizes), axis)
        if change is None:
            return None
        gamma, beta = _changed(op_type, (gamma, beta), (change, change))
    weights = map(build.constant, (gamma, beta))
    return [build(layer.op_type, layer.inputs[0], *weights, **attributes_of(layer))]


def _changed(op_type: str, old: tuple[Array, Array], change: tuple[Array, Array]) -> tuple[Array, Array]:
    """Weight and bias after one of the four operations."""
    weight, bias = old
    match op_type:
        case "Mul":
            return weight * change[0], bias * change[1]
        case "Div":
            return weight / change[0], bias / change[1]
        case "Add":
            return weight, bias + change[1]
    return weight, bias - change[1]


FOLD_AFFINE = Rewrite("fold_affine", frozenset({"Add", "BatchNormalization", "Div", "Mul", "Sub"}), _fold)
