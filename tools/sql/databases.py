"""The databases that an operator lets ``sql`` read, from one JSON file. Opens none of them.

Covered: only the file names databases, no request and no model; a password never stands in the file; a database can be for some tenants only. Not
covered: what the database's own user may read beyond the listed tables, so give Tandem a user of its own that may read and nothing else.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from tandem.errors import SettingsInvalid

_SQLITE: Final = "sqlite:///"
_POSTGRES: Final = ("postgresql://", "postgres://")


class Database(BaseModel):
    """One entry of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    url: str | None = None
    """``sqlite:///path`` or ``postgresql://user@host/name``, without a password."""
    url_env: str | None = None
    """Name of the variable that holds the address, password included."""
    description: str = ""
    """What is in it, for the model."""
    tables: list[str] | None = None
    """The only tables and views that may be read, as ``name`` or ``schema.name``; null allows all that its user may read."""
    schemas: list[str] = Field(default_factory=lambda: ["public"], min_length=1)
    """PostgreSQL: where tables are looked for, in order."""
    tenants: list[str] | None = None
    """The only tenants that know of it; null lets all."""
    role: str | None = None
    """PostgreSQL: the role taken before anything is read."""
    allow_superuser: bool = False
    """PostgreSQL: read it also as a superuser, whom the server itself holds to nothing."""
    taints: bool = False
    """Its rows hold words of strangers (messages, reviews), after which a job's authority is cut."""
    timeout_s: float = Field(default=5.0, gt=0, le=60)
    """Seconds one query may run."""


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    databases: dict[str, Database]


class Source(BaseModel):
    """A database with the address it has in this process."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: Literal["postgres", "sqlite"]
    address: SecretStr
    """A path for SQLite, else the whole URL."""
    entry: Database


def read_databases(path: Path, environ: Mapping[str, str]) -> tuple[Source, ...]:
    """The file's databases, in its order.

    Raises:
        SettingsInvalid: It is no such file; names the key and the remedy.
    """
    try:
        file = _File.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise SettingsInvalid(f"{path}: {_what(error)}; it must look like {{'databases': {{'sales': {{'url_env': 'SALES_URL'}}}}}}") from None
    return tuple(_source(path, name, entry, environ) for name, entry in file.databases.items())


def _source(path: Path, name: str, entry: Database, environ: Mapping[str, str]) -> Source:
    where = f"{path}: databases.{name}"
    if (entry.url is None) == (entry.url_env is None):
        raise SettingsInvalid(f"{where}: give either 'url' or 'url_env'")
    url = entry.url if entry.url is not None else environ.get(entry.url_env or "")
    if not url:
        raise SettingsInvalid(f"{where}: the variable {entry.url_env!r} is not set; set it to the database's address")
    if url.startswith(_SQLITE):
        return Source(name=name, kind="sqlite", address=SecretStr(str(Path(url.removeprefix(_SQLITE)).expanduser().absolute())), entry=entry)
    if not url.startswith(_POSTGRES):
        raise SettingsInvalid(f"{where}: the address must begin with 'postgresql://' or 'sqlite:///'")
    if entry.url is not None and urlsplit(url).password:
        raise SettingsInvalid(f"{where}: 'url' holds a password; put the address into a variable and name it with 'url_env'")
    return Source(name=name, kind="postgres", address=SecretStr(url), entry=entry)


def _what(error: OSError | ValueError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return str(error)
