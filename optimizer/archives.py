"""Safe extraction of archives that strangers send: .zip, .tar and .tar.gz.

Sizes are counted while the content is written, never believed; and what is refused leaves nothing behind.
"""

from __future__ import annotations

import errno
import gzip
import io
import re
import shutil
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from pydantic import Field

from optimizer.errors import InvalidModelError, InvalidOptionsError, ResourceLimitError, UnsafeModelError
from optimizer.model import first_line
from optimizer.options import Options

_CHUNK_BYTES = 1 << 20
_HEADER_BYTES = 1 << 20
_RATIO_COUNTS_FROM_BYTES = 64 << 20
_DRIVE = re.compile(r"^[A-Za-z]:")
_DEPTH = 32
_ENCRYPTED = 0x1
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    ValueError,
    NotImplementedError,
)
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class ArchiveLimits(Options):
    """How much an archive may hold."""

    members: int = Field(default=10_000, ge=1)
    """Files and folders."""

    total_bytes: int = Field(default=8 << 30, ge=1)
    """Sum of the files' sizes after extraction."""

    ratio: float = Field(default=200.0, gt=1.0)
    """Extracted bytes per byte of the archive; small archives, up to 64 MB extracted, may exceed it."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def extract_archive(path: Path, folder: Path, *, limits: ArchiveLimits | None = None) -> Path:
    """Extract an archive into a new folder, which appears whole or not at all.

    Args:
        path: A .zip, .tar or .tar.gz file, told apart by content.
        folder: Where its files go; must not exist, its parent must.
        limits: How much it may hold.

    Returns:
        The folder.

    Raises:
        UnsafeModelError: If a member would leave the folder, hide another, or is no plain file or folder.
        ResourceLimitError: If there is more in it than the limits allow, or the disk is full.
        InvalidModelError: If it is no such archive, is damaged, encrypted, or packed in a way not supported.
    """
    if folder.exists() or folder.is_symlink():
        raise InvalidOptionsError(f"The folder {folder} is there already.", hint="Extract into a new one.")
    unpack = _unpack_zip if _is_zip(path) else _unpack_tar
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        with _errors_named(f"{path.name}, read as .zip, .tar or .tar.gz,"):
            unpack(path, _Target(path, partial, limits or ArchiveLimits()))
        partial.chmod(0o755)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial)
        raise
    return folder


class _Target:
    """The folder being filled: knows each name and byte so far, and says no."""

    def __init__(self, archive: Path, folder: Path, limits: ArchiveLimits) -> None:
        self._archive = archive.name
        self._folder = folder
        self._limits = limits
        self._ceiling = max(_RATIO_COUNTS_FROM_BYTES, int(limits.ratio * archive.stat().st_size))
        self._spelling: dict[str, str] = {}  # name that any file system takes for the same -> name
        self._files: set[str] = set()
        self._members = 0
        self.written = 0

    def add_folder(self, name: str) -> None:
        """Make a folder of the archive."""
        parts = self._claim(name)
        if parts and "/".join(parts) in self._files:
            raise self._unsafe(name, "has the name of another member")
        self._folder.joinpath(*parts).mkdir(parents=True, exist_ok=True)

    def add_file(self, name: str, content: _Readable) -> int:
        """Write a file of the archive, and return its size."""
        parts = self._claim(name)
        joined = "/".join(parts)
        target = self._folder.joinpath(*parts)
        if not parts or joined in self._files or target.exists():
            raise self._unsafe(name, "has the name of another member")
        self._files.add(joined)
        target.parent.mkdir(parents=True, exist_ok=True)
        before = self.written
        with target.open("xb") as file:
            while chunk := content.read(_CHUNK_BYTES):
                self.written += len(chunk)
                self.check_size(name, 0)
                file.write(chunk)
        return self.written - before

    def check_size(self, name: str, coming: int) -> None:
        """Say no when the bytes so far, and those said to come, are too many."""
        if self.written + coming > self._limits.total_bytes:
            raise ResourceLimitError(
                f"{self._archive} holds more than {self._limits.total_bytes:,} bytes (reached in {name!r}).",
                hint="Raise the limit if the archive is yours.",
            )
        if self.written + coming > self._ceiling:
            raise ResourceLimitError(
                f"{self._archive} grows more than {self._limits.ratio:g} fold (reached in {name!r}).",
                hint="Pack the files without compression if the archive is yours.",
            )

    def refuse(self, name: str, kind: str) -> UnsafeModelError:
        """The error for a member that is neither file nor folder."""
        return self._unsafe(name, f"is {kind}")

    def _claim(self, name: str) -> tuple[str, ...]:
        """Count a member and check its name; return the name's parts, none for the archive's own root."""
        self._members += 1
        if self._members > self._limits.members:
            raise ResourceLimitError(
                f"{self._archive} holds more than {self._limits.members:,} members (reached at {name!r}).",
                hint="Raise the limit if the archive is yours.",
            )
        parts = self._parts(name)
        for depth in range(1, len(parts) + 1):
            spelled = "/".join(parts[:depth])
            folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", spelled).casefold())
            if self._spelling.setdefault(folded, spelled) != spelled:
                raise self._unsafe(name, f"differs from {self._spelling[folded]!r} in letter case alone")
            if depth < len(parts) and spelled in self._files:
                raise self._unsafe(name, f"lies in {spelled!r}, which is a file")
        return parts

    def _parts(self, name: str) -> tuple[str, ...]:
        if not name or not name.isprintable() or "\\" in name:
            raise self._unsafe(name, "has a name with a backslash or an unprintable character")
        if name.startswith("/") or _DRIVE.match(name):
            raise self._unsafe(name, "has an absolute path")
        parts = tuple(part for part in PurePosixPath(name).parts if part != ".")
        if ".." in parts:
            raise self._unsafe(name, "would leave the folder")
        if len(parts) > _DEPTH or any(len(part.encode()) > 255 for part in parts):
            raise self._unsafe(name, "has a name that is too long or too deep")
        return parts

    def _unsafe(self, name: str, why: str) -> UnsafeModelError:
        shown = name if len(name) < 200 else name[:200] + "..."
        return UnsafeModelError(
            f"{self._archive}: the member {shown!r} {why}.",
            hint="Pack plain files and folders with relative names, each once.",
        )


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def _unpack_zip(path: Path, target: _Target) -> None:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = member.orig_filename  # before zipfile cuts it off at a NUL
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise target.refuse(name, "a link" if kind == stat.S_IFLNK else "a special file")
            if member.flag_bits & _ENCRYPTED:
                raise InvalidModelError(
                    f"{path.name}: the member {name!r} is encrypted.", hint="Pack it without a password."
                )
            if member.compress_type not in _ZIP_METHODS:
                raise InvalidModelError(
                    f"{path.name}: the member {name!r} is compressed by method {member.compress_type}.",
                    hint="Pack it with deflate, or without compression.",
                )
            target.check_size(name, member.file_size)
            if member.is_dir():
                target.add_folder(name)
                continue
            with _errors_named(f"{path.name}: the member {name!r}"), archive.open(member) as content:
                target.add_file(name, content)


def _unpack_tar(path: Path, target: _Target) -> None:
    with _open_tar_stream(path) as stream:
        stream.allow(_HEADER_BYTES)
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            while (member := archive.next()) is not None:
                _unpack_tar_member(path, archive, member, target, stream)
                stream.allow(_HEADER_BYTES)  # for the next header; each may be long, but not without end
        # gzip's checksum comes last; a damaged header would otherwise look like the end of the archive.
        while stream.read(_CHUNK_BYTES):
            pass


def _unpack_tar_member(
    path: Path, archive: tarfile.TarFile, member: tarfile.TarInfo, target: _Target, stream: _Budgeted
) -> None:
    if member.isdir():
        target.add_folder(member.name)
        return
    if not member.isreg() or member.issparse():
        raise target.refuse(member.name, "a link" if member.islnk() or member.issym() else "a special file")
    target.check_size(member.name, member.size)
    stream.allow(member.size + _HEADER_BYTES)
    with _errors_named(f"{path.name}: the member {member.name!r}"):
        content = archive.extractfile(member)
        if content is None or target.add_file(member.name, content) != member.size:
            raise EOFError("it ends too early")


class _Budgeted(io.BufferedIOBase):
    """A stream that gives no more bytes than were allowed, so that no header can swallow the memory."""

    def __init__(self, stream: _Readable) -> None:
        self._stream = stream
        self._left = 0

    def allow(self, size: int) -> None:
        """Set how many bytes may follow."""
        self._left = size

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to `size` bytes."""
        content = self._stream.read(_CHUNK_BYTES if size is None or size < 0 else size)
        self._left -= len(content)
        if self._left < 0:
            raise tarfile.ReadError("a header is too long")
        return content


@contextmanager
def _open_tar_stream(path: Path) -> Iterator[_Budgeted]:
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if is_gzip:
            with gzip.GzipFile(fileobj=file, mode="rb") as plain:
                yield _Budgeted(plain)
        else:
            yield _Budgeted(file)


@contextmanager
def _errors_named(what: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise InvalidModelError(
            f"{what} is damaged: {first_line(error)}.", hint="Pack or send it again."
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise ResourceLimitError(f"No room on the disk for {what}.", hint="Make room.") from error
        raise
