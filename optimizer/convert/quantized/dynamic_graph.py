"""Brings products of activations that are rounded at each call into the form that ONNX Runtime computes fast.

    Keras:  q = round(x * s),  s = 127 / (max|x| + eps) by row     y = (q @ W) / (s * w)
    fused:  q, t, z = DynamicQuantizeLinear(x)                     y = (q @ W) * (t * (1 / w))
    exact:  q = round(x * s) + 128,  z = 128                       y = (q @ W) / (s * w)

with MatMulInteger for @, which subtracts the zero points; `rounded_products` has TFLite's form. On x86-64
signed activations make it 5 to 10 times slower than a float MatMul, so they are unsigned in both forms. The
weights are unsigned too, W + 128 with the zero point 128: signed ones saturate in the kernels' 16-bit sums
where the processor has no VNNI.

The fused form has one scale for all rows. That is not what Keras computes, but as near to the float model,
and one operator; the exact form serves where that does not hold. Its Div has to stay one: ONNX Runtime fuses
a Mul by the scales of rows into MatMulIntegerToFloat, which takes but one, and the sums come out wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from optimizer.convert.quantized.graph_lookup import drop_unused, look_up
from optimizer.convert.quantized.rounded_products import (
    Product,
    Scaled,
    find_division,
    find_hybrid,
    find_product,
)

_ZERO = 128
_ZERO_POINT = "unsigned_zero_point"
_ZERO_FLOAT = "unsigned_zero_point_float"


def expose_dynamic_kernels(proto: onnx.ModelProto, *, exact: bool = False) -> bool:
    """Make the operands of all such products unsigned and, unless `exact`, their scales one a tensor.

    In place.

    Returns:
        Whether there was any such product.
    """
    graph = proto.graph
    lookup = look_up(graph)
    writer = _Writer(graph)
    written: dict[str, list[onnx.NodeProto]] = {}  # by the value whose node they replace
    for node in graph.node:
        product, scaled = find_product(node, lookup), find_hybrid(node, lookup)
        if product is not None and not exact:
            scaled = find_division(product, lookup)
        if scaled is not None:
            nodes = list(writer.fused(scaled))
            nodes[-1].output[0] = scaled.result
            written[scaled.result] = nodes
        elif product is not None:
            written[node.output[0]] = list(writer.exact(product))
    if not written:
        return False
    _replace(graph, written)
    drop_unused(graph)
    return True


def _replace(graph: onnx.GraphProto, written: dict[str, list[onnx.NodeProto]]) -> None:
    """Put nodes in the place of others, and each of them once."""
    nodes: dict[str, onnx.NodeProto] = {}
    for node in graph.node:
        for one in written.get(node.output[0], [node]) if node.output else [node]:
            first = next((name for name in one.output if name), f"none {len(nodes)}")
            nodes.setdefault(first, one)
    fresh = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes.values()]
    del graph.node[:]
    graph.node.extend(fresh)


class _Writer:
    """Writes the nodes of both forms, and their constants into the graph.

    Nodes of the same name are the same: products of one tensor share what is computed of it.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._constants = {tensor.name: tensor for tensor in graph.initializer}

    def fused(self, scaled: Scaled) -> Iterator[onnx.NodeProto]:
        """y = (q @ W) * (t * (1 / w)); where moves mix w's axes, the product by 1 / w comes after them.

        The last node's output is y, under a name of its own.
        """
        product, result = scaled.product, scaled.result
        source = scaled.source
        for move in product.moves:
            moved = f"{source}_to_{move.output[0]}"
            yield _again(move, source, moved)
            source = moved
        integer, step, zero_point = (f"{source}_{what}" for what in ("integer", "step", "zero_point"))
        yield helper.make_node("DynamicQuantizeLinear", [source], [integer, step, zero_point])
        columns = self._by_column(scaled)
        scale = scaled.weight_scale if columns is None else columns
        weight_step = self._constant(f"{result}_weight_step", (1 / scale).astype(np.float32))
        total, real, value = f"{result}_total", f"{result}_real", f"{result}_product"
        operands = [integer, self._unsigned(product), zero_point, self._zero_point()]
        yield helper.make_node("MatMulInteger", operands, [total])
        yield helper.make_node("Cast", [total], [real], to=TensorProto.FLOAT)
        steps = step
        if columns is not None:
            steps = f"{result}_steps"
            yield helper.make_node("Mul", [step, weight_step], [steps])
        yield helper.make_node("Mul", [real, steps], [value])
        for number, move in enumerate(scaled.moves):
            moved = f"{result}_moved_{number}"
            yield _again(move, value, moved)
            value = moved
        if columns is None:
            yield helper.make_node("Mul", [value, weight_step], [f"{result}_scaled"])

    def exact(self, product: Product) -> Iterator[onnx.NodeProto]:
        """q @ W with 128 more in q and in W; what scales it stays as it is."""
        raised, value = f"{product.rounded}_raised", f"{product.rounded}_unsigned"
        zero = self._constant(_ZERO_FLOAT, np.float32(_ZERO))
        yield helper.make_node("Add", [product.rounded, zero], [raised])
        yield helper.make_node("Cast", [raised], [value], to=TensorProto.UINT8)
        for move in product.moves:
            moved = f"{value}_to_{move.output[0]}"
            yield _again(move, value, moved)
            value = moved
        operands = [value, self._unsigned(product), self._zero_point(), self._zero_point()]
        yield helper.make_node("MatMulInteger", operands, list(product.matmul.output))

    def _unsigned(self, product: Product) -> str:
        value = (product.weights.astype(np.int16) + _ZERO).astype(np.uint8)
        return self._constant(f"{product.matmul.input[1]}_unsigned", np.ascontiguousarray(value))

    def _zero_point(self) -> str:
        return self._constant(_ZERO_POINT, np.uint8(_ZERO))

    def _constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        if name not in self._constants:
            tensor = numpy_helper.from_array(np.asarray(value), name)
            self._constants[name] = tensor
            self._graph.initializer.append(tensor)
        return name

    def _by_column(self, scaled: Scaled) -> NDArray[Any] | None:
        """The weights' scale with one number a column of the product, where the moves behind allow that."""
        scale = scaled.weight_scale
        tail = scale.shape[next((axis for axis, size in enumerate(scale.shape) if size != 1), scale.ndim) :]
        if scale.size == 1 or (len(tail) == 1 and not scaled.moves):
            return scale.reshape(-1)
        if not scaled.moves or any(move.op_type != "Reshape" for move in scaled.moves):
            return None
        shape = self._constants.get(scaled.moves[-1].input[1])
        if shape is None or scale.size != scaled.product.weights.shape[-1]:
            return None
        return scale.reshape(-1) if tuple(numpy_helper.to_array(shape)[-len(tail) :]) == tail else None


def _again(move: onnx.NodeProto, source: str, result: str) -> onnx.NodeProto:
    """The same move of another value."""
    copy = onnx.NodeProto()
    copy.CopyFrom(move)
    copy.name = ""
    copy.input[0], copy.output[0] = source, result
    return copy
