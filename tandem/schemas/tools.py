"""What a tool declares and what it returns."""

from typing import Literal

from pydantic import Field, JsonValue

from tandem.schemas.base import JsonObject, Wire

SideEffect = Literal["pure", "read_internal", "read_external", "write", "exec"]


class ToolSpec(Wire):
    """A tool's declaration, the same for every model protocol."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    description: str
    parameters: JsonObject
    """JSON Schema of the arguments; an object that refuses additional properties."""
    side_effect: SideEffect
    timeout_s: float = Field(gt=0)
    """Total seconds of one call, everything included."""
    max_output_chars: int = Field(gt=0)
    """Longer output is cut and marked."""


class ToolResult(Wire):
    """What a call gave. A failure is never a success with a sad text: ``ok`` is false and ``error`` says what to change."""

    ok: bool
    output: JsonValue = None
    stdout: str = ""
    error: str | None = None
    error_code: str | None = None
    retryable: bool = False
    seconds: float = 0.0
    is_truncated: bool = False
