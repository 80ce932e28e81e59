"""Writes weights that a TFLite file stores in the sparse form as dense ones.

The sparse form walks the axes in an order of its own. An axis is dense, with each of its places stored, or
sparse: below the p-th place so far, the stored places are indices[segments[p] : segments[p + 1]]. Reference:
TFLite's schema, SparsityParameters; arXiv:1804.10112 (the taco format).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorflow.lite.python import schema_py_generated as schema

from optimizer.convert.tflite_graph.flat_graph import FlatGraph
from optimizer.errors import InvalidModelError

_TYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT8: np.int8,
}


def densify_weights(model: Any) -> bool:
    """Do so in an unpacked file, in place; whether there was any. Weights stored in blocks stay as they are.

    Raises:
        InvalidModelError: If the places of a tensor's values lead out of it.
    """
    found = False
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.sparsity is None or tensor.type not in _TYPES or _has_blocks(tensor):
                continue
            try:
                value = _dense(tensor, model.buffers[tensor.buffer].data)
            except (ValueError, IndexError, TypeError, AttributeError) as error:
                raise InvalidModelError(
                    f"The sparse weights {tensor.name.decode(errors='replace')} cannot be read.",
                    hint="Check that the download is complete.",
                ) from error
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(value.tobytes(), np.uint8)
            model.buffers.append(buffer)
            tensor.buffer, tensor.sparsity, found = len(model.buffers) - 1, None, True
        _drop_densify(FlatGraph(model, graph))
    return found


def _has_blocks(tensor: Any) -> bool:
    blocks, levels = tensor.sparsity.blockMap, tensor.sparsity.dimMetadata
    return (blocks is not None and len(blocks) > 0) or levels is None or len(levels) != len(tensor.shape)


def _dense(tensor: Any, data: Any) -> NDArray[Any]:
    sparsity, shape = tensor.sparsity, [int(size) for size in tensor.shape]
    order = [int(axis) for axis in sparsity.traversalOrder]
    if sorted(order) != list(range(len(shape))):
        raise ValueError("its axes")
    places = np.zeros((1, 0), np.int64)  # [stored so far, axes so far]
    for axis, level in zip(order, sparsity.dimMetadata, strict=True):
        size = shape[axis]
        if level.format == schema.DimensionType.DENSE:
            counts = np.full(len(places), size)
            steps = np.tile(np.arange(size), len(places))
        else:
            segments = np.asarray(level.arraySegments.values).astype(np.int64)
            steps = np.asarray(level.arrayIndices.values).astype(np.int64)
            counts = np.diff(segments)
            if segments[0] != 0 or segments[-1] != len(steps) or len(counts) != len(places):
                raise ValueError("its segments")
        if (counts < 0).any() or (steps < 0).any() or (steps >= size).any():
            raise ValueError("its places")
        places = np.column_stack([np.repeat(places, counts, axis=0), steps])
    values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), _TYPES[tensor.type])
    if len(values) != len(places):
        raise ValueError("its number of values")
    dense = np.zeros(shape, values.dtype)
    dense[tuple(places[:, order.index(axis)] for axis in range(len(shape)))] = values
    return dense


def _drop_densify(flat: FlatGraph) -> None:
    """Let those who read what DENSIFY gives read the weights, which are dense."""
    graph, instead = flat.graph, dict[int, int]()
    for operator in graph.operators or []:
        ends = [*_tensors(operator.inputs)[:1], *_tensors(operator.outputs)[:1]]
        if flat.kind(operator) == "DENSIFY" and len(ends) == 2 and graph.tensors[ends[0]].sparsity is None:
            instead[ends[1]] = ends[0]
    if not instead:
        return
    graph.operators = [each for each in graph.operators if instead.keys().isdisjoint(_tensors(each.outputs))]
    for operator in graph.operators:
        if operator.inputs is not None:
            operator.inputs = np.array([instead.get(index, index) for index in operator.inputs], np.int32)


def _tensors(ends: Any) -> list[int]:
    """The numbers of an operator's tensors, which may have no list of them."""
    return [] if ends is None else [int(index) for index in ends]
