"""Two products in a row, with nothing between, are one.

    MatMul(MatMul(x, V), W)               ->  MatMul(x, V W)
    Gemm(Gemm(x, V, b), W, c)             ->  Gemm(x, V W, b W + c)
    Conv(Conv(x, V, b), W, c)             ->  Conv(x, W V, W b + c)       one of them 1x1

A 1x1 Conv with a bias goes into a Conv with padding only behind it: in front, the bias would be padded. The
product is taken only where its weight has no more elements than the two, so that neither file nor work grow:
a narrow layer between two wide ones stays. Sums are taken in another order, with fewer roundings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.graph.match import array
from optimizer.graph.rewriter import (
    Builder,
    LeftAsItIs,
    Rewrite,
    attribute,
    attributes_of,
    automatic_padding,
    single_use,
)
from optimizer.graph.rewrites.affine_forwards import LARGEST_SHIFT, LARGEST_SUM
from optimizer.graph.rewrites.rows import weight_and_bias
from optimizer.graph.structure import STANDARD_DOMAINS

if TYPE_CHECKING:
    import onnx_ir as ir

Array = NDArray[Any]
_DENSE = ("Gemm", "MatMul")


def _join(node: ir.Node, build: Builder) -> Sequence[ir.Value] | None:
    value = node.inputs[0]
    before = value.producer() if value is not None else None
    if value is None or before is None or before.domain not in STANDARD_DOMAINS or not single_use(value):
        return None
    first, last = _parameters(before), _parameters(node)
    if first is None or last is None:
        return None
    if before.op_type in _DENSE and node.op_type in _DENSE:
        _require_no_more(len(first[0]) * last[0].shape[1], first[0], last[0])
        weight, layer = np.matmul(first[0], last[0], dtype=np.float64), None
        by_input = last[0].T
    elif before.op_type == node.op_type == "Conv":
        joined = _joined_convolutions(before, node, first[0], last[0])
        if joined is None:
            return None
        weight, layer = joined
        by_input = last[0].sum(axis=tuple(range(2, last[0].ndim)), dtype=np.float64)  # [out, in]
    else:
        return None
    kind = np.asarray(array(node.inputs[1])).dtype
    bias = _joined_bias(node, first[1], last[1], by_input)
    constants = [build.constant(each.astype(kind)) for each in (weight, bias) if each is not None]
    if layer is not None:
        return [build("Conv", before.inputs[0], *constants, **attributes_of(layer))]
    return [build("MatMul" if bias is None else "Gemm", before.inputs[0], *constants)]


def _require_no_more(size: int, first: Array, last: Array) -> None:
    if size > first.size + last.size:
        raise LeftAsItIs("one product would be more work than the two")


def _parameters(layer: ir.Node) -> tuple[Array, Array | None] | None:
    """Weight, of a dense layer as [in, out], and bias in float64; None where they are not known."""
    if layer.op_type in _DENSE:
        weight, bias = weight_and_bias(layer) or (None, None)
        known = weight is not None and weight.ndim == 2
    elif layer.op_type != "Conv":
        return None
    else:
        weight, given = array(layer.inputs[1]), layer.inputs[2] if len(layer.inputs) > 2 else None
        bias = array(given)
        known = attribute(layer, "group", 1) == 1 and (given is None) == (bias is None)
    if weight is None or not known or weight.dtype not in (np.float32, np.float64):
        return None
    if bias is not None and layer.op_type != "Conv":
        bias = np.broadcast_to(bias, weight.shape[1:])
    return weight, None if bias is None else bias.astype(np.float64)


def _joined_convolutions(
    before: ir.Node, node: ir.Node, first: Array, last: Array
) -> tuple[Array, ir.Node] | None:
    """The weight of both, and whose strides and padding it has."""
    if _is_pointwise(before, first):
        _require_no_more(last.size // last.shape[1] * first.shape[1], first, last)
        return np.einsum("om...,mi->oi...", last, first.reshape(first.shape[:2]), dtype=np.float64), node
    if _is_pointwise(node, last):
        _require_no_more(len(last) * (first.size // len(first)), first, last)
        return np.einsum("om,mi...->oi...", last.reshape(last.shape[:2]), first, dtype=np.float64), before
    return None


def _is_pointwise(layer: ir.Node, weight: Array) -> bool:
    """Whether each element of the output comes from the one element at its place."""
    numbers = {
        name: layer.attributes[name].as_ints() for name in ("pads", "strides") if name in layer.attributes
    }
    moves = any(numbers.get("pads", ())) or any(stride != 1 for stride in numbers.get("strides", ()))
    return weight[:1, :1].size == 1 and not moves


def _joined_bias(node: ir.Node, first: Array | None, last: Array | None, by_input: Array) -> Array | None:
    """What the first bias becomes behind the last layer, and its own; `by_input` is [out, in]."""
    if first is None:
        return last
    if node.op_type == "Conv":
        pads = node.attributes["pads"].as_ints() if "pads" in node.attributes else ()
        if any(pads) or automatic_padding(node) not in ("NOTSET", "VALID"):
            raise LeftAsItIs("its padding has no bias")
    largest = np.abs(first).max(initial=0)
    if largest > LARGEST_SHIFT or np.abs(by_input * first).sum(axis=1).max(initial=0) > LARGEST_SUM:
        raise LeftAsItIs(f"a bias of {largest:.3g} would lose digits")
    bias: Array = by_input @ first + (0 if last is None else last)
    return bias


JOIN_PRODUCTS = Rewrite("join_products", frozenset({"Conv", "Gemm", "MatMul"}), _join)
