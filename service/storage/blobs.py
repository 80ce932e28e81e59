"""Files named by the sha256 of their content: on the disk before anything names them, and never replaced.

FOLDER/tmp/...           a file that is being written, or that no job has taken yet
FOLDER/blobs/ab/abcd...  a blob: read-only, and the only name of its file (onnx refuses external data
                         that has two)
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from optimizer.errors import UnsafeModelError
from service.storage.filenames import clean_filename

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Draft:
    """A whole file that is on the disk, but not in the store yet."""

    path: Path
    sha256: str
    size_bytes: int
    filename: str

    def discard(self) -> None:
        """Remove it; nothing happens where it was published or removed already."""
        self.path.unlink(missing_ok=True)


class BlobWriter:
    """Writes one draft; hashes what passes through."""

    def __init__(self, folder: Path, filename: str) -> None:
        self._filename = clean_filename(filename, default="file")
        self._descriptor, path = tempfile.mkstemp(dir=folder)
        self._path = Path(path)
        self._hash = hashlib.sha256()
        self._size_bytes = 0
        self._finished = False

    @property
    def size_bytes(self) -> int:
        """How much was written so far."""
        return self._size_bytes

    def write(self, piece: bytes | memoryview) -> None:
        """Append to the file."""
        self._hash.update(piece)
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self._size_bytes += len(piece)

    def finish(self) -> Draft:
        """Bring the file to the disk; it outlives the writer."""
        os.fchmod(self._descriptor, 0o444)
        os.fsync(self._descriptor)
        self._finished = True
        return Draft(self._path, self._hash.hexdigest(), self._size_bytes, self._filename)

    def close(self) -> None:
        """Let go of the file, and remove it unless it was finished."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            if not self._finished:
                self._path.unlink(missing_ok=True)


class BlobStore:
    """The blobs in one folder, which one process works on."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        self._temporary = folder / "tmp"  # the same file system, since publishing is linking
        for path in (self._blobs, self._temporary):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.guard = threading.RLock()
        """Held from `publish` or `remove` to the commit of the rows that name the blob, or do so no more."""

    @contextmanager
    def writer(self, filename: str) -> Iterator[BlobWriter]:
        """Write a draft piece by piece; without a `finish()` nothing is left of it."""
        writer = self.open_writer(filename)
        try:
            yield writer
        finally:
            writer.close()

    def open_writer(self, filename: str) -> BlobWriter:
        """A writer that the caller closes."""
        return BlobWriter(self._temporary, filename)

    def draft_of(self, path: Path, filename: str) -> Draft:
        """Copy a file into a draft.

        Raises:
            UnsafeModelError: If it is a link or no plain file: a stage that a hostile model took over could
                name any file of the server that way.
        """
        with _opened(path) as source, self.writer(filename) as writer:
            while piece := os.read(source, _PIECE_BYTES):
                writer.write(piece)
            return writer.finish()

    def publish(self, draft: Draft) -> None:
        """Move a draft into the store; content that is there already stays as it is."""
        target = self.path(draft.sha256)
        with self.guard:
            if not target.parent.exists():
                target.parent.mkdir(exist_ok=True, mode=0o700)
                _sync_folder(self._blobs)
            # A link replaces nothing, unlike a rename: a running stage may read the blob that is there.
            with suppress(FileExistsError):
                os.link(draft.path, target)
            draft.discard()
            _sync_folder(target.parent)

    def path(self, sha256: str) -> Path:
        """Where the blob of that digest is, or would be."""
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise ValueError(f"no sha256 digest: {sha256!r}")
        return self._blobs / sha256[:2] / sha256

    def remove(self, sha256: str) -> None:
        """Remove a blob that nothing names any more."""
        with self.guard:
            self.path(sha256).unlink(missing_ok=True)

    def digests(self) -> set[str]:
        """The digests of all blobs."""
        return {path.name for path in self._blobs.glob("??/*")}

    def clear_temporary(self) -> None:
        """Remove the drafts that a killed server left behind; only before anything writes."""
        for path in self._temporary.iterdir():
            path.unlink()


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise UnsafeModelError(f"The file {path.name} is a link.") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnsafeModelError(f"The file {path.name} is no plain file.")
        yield descriptor
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
