"""A shelf that holds its files in memory."""

from collections.abc import Mapping, Sequence

from tandem.errors import ToolFailed
from tandem.ports import ShelfFile


class MemoryShelf:
    """What a job's shelf does, without a job; remembers what was kept, which can be read like what was brought."""

    def __init__(self, files: Mapping[str, bytes | str] | None = None, media_types: Mapping[str, str] | None = None, *, max_kept: int = 100) -> None:
        self._files = {name: content.encode() if isinstance(content, str) else content for name, content in (files or {}).items()}
        self._media_types = dict(media_types or {})
        self._max_kept = max_kept
        self.kept: dict[str, tuple[str, bytes]] = {}

    async def files(self) -> Sequence[ShelfFile]:
        return [
            ShelfFile(name, self._media_types.get(name, "application/octet-stream"), len(content), name in self.kept)
            for name, content in self._files.items()
        ]

    async def read(self, name: str) -> bytes:
        if name not in self._files:
            raise ToolFailed(f"there is no file {name!r}; there are: {', '.join(self._files) or 'none'}")
        return self._files[name]

    async def keep(self, name: str, media_type: str, content: bytes) -> str:
        if len(self.kept) >= self._max_kept:
            raise ToolFailed("the job keeps too many files already")
        self.kept[name] = (media_type, content)
        self._files[name] = content
        self._media_types[name] = media_type
        return name
