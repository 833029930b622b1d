"""Which of a job's files a program gets. Reads none of them."""

from collections.abc import Mapping
from typing import Final, cast

from pydantic import JsonValue

from tandem.ports import Shelf

MOST_FILES: Final = 16


async def files_for(code: str, arguments: Mapping[str, JsonValue], shelf: Shelf) -> list[str]:
    """The names that the call lists; where it lists none, those that the program itself names: small models leave the list out."""
    if (listed := arguments.get("files")) is not None:
        return cast("list[str]", listed)
    return [file.name for file in await shelf.files() if file.name in code][:MOST_FILES]
