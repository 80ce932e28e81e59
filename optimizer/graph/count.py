"""Count what a graph holds: nodes, operators, parameters, multiply-accumulates, bytes.

    Conv, ConvTranspose   MACs = prod(weight shape) * prod(positions)      per item, bias not counted
    MatMul, Gemm, Einsum  MACs = prod(output shape) * summed extent
    LSTM, GRU, RNN        MACs = steps * (elements of W + elements of R)

`positions` are those of the output for Conv and of the input for ConvTranspose. The batch is 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from optimizer.errors import OptimizerError
from optimizer.external_data import to_light_proto, withhold
from optimizer.graph.structure import all_graphs, all_nodes, subgraphs, true_inputs, with_shapes
from optimizer.results import Counts

if TYPE_CHECKING:
    import onnx

    from optimizer.model import Model

Shape = tuple[int, ...]


def count(model: Model) -> Counts:
    """Count what a graph holds.

    Returns:
        `nodes` and `operators` with those of subgraphs; `parameters`, the elements of constants that are
        floating point or quantized weights, scales and zero points left out; `macs` for one item, None where
        a needed shape is unknown or a loop computes; `file_bytes`, the size of the file.
    """
    proto, weights = to_light_proto(model.graph_ir)
    operators = Counter(node.op_type for node in all_nodes(proto.graph))
    return Counts(
        nodes=operators.total(),
        operators=dict(sorted(operators.items())),
        parameters=_parameters(proto),
        file_bytes=proto.ByteSize() + sum(tensor.nbytes for tensor in weights.values()),
        macs=_macs(withhold(model.graph_ir)[0], weights),
    )


# Inputs that hold scales and zero points, not weights.
_QUANTIZATION_INPUTS: dict[str, range | tuple[int, ...]] = {
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "MatMulInteger": (2, 3),
    "ConvInteger": (2, 3),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "DynamicQuantizeLSTM": range(8, 12),
    "QAttention": (3, 4, 6, 7),
}


def _parameters(proto: onnx.ModelProto) -> int:
    import onnx

    weights = {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.BFLOAT16,
        onnx.TensorProto.INT8,
        onnx.TensorProto.UINT8,
    }
    nodes = list(all_nodes(proto.graph))
    scales = {
        node.input[i]
        for node in nodes
        for i in _QUANTIZATION_INPUTS.get(node.op_type, ())
        if i < len(node.input)
    }
    # Dynamic quantization multiplies the measured scale by the weight's.
    measured = {node.output[1] for node in nodes if node.op_type == "DynamicQuantizeLinear"}
    for node in nodes:
        if node.op_type == "Mul" and measured.intersection(node.input):
            scales.update(node.input)
    dequantized = {node.input[0] for node in nodes if node.op_type == "DequantizeLinear"}
    tensors = [tensor for graph in all_graphs(proto.graph) for tensor in graph.initializer]
    constants = [
        attribute.t
        for node in nodes
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    ]
    return sum(
        prod(tensor.dims)
        for tensor in (*tensors, *constants)
        if tensor.name not in scales and (tensor.data_type in weights or tensor.name in dequantized)
    )


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
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Gemm": _gemm,
    "Einsum": _einsum,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "DynamicQuantizeLSTM": _recurrent,
}


def _macs(proto: onnx.ModelProto, weights: Collection[str]) -> int | None:
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
    shapes = _shapes(single)
    total = 0
    for node in single.graph.node:
        if any(inner.op_type in _MACS for graph in subgraphs(node) for inner in all_nodes(graph)):
            return None  # how often a body runs is not in the graph
        if node.op_type in _MACS:
            try:
                total += _MACS[node.op_type](_Node(node, shapes))
            except (LookupError, ValueError):  # a shape or a rank that is not known
                return None
    return total


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


def _shapes(single: onnx.ModelProto) -> dict[str, Shape]:
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(single)
    for node in copy.graph.node:
        _as_standard(node)
    inferred = with_shapes(copy, data_propagation=True).graph
    shapes: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in inferred.initializer}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            shapes[value.name] = tuple(dim.dim_value for dim in kind.shape.dim)
    return shapes


# Operators of ONNX Runtime's own, with the standard one whose output shape is the same.
_SAME_SHAPE = {
    "DynamicQuantizeLSTM": "LSTM",
    "FusedConv": "Conv",
    "Gelu": "Identity",
    "FastGelu": "Identity",
    "QuickGelu": "Identity",
    "BiasGelu": "Identity",
}


def _as_standard(node: onnx.NodeProto) -> None:
    standard = _SAME_SHAPE.get(node.op_type)
    if node.domain != "com.microsoft" or standard is None:
        return
    node.domain, node.op_type = "", standard
    if standard == "Identity":
        del node.input[1:]
    if standard == "LSTM":
        del node.input[8:]
