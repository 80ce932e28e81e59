"""A multipart form that streams into the blob store: each byte is written once, none is kept in memory."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from optimizer.errors import InvalidOptionsError, ResourceLimitError
from service.errors import RequestError
from service.storage.blobs import BlobStore, BlobWriter, Draft
from service.storage.filenames import clean_filename

# Measured: 4 MiB fall out of the cache between hashing and writing, and take 17 MB more.
_PIECE_BYTES = 1 << 20
_TEXT_BYTES = 1 << 20
_HEADER_BYTES = 8 << 10
_HEADERS = 16
_SEND_A_FORM = "Send it with `curl -F model=@FILE`."
_PLAIN_ENCODINGS = ("", "7bit", "8bit", "binary")


class UploadError(RequestError):
    """A body that cannot be taken."""


class UploadTooLargeError(UploadError):
    """More bytes than the server takes."""


class MalformedUploadError(UploadError):
    """No multipart form, or one that is cut off."""


@dataclass(frozen=True)
class FormFields:
    """What a form may hold."""

    files: frozenset[str]
    texts: frozenset[str]
    max_bytes: int
    """Of the whole body."""


@dataclass
class Form:
    """What a form held."""

    files: dict[str, Draft] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)

    def discard(self) -> None:
        """Remove the files that no job has taken."""
        for draft in self.files.values():
            draft.discard()


async def receive_form(
    chunks: AsyncIterator[bytes], content_type: str, blobs: BlobStore, wanted: FormFields
) -> Form:
    """Read a multipart form; its files become drafts. On any error nothing of them is left.

    A file field with neither name nor content is what a browser sends for one that was not filled in: it
    counts as not sent.

    Args:
        chunks: The body, as it comes.
        content_type: The request's header, with the boundary.
        blobs: Where the files go.
        wanted: The fields that are known; each at most once.

    Raises:
        UploadTooLargeError: If the body is larger than allowed.
        MalformedUploadError: If it is no multipart form, or ends too early.
        InvalidOptionsError: Naming a field that is not wanted or given twice, or a text that is no UTF-8.
        ResourceLimitError: If the disk is full.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise MalformedUploadError("The body is no multipart form.", hint=_SEND_A_FORM)
    intake = _Intake(options[b"boundary"], blobs, wanted)
    try:
        await _feed(intake, chunks, wanted.max_bytes)
        return intake.form
    except BaseException:
        # In a thread, since it waits for the piece that is being written: no thread can be cancelled.
        # Shielded, since this task may be cancelled again while it waits.
        await asyncio.shield(asyncio.to_thread(intake.abandon))
        raise


async def _feed(intake: _Intake, chunks: AsyncIterator[bytes], max_bytes: int) -> None:
    """Hash and write one piece in a thread while the next one comes in."""
    total = 0
    piece: list[bytes] = []
    piece_bytes = 0
    writing: asyncio.Future[None] | None = None
    async for chunk in chunks:
        total += len(chunk)
        if total > max_bytes:
            raise UploadTooLargeError(
                f"The body is larger than {max_bytes:,} bytes.",
                hint="Raise the server's --max-upload-bytes, or send less.",
            )
        piece.append(chunk)
        piece_bytes += len(chunk)
        if piece_bytes >= _PIECE_BYTES:
            if writing is not None:
                await writing
            writing = _in_thread(intake.feed, piece)
            piece, piece_bytes = [], 0
    if writing is not None:
        await writing
    await _in_thread(intake.end, piece)


def _in_thread(write: Callable[[list[bytes]], None], piece: list[bytes]) -> asyncio.Future[None]:
    future = asyncio.get_running_loop().run_in_executor(None, write, piece)
    # Nobody asks for its error where the body failed first.
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future


class _Intake:
    """Where the bytes of each part go: called in threads, one at a time."""

    def __init__(self, boundary: bytes, blobs: BlobStore, wanted: FormFields) -> None:
        self.form = Form()
        self._blobs = blobs
        self._wanted = wanted
        self._lock = threading.Lock()
        self._is_abandoned = False
        self._is_complete = False
        self._seen: set[str] = set()
        self._part = _Part()
        self._writer: BlobWriter | None = None
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_begin": self._begin_header,
                    "on_header_field": lambda data, start, end: self._header(0, data[start:end]),
                    "on_header_value": lambda data, start, end: self._header(1, data[start:end]),
                    "on_headers_finished": self._begin_content,
                    "on_part_data": self._content,
                    "on_part_end": self._end_part,
                    "on_end": self._complete,
                },
            )
        except FormParserError as error:
            raise MalformedUploadError("The form's boundary is not valid.", hint=_SEND_A_FORM) from error

    def feed(self, piece: list[bytes]) -> None:
        """Take some bytes of the body."""
        with self._lock:
            if self._is_abandoned:
                return
            try:
                self._parser.write(b"".join(piece))
            except FormParserError as error:
                raise MalformedUploadError(
                    f"The body is no valid multipart form: {error}.", hint=_SEND_A_FORM
                ) from error
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
                raise ResourceLimitError(
                    "The server's disk is full.", hint="Delete jobs, or make room."
                ) from error

    def end(self, piece: list[bytes]) -> None:
        """Take the last bytes; the form must be whole then."""
        self.feed(piece)
        if not self._is_complete:
            raise MalformedUploadError("The form is cut off before its end.", hint="Send it again.")

    def abandon(self) -> None:
        """Remove all files, and take nothing more."""
        with self._lock:
            self._is_abandoned = True
            if self._writer is not None:
                self._writer.close()
            self.form.discard()

    def _begin_part(self) -> None:
        self._part = _Part()

    def _begin_header(self) -> None:
        self._part.headers.append((bytearray(), bytearray()))

    def _header(self, which: int, text: bytes) -> None:
        headers = self._part.headers
        headers[-1][which].extend(text)
        if len(headers) > _HEADERS or len(headers[-1][which]) > _HEADER_BYTES:
            raise MalformedUploadError("A part of the form has headers that are too long.")

    def _begin_content(self) -> None:
        part = self._part
        part.read_headers()
        known = self._wanted.files | self._wanted.texts
        if part.name not in known:
            raise InvalidOptionsError(
                f"The form has an unknown field {part.name[:100]!r}.",
                hint=f"The fields are: {', '.join(sorted(known))}.",
            )
        if part.name in self._seen:
            raise InvalidOptionsError(f"The form has the field {part.name} twice.", hint="Send it once.")
        self._seen.add(part.name)
        if part.name in self._wanted.files:
            self._writer = self._blobs.open_writer(clean_filename(part.filename or "", part.name))

    def _content(self, data: bytes, start: int, end: int) -> None:
        if self._writer is not None:
            self._writer.write(memoryview(data)[start:end])
            return
        self._part.text += data[start:end]
        if len(self._part.text) > _TEXT_BYTES:
            raise UploadTooLargeError(f"The field {self._part.name} is longer than {_TEXT_BYTES:,} bytes.")

    def _end_part(self) -> None:
        part, writer = self._part, self._writer
        if writer is not None:
            if writer.size_bytes or part.filename != "":
                self.form.files[part.name] = writer.finish()
            self._writer = None
            writer.close()
            return
        try:
            self.form.texts[part.name] = part.text.decode()
        except UnicodeDecodeError as error:
            raise InvalidOptionsError(f"The field {part.name} is no UTF-8 text.") from error

    def _complete(self) -> None:
        self._is_complete = True


@dataclass
class _Part:
    """One field of a form, as far as it has come in."""

    headers: list[tuple[bytearray, bytearray]] = field(default_factory=list)
    name: str = ""
    filename: str | None = None
    text: bytearray = field(default_factory=bytearray)

    def read_headers(self) -> None:
        """Find the names."""
        headers = {bytes(name).lower(): bytes(value) for name, value in self.headers}
        encoding = headers.get(b"content-transfer-encoding", b"").strip().lower().decode("latin-1")
        if encoding not in _PLAIN_ENCODINGS:
            raise MalformedUploadError(f"A part of the form is encoded as {encoding[:40]!r}.")
        _, options = parse_options_header(headers.get(b"content-disposition", b""))
        self.name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" in options:
            self.filename = options[b"filename"].decode("utf-8", "replace")
