"""Count what a graph holds: nodes, operators, parameters, multiply-accumulates, bytes."""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import TYPE_CHECKING

from optimizer.external_data import to_light_proto, withhold
from optimizer.graph.macs import count_macs
from optimizer.graph.structure import all_graphs, all_nodes
from optimizer.rewriting import Counts

if TYPE_CHECKING:
    import onnx

    from optimizer.model import Model


def count(model: Model) -> Counts:
    """Count what a graph holds.

    Returns:
        `nodes` and `operators` with those of subgraphs; `parameters`, the elements of constants that are
        floating point or quantized weights, scales and zero points left out; `macs` for one item, None where
        a needed shape is unknown, or how often a body runs; `file_bytes`, the size of the file.
    """
    proto, weights = to_light_proto(model.graph_ir)
    operators = Counter(node.op_type for node in all_nodes(proto.graph))
    return Counts(
        nodes=operators.total(),
        operators=dict(sorted(operators.items())),
        parameters=_parameters(proto),
        file_bytes=proto.ByteSize() + sum(tensor.nbytes for tensor in weights.values()),
        macs=count_macs(withhold(model.graph_ir)[0], weights),
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
