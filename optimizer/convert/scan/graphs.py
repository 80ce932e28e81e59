"""Walk a TensorFlow graph, its function library and every tensor and function named in attributes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optimizer.convert.scan.expansion import check_expansion
from optimizer.convert.scan.operators import ALLOWED, RESTORE, SAVER, TABLE_FROM_FILE, why_refused
from optimizer.errors import InvalidModelError, UnsafeModelError, UnsupportedModelError

if TYPE_CHECKING:
    from tensorflow.core.framework import graph_pb2

CONSTANT_LIMIT_BYTES = 2 << 30
"""A constant above 2 GiB cannot be stored in a protobuf: it is one value that claims a huge shape."""

_STRING_BYTES = 24
"""What one element of a string tensor takes in TensorFlow's memory at least."""


@dataclass(frozen=True)
class Exempt:
    """Where some operators may stand that are refused elsewhere; see `saver` and `tables`."""

    nodes: frozenset[str] = frozenset()
    """Names of nodes of the main graph."""
    functions: frozenset[str] = frozenset()
    tables: frozenset[tuple[str, str]] = frozenset()
    """Function ("" is the main graph) and node of the tables that are filled from an asset."""

    def operators(self, function: str, node: str) -> frozenset[str]:
        """What may stand at a node beside the operators that are allowed everywhere."""
        is_saver = function in self.functions if function else node in self.nodes
        saver = SAVER | {RESTORE} if is_saver else frozenset()
        return saver | (TABLE_FROM_FILE if (function, node) in self.tables else frozenset())


NOTHING = Exempt()


def check_graph(graph: graph_pb2.GraphDef, exempt: Exempt = NOTHING) -> None:
    """Check every node of a graph and of its functions.

    Raises:
        UnsafeModelError: Naming operator, node and function.
        UnsupportedModelError: The same, where the operator is not TensorFlow's own.
        InvalidModelError: If a node calls a function that is not there.
        OptimizerError: If the graph would not end; see `check_expansion`.
    """
    functions = {function.signature.name for function in graph.library.function}
    if len(functions) != len(graph.library.function) or len({n.name for n in graph.node}) != len(graph.node):
        raise InvalidModelError("Two nodes or functions of the graph have one name.", hint="Export it again.")
    for name in functions:
        _check_function_name(name)
    for node in graph.node:
        _check_node(node, "the main graph", functions, exempt.operators("", node.name))
    for function in graph.library.function:
        name = function.signature.name
        place = f"function {name}"
        for node in function.node_def:
            _check_node(node, place, functions, exempt.operators(name, node.name))
        _check_attributes(function.attr.items(), f"the attributes of {place}", functions)
        for argument, attributes in function.arg_attr.items():
            _check_attributes(attributes.attr.items(), f"argument {argument} of {place}", functions)
    for gradient in graph.library.gradient:
        _require(gradient.gradient_func, f"the gradient of {gradient.function_name}", functions)
    check_expansion(graph)


def _check_function_name(name: str) -> None:
    """A function named like an operator: which of the two a node means would depend on TensorFlow."""
    from tensorflow.python.framework import op_def_registry

    if op_def_registry.get(name) is not None:
        raise UnsafeModelError(
            f"A function of the graph has the name of TensorFlow's own operator {name}.",
            hint="Rename the function and export the model again.",
        )


def _check_node(node: Any, place: str, functions: set[str], also: frozenset[str]) -> None:
    if node.op not in ALLOWED and node.op not in functions and node.op not in also:
        raise _refusal(node.op, node.name, place)
    _check_attributes(node.attr.items(), f"node {node.name} ({node.op}) in {place}", functions)


def _refusal(operator: str, node: str, place: str) -> UnsafeModelError | UnsupportedModelError:
    where = f"Operator {operator}, node {node}, in {place}"
    reason = why_refused(operator)
    if reason is not None:
        return UnsafeModelError(
            f"{where}: it {reason}, so the model is not loaded.",
            hint="Export the model without it: move this step out of the model, in front of or behind it.",
        )
    if operator == "XlaCallModule":
        return UnsupportedModelError(
            f"{where}: it holds a program of JAX's, which is not loaded.",
            hint="Export it with jax2tf.convert(function, native_serialization=False); a Keras model with "
            "KERAS_BACKEND=tensorflow, which loads its .keras file too.",
        )
    return UnsupportedModelError(
        f"{where}: it is not among TensorFlow's operators that are known to compute in memory only, so the "
        "model is not loaded.",
        hint="Export the part of the model that does without it.",
    )


def _check_attributes(attributes: Iterable[tuple[str, Any]], where: str, functions: set[str]) -> None:
    for _, value in attributes:
        if value.HasField("tensor"):
            _check_tensor(value.tensor, where)
        elif value.HasField("func"):
            _check_called(value.func, where, functions)
        elif value.HasField("list"):
            for tensor in value.list.tensor:
                _check_tensor(tensor, where)
            for called in value.list.func:
                _check_called(called, where, functions)


def _check_called(called: Any, where: str, functions: set[str]) -> None:
    if called.name:  # empty where an optional function is not given
        _require(called.name, where, functions)
    _check_attributes(called.attr.items(), where, functions)


def _require(name: str, where: str, functions: set[str]) -> None:
    if name not in functions:
        raise InvalidModelError(
            f"{where[0].upper()}{where[1:]} calls function {name}, which is not in the model.",
            hint="Export the model again.",
        )


def _check_tensor(tensor: Any, where: str) -> None:
    from tensorflow.core.framework import types_pb2
    from tensorflow.python.framework import dtypes

    if tensor.dtype in (types_pb2.DT_VARIANT, types_pb2.DT_RESOURCE) or (
        tensor.variant_val or tensor.resource_handle_val
    ):
        raise UnsafeModelError(
            f"A constant at {where} is a serialized object, which could hold a graph of its own.",
            hint="Export the model again without it.",
        )
    sizes = [dimension.size for dimension in tensor.tensor_shape.dim]
    if any(size < 0 for size in sizes):
        raise InvalidModelError(f"A constant at {where} has a negative size.", hint="Export the model again.")
    try:
        item_bytes = (
            dtypes.as_dtype(tensor.dtype).size if tensor.dtype != types_pb2.DT_STRING else _STRING_BYTES
        )
    except TypeError:
        item_bytes = 1  # DT_INVALID, or a type of a later release: TensorFlow refuses it itself
    total = math.prod(sizes) * max(item_bytes or 1, 1)
    if total > CONSTANT_LIMIT_BYTES:
        raise UnsafeModelError(
            f"A constant at {where} claims the shape {sizes}, {total / 2**30:.1f} GiB, from a few bytes.",
            hint="Export the model without the huge constant.",
        )
