"""Finds the products of activations that are rounded at each call, in a converted graph.

    Keras   q = round(x * s),  s = 127 / (max|x| + eps) by row;   y = (q @ W) / (s * w)
    TFLite  q, t, z = DynamicQuantizeLinear(x);                   y = (t * (q - z)) @ (W / w)

where W is constant and int8, and @ Keras' MatMulInteger, or the MatMul that TFLite's hybrid operators are
converted to. Moves (Transpose, Reshape, ...) may stand before and behind Keras' product: they are what is
left of an einsum.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from optimizer.convert.quantized.graph_lookup import MOVES, Lookup


@dataclass(frozen=True)
class Product:
    """A product of activations that were rounded to int8 with constant int8 weights."""

    matmul: onnx.NodeProto
    weights: NDArray[Any]
    rounded: str
    """The activations, rounded but not yet cast to int8."""
    moves: tuple[onnx.NodeProto, ...]
    """Between the cast to int8 and the product, in order."""


@dataclass(frozen=True)
class Scaled:
    """A product, and the division behind it by the scales of activations and weights."""

    product: Product
    source: str
    """The activations before they were rounded."""
    moves: tuple[onnx.NodeProto, ...]
    """Between the product and the division, in order."""
    weight_scale: NDArray[Any]
    """Integer steps in a real unit, shaped as the division takes it."""
    result: str


def find_product(node: onnx.NodeProto, lookup: Lookup) -> Product | None:
    """The product that a node is; None where it is another node."""
    if node.op_type != "MatMulInteger" or any(_may_offset(name, lookup) for name in node.input[2:]):
        return None
    weights = _weights(node.input[1], lookup)
    moves, value = _moves_up(node.input[0], lookup)
    cast = lookup.producer(value, "Cast")
    if weights is None or weights.dtype != np.int8 or cast is None or not _casts_to(cast, TensorProto.INT8):
        return None
    return Product(node, weights, cast.input[0], moves)


def find_division(product: Product, lookup: Lookup) -> Scaled | None:
    """The product with the division behind it; None where it goes on otherwise, or not in float32."""
    source, scale = next(_rounding(product.rounded, lookup), ("", ""))
    moves: list[onnx.NodeProto] = []
    is_float, value = False, product.matmul.output[0]
    while source and (node := lookup.only_consumer(value)) is not None and node.input[0] == value:
        if node.op_type in MOVES:
            moves.append(node)
        elif node.op_type == "Cast" and not is_float and _casts_to(node, TensorProto.FLOAT):
            is_float = True
        elif node.op_type == "Div" and is_float:
            weight_scale = _weight_scale(node.input[1], scale, lookup)
            if weight_scale is None:
                return None
            return Scaled(product, source, tuple(moves), weight_scale, node.output[0])
        else:
            return None
        value = node.output[0]
    return None


def find_hybrid(node: onnx.NodeProto, lookup: Lookup) -> Scaled | None:
    """TFLite's product with itself as its end; None where a node is another one."""
    if node.op_type != "MatMul":
        return None
    activations = lookup.producer(node.input[0], "DequantizeLinear")
    weights = lookup.producer(node.input[1], "DequantizeLinear")
    if activations is None or weights is None or len(weights.input) < 3:
        return None
    rounding = lookup.producer(activations.input[0], "DynamicQuantizeLinear")
    values, scale = lookup.constant(weights.input[0]), lookup.constant(weights.input[1])
    if rounding is None or values is None or values.dtype != np.int8 or values.ndim != 2 or scale is None:
        return None
    by_column = scale.size == 1 or [a.i % 2 for a in weights.attribute if a.name == "axis"] in ([], [1])
    if not by_column or _may_offset(weights.input[2], lookup):
        return None
    product = Product(node, values, activations.input[0], ())
    return Scaled(product, rounding.input[0], (), np.reciprocal(scale.reshape(-1)), node.output[0])


def _may_offset(zero_point: str, lookup: Lookup) -> bool:
    value = lookup.constant(zero_point)
    return bool(zero_point) and (value is None or bool(value.any()))


def _weights(name: str, lookup: Lookup) -> NDArray[Any] | None:
    """The constant, transposed where that is done at each call, as with one table for two layers."""
    transpose = lookup.producer(name, "Transpose")
    if transpose is None:
        return lookup.constant(name)
    weights = lookup.constant(transpose.input[0])
    order = [list(a.ints) for a in transpose.attribute if a.name == "perm"]
    return None if weights is None else weights.transpose(*order)


def _moves_up(value: str, lookup: Lookup) -> tuple[tuple[onnx.NodeProto, ...], str]:
    """The moves that made a value, in order, and the value before them."""
    moves: list[onnx.NodeProto] = []
    while (move := lookup.producer(value, *MOVES)) is not None:
        moves.insert(0, move)
        value = move.input[0]
    return tuple(moves), value


def _casts_to(node: onnx.NodeProto, dtype: int) -> bool:
    return any(a.name == "to" and a.i == dtype for a in node.attribute)


def _rounding(value: str, lookup: Lookup) -> Iterator[tuple[str, str]]:
    """x and s where a value is round(x * s), clipped or not, with s = 127 / (max|x| + eps)."""
    while (clip := lookup.producer(value, "Min", "Max", "Clip")) is not None:
        value = next((name for name in clip.input if name not in lookup.constants), "")
    rounding = lookup.producer(value, "Round")
    times = lookup.producer(rounding.input[0], "Mul") if rounding is not None else None
    for source, scale in _both_ways(times):
        quotient = lookup.producer(scale, "Div")
        if quotient is not None and _largest_of(quotient.input[1], lookup) == source:
            yield source, scale


def _largest_of(value: str, lookup: Lookup) -> str | None:
    """x where a value is max|x| + eps."""
    for largest, epsilon in _both_ways(lookup.producer(value, "Add")):
        maximum = lookup.producer(largest, "ReduceMax", "GlobalMaxPool")
        absolute = lookup.producer(maximum.input[0], "Abs") if maximum is not None else None
        if absolute is not None and epsilon in lookup.constants:
            return str(absolute.input[0])
    return None


def _weight_scale(divisor: str, scale: str, lookup: Lookup) -> NDArray[Any] | None:
    """w where a divisor is s * w."""
    for ours, theirs in _both_ways(lookup.producer(divisor, "Mul")):
        if _moves_up(ours, lookup)[1] == scale and theirs in lookup.constants:
            return lookup.constant(theirs)
    return None


def _both_ways(node: onnx.NodeProto | None) -> Iterator[tuple[str, str]]:
    """The operands of a commutative operator in both orders."""
    if node is not None and len(node.input) == 2:
        yield node.input[0], node.input[1]
        yield node.input[1], node.input[0]
