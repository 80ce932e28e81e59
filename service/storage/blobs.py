"""Files named by the sha256 of their content: synced to the disk, never replaced, never linked to."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_CHUNK_BYTES = 4 << 20


@dataclass(frozen=True)
class Draft:
    """A whole file that is synced to the disk, but that no job names yet."""

    path: Path
    sha256: str
    size_bytes: int
    filename: str
    """The user's own name of it, made safe."""

    def discard(self) -> None:
        """Remove it; one that was published is gone already."""
        self.path.unlink(missing_ok=True)


class BlobWriter:
    """A draft that is being written."""

    def __init__(self, descriptor: int, path: Path, filename: str) -> None:
        self._descriptor = descriptor
        self._path = path
        self._filename = filename
        self._digest = hashlib.sha256()
        self._size = 0
        self.draft: Draft | None = None

    def write(self, content: bytes | memoryview) -> None:
        """Append bytes."""
        self._digest.update(content)
        self._size += len(content)
        while content:
            content = content[os.write(self._descriptor, content) :]

    def finish(self) -> Draft:
        """Sync the file to the disk."""
        os.fsync(self._descriptor)
        self.draft = Draft(self._path, self._digest.hexdigest(), self._size, self._filename)
        return self.draft


class BlobStore:
    """The blobs in one folder. One process at a time."""

    def __init__(self, folder: Path) -> None:
        self._blobs = folder / "blobs"
        self._temporary = folder / "tmp"
        for place in (self._blobs, self._temporary):
            place.mkdir(parents=True, exist_ok=True)
        self.guard = threading.RLock()
        """Held from `publish` or `remove` until the rows that name the blob are committed."""

    @contextmanager
    def writer(self, filename: str) -> Iterator[BlobWriter]:
        """Write a new draft; left without `finish`, nothing stays."""
        descriptor, name = tempfile.mkstemp(dir=self._temporary)
        writer = BlobWriter(descriptor, Path(name), filename)
        try:
            yield writer
        finally:
            os.close(descriptor)
            if writer.draft is None:
                Path(name).unlink(missing_ok=True)

    def draft_of(self, path: Path, filename: str) -> Draft:
        """A draft with the content of a file."""
        # The file may come from a stage: no link is followed out of its folder.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as source, self.writer(filename) as writer:
            while chunk := source.read(_CHUNK_BYTES):
                writer.write(chunk)
            return writer.finish()

    def publish(self, draft: Draft) -> None:
        """Make a draft a blob; one of the same content that is there already stays as it is."""
        target = self.path(draft.sha256)
        target.parent.mkdir(exist_ok=True)
        draft.path.chmod(0o444)
        # A link, not a renaming: it never replaces a blob that a stage may be reading.
        with suppress(FileExistsError):
            os.link(draft.path, target)
        draft.path.unlink()
        for folder in (target.parent, self._blobs):
            _sync(folder)

    def path(self, sha256: str) -> Path:
        """Where the blob of this digest lies."""
        return self._blobs / sha256[:2] / sha256

    def remove(self, sha256: str) -> None:
        """Remove a blob that no job names."""
        self.path(sha256).unlink(missing_ok=True)

    def digests(self) -> set[str]:
        """The digests of all blobs."""
        return {path.name for path in self._blobs.glob("*/*")}

    def clear_temporary(self) -> None:
        """Remove what a server that was killed left half-written."""
        for path in self._temporary.iterdir():
            path.unlink()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
