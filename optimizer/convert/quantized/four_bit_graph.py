"""Keeps weights in few bits that had 4 in the upload.

    MatMul(x, W)          ->  MatMulNBits(x, q, s, z)           where W = s * (q - z), see `four_bit_grid`
    MatMul(x, W)          ->  MatMul(x, Cast(q - z) * s)        where W is small; q - z in int8
    Mul(MatMul(x, W), f)  ->  the same with s * f               where f is one factor a column
    Cast(Gather(T, i))    ->  GatherBlockQuantized(q, i, 1)     where T is an int8 table of -8 .. 7

The weights are the same up to the last bit. At accuracy level 4 MatMulNBits also rounds the activations to
8 bits, block by block, which is 2 to 5 times as fast for few rows; `exact` leaves them in float. For weights
below 256 x 256 a float product is faster, for which ONNX Runtime computes W once, at load (time of 32 rows:
0.63 of MatMulNBits' at 64 x 64, 0.70 at 128 x 256, 1.0 at 256 x 256, 1.4 at 512 x 512; AMD EPYC, one thread).
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from optimizer.convert.quantized.four_bit_grid import Grid, find_grid
from optimizer.convert.quantized.graph_lookup import Lookup, drop_unused, look_up
from optimizer.convert.scan.savedmodel import read_savedmodel

_DOMAIN = "com.microsoft"
_LEAST_WEIGHTS = 1024
_LEAST_PACKED_WEIGHTS = 256 * 256
_LEAST_ROWS = 8
_LEAST_BLOCK = 16
_LARGEST_BLOCK = 256


def unpacks_four_bits(folder: Path) -> bool:
    """Whether a SavedModel takes bytes apart, as layers with 4-bit weights do."""
    operators = {
        node.op
        for meta_graph in read_savedmodel(folder).meta_graphs
        for function in meta_graph.graph_def.library.function
        for node in function.node_def
    }
    return {"BitwiseAnd", "RightShift"} <= operators


def keep_four_bits(proto: onnx.ModelProto, *, exact: bool = False) -> bool:
    """Write each product and table of 4-bit weights so that they have few bits in the file, in place.

    Returns:
        Whether there was one.
    """
    graph = proto.graph
    lookup = look_up(graph)
    packed: dict[str, dict[str, NDArray[Any]] | None] = {}  # by weight, which several nodes may share
    changed = False
    for node in graph.node:
        if node.op_type == "MatMul" and _is_matrix(node.input[1], TensorProto.FLOAT, lookup):
            changed |= _pack_product(node, lookup, packed, exact=exact)
        elif node.op_type == "Gather" and _is_matrix(node.input[0], TensorProto.INT8, lookup):
            changed |= _pack_table(node, lookup, packed)
    if not changed:
        return False
    for name, parts in packed.items():
        for part, value in (parts or {}).items():
            graph.initializer.append(numpy_helper.from_array(value, f"{name}_{part}"))
        if parts is not None and "steps" in parts:
            _compute_at_load(graph, name, parts)
    if any(node.domain == _DOMAIN for node in graph.node):
        proto.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    drop_unused(graph)
    return True


def note_of_small_layers(proto: onnx.ModelProto) -> tuple[str, ...]:
    """A sentence on the products whose 4-bit weights stay floats because they are few; none without one."""
    lookup = look_up(proto.graph)
    small = [
        node.name or node.output[0]
        for node in proto.graph.node
        if node.op_type == "MatMul" and _is_small_grid(lookup.constants.get(node.input[1]))
    ]
    if not small:
        return ()
    names = ", ".join(small[:3]) + (f" and {len(small) - 3} more" if len(small) > 3 else "")
    return (
        f"the 4-bit weights of {names} were converted to float: under {_LEAST_WEIGHTS} weights packing them "
        "saves nothing worth its time",
    )


def _is_small_grid(tensor: onnx.TensorProto | None) -> bool:
    if tensor is None or tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != 2:
        return False
    rows, columns = tensor.dims
    # A few numbers lie on some grid by chance.
    is_small = rows >= _LEAST_ROWS and rows * columns < _LEAST_WEIGHTS
    return is_small and find_grid(numpy_helper.to_array(tensor)) is not None


def _is_matrix(name: str, dtype: int, lookup: Lookup) -> bool:
    tensor = lookup.constants.get(name)
    return (
        tensor is not None
        and tensor.data_type == dtype
        and len(tensor.dims) == 2
        and tensor.dims[0] * tensor.dims[1] >= _LEAST_WEIGHTS
    )


def _pack_product(
    node: onnx.NodeProto,
    lookup: Lookup,
    packed: dict[str, dict[str, NDArray[Any]] | None],
    *,
    exact: bool,
) -> bool:
    name = node.input[1]
    scaling, factor = _scaling(node, lookup)
    if name not in packed:
        packed[name] = _packed_weights(numpy_helper.to_array(lookup.constants[name]), factor)
    parts = packed[name]
    if parts is None:
        return False
    if scaling is not None:
        node.output[0], scaling.output[0] = scaling.output[0], f"{scaling.output[0]}_unused"
    if "steps" in parts:
        return True
    rows, columns = lookup.constants[name].dims
    attributes = {"K": rows, "N": columns, "bits": 4, "block_size": 2 * parts["integers"].shape[2]}
    if not exact:
        attributes["accuracy_level"] = 4
    operands = [node.input[0], *(f"{name}_{part}" for part in parts)]
    node.CopyFrom(
        helper.make_node("MatMulNBits", operands, node.output, name=node.name, domain=_DOMAIN, **attributes)
    )
    return True


def _scaling(product: onnx.NodeProto, lookup: Lookup) -> tuple[onnx.NodeProto | None, NDArray[Any]]:
    """The Mul that alone reads the product and scales its columns; and its factors, else ones."""
    mul = lookup.only_consumer(product.output[0])
    if mul is not None and mul.op_type == "Mul" and lookup.uses[product.input[1]] == 1:
        factor = lookup.constant(mul.input[1])
        if factor is not None and factor.shape == (lookup.constants[product.input[1]].dims[1],):
            return mul, factor
    return None, np.ones(1, np.float32)


def _packed_weights(weights: NDArray[Any], factor: NDArray[Any]) -> dict[str, NDArray[Any]] | None:
    """The operands of MatMulNBits behind the first, in order; of small weights, their integers and scales."""
    grid = find_grid(weights)
    if grid is None:
        return None
    grid = replace(grid, scales=grid.scales * factor[:, None])
    if weights.size < _LEAST_PACKED_WEIGHTS and (small := _small_weights(grid, len(weights))) is not None:
        return small
    parts: dict[str, NDArray[Any]] = {"integers": _pairs(grid.integers), "scales": grid.scales.reshape(-1)}
    if (grid.zero_points != 8).any():
        odd = grid.zero_points.shape[1] % 2
        parts["zero_points"] = _pairs(np.pad(grid.zero_points, ((0, 0), (0, odd)))).reshape(-1)
    return parts


def _small_weights(grid: Grid, rows: int) -> dict[str, NDArray[Any]] | None:
    """Integers [blocks, rows of one, columns] and their scales; None where blocks do not divide the rows."""
    columns, blocks, size = grid.integers.shape
    steps = grid.integers.astype(np.int8) - grid.zero_points.astype(np.int8)[..., None]
    scales = grid.scales
    if (scales == scales[:, :1]).all():
        block, scales = rows, scales[:, :1]
    else:
        block = math.gcd(rows, size)
        scales = np.repeat(scales, size // block, axis=1)[:, : rows // block]
    if block < _LEAST_BLOCK:
        return None
    by_row = steps.reshape(columns, blocks * size)[:, :rows].T
    return {"steps": by_row.reshape(-1, block, columns), "scales": scales.T[:, None, :]}


def _compute_at_load(graph: onnx.GraphProto, name: str, parts: dict[str, NDArray[Any]]) -> None:
    """Let W be no constant but what ONNX Runtime computes from its integers when it loads the file."""
    old = next(tensor for tensor in graph.initializer if tensor.name == name)
    graph.initializer.append(numpy_helper.from_array(np.array(old.dims, np.int64), f"{name}_shape"))
    graph.initializer.remove(old)
    computed = [
        helper.make_node("Cast", [f"{name}_steps"], [f"{name}_real"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}_real", f"{name}_scales"], [f"{name}_scaled"]),
        helper.make_node("Reshape", [f"{name}_scaled", f"{name}_shape"], [name]),
    ]
    for node in reversed(computed):
        graph.node.insert(0, node)


def _pairs(integers: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two integers a byte, the first in the lower half."""
    return (integers[..., ::2] | (integers[..., 1::2] << 4)).astype(np.uint8)


def _pack_table(
    node: onnx.NodeProto,
    lookup: Lookup,
    packed: dict[str, dict[str, NDArray[Any]] | None],
) -> bool:
    name, cast = node.input[0], lookup.only_consumer(node.output[0])
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    to = [a.i for a in cast.attribute if a.name == "to"] if cast is not None else []
    if cast is None or cast.op_type != "Cast" or to != [TensorProto.FLOAT] or axis != 0:
        return False
    table = numpy_helper.to_array(lookup.constants[name]).astype(np.int16)
    if table.min() < -8 or table.max() > 7 or table.shape[1] % 2:
        return False
    block = max(16, min(_LARGEST_BLOCK, 1 << (table.shape[1] - 1).bit_length()))
    blocks = -(-table.shape[1] // block)
    packed[name] = {
        "integers": _pairs((table + 8).astype(np.uint8)),
        "ones": np.ones((len(table), blocks), np.float32),
    }
    operands = [f"{name}_integers", node.input[1], f"{name}_ones"]
    attributes = {"bits": 4, "block_size": block, "gather_axis": 0, "quantize_axis": 1}
    node.CopyFrom(
        helper.make_node(
            "GatherBlockQuantized", operands, cast.output, name=node.name, domain=_DOMAIN, **attributes
        )
    )
    cast.output[0] = f"{cast.output[0]}_unused"
    return True
