import hashlib
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from optimizer.errors import UnsafeModelError
from service.storage.blobs import BlobStore, Draft

CONTENT = b"a model" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path)


def _draft(blobs: BlobStore, content: bytes = CONTENT) -> Draft:
    with blobs.writer("model.onnx") as writer:
        for start in range(0, len(content), 1000):
            writer.write(content[start : start + 1000])
        return writer.finish()


def _temporary(folder: Path) -> list[str]:
    return os.listdir(folder / "tmp")


def test_a_draft_knows_its_content(blobs: BlobStore) -> None:
    draft = _draft(blobs)
    assert (draft.sha256, draft.size_bytes, draft.filename) == (DIGEST, len(CONTENT), "model.onnx")
    assert draft.path.read_bytes() == CONTENT
    assert blobs.digests() == set()


def test_a_published_blob_is_read_only_and_the_only_name_of_its_file(
    blobs: BlobStore, tmp_path: Path
) -> None:
    blobs.publish(_draft(blobs))
    found = blobs.path(DIGEST).stat()
    assert (stat.S_IMODE(found.st_mode), found.st_nlink) == (0o444, 1)
    assert blobs.path(DIGEST).read_bytes() == CONTENT
    assert blobs.digests() == {DIGEST}
    assert _temporary(tmp_path) == []


def test_a_blob_is_never_replaced(blobs: BlobStore, tmp_path: Path) -> None:
    blobs.publish(_draft(blobs))
    before = blobs.path(DIGEST).stat()
    blobs.publish(_draft(blobs))
    after = blobs.path(DIGEST).stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_nlink) == (before.st_ino, before.st_mtime_ns, 1)
    assert _temporary(tmp_path) == []


def test_threads_that_publish_the_same_content_agree(blobs: BlobStore, tmp_path: Path) -> None:
    drafts = [_draft(blobs) for _ in range(8)]
    threads = [threading.Thread(target=blobs.publish, args=(draft,)) for draft in drafts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert blobs.digests() == {DIGEST}
    assert blobs.path(DIGEST).stat().st_nlink == 1
    assert _temporary(tmp_path) == []


def test_leaving_a_writer_without_finish_leaves_nothing(blobs: BlobStore, tmp_path: Path) -> None:
    def fail() -> None:
        with blobs.writer("m") as writer:
            writer.write(CONTENT)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with blobs.writer("m") as writer:
        writer.write(CONTENT)
    assert _temporary(tmp_path) == []


def test_discarding_a_draft_removes_it_but_never_a_blob(blobs: BlobStore, tmp_path: Path) -> None:
    draft = _draft(blobs)
    draft.discard()
    assert _temporary(tmp_path) == []
    published = _draft(blobs)
    blobs.publish(published)
    published.discard()
    assert blobs.digests() == {DIGEST}


def test_an_empty_file_is_a_file(blobs: BlobStore) -> None:
    draft = _draft(blobs, b"")
    assert (draft.size_bytes, draft.sha256) == (0, hashlib.sha256().hexdigest())


def test_a_file_is_copied_not_linked(blobs: BlobStore, tmp_path: Path) -> None:
    source = tmp_path / "source.onnx"
    source.write_bytes(CONTENT)
    draft = blobs.draft_of(source, "../renamed.onnx")
    assert (draft.sha256, draft.filename) == (DIGEST, "renamed.onnx")
    blobs.publish(draft)
    assert source.stat().st_nlink == 1
    assert source.stat().st_ino != blobs.path(DIGEST).stat().st_ino


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_only_a_plain_file_is_copied(blobs: BlobStore, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "made by a stage"
    if kind == "link":
        (tmp_path / "secret").write_bytes(b"key")
        path.symlink_to(tmp_path / "secret")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(UnsafeModelError, match="made by a stage"):
        blobs.draft_of(path, "m")
    assert _temporary(tmp_path) == []


@pytest.mark.parametrize("name", ["", "..", "../" * 20 + "x" * 4, "a" * 63, "A" * 64, "a" * 64 + "\n"])
def test_only_a_digest_names_a_blob(blobs: BlobStore, name: str) -> None:
    with pytest.raises(ValueError, match="digest"):
        blobs.path(name)


def test_a_blob_can_be_removed_and_published_again(blobs: BlobStore) -> None:
    blobs.publish(_draft(blobs))
    blobs.remove(DIGEST)
    blobs.remove(DIGEST)
    assert blobs.digests() == set()
    blobs.publish(_draft(blobs))
    assert blobs.digests() == {DIGEST}


def test_the_guard_keeps_others_from_removing(blobs: BlobStore) -> None:
    blobs.publish(_draft(blobs))
    with blobs.guard:
        remover = threading.Thread(target=blobs.remove, args=(DIGEST,))
        remover.start()
        remover.join(0.1)
        assert remover.is_alive()
        assert blobs.digests() == {DIGEST}
        blobs.publish(_draft(blobs))  # who holds it may go on
    remover.join()
    assert blobs.digests() == set()


# Kills itself just before or after its n-th call of a function of `os`, while it writes and publishes.
PROGRAM = """
import os, signal, sys
from pathlib import Path
from service.storage.blobs import BlobStore
folder, name, wanted, when = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
real, calls = getattr(os, name), 0
def killing(*arguments, **options):
    global calls
    calls += 1
    if calls == wanted and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*arguments, **options)
    if calls == wanted:
        os.kill(os.getpid(), signal.SIGKILL)
    return result
blobs = BlobStore(folder)
setattr(os, name, killing)
with blobs.writer("model.onnx") as writer:
    writer.write(b"a model" * 500)
    writer.write(b"a model" * 500)
    draft = writer.finish()
blobs.publish(draft)
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("name", "call"), [("write", 2), ("fsync", 1), ("link", 1), ("unlink", 1), ("fsync", 2), ("fsync", 3)]
)
def test_a_kill_at_any_moment_leaves_a_whole_blob_or_none(
    tmp_path: Path, name: str, call: int, when: str
) -> None:
    arguments = [str(tmp_path), name, str(call), when]
    killed = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    blobs = BlobStore(tmp_path)
    blobs.clear_temporary()
    assert _temporary(tmp_path) == []
    assert blobs.digests() <= {DIGEST}
    blobs.publish(_draft(blobs))  # the job runs again
    assert blobs.path(DIGEST).read_bytes() == CONTENT
    found = blobs.path(DIGEST).stat()
    assert (stat.S_IMODE(found.st_mode), found.st_nlink) == (0o444, 1)
