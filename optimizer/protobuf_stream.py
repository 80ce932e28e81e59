"""A model as the bytes of one protobuf, piece by piece: `SerializeToString` holds all weights twice more.

    bytes of a message = bytes of its fields in the order of their numbers
    bytes of a field of bytes or of a message = its number << 3 | 2, its length, its content; both as varints

Weights come in between what protobuf itself writes of the rest. Reference: protobuf.dev, "Encoding".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from optimizer.external_data import pieces_of

if TYPE_CHECKING:
    import onnx
    import onnx_ir

_LENGTH_DELIMITED = 2


def stream(proto: onnx.ModelProto, weights: Mapping[str, onnx_ir.TensorProtocol]) -> Iterator[Any]:
    """The bytes that the model would be serialized to.

    Args:
        proto: The model, some of whose initializers have no values, as `to_light_proto` gives it.
        weights: These values, by name.
    """

    def tensor(light: onnx.TensorProto) -> tuple[int, Callable[[], Iterator[Any]]]:
        weight = weights.get(light.name)
        if weight is None:
            content = light.SerializeToString()
            return len(content), lambda: iter((content,))
        header = type(light)(dims=light.dims, data_type=light.data_type, name=light.name)
        start = header.SerializeToString() + _start(light, "raw_data", weight.nbytes)

        def pieces() -> Iterator[Any]:
            yield start
            yield from pieces_of(weight)

        return len(start) + weight.nbytes, pieces

    tensors = [tensor(light) for light in proto.graph.initializer]
    before, after = _around(proto.graph, "initializer")
    starts = [_start(proto.graph, "initializer", length) for length, _ in tensors]
    inner = sum(len(start) + length for start, (length, _) in zip(starts, tensors, strict=True))
    head, tail = _around(proto, "graph")
    yield head + _start(proto, "graph", len(before) + inner + len(after)) + before
    for start, (_, pieces) in zip(starts, tensors, strict=True):
        yield start
        yield from pieces()
    yield after + tail


def _around(message: Any, name: str) -> tuple[bytes, bytes]:
    """The bytes of the fields before one and of those behind it."""
    number = message.DESCRIPTOR.fields_by_name[name].number
    before, after = type(message)(), type(message)()
    for field, value in message.ListFields():
        if field.number == number:
            continue
        target = before if field.number < number else after
        if field.is_repeated:
            getattr(target, field.name).extend(value)
        elif field.message_type is not None:
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)
    return before.SerializeToString(), after.SerializeToString()


def _start(message: Any, name: str, length: int) -> bytes:
    """The number and length of a field."""
    number = message.DESCRIPTOR.fields_by_name[name].number
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(length)


def _varint(number: int) -> bytes:
    low = bytearray()
    while number > 0x7F:  # seven bits a byte, the lowest first
        low.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*low, number))
