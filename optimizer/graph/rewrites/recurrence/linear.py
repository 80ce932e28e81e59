"""Reads the sum of products inside a cell: x W + h R + b, whichever way it is cut into gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.graph.match import array, is_standard
from optimizer.graph.rewriter import attribute, is_plain_gemm
from optimizer.graph.rewrites.recurrence.steps import Steps
from optimizer.graph.structure import STANDARD_DOMAINS

if TYPE_CHECKING:
    import onnx_ir as ir

Array = NDArray[Any]


@dataclass(frozen=True)
class Linear:
    """The sum over sources of source @ weight, plus bias."""

    weights: dict[ir.Value, Array]
    """By source, float[in, out]."""
    bias: Array

    def __add__(self, other: Linear) -> Linear | None:
        """The sum; None where both read the same source."""
        if self.weights.keys() & other.weights.keys():
            return None
        return Linear(self.weights | other.weights, self.bias + other.bias)

    def columns(self, part: slice) -> Linear:
        """Some of the results."""
        bias = self.bias[part] if self.bias.ndim else self.bias
        return Linear({source: weight[:, part] for source, weight in self.weights.items()}, bias)


_DEPTH = 16
"""Of nested sums and cuts; a cell has four at most, and a hostile graph doubles its paths at each."""


def read_linear(steps: Steps, value: ir.Value | None, depth: int = 0) -> Linear | None:
    """Read a value as a sum of products, or return None."""
    if value is None or depth > _DEPTH:
        return None
    constant = steps.constant(value)
    if constant is not None:
        vector = constant.reshape(-1) if constant.ndim <= 2 and constant.shape[:-1] in ((), (1,)) else None
        return None if vector is None else Linear({}, vector if constant.size > 1 else constant.reshape(()))
    node = value.producer()
    if node is None or node.domain not in STANDARD_DOMAINS:
        return None
    match node.op_type:
        case "Add":
            left, right = (read_linear(steps, each, depth + 1) for each in node.inputs)
            return None if left is None or right is None else left + right
        case "MatMul":
            weight = steps.constant(node.inputs[1])
            source = node.inputs[0]
            return (
                None
                if weight is None or weight.ndim != 2 or source is None
                else Linear({source: weight}, np.zeros(()))
            )
        case "Gemm":
            return _gemm(steps, node, depth + 1)
        case "Split":
            return _split(steps, node, value, depth + 1)
        case "Slice":
            return _slice(steps, node, depth + 1)
        case "Identity":
            return read_linear(steps, node.inputs[0], depth + 1)
    return None


def _gemm(steps: Steps, node: ir.Node, depth: int) -> Linear | None:
    weight, source = steps.constant(node.inputs[1]), node.inputs[0]
    if weight is None or source is None or attribute(node, "transA", 0) or not is_plain_gemm(node):
        return None
    product = Linear({source: weight.T if attribute(node, "transB", 0) else weight}, np.zeros(()))
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return product
    added = read_linear(steps, _row(node.inputs[2]), depth)
    return None if added is None else product + added


def _row(value: ir.Value) -> ir.Value | None:
    """The one row of which a value is the vector: TensorFlow adds the state's product so at a batch of 1."""
    node = value.producer()
    if node is None or not is_standard(node, "Squeeze"):
        return value
    axes = array(node.inputs[1]) if len(node.inputs) > 1 else None
    return node.inputs[0] if axes is None or axes.ravel().tolist() == [0] else value


def _split(steps: Steps, node: ir.Node, value: ir.Value, depth: int) -> Linear | None:
    whole = read_linear(steps, node.inputs[0], depth)
    if whole is None or not whole.weights or attribute(node, "axis", 0) not in (1, -1):
        return None
    width = next(iter(whole.weights.values())).shape[1]
    sizes = array(node.inputs[1]) if len(node.inputs) > 1 else None
    parts = [width // len(node.outputs)] * len(node.outputs) if sizes is None else [int(n) for n in sizes]
    index = node.outputs.index(value)
    start = sum(parts[:index])
    return whole.columns(slice(start, start + parts[index]))


def _slice(steps: Steps, node: ir.Node, depth: int) -> Linear | None:
    """Some columns, all rows."""
    whole = read_linear(steps, node.inputs[0], depth)
    bounds = [array(each) for each in node.inputs[1:4]]
    if whole is None or len(bounds) < 3 or any(each is None for each in bounds):
        return None
    starts, ends, axes = (each.ravel().tolist() for each in bounds if each is not None)
    stepped = array(node.inputs[4]) if len(node.inputs) > 4 else None
    if stepped is not None and (stepped != 1).any():
        return None
    part = slice(None)
    for start, end, axis in zip(starts, ends, axes, strict=True):
        if axis in (1, -1):
            part = slice(start, end)
        elif start != 0 or end < np.iinfo(np.int32).max:
            return None
    return whole.columns(part)
