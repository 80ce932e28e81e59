"""Reading and tidying a graph: nodes with their subgraphs, unique names, inferred shapes, content hash."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from optimizer.runtime.extensions import DOMAIN

if TYPE_CHECKING:
    import onnx
    import onnx_ir

STANDARD_DOMAINS = ("", "ai.onnx")
_MOST_WORDS = 1000


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs that a control-flow node holds."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Every node of a graph, those of its subgraphs included."""
    for node in graph.node:
        yield node
        for inner in subgraphs(node):
            yield from all_nodes(inner)


def read_names(graph: onnx.GraphProto) -> set[str]:
    """The names of the values that nodes read or graphs give, those of subgraphs included."""
    read = {name for node in all_nodes(graph) for name in node.input}
    return read | {value.name for inner in all_graphs(graph) for value in inner.output}


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and every graph inside it."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from all_graphs(inner)


def known_words(proto: onnx.ModelProto) -> tuple[str, ...]:
    """Words of the model's lookup tables (LabelEncoder, CategoryMapper), evenly over large ones."""
    words: dict[str, None] = {}
    for node in all_nodes(proto.graph):
        for attribute in node.attribute:
            if attribute.name in ("keys_strings", "cats_strings"):
                step = max(len(attribute.strings) // _MOST_WORDS, 1)
                words |= dict.fromkeys(key.decode(errors="replace") for key in attribute.strings[::step])
    return tuple(words)


def domains(proto: onnx.ModelProto) -> set[str]:
    """Domains of the operators in use, the standard one as ""."""
    functions = (node for function in proto.functions for node in function.node)
    nodes = (*all_nodes(proto.graph), *functions)
    return {"" if node.domain in STANDARD_DOMAINS else node.domain for node in nodes}


def custom_operators(proto: onnx.ModelProto) -> tuple[str, ...]:
    """Operators of the domain ai.onnx.contrib, for which a session needs onnxruntime-extensions."""
    return tuple(sorted({node.op_type for node in all_nodes(proto.graph) if node.domain == DOMAIN}))


def drop_unused_custom_opset(proto: onnx.ModelProto) -> None:
    """Let a model that has no custom operators not say that it needs their domain, in place."""
    if not custom_operators(proto):
        kept = [entry for entry in proto.opset_import if entry.domain != DOMAIN]
        del proto.opset_import[:]
        proto.opset_import.extend(kept)


def opset(proto: onnx.ModelProto) -> int:
    """Version of the standard operator set."""
    return max((entry.version for entry in proto.opset_import if entry.domain in STANDARD_DOMAINS), default=1)


def at_opset(proto: onnx.ModelProto, version: int) -> onnx.ModelProto:
    """The model at another version of the standard operator set; producer and metadata stay.

    Raises whatever ONNX raises, RuntimeError and its own, for an operator that it cannot convert.
    """
    import onnx

    converted: onnx.ModelProto = onnx.version_converter.convert_version(proto, version)
    standard = [entry for entry in converted.opset_import if entry.domain in STANDARD_DOMAINS]
    converted.ir_version = max(proto.ir_version, onnx.helper.find_min_ir_version_for(standard))
    converted.producer_name, converted.producer_version = proto.producer_name, proto.producer_version
    del converted.metadata_props[:]
    converted.metadata_props.extend(proto.metadata_props)
    return converted


def true_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Inputs that must be fed: before IR version 4, files list their weights among the inputs too."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def name_nodes(proto: onnx.ModelProto) -> None:
    """Give every unnamed or doubly named node a name of its own, in place.

    Names come from the operator and the first output, so that the same graph always gets the same names.
    """
    taken = Counter(node.name for node in all_nodes(proto.graph))
    for node in all_nodes(proto.graph):
        if node.name and taken[node.name] == 1:
            continue
        taken[node.name] -= 1
        output = next((name for name in node.output if name), "")
        name = stem = f"{node.op_type}_{output}"
        suffix = 1
        while taken[name]:
            suffix += 1
            name = f"{stem}_{suffix}"
        node.name = name
        taken[name] += 1


def with_shapes(proto: onnx.ModelProto, *, data_propagation: bool = False) -> onnx.ModelProto:
    """A copy with every type and shape that ONNX can infer; what it cannot infer stays open."""
    import onnx

    try:
        return onnx.shape_inference.infer_shapes(proto, data_prop=data_propagation)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError):  # a wrong annotation, over 2 GB
        copy = onnx.ModelProto()
        copy.CopyFrom(proto)
        return copy


def value_types(graph: onnx.GraphProto) -> dict[str, int]:
    """Element type of every annotated value and initializer of the main graph, as ONNX numbers it."""
    annotated = (*graph.input, *graph.value_info, *graph.output)
    types = {value.name: int(value.type.tensor_type.elem_type) for value in annotated}
    return types | {tensor.name: int(tensor.data_type) for tensor in graph.initializer}


def computes_in_half(proto: onnx.ModelProto) -> bool:
    """Whether a model casts values to float16 or bfloat16, or takes or gives such values."""
    import onnx

    half = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    values = [*proto.graph.input, *proto.graph.output]
    return any(value.type.tensor_type.elem_type in half for value in values) or any(
        attribute.i in half
        for node in all_nodes(proto.graph)
        if node.op_type == "Cast"
        for attribute in node.attribute
        if attribute.name == "to"
    )


def fingerprint(proto: onnx.ModelProto, weights: Mapping[str, onnx_ir.TensorProtocol]) -> str:
    """A hash of what a graph holds, blind to names, to attributes and to what reads what.

    Weights that stand apart count as the objects that they are: their values are not read.
    """
    digest = hashlib.sha256()
    nodes = Counter(
        (node.domain, node.op_type, len(node.input), len(node.output)) for node in all_nodes(proto.graph)
    )
    digest.update(repr(sorted(nodes.items())).encode())
    inside = (tensor for graph in all_graphs(proto.graph) for tensor in graph.initializer)
    digest.update("".join(sorted(_content(tensor) for tensor in inside)).encode())
    digest.update(repr(sorted((id(weight), str(weight.shape)) for weight in weights.values())).encode())
    return digest.hexdigest()


def _content(tensor: onnx.TensorProto) -> str:
    import numpy as np
    from onnx import numpy_helper

    array = numpy_helper.to_array(tensor)
    # Bytes, not a copy of them: this runs over all weights again and again.
    raw = repr(array.tolist()).encode() if array.dtype == object else array.reshape(-1).view(np.uint8).data
    return f"{tensor.data_type}{list(tensor.dims)}{hashlib.sha256(raw).hexdigest()}"
