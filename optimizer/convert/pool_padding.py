"""Keeps ONNX Runtime from taking the zeros in front of a MaxPool for the pool's own padding.

Its PadFusion (seen in 1.31.1) moves a Pad of zeros into the `pads` of the MaxPool behind it. But a pool's own
padding never is the largest: where all of a window is negative another value comes out (ResNet50V2 begins so:
6.7e-3 off). Only a constant whose bytes are all zero is moved: -0.0 is the same number, and stays.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from optimizer.graph.structure import STANDARD_DOMAINS, value_types, with_shapes

if TYPE_CHECKING:
    import onnx

_MOVES = frozenset({"Cast", "Identity", "Squeeze", "Transpose", "Unsqueeze"})
_MOST_INPUTS_FOLDED = 3
"""A Pad that names its axes is never moved."""


def keep_zeros_before_pools(proto: onnx.ModelProto) -> int:
    """Write the zeros of each Pad in front of a MaxPool as -0.0, in place.

    Returns:
        How many such Pads there are.
    """
    from onnx import TensorProto, helper, numpy_helper

    pads = _pads_before_pools(proto.graph)
    types = value_types(with_shapes(proto).graph) if pads else {}
    kept = 0
    for pad in pads:
        kind = types.get(pad.input[0], TensorProto.UNDEFINED)
        if kind not in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16):
            continue
        zero = np.array(-0.0, helper.tensor_dtype_to_np_dtype(kind))
        proto.graph.initializer.append(numpy_helper.from_array(zero, f"{pad.output[0]}/zero"))
        pad.input[2:] = [f"{pad.output[0]}/zero"]
        kept += 1
    return kept


def _pads_before_pools(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    return [
        node
        for node in graph.node
        if node.op_type == "Pad"
        and node.domain in STANDARD_DOMAINS
        and len(node.input) <= _MOST_INPUTS_FOLDED
        and _is_of_zeros(node, constants)
        and _meets_pool(node.output[0], readers)
    ]


def _is_of_zeros(pad: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> bool:
    """Whether a Pad adds zeros."""
    from onnx import numpy_helper

    if any(entry.name == "mode" and entry.s != b"constant" for entry in pad.attribute):
        return False
    if len(pad.input) < 3 or not pad.input[2]:
        return True
    given = constants.get(pad.input[2])
    if given is None:
        return False
    value = numpy_helper.to_array(given)
    return value.size == 1 and not value.astype(np.float32).any()


def _meets_pool(name: str, readers: dict[str, list[onnx.NodeProto]]) -> bool:
    """Whether a pool reads a value, behind operators that ONNX Runtime may move or drop."""
    return any(
        node.op_type == "MaxPool" or (node.op_type in _MOVES and _meets_pool(node.output[0], readers))
        for node in readers[name]
    )
