"""Weights beside the graph: a model above protobuf's 2 GB is two files, `x.onnx` and `x.onnx.data`.

Weights that are withheld from a graph stand among its inputs, so that tools which serialize the graph never
meet them; their values stay in the file, mapped into memory.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx
    import onnx_ir
    from numpy.typing import NDArray

PROTO_BYTES = 3 << 29
"""A model whose weights take more is saved in two files: 1.5 GiB leave protobuf room below its 2 GiB."""

LARGE_BYTES = 1 << 20
"""Smaller weights stay in the graph: what tools fold and compare are scales, shapes and biases."""

_ALIGNMENT = 4096  # of a page, so that a weight can be mapped
_COPIED_BYTES = 16 << 20


def data_file(path: Path) -> Path:
    """Where the weights of an ONNX file lie when they are not in it."""
    return path.with_name(f"{path.name}.data")


def model_files(path: Path) -> tuple[Path, ...]:
    """The one or two files of a model."""
    return (path, data_file(path)) if data_file(path).is_file() else (path,)


def remove_model(path: Path) -> None:
    """Remove a model's files, where there are any."""
    for file in (path, data_file(path)):
        file.unlink(missing_ok=True)


def weight_bytes(graph_ir: onnx_ir.Model) -> int:
    """What the weights of a model take, those of its subgraphs included."""
    return sum(
        value.const_value.nbytes
        for graph in graph_ir.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None
    )


class DataWriter:
    """Writes weights one after another into the file beside a model; the file appears whole or not at all."""

    def __init__(self, model: Path) -> None:
        self._target = data_file(model)
        descriptor, self._partial = tempfile.mkstemp(dir=model.parent, prefix=f".{self._target.name}.")
        self._file = os.fdopen(descriptor, "wb")

    def add(self, content: NDArray[Any] | onnx_ir.TensorProtocol) -> tuple[int, int]:
        """Write one weight.

        Returns:
            Where it begins, and how many bytes it takes.
        """
        self._file.seek(-self._file.tell() % _ALIGNMENT, os.SEEK_CUR)
        offset = self._file.tell()
        for piece in pieces_of(content):
            self._file.write(piece)
        return offset, self._file.tell() - offset

    def finish(self) -> None:
        """Let the file appear."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.chmod(self._partial, 0o644)
        os.replace(self._partial, self._target)

    def discard(self) -> None:
        """Remove what was written, unless the file has appeared."""
        self._file.close()
        Path(self._partial).unlink(missing_ok=True)


@contextmanager
def data_writer(model: Path) -> Iterator[DataWriter]:
    """A writer whose file appears if the block ends well."""
    writer = DataWriter(model)
    try:
        yield writer
        writer.finish()
    finally:
        writer.discard()


def pieces_of(content: NDArray[Any] | onnx_ir.TensorProtocol) -> Iterator[Any]:
    """The bytes of a weight as a file holds them, some at a time."""
    import numpy as np

    if not isinstance(content, np.ndarray):
        content = _stored(content)
    flat = np.ascontiguousarray(content).reshape(-1).view(np.uint8)
    for start in range(0, flat.size, _COPIED_BYTES):
        yield flat[start : start + _COPIED_BYTES].data


def _stored(tensor: onnx_ir.TensorProtocol) -> NDArray[Any]:
    """A tensor's elements as a file holds them; 4-bit ones are packed there."""
    import numpy as np

    if tensor.dtype.bitwidth >= 8:
        return tensor.numpy()
    return np.frombuffer(tensor.tobytes(), np.uint8)


def point_to_data(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    """Let a tensor of a graph say that its values lie in a file, in place."""
    import onnx

    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def large_weights(graph_ir: onnx_ir.Model, least_bytes: int) -> set[str]:
    """The names of those weights of the main graph that take that much."""
    return {
        name
        for name, value in graph_ir.graph.initializers.items()
        if value.const_value is not None and value.const_value.nbytes >= least_bytes
    }


@contextmanager
def _hollow(graph_ir: onnx_ir.Model, names: Collection[str]) -> Iterator[dict[str, onnx_ir.TensorProtocol]]:
    """The model with names of values in a file for some weights, for as long as the block runs."""
    import onnx_ir

    initializers = graph_ir.graph.initializers
    large = {
        name: value.const_value
        for name, value in initializers.items()
        if name in names and value.const_value is not None
    }
    try:
        for name, tensor in large.items():
            initializers[name].const_value = onnx_ir.ExternalTensor(
                "weights", 0, tensor.nbytes, tensor.dtype, shape=onnx_ir.Shape(shape_of(tensor)), name=name
            )
        yield large
    finally:
        for name, tensor in large.items():
            initializers[name].const_value = tensor


def to_light_proto(
    graph_ir: onnx_ir.Model, names: Collection[str] | None = None
) -> tuple[onnx.ModelProto, dict[str, onnx_ir.TensorProtocol]]:
    """The graph as protobuf, whose large weights are initializers without values; and those weights.

    Args:
        graph_ir: The model.
        names: Those of the main graph's weights; left out: all of 1 MiB and more.
    """
    import onnx_ir

    names = large_weights(graph_ir, LARGE_BYTES) if names is None else names
    with _hollow(graph_ir, names) as large:
        proto = onnx_ir.to_proto(graph_ir)
    inline(proto, graph_ir, set(large))
    return proto, large


def shape_of(tensor: onnx_ir.TensorProtocol) -> tuple[int, ...]:
    """The sizes of a tensor, which are numbers."""
    return tuple(tensor.shape.numpy())


def inline(proto: onnx.ModelProto, graph_ir: onnx_ir.Model, kept: set[str]) -> None:
    """Put the values of weights that lie in a file into the graph, in place; those of `kept` stay there."""
    import onnx

    for tensor in proto.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL and tensor.name not in kept:
            value = graph_ir.graph.initializers[tensor.name].const_value
            assert value is not None  # it was written from it
            tensor.ClearField("data_location")
            del tensor.external_data[:]
            tensor.raw_data = value.tobytes()


def withhold(
    graph_ir: onnx_ir.Model, names: Collection[str] | None = None
) -> tuple[onnx.ModelProto, dict[str, onnx_ir.TensorProtocol]]:
    """The graph as protobuf with large weights among the inputs, and those weights; as `to_light_proto`."""
    from onnx import helper

    proto, large = to_light_proto(graph_ir, names)
    small = [tensor for tensor in proto.graph.initializer if tensor.name not in large]
    kept = [value for value in proto.graph.input if value.name not in large]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(small)
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    for name, tensor in large.items():
        proto.graph.input.append(helper.make_tensor_value_info(name, int(tensor.dtype), shape_of(tensor)))
    return proto, large


def give_back(proto: onnx.ModelProto, weights: Mapping[str, onnx_ir.TensorProtocol]) -> onnx_ir.Model:
    """The model of a graph from which weights were withheld; one that nothing reads any more is left out."""
    import onnx_ir

    model = onnx_ir.from_proto(proto)
    graph = model.graph
    for value in [value for value in graph.inputs if value.name in weights]:
        graph.inputs.remove(value)
        if value.uses() or value.is_graph_output():
            value.const_value = weights[str(value.name)]
            graph.register_initializer(value)
    return model


def write_with_data(graph_ir: onnx_ir.Model, path: Path) -> bytes:
    """Write the large weights of a model into the file beside `path`; returns the bytes of the graph."""
    proto, large = to_light_proto(graph_ir)
    with data_writer(path) as writer:
        for tensor in proto.graph.initializer:
            if tensor.name in large:
                point_to_data(tensor, data_file(path).name, *writer.add(large[tensor.name]))
    return bytes(proto.SerializeToString())
