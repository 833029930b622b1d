"""The files that a Monty program may read, answered from memory: no path of this machine is ever opened for it.

Covered: only the given names exist; nothing can be written, made, renamed or removed, so that a program cannot fill this process's memory; the
environment is empty. Not covered: the number of questions, which the pool limits.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final, NoReturn

from pydantic_monty import MemoryFile, MontyFileHandle, OSAccess

_READING: Final = frozenset({"r", "rt", "rb", "br", "tr"})


class ReadableFiles(OSAccess):
    """A file system of a few files at its root, for reading."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__([MemoryFile(f"/{name}", _content(content)) for name, content in files.items()])

    def path_open(self, path: PurePosixPath, mode: str) -> MontyFileHandle:
        """Raises ``PermissionError`` for every mode that could change something."""
        if mode not in _READING:
            _refuse(path)
        return super().path_open(path, mode)

    def path_write_text(self, path: PurePosixPath | MontyFileHandle, data: str) -> int:  # noqa: ARG002 - the handler's signature
        _refuse(path)

    def path_write_bytes(self, path: PurePosixPath | MontyFileHandle, data: bytes) -> int:  # noqa: ARG002 - the handler's signature
        _refuse(path)

    def path_append_text(self, path: PurePosixPath | MontyFileHandle, data: str) -> int:  # noqa: ARG002 - the handler's signature
        _refuse(path)

    def path_append_bytes(self, path: PurePosixPath | MontyFileHandle, data: bytes) -> int:  # noqa: ARG002 - the handler's signature
        _refuse(path)

    def path_mkdir(self, path: PurePosixPath, parents: bool, exist_ok: bool) -> None:  # noqa: ARG002 - the handler's signature
        _refuse(path)

    def path_unlink(self, path: PurePosixPath) -> None:
        _refuse(path)

    def path_rmdir(self, path: PurePosixPath) -> None:
        _refuse(path)

    def path_rename(self, path: PurePosixPath, target: PurePosixPath) -> None:  # noqa: ARG002 - the handler's signature
        _refuse(path)


def _content(content: bytes) -> str | bytes:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content


def _refuse(path: object) -> NoReturn:
    raise PermissionError(f"{str(path)!r}: the files here can only be read; print or return what is to be kept")
