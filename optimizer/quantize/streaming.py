"""Dynamic INT8 of weights that are too large for a protobuf: one after another, a band of columns at a time.

ONNX Runtime's quantizer rewrites the graph around stand-ins of one element; then each is replaced by what
the quantizer would have made of the real weight:

    scale[c] = 2 * max|w[:, c]| / (127 - -127),    q[:, c] = round(w[:, c] / scale[c])
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.external_data import give_back, shape_of
from optimizer.graph.structure import all_nodes

if TYPE_CHECKING:
    import onnx
    import onnx_ir

_BAND_BYTES = 64 << 20
_TRANSPOSED = "/transposed"
_SUFFIXES = ("_quantized", "_scale", "_zero_point")

Weights = Mapping[str, "onnx_ir.TensorProtocol"]


def put_stand_ins(proto: onnx.ModelProto, weights: Weights) -> tuple[frozenset[str], tuple[str, ...]]:
    """Turn the inputs that are withheld weights of MatMul and Gemm into stand-ins, in place.

    Returns:
        Their names; and for each other withheld weight a sentence that says why it stays in float.
    """
    from onnx import TensorProto, numpy_helper

    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in all_nodes(proto.graph):
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found, refusals = [], []
    for name, tensor in weights.items():
        known = readers.get(name, [])
        if int(tensor.dtype) == TensorProto.FLOAT and all(_multiplies(node, name) for node in known):
            found.append(name)
        elif known:
            refusals.append(
                f"{known[0].op_type} {known[0].name} stays in float: of a model of this size only the "
                "weights of MatMul and Gemm become INT8."
            )
    inputs = [value for value in proto.graph.input if value.name not in found]
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    for name in found:
        stand_in = np.zeros((1,) * len(shape_of(weights[name])), np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(stand_in, name))
    return frozenset(found), tuple(refusals)


def _multiplies(node: onnx.NodeProto, weight: str) -> bool:
    return node.op_type in ("MatMul", "Gemm") and list(node.input).index(weight) == 1


def replace_stand_ins(
    proto: onnx.ModelProto, weights: Weights, stand_ins: frozenset[str], *, reduce_range: bool
) -> onnx_ir.Model:
    """The model with the real weights: quantized ones, where the quantizer made them, and float ones.

    Args:
        proto: What the quantizer made around the stand-ins.
        weights: The withheld weights.
        stand_ins: Those of them that were given to the quantizer.
        reduce_range: Use 7 bits, for CPUs whose 8-bit sums saturate.
    """
    import onnx_ir

    model = give_back(proto, weights)
    initializers = model.graph.initializers
    for name in sorted(stand_ins):
        if name in initializers:  # another node keeps it in float
            initializers[name].const_value = weights[name]
            initializers[name].shape = onnx_ir.Shape(shape_of(weights[name]))
        array = weights[name].numpy()
        _set_values(initializers, name, array, reduce_range=reduce_range)
        _set_values(initializers, name + _TRANSPOSED, array.T, reduce_range=reduce_range)
    return model


def _set_values(
    initializers: Mapping[str, onnx_ir.Value], weight: str, array: NDArray[Any], *, reduce_range: bool
) -> None:
    """Fill in what the quantizer made of a stand-in; nothing where it made nothing."""
    import onnx_ir

    values: dict[str, NDArray[Any]] = {}
    if weight.endswith(_TRANSPOSED):  # a copy of our own, which a node may read in float
        values[weight] = array
    if weight + _SUFFIXES[0] in initializers:
        results = quantize_columns(array, reduce_range=reduce_range)
        values |= dict(zip((weight + suffix for suffix in _SUFFIXES), results, strict=True))
    for name, value in values.items():
        if name in initializers:
            initializers[name].const_value = onnx_ir.tensor(np.ascontiguousarray(value), name=name)
            initializers[name].shape = onnx_ir.Shape(value.shape)


def quantize_columns(
    weight: NDArray[Any], *, reduce_range: bool
) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.int8]]:
    """Quantize a weight symmetrically, each column (of the last axis) with a scale of its own.

    Returns:
        The integers, the scales and the zero points, which are 0.
    """
    low, high = (-64, 64) if reduce_range else (-127, 127)
    columns = weight.shape[-1]
    quantized = np.empty(weight.shape, np.int8)
    scales = np.empty(columns, np.float32)
    step = max(1, _BAND_BYTES * columns // max(weight.nbytes, 1))
    for start in range(0, columns, step):
        band = np.s_[..., start : start + step]
        values = np.ascontiguousarray(weight[band])
        axes = tuple(range(values.ndim - 1))
        largest = np.maximum(values.max(axes), -values.min(axes)).astype(np.float64)
        scale = (2 * largest / (high - low)).astype(np.float32)
        scale[scale < np.finfo(np.float32).tiny] = 1.0
        scales[start : start + step] = scale
        quantized[band] = np.clip(np.round(values / scale), -128, 127)
    return quantized, scales, np.zeros(columns, np.int8)
