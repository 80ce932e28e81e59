"""Keeps weights in 4 bits that were so in the upload: MatMulNBits and GatherBlockQuantized of ONNX Runtime.

    MatMul(x, W)          ->  MatMulNBits(x, q, s, z)           where W = s * (q - z), see `four_bit_grid`
    Cast(Gather(T, i))    ->  GatherBlockQuantized(q, i, 1)     where T is an int8 table of -8 .. 7

The weights are the same up to the last bit. At accuracy level 4 MatMulNBits also rounds the activations to
8 bits, block by block, which is 2 to 5 times as fast for few rows; `exact` leaves them in float.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from optimizer.convert.quantized.four_bit_grid import find_grid
from optimizer.convert.quantized.graph_lookup import Lookup, drop_unused, look_up
from optimizer.convert.scan.savedmodel import read_savedmodel

_DOMAIN = "com.microsoft"
_LEAST_WEIGHTS = 1024
_LEAST_ROWS = 8
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
    """Write each product and table of 4-bit weights with ONNX Runtime's own operators, in place.

    Returns:
        Whether there was one.
    """
    graph = proto.graph
    lookup = look_up(graph)
    packed: dict[str, dict[str, NDArray[Any]] | None] = {}  # by weight, which several nodes may share
    changed = False
    for node in graph.node:
        if node.op_type == "MatMul" and _is_matrix(node.input[1], TensorProto.FLOAT, lookup):
            changed |= _pack_product(graph, node, lookup, packed, exact=exact)
        elif node.op_type == "Gather" and _is_matrix(node.input[0], TensorProto.INT8, lookup):
            changed |= _pack_table(graph, node, lookup, packed)
    if changed:
        for name, parts in packed.items():
            for part, value in (parts or {}).items():
                graph.initializer.append(numpy_helper.from_array(value, f"{name}_{part}"))
        proto.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
        drop_unused(graph)
    return changed


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
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    lookup: Lookup,
    packed: dict[str, dict[str, NDArray[Any]] | None],
    *,
    exact: bool,
) -> bool:
    name = node.input[1]
    if name not in packed:
        packed[name] = _packed_weights(numpy_helper.to_array(lookup.constants[name]))
    parts = packed[name]
    if parts is None:
        return False
    rows, columns = lookup.constants[name].dims
    attributes = {"K": rows, "N": columns, "bits": 4, "block_size": 2 * parts["integers"].shape[2]}
    if not exact:
        attributes["accuracy_level"] = 4
    operands = [node.input[0], *(f"{name}_{part}" for part in parts)]
    node.CopyFrom(
        helper.make_node("MatMulNBits", operands, node.output, name=node.name, domain=_DOMAIN, **attributes)
    )
    return True


def _packed_weights(weights: NDArray[Any]) -> dict[str, NDArray[Any]] | None:
    """The operands of MatMulNBits behind the first, in order."""
    grid = find_grid(weights)
    if grid is None:
        return None
    parts: dict[str, NDArray[Any]] = {"integers": _pairs(grid.integers), "scales": grid.scales.reshape(-1)}
    if (grid.zero_points != 8).any():
        odd = grid.zero_points.shape[1] % 2
        parts["zero_points"] = _pairs(np.pad(grid.zero_points, ((0, 0), (0, odd)))).reshape(-1)
    return parts


def _pairs(integers: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two integers a byte, the first in the lower half."""
    return (integers[..., ::2] | (integers[..., 1::2] << 4)).astype(np.uint8)


def _pack_table(
    graph: onnx.GraphProto,
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
