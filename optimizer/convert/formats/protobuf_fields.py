"""Read the top-level fields of a protobuf file without loading it: payloads are skipped, not read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_HEAD_BYTES = 4096
"""How much of a payload is kept: enough to tell what it is."""


@dataclass(frozen=True)
class Field:
    """One field: its number, and its value, or the first 4096 bytes of its payload."""

    number: int
    value: int | None
    head: bytes


def read_fields(path: Path, limit: int = 100_000) -> Iterator[Field]:
    """Yield the fields of the message that a file holds, in the file's order.

    Raises:
        ValueError: Where the file is no protobuf message, or ends inside a field.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        for _ in range(limit):
            if file.tell() >= size:
                return
            yield _read_field(file, size)


def parse_fields(message: bytes) -> dict[int, bytes]:
    """The byte fields of a message that may be cut off at its end, by number; the first of each counts."""
    fields: dict[int, bytes] = {}
    position = 0
    try:
        while position < len(message):
            key, position = _varint(message, position)
            kind = key & 7
            if kind == _VARINT:
                _, position = _varint(message, position)
            elif kind == _BYTES:
                length, position = _varint(message, position)
                fields.setdefault(key >> 3, message[position : position + length])
                position += length
            elif kind in (_FIXED64, _FIXED32):
                position += 8 if kind == _FIXED64 else 4
            else:
                return fields
    except ValueError:
        pass  # cut off: what was read so far is the answer
    return fields


def _read_field(file: BinaryIO, size: int) -> Field:
    key = _varint_from(file)
    number, kind = key >> 3, key & 7
    if number == 0:
        raise ValueError("field number 0")
    if kind == _VARINT:
        return Field(number, _varint_from(file), b"")
    if kind == _BYTES:
        length = _varint_from(file)
        end = file.tell() + length
        if end > size:
            raise ValueError(f"field {number} says {length} bytes, the file ends before")
        head = file.read(min(length, _HEAD_BYTES))
        file.seek(end)
        return Field(number, None, head)
    if kind in (_FIXED64, _FIXED32):
        return Field(number, None, file.read(8 if kind == _FIXED64 else 4))
    raise ValueError(f"wire type {kind}")


def _varint_from(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("ends inside a number")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("a number of more than ten bytes")


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise ValueError("ends inside a number")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number of more than ten bytes")
