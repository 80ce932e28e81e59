"""Brings a converted integer model into the form that ONNX Runtime fuses into integer kernels.

    Q(clip(x, low, high)) = Q(x)          where Q(low) and Q(high) are the smallest and largest integer
    move(DQ(q))           = DQ(move(q))   where one scale holds for all of q; likewise for Q
    Q(x; z) - 128         = Q(x; z - 128) so that int8 values between a Q and its DQs can be uint8
    DQ(w; 0)              = DQ(w + 128; 128) likewise for weights
    Conv(x, DQ(w))        = Conv(x, Cast(w) * s) where the Conv stays in float: see `narrow_weights`

ONNX Runtime computes in integers where DequantizeLinear, operator and QuantizeLinear follow directly. A
clamp between them, or a move of elements (Transpose, Reshape, ...), leaves the operator in float. TFLite's
activations are clamps to the range of their integers, so that the rules are exact. On x86-64 its kernels take
unsigned activations; it makes signed ones unsigned where one DQ follows at once, and else stays in float.
Signed weights saturate in their 16-bit sums where the processor has no VNNI (14 to 41 output steps seen);
unsigned ones are exact everywhere, take 1.3 times as long there, and are still faster than float.
"""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from optimizer.convert.quantized.graph_lookup import MOVES, Lookup, drop_unused, look_up
from optimizer.convert.quantized.narrow_weights import compute_at_load

_KERNELS = frozenset({"Conv", "MatMul", "Gemm"})
_NARROW = 16
"""Columns of a tile of ONNX Runtime's integer matrix product."""


def expose_integer_kernels(proto: onnx.ModelProto) -> None:
    """Apply the rules, in place; a graph without QuantizeLinear stays as it is."""
    graph = proto.graph
    if all(node.op_type != "QuantizeLinear" for node in graph.node):
        return
    while _drop_clamp(graph) or _move_outwards(graph):
        pass
    compute_at_load(graph, _weights_of_float_kernels(graph))
    _make_weights_unsigned(graph)
    _enclose_signed_edges(graph)
    _make_unsigned(graph)


def _drop_clamp(graph: onnx.GraphProto) -> bool:
    """Remove one Relu or Clip that the QuantizeLinear behind it makes needless."""
    lookup = look_up(graph)
    for node in graph.node:
        quantize = lookup.only_consumer(node.output[0]) if node.op_type in ("Relu", "Clip") else None
        if quantize is not None and _covers(node, quantize, lookup):
            quantize.input[0] = node.input[0]
            graph.node.remove(node)
            return True
    return False


def _covers(clamp: onnx.NodeProto, quantize: onnx.NodeProto, lookup: Lookup) -> bool:
    """Whether the ends of a clamp are the ends of the integers that a QuantizeLinear gives."""
    if quantize.op_type != "QuantizeLinear" or len(quantize.input) < 3:
        return False
    scale, zero_point = (lookup.constant(name) for name in quantize.input[1:3])
    if scale is None or zero_point is None or scale.size != 1 or zero_point.dtype.kind not in "iu":
        return False
    ends = np.iinfo(zero_point.dtype.name)
    bounds = [np.float32(0.0), None] if clamp.op_type == "Relu" else _bounds(clamp, lookup)
    for bound, end in zip(bounds, (ends.min, ends.max), strict=True):
        if bound is None:  # nothing is cut off at this end
            continue
        integer = float(np.rint(np.float32(bound) / scale.item())) + float(zero_point.item())
        if not (integer <= end if end == ends.min else integer >= end):
            return False
    return True


def _bounds(clip: onnx.NodeProto, lookup: Lookup) -> list[np.float32 | None]:
    """Both ends of a Clip; NaN, which covers nothing, where one is computed."""
    found: list[np.float32 | None] = []
    for name in [*clip.input[1:], "", ""][:2]:
        constant = lookup.constant(name)
        found.append(None if not name else np.float32(np.nan if constant is None else constant.item()))
    return found


def _move_outwards(graph: onnx.GraphProto) -> bool:
    """Swap one Transpose or Reshape with the DequantizeLinear or QuantizeLinear between it and a kernel."""
    lookup = look_up(graph)
    for node in graph.node:
        if node.op_type not in MOVES or any(name not in lookup.constants for name in node.input[1:]):
            continue
        before, after = lookup.producers.get(node.input[0]), lookup.only_consumer(node.output[0])
        if before is None or after is None or lookup.uses[node.input[0]] != 1:
            continue
        if before.op_type == "DequantizeLinear" and after.op_type in _KERNELS and _has_one(before, lookup):
            return _swap(graph, before, node)
        if before.op_type in _KERNELS and after.op_type == "QuantizeLinear" and _has_one(after, lookup):
            return _swap(graph, node, after)
    return False


def _has_one(node: onnx.NodeProto, lookup: Lookup) -> bool:
    """Whether one constant scale holds for all that a node quantizes, and it is no constant itself."""
    scale = lookup.constant(node.input[1])
    return scale is not None and scale.size == 1 and node.input[0] not in lookup.constants


def _swap(graph: onnx.GraphProto, first: onnx.NodeProto, second: onnx.NodeProto) -> bool:
    """Let two nodes, of which the second alone reads the first, change places."""
    source, between, result = first.input[0], first.output[0], second.output[0]
    second.input[0], second.output[0] = source, between
    first.input[0], first.output[0] = between, result
    moved = onnx.NodeProto()
    moved.CopyFrom(first)
    position = next(index for index, node in enumerate(graph.node) if node is second or node == second)
    graph.node.insert(position + 1, moved)
    graph.node.remove(first)
    for info in [info for info in graph.value_info if info.name == between]:  # of another type or shape now
        graph.value_info.remove(info)
    return True


def _weights_of_float_kernels(graph: onnx.GraphProto) -> set[str]:
    """The names of the weights, and of biases that allow it, of each Conv that is no integer kernel."""
    lookup = look_up(graph)
    floats: set[str] = set()
    integers: set[str] = set()
    for node in graph.node:
        if node.op_type not in _KERNELS:
            continue
        weights, *bias = node.input[1:]
        consumer = lookup.only_consumer(node.output[0])
        if node.op_type == "Conv" and (consumer is None or consumer.op_type != "QuantizeLinear"):
            floats.update(node.input[1:])
        elif _has_narrow_groups(node, lookup) and any(name not in lookup.constants for name in bias):
            floats.add(weights)  # beside a constant bias ONNX Runtime would round the weights by itself
        else:
            integers.update(node.input[1:])
    return floats - integers


def _has_narrow_groups(kernel: onnx.NodeProto, lookup: Lookup) -> bool:
    """Whether a grouped Conv, not a depthwise one, has few outputs a group.

    ONNX Runtime's integer kernel then fills a fraction of its tiles: 3 times as slow as float with 4
    outputs in each of 32 groups, 10 times with 2.
    """
    groups = next((a.i for a in kernel.attribute if a.name == "group"), 1)
    dequantize = lookup.producer(kernel.input[1], "DequantizeLinear")
    weights = lookup.constants.get(dequantize.input[0]) if dequantize is not None else None
    if weights is None or groups == 1:
        return False
    outputs, inputs = weights.dims[0] // groups, weights.dims[1]
    return outputs < _NARROW and (outputs, inputs) != (1, 1)


def _make_unsigned(graph: onnx.GraphProto) -> None:
    """Turn the int8 values that stand between QuantizeLinear and DequantizeLinear into uint8."""
    lookup = look_up(graph)
    for node in list(graph.node):
        zero_point = lookup.constant(node.input[2]) if _quantizes(node) else None
        if zero_point is None or zero_point.dtype != np.int8 or zero_point.size != 1:
            continue
        moved: set[str] = set()
        ends = find_ends(node.output[0], lookup, moved)
        if ends is None or any(not _has_zero_point(end, zero_point, lookup) for end in ends):
            continue
        unsigned = (zero_point.astype(np.int16) + 128).astype(np.uint8)
        name = f"{node.output[0]}_unsigned_zero_point"
        graph.initializer.append(numpy_helper.from_array(unsigned, name))
        for pair in (node, *ends):
            pair.input[2] = name
        for info in [info for info in graph.value_info if info.name in moved]:
            graph.value_info.remove(info)


def _make_weights_unsigned(graph: onnx.GraphProto) -> None:
    """Turn int8 weights with the zero point 0 into uint8 ones with 128."""
    lookup = look_up(graph)
    names = {node.input[1] for node in graph.node if node.op_type in _KERNELS}
    for node in graph.node:
        if node.op_type != "DequantizeLinear" or node.output[0] not in names or len(node.input) < 3:
            continue
        weights, zero_point = lookup.constant(node.input[0]), lookup.constant(node.input[2])
        if weights is None or weights.dtype != np.int8 or zero_point is None or zero_point.any():
            continue
        unsigned = {
            0: (weights.astype(np.int16) + 128).astype(np.uint8),
            2: np.full(zero_point.shape, 128, np.uint8),
        }
        for place, value in unsigned.items():
            name = f"{node.output[0]}_unsigned_{place}"
            graph.initializer.append(numpy_helper.from_array(value, name))
            node.input[place] = name
    drop_unused(graph)


def _enclose_signed_edges(graph: onnx.GraphProto) -> None:
    """Put a pair of nodes beside int8 inputs and outputs, so that all between them can be uint8."""
    lookup = look_up(graph)
    for node in list(graph.node):
        kernel = lookup.producers.get(node.input[0]) if _quantizes(node) else None
        if (
            kernel is not None
            and kernel.op_type in _KERNELS
            and find_ends(node.output[0], lookup, set()) is None
        ):
            _requantize(graph, node)
    for value in graph.input:
        ends = find_ends(value.name, lookup, set())
        if value.type.tensor_type.elem_type != onnx.TensorProto.INT8 or not ends:
            continue
        scale, zero_point = ends[0].input[1], lookup.constant(ends[0].input[-1])
        if zero_point is None or any(
            end.input[1] != scale or not _has_zero_point(end, zero_point, lookup) for end in ends
        ):
            continue
        real, again = f"{value.name}_real", f"{value.name}_quantized"
        for node in lookup.consumers[value.name]:
            node.input[0] = again
        parameters = [scale, ends[0].input[2]]
        graph.node.insert(0, onnx.helper.make_node("QuantizeLinear", [real, *parameters], [again]))
        graph.node.insert(0, onnx.helper.make_node("DequantizeLinear", [value.name, *parameters], [real]))


def _requantize(graph: onnx.GraphProto, quantize: onnx.NodeProto) -> None:
    """Let a QuantizeLinear's value be quantized twice, with the same result."""
    result, parameters = quantize.output[0], list(quantize.input[1:])
    inner, real = f"{result}_inner", f"{result}_real"
    position = next(index for index, node in enumerate(graph.node) if result in node.output)
    quantize.output[0] = inner
    graph.node.insert(position + 1, onnx.helper.make_node("QuantizeLinear", [real, *parameters], [result]))
    graph.node.insert(position + 1, onnx.helper.make_node("DequantizeLinear", [inner, *parameters], [real]))


def _quantizes(node: onnx.NodeProto) -> bool:
    return node.op_type == "QuantizeLinear" and len(node.input) == 3


def find_ends(value: str, lookup: Lookup, moved: set[str]) -> list[onnx.NodeProto] | None:
    """The DequantizeLinear nodes that read a value or what moves make of it; None if others read it too."""
    moved.add(value)
    readers = lookup.consumers.get(value, [])
    if not readers or lookup.uses[value] != len(readers):
        return None
    found: list[onnx.NodeProto] = []
    for reader in readers:
        if reader.op_type == "DequantizeLinear" and reader.input[0] == value:
            found.append(reader)
            continue
        behind = find_ends(reader.output[0], lookup, moved) if reader.op_type in MOVES else None
        if behind is None:
            return None
        found += behind
    return found


def _has_zero_point(node: onnx.NodeProto, expected: NDArray[np.generic], lookup: Lookup) -> bool:
    found = lookup.constant(node.input[2]) if len(node.input) == 3 else None
    return found is not None and found.dtype == expected.dtype and bool((found == expected).all())
