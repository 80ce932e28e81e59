"""Cuts an ONNX graph at named values: it ends there, and what comes after them is gone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx

from optimizer.convert.naming import unknown_output
from optimizer.errors import InvalidOptionsError
from optimizer.results import TensorSpec

_ONNX_NAMES = {"float32": "FLOAT", "float64": "DOUBLE", "object": "STRING"}


def with_outputs(proto: onnx.ModelProto, asked: Sequence[str]) -> onnx.ModelProto:
    """The whole model, with other outputs.

    Raises:
        InvalidOptionsError: If the graph has no such value, or the value needs no input.
    """
    if not asked:
        return proto
    _check(proto, asked)
    whole = onnx.ModelProto()
    whole.CopyFrom(proto)
    del whole.graph.output[:]
    whole.graph.output.extend(_values(proto, asked))
    return whole


def cut_onnx(proto: onnx.ModelProto, asked: Sequence[str]) -> tuple[str, ...]:
    """Let a graph end at the values asked for, in place; returns notes for the user.

    Outputs whose type is not written in the file are left without one.

    Raises:
        InvalidOptionsError: If the graph has no such value, or the value needs no input.
    """
    _check(proto, asked)
    graph, inputs = proto.graph, _inputs(proto)
    needed = _behind(_sources(proto), asked)
    _keep(graph.output, _values(proto, asked))
    _keep(graph.node, [node for node in graph.node if needed.intersection(node.output)])
    for part in (graph.input, graph.initializer, graph.value_info):
        _keep(part, [entry for entry in part if entry.name in needed])
    unused = [name for name in inputs if name not in needed]
    return (f"inputs that no output needs were left out: {', '.join(unused)}",) if unused else ()


def complete_types(proto: onnx.ModelProto, specs: Sequence[TensorSpec]) -> None:
    """Give the outputs that have no type in the file the one that ONNX Runtime found, in place."""
    found = {spec.name: spec for spec in specs}
    for value in proto.graph.output:
        if not value.HasField("type"):
            spec = found[value.name]
            kind = onnx.TensorProto.DataType.Value(_ONNX_NAMES.get(spec.dtype, spec.dtype.upper()))
            value.CopyFrom(onnx.helper.make_tensor_value_info(spec.name, kind, spec.shape))


def _check(proto: onnx.ModelProto, asked: Sequence[str]) -> None:
    sources, inputs = _sources(proto), _inputs(proto)
    for name in asked:
        if name not in sources and name not in inputs:
            raise unknown_output(name, list(sources))
        if not _behind(sources, [name]).intersection(inputs):
            raise InvalidOptionsError(
                f"{name} needs none of the inputs ({', '.join(inputs)}), so it is no output.",
                hint="Name a value behind the inputs.",
            )


def _sources(proto: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in proto.graph.node for name in node.output if name}


def _inputs(proto: onnx.ModelProto) -> list[str]:
    weights = {tensor.name for tensor in proto.graph.initializer}
    return [value.name for value in proto.graph.input if value.name not in weights]


def _values(proto: onnx.ModelProto, asked: Sequence[str]) -> list[onnx.ValueInfoProto]:
    """Values as outputs, with the type that the file gives them or inference finds."""
    known = _types(proto)
    if not all(name in known for name in asked):
        # It leaves operators of other domains alone; ONNX Runtime knows their types.
        known |= _types(onnx.shape_inference.infer_shapes(proto))
    return [known.get(name) or onnx.ValueInfoProto(name=name) for name in asked]


def _types(proto: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    graph = proto.graph
    return {value.name: value for value in [*graph.value_info, *graph.input, *graph.output]}


def _behind(sources: dict[str, onnx.NodeProto], names: Sequence[str]) -> set[str]:
    """The values that some values need, these included."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            if name in sources:
                waiting += _read(sources[name])
    return found


def _read(node: onnx.NodeProto) -> Iterator[str]:
    """The values that a node reads, those that its nested graphs take from outside included."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            for inner in graph.node:
                yield from _read(inner)
            yield from (value.name for value in graph.output)


def _keep(part, entries) -> None:  # type: ignore[no-untyped-def]  # protobuf's repeated fields
    kept = [type(entry).FromString(entry.SerializeToString()) for entry in entries]
    del part[:]
    part.extend(kept)
