"""Writes a formula as ONNX nodes; what is known at conversion is computed at once, with NumPy.

An operand is a NumPy array where its value is known, else the name of a value of the graph. So one formula
serves sizes that are fixed and sizes that are known only when the model runs: where all is fixed, no node
is left of it but its result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from tf2onnx import utils

Operand = str | NDArray[Any] | np.generic
"""The name of a value, or its value."""

_NUMPY: dict[str, Callable[..., Any]] = {
    "Abs": np.abs,
    "Add": np.add,
    "And": np.logical_and,
    "Ceil": np.ceil,
    "Div": np.divide,
    "Equal": np.equal,
    "Exp": np.exp,
    "Floor": np.floor,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mod": np.mod,
    "Mul": np.multiply,
    "Neg": np.negative,
    "Or": np.logical_or,
    "Range": np.arange,
    "Round": np.rint,
    "Sin": np.sin,
    "Sub": np.subtract,
    "Where": np.where,
}


_FREE = np.iinfo(np.int64).min


class Formula:
    """The nodes that take one node's place in a graph of tf2onnx."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph

    def known(self, name: str) -> Operand:
        """The value where it is known at conversion, else the name.

        Known are constants, and quotients of constants and of sizes that are fixed.
        """
        value = _value(self.graph, name)
        return name if value is None or _is_unknown(value) else value

    def name(self, operand: Operand) -> str:
        """The name of a value; a known one becomes a constant of the graph."""
        if isinstance(operand, str):
            return operand
        return str(self.graph.make_const(utils.make_name("constant"), np.asarray(operand)).output[0])

    def __call__(self, operator: str, *operands: Operand, **attributes: Any) -> Operand:
        """One operator with one output."""
        if operator in _NUMPY and not attributes and not any(isinstance(o, str) for o in operands):
            result = np.asarray(_NUMPY[operator](*operands))
            if operator == "Div" and np.asarray(operands[0]).dtype.kind in "iu":
                result = np.trunc(result).astype(np.asarray(operands[0]).dtype)
            return result
        names = [self.name(operand) for operand in operands]
        return str(self.graph.make_node(operator, names, attr=attributes).output[0])

    def cast(self, operand: Operand, dtype: int) -> Operand:
        """The operand in a type of onnx.TensorProto."""
        if not isinstance(operand, str):
            return operand.astype(utils.map_onnx_to_numpy_type(dtype))
        if self.graph.get_dtype(operand) == dtype:
            return operand
        return str(self.graph.make_node("Cast", [operand], attr={"to": dtype}, dtypes=[dtype]).output[0])

    def unsqueeze(self, operand: Operand, *axes: int) -> Operand:
        """The operand with axes of size 1 put in; they count in the result."""
        if not isinstance(operand, str):
            return np.expand_dims(operand, axes)
        return self("Unsqueeze", operand, np.array(axes, np.int64))

    def sum(self, operand: Operand, axis: int, *, keep: bool = False) -> Operand:
        """The sum over one axis."""
        if not isinstance(operand, str):
            return np.asarray(operand.sum(axis, keepdims=keep, dtype=operand.dtype))
        return self("ReduceSum", operand, np.array([axis], np.int64), keepdims=int(keep))

    def size(self, name: str, axis: int) -> Operand:
        """The size of one axis: an int64 scalar."""
        shape = self.graph.get_shape(name)
        if shape is not None and shape[axis] >= 0:
            return np.array(shape[axis], np.int64)
        return self("Gather", self("Shape", name), np.array(axis % len(shape), np.int64), axis=0)

    def vector(self, *sizes: Operand | int) -> Operand:
        """An int64 vector out of scalars, for shapes."""
        parts = [size if isinstance(size, str) else np.array(size, np.int64) for size in sizes]
        if not any(isinstance(part, str) for part in parts):
            return np.array(parts, np.int64)
        return self("Concat", *(self.unsqueeze(part, 0) for part in parts), axis=0)

    def replace(self, node: Any, operand: Operand) -> None:
        """Let an operand take the place of a node's first output; the node is removed."""
        shapes, dtypes, output = node.output_shapes[:1], node.output_dtypes[:1], node.output[0]
        operand = self.cast(operand, dtypes[0])
        name = self.name(operand)
        self.graph.remove_node(node.name)
        self.graph.make_node(
            "Identity", [name], name=node.name, outputs=[output], shapes=shapes, dtypes=dtypes
        )


def _value(graph: Any, name: str) -> NDArray[Any] | None:
    """The value of a constant, or of what is computed from sizes; _FREE stands for a free one."""
    node = graph.get_node_by_output(name)
    if node is None:
        return None
    if node.is_const():
        return np.asarray(node.get_tensor_value(as_list=False))
    if node.type == "Shape":
        shape = graph.get_shape(node.input[0])
        return None if shape is None else np.array([_FREE if size < 0 else size for size in shape], np.int64)
    if node.type not in ("Cast", "Div", "Identity", "Slice"):
        return None
    inputs = [_value(graph, part) for part in node.input]
    known = [part for part in inputs if part is not None]
    if len(known) < len(inputs):
        return None
    if node.type == "Slice":
        return _slice(*known) if len(known) == 4 else None
    if node.type == "Div":
        floats = all(part.dtype.kind == "f" for part in known)  # so no free sizes among them
        return np.divide(*known) if floats else None
    if node.type == "Identity" or _is_unknown(known[0]):
        return known[0]
    return known[0].astype(utils.map_onnx_to_numpy_type(node.get_attr_value("to")))


def _slice(
    values: NDArray[Any], starts: NDArray[Any], ends: NDArray[Any], axes: NDArray[Any]
) -> NDArray[Any] | None:
    """A part of a vector."""
    plain = values.ndim == 1 and starts.size == 1 and not axes.any()
    return values[int(starts.item()) : int(ends.item())] if plain else None


def _is_unknown(value: NDArray[Any]) -> bool:
    """Whether a vector of sizes holds a free one."""
    return value.dtype == np.int64 and bool((value == _FREE).any())


def dtype_of(graph: Any, name: str) -> Any:
    """The NumPy type of a value, which also makes numbers of that type."""
    return utils.map_onnx_to_numpy_type(graph.get_dtype(name))


def is_float(graph: Any, name: str) -> bool:
    """Whether a value has a floating-point type."""
    return graph.get_dtype(name) in (
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.BFLOAT16,
    )
