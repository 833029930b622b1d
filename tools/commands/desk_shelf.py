"""The files of a call from the command line: read from disk when it begins, kept in memory, written out when it has ended."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tandem.errors import InvalidRequest, ToolFailed
from tandem.file_names import clean_name, distinct_name, media_type_of
from tandem.ports import ShelfFile


@dataclass(frozen=True, slots=True)
class _Kept:
    media_type: str
    content: bytes


@dataclass(slots=True)
class DeskShelf:
    """Implements ``Shelf``."""

    brought: dict[str, _Kept] = field(default_factory=dict[str, _Kept])
    made: dict[str, _Kept] = field(default_factory=dict[str, _Kept])

    @classmethod
    def of(cls, paths: Iterable[Path]) -> "DeskShelf":
        """The named files. Raises ``InvalidRequest`` for two of one name, and ``OSError`` for one that cannot be read."""
        shelf = cls()
        for path in paths:
            if path.name in shelf.brought:
                raise InvalidRequest(f"two files are named {path.name!r}; a tool could not tell them apart: rename one")
            content = path.read_bytes()
            shelf.brought[path.name] = _Kept(media_type_of(path.name, content), content)
        return shelf

    async def files(self) -> Sequence[ShelfFile]:
        groups = ((self.brought, False), (self.made, True))
        return [ShelfFile(name, kept.media_type, len(kept.content), is_made) for group, is_made in groups for name, kept in group.items()]

    async def read(self, name: str) -> bytes:
        found = self.brought.get(name) or self.made.get(name)
        if found is None:
            known = ", ".join(map(repr, [*self.brought, *self.made])) or "none; --file PATH brings one"
            raise ToolFailed(f"there is no file {name!r}; there are: {known}")
        return found.content

    async def keep(self, name: str, media_type: str, content: bytes) -> str:
        """Under a clean name, which names no folder."""
        kept_as = distinct_name(clean_name(name), {*self.brought, *self.made})
        self.made[kept_as] = _Kept(media_type, content)
        return kept_as

    def write(self, folder: Path) -> list[Path]:
        """Write what was made; a file that is there already stays, and the new one gets another name."""
        folder.mkdir(parents=True, exist_ok=True)
        written: list[Path] = []
        for name, kept in self.made.items():
            path = folder / distinct_name(name, {known.name for known in folder.iterdir()})
            path.write_bytes(kept.content)
            written.append(path)
        return written
