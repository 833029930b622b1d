"""What a tool declares and what it returns, and how the doors show it."""

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from tandem.schemas.base import JsonObject, Wire

SideEffect = Literal["pure", "read_internal", "read_external", "write", "exec"]
"""What a call does to the world: nothing; reads what Tandem keeps; reads what lies outside; changes something anywhere; runs a program."""
Need = Literal["sandbox", "egress", "files", "database", "people", "jobs", "configuration"]
"""What must be there for a tool to be offered."""


class ToolExample(Wire):
    """A call as a model should write it."""

    arguments: JsonObject
    note: str = ""
    """What it is for, in a few words."""


class ToolSpec(Wire):
    """A tool's declaration, the same for every model protocol."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    """Unique on a machine; a tool of an MCP server is called ``server__tool``."""
    description: str
    """What the model reads; plain text."""
    parameters: JsonObject
    """JSON Schema of the arguments; an object that refuses additional properties."""
    output: JsonObject | None = None
    """JSON Schema of a good call's output; null where it may be any JSON."""
    side_effect: SideEffect
    reads_private: bool = False
    """Its answers may hold what the tenant keeps to itself, beyond what the caller gave to this job."""
    taints: bool = False
    """Its answers may hold words of strangers: from then on the job's authority is cut (``tools/authority.py``)."""
    url_arguments: list[str] = Field(default_factory=list[str])
    """Names of arguments that hold an address which the call reaches."""
    timeout_s: float = Field(gt=0)
    """Total seconds of one call, everything included."""
    max_output_bytes: int = Field(default=32_768, gt=0)
    """Longest output as UTF-8 JSON; longer output is cut and marked."""
    max_output_tokens: int = Field(default=2_000, gt=0)
    """The same as an estimate in tokens from above: what one call may take of a context."""
    cost_usd: float = Field(default=0.0, ge=0)
    """US dollars of one call."""
    needs: list[Need] = Field(default_factory=list[Need])
    examples: list[ToolExample] = Field(default_factory=list[ToolExample])


class ToolFault(Wire):
    """Why a call failed, worded for the model that made it."""

    code: str
    """Stable; ``invalid_arguments``, ``timeout``, ``egress_denied``, ..."""
    message: str
    """What is wrong and what to do instead."""
    retryable: bool = False
    """The same call may succeed later."""


class Citation(Wire):
    """Where something that a tool returned stands."""

    source: str
    """The address of a page, or the name of a file."""
    title: str = ""
    quote: str = ""
    """The words themselves, letter by letter as the source has them."""
    start: int | None = None
    """Of the quote in the source's text, in characters."""
    end: int | None = None
    page: int | None = None
    """From 1, where the source has pages."""


class ToolResult(Wire):
    """What a call gave. A failure is never a success with a sad text: ``ok`` is false and ``error`` says what to change."""

    ok: bool
    output: JsonValue = None
    stdout: str = ""
    error: ToolFault | None = None
    seconds: float = 0.0
    is_truncated: bool = False
    artifacts: list[str] = Field(default_factory=list[str])
    """Names of the files that the call left with the job."""
    citations: list[Citation] = Field(default_factory=list[Citation])
    links: list[str] = Field(default_factory=list[str])
    """Addresses that the answer names, exactly as they may be fetched."""
    is_tainted: bool = False
    """This answer holds words of strangers although the tool's answers need not (an untrusted memory); ``ToolSpec.taints`` says it of all."""


ToolState = Literal["offered", "unavailable"]


class ToolReport(Wire):
    """What one worker says of one tool."""

    spec: ToolSpec
    state: ToolState
    reason: str = ""
    """Why it is not offered, and what an operator can do."""
    worker: str
    """Host of the worker."""
    seen_at: datetime


class OfferedTool(ToolSpec):
    """A tool as ``/v1/tools`` shows it."""

    object: Literal["tool"] = "tool"
    state: ToolState
    reason: str = ""
    """Why it is not offered, and what an operator can do."""
    is_allowed: bool
    """Whether a job of this key would get it: the platform, the tenant's list and the key's scopes all let it."""
    workers: int
    """Live workers that offer it."""


class ToolPage(Wire):
    """All tools, by name."""

    object: Literal["list"] = "list"
    data: list[OfferedTool]
