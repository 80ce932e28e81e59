"""Keeps the weights of quantization-aware training in 8 bits, for graphs that run as integers.

    Conv(DequantizeLinear(q), W)  ->  Conv(DequantizeLinear(q), DequantizeLinear(W8, s, z))

TensorFlow computes the rounding of constants when a model is frozen, so that W is float again, of at most 256
values a channel. W8 is unsigned: signed weights saturate in 16-bit sums on x86-64 without VNNI. A MatMul of
fewer than 16 x 16 weights stays in float: its integer kernel takes 1.0 to 1.09 times as long (8 x 8 and
16 x 16, 1 and 32 rows, AMD EPYC with VNNI; 32 x 32 the same, from 64 x 64 on it is faster).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from optimizer.convert.quantized.graph_lookup import MOVES, Lookup, drop_unused, look_up
from optimizer.convert.quantized.integer_graph import expose_integer_kernels
from optimizer.convert.quantized.weight_steps import find_steps, zero_points

_CHANNEL_AXIS = {"Conv": 0, "ConvTranspose": 1, "MatMul": 1}
_LEVELS = 256
_LEAST_IN_A_CHANNEL = 8
_LEAST_OF_A_PRODUCT = 16 * 16
_ROUNDING = 1e-6
_TRIED_CHANNELS = 4


def keep_trained_rounding(proto: onnx.ModelProto) -> bool:
    """Write the weights beside quantized activations as integers, and let integer kernels show; in place.

    Returns:
        Whether the graph quantizes anything.
    """
    graph = proto.graph
    lookup = look_up(graph)
    if all(node.op_type != "QuantizeLinear" for node in graph.node):
        return False
    written: dict[str, str] = {}
    for node in list(graph.node):
        axis = _CHANNEL_AXIS.get(node.op_type)
        if axis is None or lookup.producer(_unmoved(node.input[0], lookup), "DequantizeLinear") is None:
            continue
        name = node.input[1]
        weights = lookup.constant(name)
        if weights is None or weights.dtype != np.float32 or weights.ndim < 2:
            continue
        if node.op_type == "MatMul" and weights.size < _LEAST_OF_A_PRODUCT:
            continue
        key = f"{name}_by_{axis}"
        if key not in written:
            written[key] = _write(graph, name, weights, axis)
        node.input[1] = written[key]
    drop_unused(graph)
    expose_integer_kernels(proto)
    return True


def output_steps(proto: onnx.ModelProto) -> dict[str, float]:
    """Output to its step, where it is rounded last of all, in the output's own units."""
    lookup = look_up(proto.graph)
    found: dict[str, float] = {}
    for output in proto.graph.output:
        last = lookup.producer(_unmoved(output.name, lookup), "DequantizeLinear")
        scale = lookup.constant(last.input[1]) if last is not None else None
        if scale is not None and scale.size == 1:
            found[output.name] = float(scale.item())
    return found


def _unmoved(value: str, lookup: Lookup) -> str:
    move = lookup.producer(value, *MOVES)
    return value if move is None else _unmoved(move.input[0], lookup)


def _write(graph: onnx.GraphProto, name: str, weights: NDArray[Any], axis: int) -> str:
    """The value that stands for the weights: a DequantizeLinear's, or theirs where they have no 8 bits."""
    channels = np.moveaxis(weights, axis, 0)
    rows = channels.reshape(len(channels), -1)
    if rows.shape[1] < _LEAST_IN_A_CHANNEL or _steps(rows[:_TRIED_CHANNELS]) is None:
        return name
    found = _steps(rows)
    if found is None:
        return name
    steps, scales = found
    zeros = zero_points(steps, _LEVELS)
    integers = (steps + zeros[:, None]).astype(np.uint8).reshape(channels.shape)
    result = f"{name}_by_{axis}"
    parts = {
        "integers": np.ascontiguousarray(np.moveaxis(integers, 0, axis)),
        "step": scales,
        "zero_point": zeros.astype(np.uint8),
    }
    for part, value in parts.items():
        graph.initializer.append(numpy_helper.from_array(value, f"{result}_{part}"))
    names = [f"{result}_{part}" for part in parts]
    graph.node.insert(0, helper.make_node("DequantizeLinear", names, [result], axis=axis))
    return result


def _steps(rows: NDArray[Any]) -> tuple[NDArray[np.int16], NDArray[np.float32]] | None:
    found = find_steps(rows, _LEVELS)
    if found is None:
        return None
    difference = np.abs(found[0] * found[1][:, None] - rows)
    return found if (difference <= _ROUNDING * np.abs(rows).max(1, keepdims=True)).all() else None
