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
Folded = tuple["ir.Value", Changes]
"""What the new layer gives, and what is still to be done to that."""


def _fold(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    layer, changes = _of_batch_normalization(node) or _layer_and_change(node)
    parameters = _parameters(layer) if layer is not None and changes else None
    if layer is None or parameters is None:
        return None
    folded = _FOLDS[layer.op_type](layer, *parameters, changes, build)
    if folded is None:
        return None
    value, left = folded
    new = value.producer()
    if new is not None:
        new.name = layer.name or f"{layer.op_type}_{layer.outputs[0].name}"  # by which a user may name it
    for op_type, constant in left:
        value = build(op_type, value, build.constant(constant))
    return [value]


def _parameters(layer: ir.Node) -> tuple[Array, Array | None] | None:
    """Weight and bias of a layer; None where one of them is not known."""
    weight, given = array(layer.inputs[1]), layer.inputs[2] if len(layer.inputs) > 2 else None
    bias = array(given)
    if weight is None or weight.dtype.kind in "iub" or (given is not None and bias is None):
        return None
    return weight, bias


def _layer_of(value: ir.Value | None) -> ir.Node | None:
    """The layer that a value comes from, where nothing else reads it."""
    layer = value.producer() if value is not None else None
    if layer is None or layer.domain not in STANDARD_DOMAINS or layer.op_type not in _FOLDS:
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


def _fold_matmul(
    layer: ir.Node, weight: Array, _: Array | None, changes: Changes, build: Builder
) -> Folded | None:
    sizes = shape(layer.outputs[0])
    (op_type, constant), *sums = changes
    if weight.ndim != 2 or sizes is None or op_type not in ("Mul", "Div"):
        return None  # a sum needs a Gemm, which ONNX Runtime makes itself
    scale = _by_channel(constant, weight.shape[1], len(sizes), len(sizes) - 1)
    if scale is None:
        return None
    folded = weight * scale if op_type == "Mul" else weight / scale  # [in, out]
    return build("MatMul", layer.inputs[0], build.constant(folded)), sums


def _fold_gemm(
    layer: ir.Node, weight: Array, given: Array | None, changes: Changes, build: Builder
) -> Folded | None:
    across = attribute(layer, "transB", 0) == 1
    channels = weight.shape[0 if across else 1]
    bias = np.zeros(channels, weight.dtype) if given is None else _by_channel(given, channels, 2, 1)
    if bias is None or not is_plain_gemm(layer):
        return None
    for op_type, constant in changes:
        change = _by_channel(constant, channels, 2, 1)
        if change is None:
            return None
        weight, bias = _changed(op_type, (weight, bias), (change[:, None] if across else change, change))
    return _rebuilt(layer, weight, bias, build), ()


def _fold_conv(
    layer: ir.Node, weight: Array, bias: Array | None, changes: Changes, build: Builder
) -> Folded | None:
    group = attribute(layer, "group", 1)
    transposed = layer.op_type == "ConvTranspose"
    channels = weight.shape[1] * group if transposed else weight.shape[0]
    bias = np.zeros(channels, weight.dtype) if bias is None else bias
    for op_type, constant in changes:
        change = _by_channel(constant, channels, weight.ndim, 1)
        if change is None:
            return None
        wide = change.reshape((channels,) + (1,) * (weight.ndim - 1))
        if transposed:  # [in, out / group, ...]
            by_group = change.reshape(group, 1, weight.shape[1]).repeat(weight.shape[0] // group, axis=1)
            wide = by_group.reshape(weight.shape[:2] + (1,) * (weight.ndim - 2))
        weight, bias = _changed(op_type, (weight, bias), (wide, change))
    return _rebuilt(layer, weight, bias, build), ()


def _fold_norm(
    layer: ir.Node, gamma: Array, beta: Array | None, changes: Changes, build: Builder
) -> Folded | None:
    """Gamma and beta of a norm: along the last axis, or by channel."""
    sizes = shape(layer.outputs[0])
    if sizes is None or gamma.ndim != 1 or len(layer.outputs) > 1:
        return None
    axis = len(sizes) - 1 if layer.op_type == "LayerNormalization" else 1
    beta = np.zeros(gamma.size, gamma.dtype) if beta is None else beta
    for op_type, constant in changes:
        change = _by_channel(constant, gamma.size, len(sizes), axis)
        if change is None:
            return None
        gamma, beta = _changed(op_type, (gamma, beta), (change, change))
    return _rebuilt(layer, gamma, beta, build), ()


def _rebuilt(layer: ir.Node, weight: Array, bias: Array, build: Builder) -> ir.Value:
    parameters = map(build.constant, (weight, bias))
    return build(layer.op_type, layer.inputs[0], *parameters, **attributes_of(layer))


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


_FOLDS = {
    "Conv": _fold_conv,
    "ConvTranspose": _fold_conv,
    "Gemm": _fold_gemm,
    "InstanceNormalization": _fold_norm,
    "LayerNormalization": _fold_norm,
    "MatMul": _fold_matmul,
}

FOLD_AFFINE = Rewrite("fold_affine", frozenset({"Add", "BatchNormalization", "Div", "Mul", "Sub"}), _fold)
