"""Reads the arrays of an .npz row by row: a zip of .npy members, each a short header and then raw rows.

Row i of a C-ordered member starts at `data_offset + i * row_bytes`, so a pass over ascending rows reads a
member once, front to back, whether it is deflated or not, and holds one batch at a time.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from optimizer.errors import InvalidDataError, ResourceLimitError
from optimizer.model import first_line

MAX_HEADER_BYTES = 10_000

# What zipfile and zlib raise on damaged and on hostile files.
_ZIP_ERRORS = (
    EOFError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class DataLimits:
    """What a data file may ask for at most."""

    total_bytes: int = 1 << 36
    """Bytes of all arrays of a file together, unpacked: they are streamed, so this bounds the time."""

    row_bytes: int = 1 << 30
    """Bytes of one sample of one array, or of one file of a folder: what is held in memory at once."""

    members: int = 100_000
    """Arrays in a file, and files in a folder."""


@dataclass(frozen=True)
class Member:
    """One array of an .npz: its header, and where its rows start."""

    name: str
    file: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    data_offset: int

    @property
    def row_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        return self.shape[1:]

    @property
    def row_bytes(self) -> int:
        """Bytes of one sample."""
        return math.prod(self.row_shape) * self.dtype.itemsize


class NpzReader:
    """The arrays of one .npz, read in pieces."""

    def __init__(self, file: Path | IO[bytes], label: str, limits: DataLimits) -> None:
        """Read the table and every header, and no data.

        Args:
            file: A path, or an open binary file.
            label: What error messages call the file.
            limits: What the file may ask for.

        Raises:
            InvalidDataError: If it is no .npz, or holds pickled, structured or Fortran-ordered arrays.
            ResourceLimitError: If what it declares is over a limit.
        """
        self.label = label
        self.limits = limits
        self._file = file  # opened for each pass, so that a reader holds nothing open
        with self._open() as archive:
            self.members = self._read_members(archive)

    def batches(self, name: str, rows: NDArray[np.int64], batch_size: int) -> Iterator[NDArray[Any]]:
        """Read rows in one forward pass.

        Args:
            name: The array.
            rows: Row numbers, ascending: int64[n].
            batch_size: Rows per piece; the last may hold fewer.

        Yields:
            dtype[batch_size, *row_shape], as stored.

        Raises:
            InvalidDataError: If the file ends early or is damaged.
            ResourceLimitError: If one row is over the limit.
        """
        member = self.members[name]
        self._check_size(member.row_bytes, f"one row of {name}")
        with self._open() as archive, archive.open(member.file) as stream:
            for start in range(0, len(rows), batch_size):
                runs = _runs(rows[start : start + batch_size].tolist())
                pieces = [self._read_run(stream, member, first, count) for first, count in runs]
                yield np.concatenate(pieces) if len(pieces) != 1 else pieces[0]

    def read_whole(self, name: str) -> NDArray[Any]:
        """Read one array whole.

        Raises:
            InvalidDataError: If the file ends early or is damaged.
            ResourceLimitError: If the array is over the limit for one sample.
        """
        member = self.members[name]
        size = math.prod(member.shape) * member.dtype.itemsize
        self._check_size(size, f"array {name}")
        with self._open() as archive, archive.open(member.file) as stream:
            stream.seek(member.data_offset)
            content = _read_exactly(stream, size, name)
        return np.frombuffer(content, member.dtype).reshape(member.shape)

    def _read_run(self, stream: IO[bytes], member: Member, first: int, count: int) -> NDArray[Any]:
        stream.seek(member.data_offset + first * member.row_bytes)
        content = _read_exactly(stream, count * member.row_bytes, member.name)
        return np.frombuffer(content, member.dtype).reshape(count, *member.row_shape)

    def _read_members(self, archive: zipfile.ZipFile) -> dict[str, Member]:
        infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
        if len(infos) > self.limits.members:
            raise ResourceLimitError(
                f"{self.label} holds {len(infos)} files; the limit is {self.limits.members}.",
                hint="Write one array per input of the model with np.savez, samples along its first axis.",
            )
        total = sum(info.file_size for info in infos)
        if total > self.limits.total_bytes:
            raise ResourceLimitError(
                f"The arrays of {self.label} take {total} bytes; the limit is {self.limits.total_bytes}.",
                hint="Give fewer samples: a few thousand are enough to judge a model.",
            )
        members: dict[str, Member] = {}
        for info in infos:
            member = self._read_header(archive, info)
            if member.name in members:
                raise InvalidDataError(
                    f"{self.label} holds the array {member.name} twice.", hint="Write it again with np.savez."
                )
            members[member.name] = member
        if not members:
            raise InvalidDataError(f"{self.label} holds no array.", hint="Write it with np.savez.")
        return members

    def _read_header(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
        if not info.filename.endswith(".npy"):
            raise InvalidDataError(
                f"{self.label} holds {info.filename!r}, which is no array (.npy).",
                hint="Write the file with np.savez or np.savez_compressed.",
            )
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InvalidDataError(
                f"{info.filename} in {self.label} is encrypted, or packed by another method than deflate.",
                hint="Write the file with np.savez or np.savez_compressed.",
            )
        name = info.filename.removesuffix(".npy")
        with archive.open(info) as stream:
            shape, fortran_order, dtype = self._parse_header(stream, name)
            data_offset = stream.tell()
        if dtype.hasobject or dtype.names is not None:
            raise InvalidDataError(
                f"Array {name} of {self.label} holds Python objects or records; those are never loaded.",
                hint="Save a plain numeric, bool or string array; strings as a.astype(str).",
            )
        if fortran_order and sum(size > 1 for size in shape) > 1:
            raise InvalidDataError(
                f"Array {name} of {self.label} is in Fortran order, so no sample is in one piece.",
                hint=f"Save np.ascontiguousarray({name}).",
            )
        declared = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or data_offset + declared != info.file_size:
            raise InvalidDataError(
                f"Array {name} of {self.label} says it holds {declared} bytes, "
                f"and the file {info.file_size - data_offset}.",
                hint="The file is damaged; write it again.",
            )
        return Member(name, info.filename, dtype, shape, data_offset)

    def _parse_header(self, stream: IO[bytes], name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        try:
            version = np.lib.format.read_magic(stream)
            if version not in read:
                raise ValueError(f"header version {version}")
            return read[version](stream, max_header_size=MAX_HEADER_BYTES)
        except ValueError as error:
            raise InvalidDataError(
                f"Array {name} of {self.label} has no valid .npy header: {first_line(error)}.",
                hint="Write the file with np.savez.",
            ) from error

    def _check_size(self, size: int, what: str) -> None:
        if size > self.limits.row_bytes:
            raise ResourceLimitError(
                f"{self.label}: {what} takes {size} bytes; the limit is {self.limits.row_bytes}.",
                hint="The first axis must count the samples.",
            )

    def _open(self) -> AbstractContextManager[zipfile.ZipFile]:
        return open_zip(self._file, self.label)


@contextmanager
def open_zip(file: Path | IO[bytes], label: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip; what is wrong with it, now or while it is read, is an error of ours.

    Raises:
        InvalidDataError: If it is damaged.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except _ZIP_ERRORS as error:
        raise InvalidDataError(
            f"{label} is no readable .npz or .zip: {first_line(error)}.",
            hint="Write it with np.savez, or check that the upload is complete.",
        ) from error


def _runs(rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Group ascending row numbers into (first, count) of neighbours, each read at once."""
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or rows[end] != rows[end - 1] + 1:
            yield rows[start], end - start
            start = end


def _read_exactly(stream: IO[bytes], size: int, name: str) -> bytes:
    content = stream.read(size)
    if len(content) != size:
        raise InvalidDataError(
            f"Array {name} ends early: {len(content)} of {size} bytes are there.",
            hint="The file is damaged; write it again.",
        )
    return content


__all__ = ["DataLimits", "Member", "NpzReader", "open_zip"]
