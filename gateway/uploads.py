"""Receives one uploaded file: ``multipart/form-data``, read as it comes. Knows nothing of where files are kept.

Covered: a body larger than allowed, announced or not, is refused as soon as it shows; the bytes wait in a spool that goes to disk beyond
``_SPOOLED_BYTES``, so many uploads at once take little memory, and only few files are in memory whole; parts, fields and headers are counted and
short; a sender that stalls is let go; an upload that is cut leaves nothing. The file's name is made harmless and its type is judged by its bytes
(``tandem/file_names.py``). Not covered: what is in the file. A file is in memory whole while it is stored or handed out.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import Final, cast, get_args

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.asgi import Message, Receive, Scope, header
from gateway.errors import HttpFault, shown
from gateway.limits import InFlight
from tandem.errors import BodyTooLarge, InvalidRequest, StorageFull
from tandem.file_names import clean_name, media_type_of
from tandem.schemas.base import Wire
from tandem.schemas.files import FilePurpose

PATH: Final = "/v1/files"
EXPIRY_S: Final = (3_600, 31_536_000)
"""Shortest and longest life of a file that expires."""
_FORM_BYTES: Final = 65_536
"""What a body may have beside the file: boundaries, headers, fields."""
_SPOOLED_BYTES: Final = 1_048_576
PIECE_S: Final = 30.0
"""Longest wait for the next piece of a body."""
_MAX_PARTS: Final = 8
_MAX_FIELD_BYTES: Final = 1_024
_FIELDS: Final = ("purpose", "expires_after[anchor]", "expires_after[seconds]")
_GONE: Final = 499
"""The status, of nginx's making, that is logged for a client that has gone."""
_HOW: Final = "send multipart/form-data with the file in a part named 'file' and its 'purpose', as OpenAI's clients do"


class UploadedFile(Wire):
    """What an upload asks for, in the form its ``Idempotency-Key`` stands for."""

    name: str
    purpose: FilePurpose
    expires_after_s: float | None
    sha256: str


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that has come whole."""

    asked: UploadedFile
    media_type: str
    content: bytes


class UploadRoom:
    """How many uploads this process takes at once, and how many files it holds in memory meanwhile."""

    def __init__(self, receiving: int = 32, whole: int = 2) -> None:
        self._receiving = InFlight(receiving)
        self._whole = asyncio.Semaphore(whole)

    @asynccontextmanager
    async def receive(self, headers: Mapping[str, str], pieces: AsyncIterator[bytes], max_file_bytes: int) -> AsyncGenerator[Upload]:
        """The file, in memory until the context ends.

        Raises:
            InvalidRequest: The body is no form with one file in it; the message says what is wrong.
            BodyTooLarge: The file has more than ``max_file_bytes``.
            TooManyRequests: Too many uploads are being received.
        """
        with self._receiving.slot(), SpooledTemporaryFile[bytes](max_size=_SPOOLED_BYTES) as spool:
            form = _Form(_boundary(headers.get("content-type", "")), spool, max_file_bytes)
            async for piece in pieces:
                form.feed(piece)
            name, purpose, expires_after_s = form.told()
            async with self._whole:
                spool.seek(0)
                content = spool.read()
                digest = await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())
                asked = UploadedFile(name=name, purpose=purpose, expires_after_s=expires_after_s, sha256=digest)
                yield Upload(asked, media_type_of(name, content), content)


def bounded(scope: Scope, receive: Receive, max_file_bytes: int, *, piece_s: float = PIECE_S) -> Receive:
    """The body of an upload, piece by piece: no more of it than a file and its form need, none of it too slowly.

    Raises:
        BodyTooLarge: At once when too much is announced.
    """
    max_bytes = max_file_bytes + _FORM_BYTES
    announced = header(scope, b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > max_bytes:
        raise _too_large(int(announced), max_file_bytes)
    size = 0

    async def receive_bounded() -> Message:
        nonlocal size
        try:
            async with asyncio.timeout(piece_s):
                message = await receive()
        except TimeoutError:
            raise HttpFault(f"nothing came for {piece_s:.0f} seconds in the middle of the upload; send it again", status=408) from None
        if message["type"] == "http.disconnect":
            raise HttpFault("the client has gone in the middle of its upload", status=_GONE)
        size += len(message.get("body", b""))
        if size > max_bytes:
            raise _too_large(size, max_file_bytes)
        return message

    return receive_bounded


class _Form:
    """Reads the parts of a form as they come: the file goes to the spool, fields stay here."""

    def __init__(self, boundary: bytes, spool: SpooledTemporaryFile[bytes], max_file_bytes: int) -> None:
        self._spool = spool
        self._max_file_bytes = max_file_bytes
        self._parts = 0
        self._header = b""
        self._value = b""
        self._disposition = b""
        self._part: str | None = None
        self._fields: dict[str, bytes] = {}
        self._file_name: str | None = None
        self._size = 0
        self._is_whole = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._read_header,
                "on_header_value": self._read_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._name_part,
                "on_part_data": self._read_data,
                "on_end": self._end,
            },
        )

    def feed(self, piece: bytes) -> None:
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise InvalidRequest(f"the body is no well-formed multipart/form-data: {error}; {_HOW}") from None

    def told(self) -> tuple[str, FilePurpose, float | None]:
        """Name, purpose and life of the file, once all has come."""
        if not self._is_whole:
            raise InvalidRequest("the upload was cut: its last boundary is missing; send it again")
        if self._file_name is None:
            raise InvalidRequest(f"there is no file in the body; {_HOW}", param="file")
        if self._size == 0:
            raise InvalidRequest(f"the file {clean_name(self._file_name)!r} is empty; send one with contents", param="file")
        return clean_name(self._file_name), self._purpose(), self._expiry()

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise InvalidRequest(f"the body has more than {_MAX_PARTS} parts; {_HOW}")
        self._disposition, self._part = b"", None

    def _read_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _read_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _name_part(self) -> None:
        _, options = parse_options_header(self._disposition)
        name, file_name = _decoded(options.get(b"name", b"")), options.get(b"filename")
        if name == "file":
            if file_name is None:
                raise InvalidRequest(f"the part 'file' has no file name, so it is a field and no file; {_HOW}", param="file")
            if self._file_name is not None:
                raise InvalidRequest("the body has two files; send one in each request", param="file")
            self._file_name = _decoded(file_name).replace("%22", '"')
        elif name not in _FIELDS:
            raise InvalidRequest(
                f"{shown(name)} is not a part of this form: those are 'file', {', '.join(map(repr, _FIELDS))}", param=name[:64] or None
            )
        elif name in self._fields:
            raise InvalidRequest(f"the field {name!r} comes twice; send it once", param=name)
        else:
            self._fields[name] = b""
        self._part = name

    def _read_data(self, data: bytes, start: int, end: int) -> None:
        if self._part == "file":
            self._size += end - start
            if self._size > self._max_file_bytes:
                raise _too_large(self._size, self._max_file_bytes)
            self._keep(data[start:end])
        elif self._part is not None:
            self._fields[self._part] += data[start:end]
            if len(self._fields[self._part]) > _MAX_FIELD_BYTES:
                raise InvalidRequest(f"the field {self._part!r} has more than {_MAX_FIELD_BYTES} bytes; shorten it", param=self._part)

    def _keep(self, data: bytes) -> None:
        try:
            self._spool.write(data)
        except OSError as error:
            raise StorageFull(f"an upload cannot be spooled in the folder of temporary files: {error.strerror}") from error

    def _end(self) -> None:
        self._is_whole = True

    def _purpose(self) -> FilePurpose:
        purpose, known = _decoded(self._fields.get("purpose", b"user_data")), get_args(FilePurpose)
        if purpose not in known:
            raise InvalidRequest(f"purpose {shown(purpose)} is not served; choose {' or '.join(map(repr, known))}", param="purpose")
        return cast("FilePurpose", purpose)

    def _expiry(self) -> float | None:
        anchor, seconds = (self._fields.get(f"expires_after[{name}]") for name in ("anchor", "seconds"))
        if anchor is None and seconds is None:
            return None
        if anchor is not None and anchor != b"created_at":
            message = f"expires_after.anchor {shown(_decoded(anchor))} is not served; a file's time counts from 'created_at'"
            raise InvalidRequest(message, param="expires_after.anchor")
        text = _decoded(seconds or b"")
        shortest, longest = EXPIRY_S
        if not (text.isascii() and text.isdigit() and shortest <= int(text) <= longest):
            message = f"expires_after.seconds {shown(text)} must be a whole number from {shortest} to {longest}"
            raise InvalidRequest(message, param="expires_after.seconds")
        return float(text)


def _boundary(content_type: str) -> bytes:
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        raise InvalidRequest(f"the content type is {shown(content_type)}; {_HOW}")
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:  # RFC 2046
        raise InvalidRequest("the content type names no boundary of 1 to 70 characters; let the HTTP client write this header")
    return boundary


def _decoded(text: bytes) -> str:
    """As clients send it today, or as they once did."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _too_large(size: int, max_file_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the upload has at least {size} bytes and a file may have {max_file_bytes}; send a smaller one, or split it", param="file")
