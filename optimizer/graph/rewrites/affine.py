"""Products and sums by column fold into the layer before them.

    MatMul(x, W) * s                  ->  MatMul(x, W * s)
    Gemm(x, W, b) * s + t             ->  Gemm(x, W * s, b * s + t)
    Conv(x, W, b) * s + t             ->  Conv(x, W * s, b * s + t)       s, t by output channel
    ConvTranspose(x, W, b) * s + t    ->  the same, W's second axis
    LayerNormalization(x, g, b) * s + t  ->  LayerNormalization(x, g * s, b * s + t)

BatchNormalization behind a Dense layer arrives so, and no other tool folds it.
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

_LAYERS = ("Conv", "ConvTranspose", "Gemm", "InstanceNormalization", "LayerNormalization", "MatMul")


def _fold(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    layer, constant = _layer_and_constant(node)
    if layer is None or constant is None:
        return None
    weight, bias = array(layer.inputs[1]), array(layer.inputs[2]) if len(layer.inputs) > 2 else None
    if (
        weight is None
        or weight.dtype.kind in "iub"
        or (len(layer.inputs) > 2 and layer.inputs[2] is not None and bias is None)
    ):
        return None
    match layer.op_type:
        case "MatMul":
            return _fold_matmul(node, layer, constant, build) if weight.ndim == 2 else None
        case "Gemm":
            return _fold_gemm(node, layer, constant, build)
        case "Conv" | "ConvTranspose":
            return _fold_conv(node, layer, constant, build)
        case "LayerNormalization" | "InstanceNormalization":
            return _fold_norm(node, layer, constant, build)
    return None


def _layer_and_constant(node: ir.Node) -> tuple[ir.Node | None, Array | None]:
    pairs = [(node.inputs[0], node.inputs[1])]
    if node.op_type in ("Add", "Mul"):
        pairs.append((node.inputs[1], node.inputs[0]))
    for value, other in pairs:
        layer = value.producer() if value is not None else None
        constant = array(other)
        if layer is None or constant is None or layer.domain not in STANDARD_DOMAINS:
            continue
        if layer.op_type in _LAYERS and single_use(layer.outputs[0]):
            return layer, constant
    return None, None


def _by_channel(constant: Array, channels: int, rank: int, axis: int) -> Array | None:
    """A constant as one number a channel, or None where it varies along another axis."""
    padded = (1,) * (rank - constant.ndim) + constant.shape
    wanted = tuple(channels if number == axis else 1 for number in range(rank))
    if constant.size == 1 and len(padded) == rank:
        return np.full(channels, constant.item(), constant.dtype)
    return constant.reshape(channels) if padded == wanted else None


def _fold_matmul(node: ir.Node, layer: ir.Node, constant: Array, build: Builder) -> Sequence[ir.Value] | None:
    weight, sizes = array(layer.inputs[1]), shape(layer.outputs[0])
    if weight is None or sizes is None or node.op_type not in ("Mul", "Div"):
        return None  # a sum needs a Gemm, which ONNX Runtime makes itself
    scale = _by_channel(constant, weight.shape[1], len(sizes), len(sizes) - 1)
    if scale is None:
        return None
    folded = weight * scale if node.op_type == "Mul" else weight / scale  # [in, out]
    return [build("MatMul", layer.inputs[0], build.constant(folded))]


def _fold_gemm(node: ir.Node, layer: ir.Node, constant: Array, build: Builder) -> Sequence[ir.Value] | None:
    weight = array(layer.inputs[1])
    if weight is None or not is_plain_gemm(layer):
        return None
    across = attribute(layer, "transB", 0) == 1
    channels = weight.shape[0 if across else 1]
    change = _by_channel(constant, channels, 2, 1)
    given = array(layer.inputs[2]) if len(layer.inputs) > 2 else None
    bias = np.zeros(channels, weight.dtype) if given is None else _by_channel(given, channels, 2, 1)
    if change is None or bias is None:
        return None
    folded, bias = _changed(node.op_type, (weight, bias), (change[:, None] if across else change, change))
    new = build("Gemm", layer.inputs[0], build.constant(folded), build.constant(bias), **attributes_of(layer))
    return [new]


def _fold_conv(node: ir.Node, layer: ir.Node, constant: Array, build: Builder) -> Sequence[ir.Value] | None:
    weight = array(layer.inputs[1])
    if weight is None:
        return None
    group = attribute(layer, "group", 1)
    transposed = layer.op_type == "ConvTranspose"
    channels = weight.shape[1] * group if transposed else weight.shape[0]
    change = _by_channel(constant, channels, weight.ndim, 1)
    given = array(layer.inputs[2]) if len(layer.inputs) > 2 else None
    if change is None:
        return None
    bias = np.zeros(channels, weight.dtype) if given is None else given
    wide = change.reshape((channels,) + (1,) * (weight.ndim - 1))
    if transposed:  # [in, out / group, ...]
        by_group = change.reshape(group, 1, weight.shape[1]).repeat(weight.shape[0] // group, axis=1)
        wide = by_group.reshape(weight.shape[:2] + (1,) * (weight.ndim - 2))
    folded, bias = _changed(node.op_type, (weight, bias), (wide, change))
    inputs = (layer.inputs[0], build.constant(folded), build.constant(bias))
    return [build(layer.op_type, *inputs, **attributes_of(layer))]


def _fold_norm(node: ir.Node, layer: ir.Node, constant: Array, build: Builder) -> Sequence[ir.Value] | None:
    """Gamma and beta of a norm: along the last axis, or by channel."""
    gamma, sizes = array(layer.inputs[1]), shape(layer.outputs[0])
    if gamma is None or sizes is None or gamma.ndim != 1 or len(layer.outputs) > 1:
        return None
    axis = len(sizes) - 1 if layer.op_type == "LayerNormalization" else 1
    change = _by_channel(constant, gamma.size, len(sizes), axis)
    given = array(layer.inputs[2]) if len(layer.inputs) > 2 else None
    if change is None:
        return None
    beta = np.zeros(gamma.size, gamma.dtype) if given is None else given
    weights = _changed(node.op_type, (gamma, beta), (change, change))
    return [build(layer.op_type, layer.inputs[0], *map(build.constant, weights), **attributes_of(layer))]


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


FOLD_AFFINE = Rewrite("fold_affine", frozenset({"Add", "Div", "Mul", "Sub"}), _fold)
