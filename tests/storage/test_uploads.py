import asyncio
import hashlib
import os
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from optimizer.errors import InvalidOptionsError, OptimizerError, ResourceLimitError
from service.storage import uploads
from service.storage.blobs import BlobStore, BlobWriter, Draft
from service.storage.uploads import (
    Form,
    FormFields,
    MalformedUploadError,
    UploadError,
    UploadTooLargeError,
    receive_form,
)

BOUNDARY = "----edge"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
FIELDS = FormFields(frozenset({"model", "calibration"}), frozenset({"options"}), 64 << 20)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder in which every test must leave no half-written file that it does not hold."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def _part(name: str, content: bytes, filename: str | None = None, extra: str = "") -> bytes:
    shown = "" if filename is None else f'; filename="{filename}"'
    header = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n{extra}\r\n'
    return header.encode() + content + b"\r\n"


def _body(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


async def _pieces(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]
        await asyncio.sleep(0)


def _receive(
    folder: Path, body: bytes, *, size: int = 1 << 16, content_type: str = FORM, fields: FormFields = FIELDS
) -> Form:
    blobs = BlobStore(folder)
    return asyncio.run(receive_form(_pieces(body, size), content_type, blobs, fields))


def _temporary(folder: Path) -> list[str]:
    return os.listdir(folder / "tmp")


@pytest.mark.parametrize("size", [1, 7, 1 << 16])
@pytest.mark.parametrize("piece_bytes", [1, 50, 4 << 20])
def test_a_form_arrives_whole_however_it_is_cut(
    folder: Path, monkeypatch: pytest.MonkeyPatch, size: int, piece_bytes: int
) -> None:
    monkeypatch.setattr(uploads, "_PIECE_BYTES", piece_bytes)
    # Looks like the boundary, again and again.
    content = f"\r\n--{BOUNDARY[:-1]}\r\n--\r\r\n\n--".encode() * 20 + bytes(range(256))
    body = _body(
        _part("model", content, "../my model.keras"),
        _part("options", '{"é": 1}'.encode()),
        _part("calibration", b"", "empty.npz"),
    )
    form = _receive(folder, body, size=size)
    model = form.files["model"]
    assert model.path.read_bytes() == content
    assert (model.sha256, model.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert model.filename == "my model.keras"
    assert form.files["calibration"].size_bytes == 0
    assert form.texts == {"options": '{"é": 1}'}
    form.discard()
    assert _temporary(folder) == []


def test_a_file_without_a_name_gets_that_of_its_role(folder: Path) -> None:
    form = _receive(folder, _body(_part("model", b"x"), _part("calibration", b"y", "..")))
    assert {role: draft.filename for role, draft in form.files.items()} == {
        "model": "model",
        "calibration": "calibration",
    }


def test_a_field_that_a_browser_left_empty_was_not_sent(folder: Path) -> None:
    form = _receive(folder, _body(_part("model", b"x", "m.onnx"), _part("calibration", b"", "")))
    assert set(form.files) == {"model"}
    assert len(_temporary(folder)) == 1


def test_what_follows_the_end_does_not_count(folder: Path) -> None:
    form = _receive(folder, _body(_part("model", b"x", "m.onnx")) + b"\r\nepilogue")
    assert form.files["model"].size_bytes == 1


MODEL = _part("model", b"x" * 5000, "m.onnx")
SMALL = FormFields(FIELDS.files, FIELDS.texts, 4000)
REFUSED: dict[str, tuple[bytes, type[Exception], str]] = {
    "an unknown field": (_body(MODEL, _part("modle", b"x", "m")), InvalidOptionsError, "modle"),
    "a field without a name": (_body(MODEL, _part("", b"x")), InvalidOptionsError, "''"),
    "a file twice": (_body(MODEL, MODEL), InvalidOptionsError, "model twice"),
    "an empty file twice": (
        _body(_part("model", b"", ""), _part("model", b"", "")),
        InvalidOptionsError,
        "model twice",
    ),
    "a text twice": (
        _body(MODEL, _part("options", b"1"), _part("options", b"2")),
        InvalidOptionsError,
        "options twice",
    ),
    "a text that is no UTF-8": (_body(MODEL, _part("options", b"\xff\xfe")), InvalidOptionsError, "options"),
    "a text that is too long": (
        _body(MODEL, _part("options", b" " * (1 << 21))),
        UploadTooLargeError,
        "options",
    ),
    "no end": (_body(MODEL)[: -len(BOUNDARY) - 6], MalformedUploadError, "cut off"),
    "half a file": (_body(MODEL)[:2000], MalformedUploadError, "cut off"),
    "half a header": (_body(MODEL)[:60], MalformedUploadError, "cut off"),
    "nothing": (b"", MalformedUploadError, "cut off"),
    "no form": (b"x" * 3000, MalformedUploadError, "no valid multipart form"),
    "another boundary": (_body(MODEL).replace(b"edge", b"egde"), MalformedUploadError, "multipart form"),
    "an encoded file": (
        _body(_part("model", b"eA==", "m", "Content-Transfer-Encoding: base64\r\n")),
        MalformedUploadError,
        "base64",
    ),
    "an endless header": (
        _body(MODEL, _part("model", b"x", "m" * 100_000)),
        MalformedUploadError,
        "eader",
    ),
    "too many headers": (
        _body(MODEL, _part("options", b"x", None, "".join(f"X-{n}: y\r\n" for n in range(500)))),
        MalformedUploadError,
        "eader",
    ),
}


@pytest.mark.parametrize("size", [100, 1 << 22])
@pytest.mark.parametrize("what", REFUSED)
def test_a_bad_form_is_refused_with_a_reason_and_nothing_is_left(folder: Path, what: str, size: int) -> None:
    body, kind, reason = REFUSED[what]
    with pytest.raises((UploadError, OptimizerError)) as caught:
        _receive(folder, body, size=size)
    assert type(caught.value) is kind
    assert reason in str(caught.value)
    assert _temporary(folder) == []
    assert BlobStore(folder).digests() == set()


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=x",
        "multipart/form-data; boundary=" + "x" * 5000,
    ],
)
def test_a_body_that_is_no_form_is_malformed(folder: Path, content_type: str) -> None:
    with pytest.raises(MalformedUploadError):
        _receive(folder, _body(MODEL), content_type=content_type)
    assert _temporary(folder) == []


@pytest.mark.parametrize("piece_bytes", [100, 4 << 20])
def test_a_body_over_the_limit_is_refused_before_it_has_all_come(
    folder: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr(uploads, "_PIECE_BYTES", piece_bytes)
    taken = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal taken
        async for piece in _pieces(_body(MODEL, _part("calibration", b"y" * 100_000, "c.npz")), 1000):
            taken += len(piece)
            yield piece

    with pytest.raises(UploadTooLargeError, match="4,000 bytes"):
        asyncio.run(receive_form(counted(), FORM, BlobStore(folder), SMALL))
    assert taken == 5000
    assert _temporary(folder) == []


def test_a_body_of_just_the_limit_is_taken(folder: Path) -> None:
    body = _body(MODEL)
    fields = FormFields(FIELDS.files, FIELDS.texts, len(body))
    assert _receive(folder, body, fields=fields).files["model"].size_bytes == 5000


@pytest.mark.parametrize("piece_bytes", [100, 4 << 20])
def test_a_client_that_goes_away_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr(uploads, "_PIECE_BYTES", piece_bytes)

    class GoneError(Exception):
        pass

    async def broken() -> AsyncIterator[bytes]:
        async for piece in _pieces(_body(_part("calibration", b"whole", "c.npz"), MODEL)[:3000], 1000):
            yield piece
        raise GoneError

    with pytest.raises(GoneError):
        asyncio.run(receive_form(broken(), FORM, BlobStore(folder), FIELDS))
    assert _temporary(folder) == []


def test_a_cancelled_request_waits_for_the_piece_that_is_being_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_PIECE_BYTES", 1000)
    is_writing, may_go_on = threading.Event(), threading.Event()
    write = BlobWriter.write

    def slow(self: BlobWriter, piece: bytes | memoryview) -> None:
        is_writing.set()
        may_go_on.wait(10)
        write(self, piece)  # to a closed file if the request did not wait

    monkeypatch.setattr(BlobWriter, "write", slow)

    async def scenario() -> None:
        task = asyncio.create_task(receive_form(_pieces(_body(MODEL), 500), FORM, BlobStore(folder), FIELDS))
        assert await asyncio.to_thread(is_writing.wait, 10)
        task.cancel()
        await asyncio.sleep(0.05)
        assert not task.done()
        may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())
    assert _temporary(folder) == []


def test_a_full_disk_is_said_to_be_full(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: BlobWriter, piece: bytes | memoryview) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(BlobWriter, "write", full)
    with pytest.raises(ResourceLimitError, match="disk is full"):
        _receive(folder, _body(MODEL))
    assert _temporary(folder) == []


def test_writing_never_happens_in_the_event_loop(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[int] = set()
    write, finish = BlobWriter.write, BlobWriter.finish

    def noted_write(self: BlobWriter, piece: bytes | memoryview) -> None:
        threads.add(threading.get_ident())
        write(self, piece)

    def noted_finish(self: BlobWriter) -> Draft:
        threads.add(threading.get_ident())
        return finish(self)

    monkeypatch.setattr(BlobWriter, "write", noted_write)
    monkeypatch.setattr(BlobWriter, "finish", noted_finish)
    _receive(folder, _body(MODEL))
    assert threads
    assert threading.get_ident() not in threads
