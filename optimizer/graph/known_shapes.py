"""Infers shapes that are known as numbers, through operators of ONNX Runtime's own too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from optimizer.graph.structure import with_shapes

if TYPE_CHECKING:
    import onnx

Shape = tuple[int, ...]


def set_shape(value: onnx.ValueInfoProto, shape: Shape | None) -> None:
    """Give a value this shape, in place; None: no shape."""
    value.type.tensor_type.ClearField("shape")
    if shape is not None:
        value.type.tensor_type.shape.SetInParent()
        for size in shape:
            value.type.tensor_type.shape.dim.add(dim_value=size)


def infer_known(single: onnx.ModelProto) -> onnx.GraphProto:
    """The graph with all shapes that ONNX can infer, operators of ONNX Runtime's own included."""
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(single)
    tensors = {tensor.name: tensor for tensor in copy.graph.initializer}
    for node in copy.graph.node:
        _as_standard(node, copy.graph, tensors)
    return with_shapes(copy, data_propagation=True).graph


def known_shapes(inferred: onnx.GraphProto) -> dict[str, Shape]:
    """The shapes of an inferred graph whose sizes are all numbers, by the name of the value."""
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
    "MatMulNBits": "MatMul",
    "GatherBlockQuantized": "Gather",
}


def _as_standard(
    node: onnx.NodeProto, graph: onnx.GraphProto, tensors: Mapping[str, onnx.TensorProto]
) -> None:
    standard = _SAME_SHAPE.get(node.op_type)
    if node.domain != "com.microsoft" or standard is None:
        return
    if standard == "Gather" and node.input[0] not in tensors:  # a table whose size is not known
        return
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    node.domain, node.op_type = "", standard
    match standard:
        case "Identity":
            del node.input[1:]
        case "LSTM":
            del node.input[8:]
        case "MatMul":
            weight = _stand_in(graph, f"{node.output[0]}/weight", (attributes["K"], attributes["N"]))
            node.input[1:] = [weight]
            del node.attribute[:]
        case "Gather":
            table = tensors[node.input[0]]
            *rows, columns = table.dims
            is_packed = table.data_type == table.UINT8 and attributes.get("bits", 4) == 4  # two a byte
            shape = (*rows, columns * (1 + is_packed))
            node.input[:] = [_stand_in(graph, f"{node.output[0]}/table", shape), node.input[1]]
            kept = [each for each in node.attribute if each.name == "gather_axis"]
            del node.attribute[:]
            node.attribute.extend(kept)
            for each in node.attribute:
                each.name = "axis"


def _stand_in(graph: onnx.GraphProto, name: str, shape: Shape) -> str:
    """An input of float32 in the place of packed weights."""
    value = graph.input.add(name=name)
    value.type.tensor_type.elem_type = 1
    set_shape(value, shape)
    return name
