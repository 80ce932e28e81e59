"""Freezes a function of a SavedModel into one GraphDef, without its large weights.

TensorFlow's freezing copies each weight several times, and tf2onnx copies the graph once for each of its
optimizers (6.7 GB for the 0.1 GB of a ResNet50). So a large weight never enters the graph: a placeholder
stands for it, and `weights.attach_weights` puts the value into the finished ONNX file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework import convert_to_constants
from tf2onnx import tf_loader

from optimizer.convert.formats.tensor_names import node_name

Value = Callable[[], NDArray[Any]]

LARGE_BYTES = 64 << 10
"""What is smaller stays a constant, which TensorFlow and tf2onnx fold."""

# Attributes that keep grappler from inlining a function; Keras 3 sets the first on grouped convolutions.
_KEEPS_FUNCTION_WHOLE = ("_XlaMustCompile", "_XlaCompile", "_XlaScope", "_noinline")
# What may stand between a weight and the operator that computes with it.
_PASSED_THROUGH = {"ReadVariableOp", "Identity", "Cast", "Reshape", "Transpose", "ExpandDims", "Squeeze"}
# tf2onnx converts these for any weight; others (loops, fused recurrent cells, fake-quant) ask for a constant.
_TAKES_ANY_WEIGHT = {
    "AddV2", "BatchMatMul", "BatchMatMulV2", "BiasAdd", "Conv2D", "Conv2DBackpropInput", "Conv3D",
    "Conv3DBackpropInputV2", "DepthwiseConv2dNative", "Einsum", "GatherV2", "MatMul", "Mul", "ResourceGather",
}  # fmt: skip


@dataclass
class Withheld:
    """The weights that stay out of the graph: by the name of the placeholder's tensor."""

    names: dict[str, str] = field(default_factory=dict)
    """Tensor to the name that the weight has in the model."""
    values: dict[str, Value] = field(default_factory=dict)
    """Tensor to what reads the weight's value."""


@contextlib.contextmanager
def withheld_weights() -> Iterator[Withheld]:
    """Let tf2onnx's loader freeze with `_freeze`; gives what it withheld."""
    withheld = Withheld()
    theirs = tf_loader.from_function

    def ours(function: Any, inputs: Sequence[str], outputs: Sequence[str], large_model: bool = False) -> Any:
        return _freeze(function, inputs, outputs, withheld)

    tf_loader.from_function = ours
    try:
        with _inlining_of_compiled_functions():
            yield withheld
    finally:
        tf_loader.from_function = theirs


def _freeze(function: Any, inputs: Sequence[str], outputs: Sequence[str], withheld: Withheld) -> Any:
    """The function as a GraphDef, its calls inlined, small variables as constants, large ones withheld."""
    data = _FreezingData(function, lower_control_flow=False, aggressive_inlining=True)
    graph_def, _ = convert_to_constants._replace_variables_by_constants(converter_data=data)
    graph_def = tf_loader.fix_freezing_errors_part2(tf_loader.fix_freezing_errors(graph_def))
    for node in graph_def.node:
        if node.name in data.withheld:
            variable = data.withheld[node.name]
            _make_placeholder(node, variable.dtype.as_datatype_enum, variable.shape.as_list())
            withheld.names[f"{node.name}:0"] = variable.name.partition(":")[0]
            withheld.values[f"{node.name}:0"] = variable.numpy
    _withhold_constants(graph_def, outputs, withheld)
    with tf.Graph().as_default() as graph, tf_loader.tf_session(graph=graph) as session:
        tf.import_graph_def(graph_def, name="")
        fed = [*tf_loader.inputs_without_resource(session, list(inputs)), *withheld.values]
        return _tables_in_sight(tf_loader.tf_optimize(fed, list(outputs), graph_def))


def _tables_in_sight(graph_def: Any) -> Any:
    """Let each look-up read its table, in place: tf2onnx does not see it behind what inlining leaves."""
    nodes = {node.name: node for node in graph_def.node}
    for node in graph_def.node:
        if node.op.startswith("LookupTable"):
            table = nodes[node_name(node.input[0])]
            while table.op == "Identity":
                table = nodes[node_name(table.input[0])]
            node.input[0] = table.name
    return graph_def


def look_up_shapes(graph: tf.Graph) -> dict[str, list[int | None]]:
    """The shapes of what is looked up, those of the keys: a table that stands alone tells TensorFlow none."""
    return {
        operation.outputs[0].name: operation.inputs[1].shape.as_list()
        for operation in graph.get_operations()
        if operation.type.startswith("LookupTableFind") and operation.inputs[1].shape.rank is not None
    }


def _withhold_constants(graph_def: Any, outputs: Sequence[str], withheld: Withheld) -> None:
    large = {
        node.name: node
        for node in graph_def.node
        if node.op == "Const" and node.attr["value"].tensor.ByteSize() > LARGE_BYTES
    }
    for name in _only_computed_with(graph_def, large, outputs):
        tensor = large[name].attr["value"].tensor
        array = tf.make_ndarray(tensor)
        if array.dtype.kind not in "fVi":
            continue
        _make_placeholder(large[name], tensor.dtype, array.shape)
        withheld.names[f"{name}:0"] = name
        withheld.values[f"{name}:0"] = _giving(array)


def _giving(array: NDArray[Any]) -> Value:
    return lambda: array


def _make_placeholder(node: Any, dtype: int, shape: Sequence[int]) -> None:
    name = node.name
    node.Clear()
    node.name, node.op = name, "Placeholder"
    node.attr["dtype"].type = dtype
    node.attr["shape"].shape.CopyFrom(tf.TensorShape(shape).as_proto())


def _only_computed_with(graph_def: Any, names: Mapping[str, Any], outputs: Sequence[str]) -> tuple[str, ...]:
    """Those of the nodes whose value reaches operators that take any weight, and nothing else."""
    consumers: dict[str, list[Any]] = {}
    for node in graph_def.node:
        for source in node.input:
            if not source.startswith("^"):
                consumers.setdefault(node_name(source), []).append(node)
    results = set(map(node_name, outputs))

    def ends_well(name: str) -> bool:
        return name not in results and all(
            node.op in _TAKES_ANY_WEIGHT or (node.op in _PASSED_THROUGH and ends_well(node.name))
            for node in consumers.get(name, ())
        )

    return tuple(name for name in names if ends_well(name))


class _FreezingData(convert_to_constants._FunctionConverterDataInEager):  # type: ignore[misc]  # no types
    """TensorFlow's data for freezing; of a large variable that is withheld it sees a zero."""

    def _build_tensor_data(self) -> None:
        large = {
            name.name.partition(":")[0]: value
            for value, name in self._func.graph.captures
            if value.dtype == tf.resource
        }
        variables = {id(variable.handle): variable for variable in self._func.graph.variables}
        outputs = [tensor.name for tensor in self._func.outputs]
        self.withheld: dict[str, Any] = {}
        for name in _only_computed_with(self.graph_def, large, outputs):
            variable = variables.get(id(large[name]))
            if variable is not None and _is_large(variable):
                self.withheld[name] = variable
        self._unread = {id(variable) for variable in self.withheld.values()}
        super()._build_tensor_data()

    def _eval(self, tensor: Any) -> Any:
        if id(tensor) in self._unread:
            return np.zeros((), tensor.dtype.as_numpy_dtype)
        return super()._eval(tensor)


def _is_large(variable: Any) -> bool:
    if not variable.shape.is_fully_defined() or variable.dtype == tf.string:
        return False
    return int(variable.shape.num_elements()) * int(variable.dtype.size) > LARGE_BYTES


@contextlib.contextmanager
def _inlining_of_compiled_functions() -> Iterator[None]:
    """Let TensorFlow's freezing inline functions marked for XLA, which tf2onnx cannot convert as calls."""
    grappler = convert_to_constants.tf_optimizer

    class Unmarking:
        """grappler, on a graph without the marks."""

        @staticmethod
        def OptimizeGraph(config: Any, meta_graph: Any, *arguments: Any, **options: Any) -> Any:  # noqa: N802
            _remove_marks(meta_graph.graph_def)
            return grappler.OptimizeGraph(config, meta_graph, *arguments, **options)

    convert_to_constants.tf_optimizer = Unmarking
    try:
        yield
    finally:
        convert_to_constants.tf_optimizer = grappler


def _remove_marks(graph_def: Any) -> None:
    functions = graph_def.library.function
    holders = [*functions, *graph_def.node, *(node for function in functions for node in function.node_def)]
    for holder in holders:
        for mark in _KEEPS_FUNCTION_WHOLE:
            holder.attr.pop(mark, None)
