"""A multipart form that streams into the blob store: each byte is written once, none is kept in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from optimizer.errors import InvalidOptionsError
from service.storage.blobs import BlobStore, BlobWriter, Draft
from service.storage.filenames import clean_filename

_PIECE_BYTES = 4 << 20
_TEXT_BYTES = 1 << 20
_HEADER_BYTES = 8 << 10


class UploadError(Exception):
    """A body that cannot be taken; message and hint reach the user."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


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
    """Read a multipart form; its files become drafts.

    Args:
        chunks: The body, as it comes.
        content_type: The request's header, with the boundary.
        blobs: Where the files go.
        wanted: The fields that are known; each at most once.

    Raises:
        UploadTooLargeError: If the body is larger than allowed.
        MalformedUploadError: If it is no multipart form, or ends too early.
        InvalidOptionsError: Naming a field that is unknown or given twice.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or b"boundary" not in options:
        raise MalformedUploadError(
            "The body is no multipart form.", hint="Send it with `curl -F model=@FILE`."
        )
    receiver = _Receiver(options[b"boundary"], blobs, wanted)
    try:
        await _feed(receiver, chunks, wanted.max_bytes)
        return receiver.form
    except BaseException:
        receiver.form.discard()
        raise
    finally:
        receiver.close()


async def _feed(receiver: _Receiver, chunks: AsyncIterator[bytes], max_bytes: int) -> None:
    """Hash and write one piece in a thread while the next one comes in."""
    total, piece, writing = 0, bytearray(), None
    try:
        async for chunk in chunks:
            total += len(chunk)
            if total > max_bytes:
                raise UploadTooLargeError(
                    f"The body is larger than {max_bytes:,} bytes.",
                    hint="Raise the server's --max-upload-bytes, or send less.",
                )
            piece += chunk
            if len(piece) >= _PIECE_BYTES:
                if writing:
                    await writing
                writing = asyncio.create_task(asyncio.to_thread(receiver.feed, bytes(piece)))
                piece = bytearray()
        if writing:
            await writing
        await asyncio.to_thread(receiver.end, bytes(piece))
    finally:
        if writing and not writing.done():
            # A thread cannot be stopped: let it end before its file is closed.
            await asyncio.wait({writing})


class _Receiver:
    """The parser's callbacks: where the bytes of each part go."""

    def __init__(self, boundary: bytes, blobs: BlobStore, wanted: FormFields) -> None:
        self.form = Form()
        self._blobs = blobs
        self._wanted = wanted
        self._stack = ExitStack()
        self._writer: BlobWriter | None = None
        self._text = bytearray()
        self._name = ""
        self._headers: list[tuple[bytearray, bytearray]] = []
        self._is_complete = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._headers.clear,
                    "on_header_begin": lambda: self._headers.append((bytearray(), bytearray())),
                    "on_header_field": lambda data, start, end: self._header(0, data[start:end]),
                    "on_header_value": lambda data, start, end: self._header(1, data[start:end]),
                    "on_headers_finished": self._begin,
                    "on_part_data": self._data,
                    "on_part_end": self._end_part,
                    "on_end": self._complete,
                },
            )
        except FormParserError as error:
            raise MalformedUploadError("The form's boundary is not valid.") from error

    def feed(self, piece: bytes) -> None:
        """Take some bytes of the body."""
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise MalformedUploadError(
                f"The body is no valid multipart form: {error}.", hint="Send it with `curl -F model=@FILE`."
            ) from error

    def end(self, piece: bytes) -> None:
        """Take the last bytes; the form must be whole then."""
        self.feed(piece)
        if not self._is_complete:
            raise MalformedUploadError("The form is cut off before its end.", hint="Send it again.")

    def close(self) -> None:
        """Close the file that is open, and remove it where it was not finished."""
        self._stack.close()

    def _header(self, which: int, text: bytes) -> None:
        self._headers[-1][which].extend(text)
        if len(self._headers) > 16 or len(self._headers[-1][which]) > _HEADER_BYTES:
            raise MalformedUploadError("A part of the form has headers that are too long.")

    def _begin(self) -> None:
        headers = {bytes(name).lower(): bytes(value) for name, value in self._headers}
        _, options = parse_options_header(headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        known = self._wanted.files | self._wanted.texts
        if self._name not in known:
            raise InvalidOptionsError(
                f"The form has an unknown field {self._name[:100]!r}.",
                hint=f"The fields are: {', '.join(sorted(known))}.",
            )
        if self._name in self.form.files or self._name in self.form.texts:
            raise InvalidOptionsError(f"The form has the field {self._name} twice.", hint="Send it once.")
        self._text.clear()
        if self._name in self._wanted.files:
            filename = clean_filename(options.get(b"filename", b"").decode("utf-8", "replace"), self._name)
            self._writer = self._stack.enter_context(self._blobs.writer(filename))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._writer is not None:
            self._writer.write(memoryview(data)[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > _TEXT_BYTES:
            raise UploadTooLargeError(f"The field {self._name} is longer than {_TEXT_BYTES:,} bytes.")

    def _end_part(self) -> None:
        if self._writer is not None:
            self.form.files[self._name] = self._writer.finish()
            self._writer = None
            self._stack.close()
            return
        try:
            self.form.texts[self._name] = self._text.decode()
        except UnicodeDecodeError as error:
            raise InvalidOptionsError(f"The field {self._name} is no UTF-8 text.") from error

    def _complete(self) -> None:
        self._is_complete = True
