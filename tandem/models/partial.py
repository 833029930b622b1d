"""A model file that grows: hashed while it is written, resumable after any interruption."""

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Self

from tandem.errors import ModelFetchFailed
from tandem.models.verified import CHUNK_BYTES, Report


class PartialFile:
    """Appends to ``path`` and knows size and hash of what stands there.

    Args:
        path: The unfinished file; what it holds already is kept.
        limit_bytes: The pinned size; a source that sends more is refused.
        report: Told the size after each write.
    """

    def __init__(self, path: Path, limit_bytes: int, report: Report) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self.path = path
        self._limit_bytes = limit_bytes
        self._report = report
        self._file = path.open("r+b")
        self._digest = hashlib.sha256()
        self.size = 0
        while chunk := self._file.read(CHUNK_BYTES):
            self._digest.update(chunk)
            self.size += len(chunk)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def write(self, chunk: bytes) -> None:
        if self.size + len(chunk) > self._limit_bytes:
            self.cut(0)
            raise ModelFetchFailed(f"sends more than the pinned {self._limit_bytes:,} bytes")
        self._file.write(chunk)
        self._digest.update(chunk)
        self.size += len(chunk)
        self._report(self.size)

    def cut(self, size: int) -> None:
        """Keep the first ``size`` bytes."""
        if size == self.size:
            return
        self._file.truncate(size)
        self._file.seek(0)
        self._digest = hashlib.sha256()
        self.size = 0
        while chunk := self._file.read(CHUNK_BYTES):
            self._digest.update(chunk)
            self.size += len(chunk)

    def flush(self) -> None:
        self._file.flush()

    def sha256(self) -> str:
        return self._digest.hexdigest()
