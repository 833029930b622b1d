"""The body of an answer, decompressed but never beyond its limit.

One layer of gzip or zlib at most: stacked and unknown encodings are refused, because a server that was asked for none of them sends them to be
read wrongly or to fill memory.
"""

import zlib
from typing import Final, Protocol

ACCEPTED: Final = "gzip"
"""What is asked for with ``Accept-Encoding``."""
_PLAIN: Final = frozenset({"", "identity"})
_COMPRESSED: Final = frozenset({"gzip", "x-gzip", "deflate"})
_ANY_ZLIB_HEADER: Final = 47
_GZIP_START: Final = b"\x1f"
_SLACK_BYTES: Final = 65_536
"""How much longer than the limit the compressed form may be: headers and stored blocks add a little to what does not shrink."""


class _Inflater(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes: ...


class BoundedBody:
    """Collects chunks up to a limit; memory never holds more than the limit and one chunk.

    Args:
        encoding: The answer's ``Content-Encoding``.
        limit: Most bytes kept, decompressed.

    Raises:
        ConnectionError: The encoding is none that was asked for; also from ``feed`` and ``finish`` when the compressed data are broken.
    """

    def __init__(self, encoding: str, limit: int) -> None:
        name = encoding.strip().lower()
        if name not in _PLAIN | _COMPRESSED:
            raise ConnectionError(f"the answer is encoded as {name[:32]!r}, which was not asked for")
        self._inflater: _Inflater | None = zlib.decompressobj(_ANY_ZLIB_HEADER) if name in _COMPRESSED else None
        self._limit = limit
        self._raw = 0
        self._content = bytearray()

    @property
    def is_full(self) -> bool:
        """More came than is kept; nothing further is taken."""
        return len(self._content) > self._limit or self._raw > self._limit + _SLACK_BYTES

    def feed(self, chunk: bytes) -> None:
        self._raw += len(chunk)
        if self._inflater is None:
            self._content += chunk[: self._limit + 1 - len(self._content)]
            return
        try:
            self._inflater = self._inflate(self._inflater, chunk)
        except zlib.error:
            raise ConnectionError("the answer's compressed data are broken") from None

    def finish(self) -> tuple[bytes, bool]:
        """The body, and whether it was cut."""
        if self._inflater is not None and self._raw and not self._inflater.eof and not self.is_full:
            raise ConnectionError("the answer's compressed data end too early")
        return bytes(self._content[: self._limit]), self.is_full

    def _inflate(self, inflater: _Inflater, chunk: bytes) -> _Inflater:
        while chunk and not self.is_full:
            if inflater.eof:
                if not chunk.startswith(_GZIP_START):
                    return inflater  # padding, which every browser ignores
                inflater = zlib.decompressobj(_ANY_ZLIB_HEADER)  # a gzip file may have several members
            self._content += inflater.decompress(chunk, self._limit + 1 - len(self._content))
            chunk = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        return inflater


__all__ = ["ACCEPTED", "BoundedBody"]
