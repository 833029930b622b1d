"""``/v1/memory``: facts that jobs remembered for their tenant, each with where it came from."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from tandem.schemas.base import Wire
from tandem.schemas.text import CleanText


class Provenance(Wire):
    """Where a memory comes from."""

    job_id: str | None = None
    key_id: str | None = None
    origin: Literal["caller", "model", "untrusted"]
    """``caller``: a person said it at the door; ``model``: a job concluded it from its caller's words alone; ``untrusted``: the job had read
    words of strangers before."""
    source: str = ""
    """The page or file it was read in, where one is known."""


class Memory(Wire):
    """A fact that is kept."""

    id: str
    object: Literal["memory"] = "memory"
    text: CleanText
    provenance: Provenance
    created_at: datetime


class MemoryCreate(Wire):
    """Body of ``POST /v1/memory``."""

    text: CleanText = Field(min_length=1, max_length=2_000)


class MemoryPage(Wire):
    """A page of memories, newest first."""

    object: Literal["list"] = "list"
    data: list[Memory]
    next_after: str | None = None
    """Pass it as ``after`` to read on; null at the end."""
