"""Writes a graph that computes in bfloat16 as one that computes in float32.

ONNX Runtime has bfloat16 kernels for few operators on CPUs, and tf2onnx takes the type for float16. float32
holds every bfloat16 value, so that the result differs from TensorFlow's only by the rounding that
TensorFlow does after each operator; weights that mixed precision keeps in float32 are used as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from optimizer.errors import UnsupportedModelError

_NARROW = (tf.bfloat16.as_datatype_enum, tf.bfloat16._as_ref.as_datatype_enum)
_WIDE = tf.float32.as_datatype_enum


def without_bfloat16(graph_def: Any) -> bool:
    """Replace bfloat16 by float32 everywhere, in place; whether there was any.

    Raises:
        UnsupportedModelError: If an operator takes the bits of bfloat16 values.
    """
    found = False
    for node in _nodes(graph_def):
        here = [_widen(value) for value in node.attr.values()]
        found |= any(here)
        if any(here) and node.op == "Bitcast":
            raise UnsupportedModelError(
                f"Node {node.name} (Bitcast) takes the bits of bfloat16 numbers, and ONNX has no operator "
                "for that.",
                hint="Save the model in float32.",
            )
    for node in graph_def.node:  # in a function, the result of a Cast is called otherwise
        if found and node.op == "Cast" and node.attr["SrcT"].type == node.attr["DstT"].type:
            _make_identity(node)
    for function in graph_def.library.function:
        for argument in [*function.signature.input_arg, *function.signature.output_arg]:
            if argument.type in _NARROW:
                argument.type = _WIDE
    return found


def _nodes(graph_def: Any) -> Iterator[Any]:
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def _make_identity(node: Any) -> None:
    kind = node.attr["DstT"].type
    for name in ("SrcT", "DstT", "Truncate"):
        node.attr.pop(name, None)
    node.op = "Identity"
    node.attr["T"].type = kind


def _widen(value: Any) -> bool:
    """Change one attribute of a node; whether it meant bfloat16."""
    if value.type in _NARROW:
        value.type = _WIDE
        return True
    if value.HasField("tensor") and value.tensor.dtype in _NARROW:
        value.tensor.CopyFrom(tf.make_tensor_proto(tf.make_ndarray(value.tensor).astype(np.float32)))
        return True
    found = [index for index, kind in enumerate(value.list.type) if kind in _NARROW]
    for index in found:
        value.list.type[index] = _WIDE
    return bool(found)
