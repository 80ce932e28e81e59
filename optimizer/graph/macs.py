"""Counts the multiply-accumulates of a graph for one item.

    Conv, ConvTranspose   MACs = prod(weight shape) * prod(positions)      per item, bias not counted
    MatMul, Gemm, Einsum  MACs = prod(output shape) * summed extent
    MatMulNBits           MACs = elements of its input * N
    LSTM, GRU, RNN        MACs = steps * (elements of W + elements of R)
    Loop, Scan            MACs = steps * MACs of the body        a Loop as if it ended at its trip count

`positions` are those of the output for Conv and of the input for ConvTranspose. The batch is 1.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from optimizer.errors import OptimizerError
from optimizer.graph.known_shapes import Shape, infer_known, known_shapes, set_shape
from optimizer.graph.structure import all_nodes, subgraphs, true_inputs, value_types

if TYPE_CHECKING:
    import onnx

_ENDLESS = (1 << 31) - 1
"""A trip count from here on is none: the body ends the loop."""


def count_macs(proto: onnx.ModelProto, weights: Collection[str] = ()) -> int | None:
    """Multiply-accumulates for one item.

    Args:
        proto: The model.
        weights: Those inputs that are weights, withheld from the graph.

    Returns:
        The number; None where a needed shape is unknown, or how often a body runs.
    """
    from optimizer.runtime import optimize_basic

    single = _for_one_item(proto)
    macs = _total(single)
    if macs is None:
        try:  # shapes that the graph computes are constants now that the batch is; ONNX Runtime folds them
            macs = _total(optimize_basic(single))
        except OptimizerError:
            return None
    return None if macs is None else macs // _fixed_batch(proto, weights)


def _total(single: onnx.ModelProto) -> int | None:
    inferred = infer_known(single)
    shapes = known_shapes(inferred)
    try:
        return sum(_of_node(node, single, inferred, shapes) for node in single.graph.node)
    except (LookupError, ValueError):  # a shape, a rank or a number of steps that is not known
        return None


def _of_node(
    node: onnx.NodeProto, single: onnx.ModelProto, inferred: onnx.GraphProto, shapes: Mapping[str, Shape]
) -> int:
    """Of one node; raises LookupError or ValueError where it is not known."""
    if node.op_type in _MACS:
        return _MACS[node.op_type](_Node(node, shapes))
    bodies = [body for body in subgraphs(node) if any(n.op_type in _MACS for n in all_nodes(body))]
    if not bodies:
        return 0
    each = [_of_body(body, node, single, inferred, shapes) for body in subgraphs(node)]
    if node.op_type == "If":
        if len(set(each)) > 1:
            raise LookupError("which branch runs")
        return each[0]
    return _steps(node, single.graph, shapes) * each[0]


def _steps(node: onnx.NodeProto, graph: onnx.GraphProto, shapes: Mapping[str, Shape]) -> int:
    """How often the body of a Loop or Scan runs."""
    from onnx import numpy_helper

    if node.op_type == "Scan":
        states, _ = _scan_inputs(node)
        return shapes[node.input[states]][0]
    count = {tensor.name: tensor for tensor in graph.initializer} | {
        constant.output[0]: attribute.t
        for constant in graph.node
        if constant.op_type == "Constant"
        for attribute in constant.attribute
        if attribute.name == "value"
    }
    steps = int(numpy_helper.to_array(count[node.input[0]]).item())
    if steps >= _ENDLESS:
        raise LookupError("the trip count")
    return steps


def _scan_inputs(node: onnx.NodeProto) -> tuple[int, int]:
    """How many inputs of a Scan are states, and how many are walked over, along their first axis."""
    integers = {attribute.name: attribute.i for attribute in node.attribute}
    axes = [axis for a in node.attribute if a.name == "scan_input_axes" for axis in a.ints]
    if any(axes):
        raise LookupError("a walk along another axis")
    walked = integers["num_scan_inputs"]
    return len(node.input) - walked, walked


def _of_body(
    body: onnx.GraphProto,
    node: onnx.NodeProto,
    single: onnx.ModelProto,
    inferred: onnx.GraphProto,
    shapes: Mapping[str, Shape],
) -> int:
    """Of one run of a body, as a model of its own that is given what it reads of the graph around it."""
    import onnx

    alone = onnx.ModelProto(ir_version=single.ir_version, opset_import=single.opset_import)
    alone.graph.CopyFrom(body)
    del alone.graph.value_info[:]
    given = dict(_given(body, node, shapes))
    types = value_types(inferred)
    for value in alone.graph.input:
        set_shape(value, given.get(value.name))
    for value in alone.graph.output:
        value.type.tensor_type.ClearField("shape")
    known = {value.name for value in alone.graph.input} | {t.name for t in alone.graph.initializer}
    known |= {name for inner in all_nodes(body) for name in inner.output}
    read = {name for inner in all_nodes(body) for name in inner.input if name} - known
    alone.graph.initializer.extend(t for t in single.graph.initializer if t.name in read)
    for name in sorted(read - {tensor.name for tensor in single.graph.initializer}):
        value = alone.graph.input.add(name=name)
        value.type.tensor_type.elem_type = types.get(name, onnx.TensorProto.FLOAT)
        set_shape(value, shapes.get(name))
    macs = _total(alone)
    if macs is None:
        raise LookupError("a shape in the body")
    return macs


def _given(
    body: onnx.GraphProto, node: onnx.NodeProto, shapes: Mapping[str, Shape]
) -> Iterator[tuple[str, Shape | None]]:
    """The shapes of a body's inputs; a state keeps the shape that it starts with."""
    names = [value.name for value in body.input]
    if node.op_type == "Loop":
        yield from ((name, ()) for name in names[:2])  # number of the step, and whether to go on
        yield from zip(names[2:], map(shapes.get, node.input[2:]), strict=True)
    elif node.op_type == "Scan":
        states, _ = _scan_inputs(node)
        for place, (name, source) in enumerate(zip(names, node.input, strict=True)):
            shape = shapes.get(source)
            yield name, shape[1:] if shape is not None and place >= states else shape


@dataclass(frozen=True)
class _Node:
    """A node with the shapes of its inputs and outputs; raises LookupError where one is unknown."""

    proto: onnx.NodeProto
    shapes: Mapping[str, Shape]

    def input(self, index: int) -> Shape:
        return self.shapes[self.proto.input[index]]

    def output(self) -> Shape:
        return self.shapes[self.proto.output[0]]

    def attribute(self, name: str, default: int) -> int:
        return next((int(a.i) for a in self.proto.attribute if a.name == name), default)


def _conv(node: _Node, weight: int = 1) -> int:
    return prod(node.input(weight)) * prod(node.output()[2:]) * node.output()[0]


def _conv_transpose(node: _Node) -> int:
    return prod(node.input(1)) * prod(node.input(0)[2:]) * node.input(0)[0]


def _matmul(node: _Node) -> int:
    return prod(node.output()) * node.input(0)[-1]


def _gemm(node: _Node) -> int:
    rows, columns = node.input(0)
    return prod(node.output()) * (rows if node.attribute("transA", 0) else columns)


def _recurrent(node: _Node) -> int:
    steps, batch, _ = node.input(0)
    if node.attribute("layout", 0):
        steps, batch = batch, steps
    return steps * batch * (prod(node.input(1)) + prod(node.input(2)))


def _einsum(node: _Node) -> int:
    equation = next(a.s.decode() for a in node.proto.attribute if a.name == "equation").replace(" ", "")
    terms = equation.split("->")[0].split(",")
    if "..." in equation:
        raise LookupError(equation)
    extents: dict[str, int] = {}
    for i, term in enumerate(terms):
        extents |= dict(zip(term, node.input(i), strict=True))
    return prod(extents.values())


_MACS: dict[str, Callable[[_Node], int]] = {
    "Conv": _conv,
    "FusedConv": _conv,
    "ConvInteger": _conv,
    "QLinearConv": lambda node: _conv(node, weight=3),
    "ConvTranspose": _conv_transpose,
    "MatMul": _matmul,
    "MatMulNBits": lambda node: prod(node.input(0)) * node.attribute("N", 0),
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "DynamicQuantizeLSTM": _recurrent,
}


def _fixed_batch(proto: onnx.ModelProto, weights: Collection[str]) -> int:
    inputs = [value for value in true_inputs(proto.graph) if value.name not in weights]
    values = (*inputs, *proto.graph.output)
    first = {dim.dim_value for value in values for dim in value.type.tensor_type.shape.dim[:1]}
    return max(first.pop(), 1) if len(first) == 1 else 1


def _for_one_item(proto: onnx.ModelProto) -> onnx.ModelProto:
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    del copy.graph.value_info[:]  # may speak of another batch size
    for value in true_inputs(copy.graph):
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].HasField("dim_value"):
            dims[0].dim_value = 1
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    return copy
