"""Chat as models and clients speak it: the part of OpenAI's chat-completions protocol that Tandem itself reads or writes.

The gateway's hot path passes bytes through and does not use these classes per token.
"""

from typing import Literal

from pydantic import Field

from tandem.schemas.base import JsonObject, Wire
from tandem.schemas.text import CleanText

Role = Literal["system", "user", "assistant"]


class ChatMessage(Wire):
    """One message of a conversation."""

    role: Role
    content: CleanText


class ChatRequest(Wire):
    """What a Tandem room asks of a model; an adapter turns it into the server's protocol."""

    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int = Field(default=512, ge=1, le=65_536)
    """Upper bound of generated tokens."""
    temperature: float = Field(default=0.7, ge=0.0, le=2.0)
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    """Nucleus sampling; null leaves it to the server."""
    seed: int | None = None
    stop: list[str] = Field(default_factory=list, max_length=8)
    grammar: str | None = None
    """GBNF grammar for servers that take one (llama.cpp); other servers ignore it."""
    json_schema: JsonObject | None = None
    """JSON Schema that the whole reply must satisfy (``response_format``), for servers that support it."""
    top_logprobs: int = Field(default=0, ge=0, le=20)
    """Ask for the log-probability of each token and of this many alternatives; 0 asks for none. Servers without them send none."""


class TokenChance(Wire):
    """How sure the model was of one token."""

    token: str
    logprob: float
    """Natural logarithm, at most 0."""
    top: list[tuple[str, float]] = Field(default_factory=list[tuple[str, float]])
    """The likeliest tokens at this place with their log-probabilities, best first."""


class TokenUsage(Wire):
    """Tokens of one model call."""

    input_tokens: int = Field(default=0, ge=0)
    output_tokens: int = Field(default=0, ge=0)


FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "unknown"]


class ChatReply(Wire):
    """A whole reply."""

    text: str
    reasoning: str = ""
    """The model's own ``reasoning_content``, when the server sends it apart."""
    finish_reason: FinishReason
    usage: TokenUsage
    model: str
    chances: list[TokenChance] = Field(default_factory=list[TokenChance])
    """Of each token of ``text``, where they were asked for and the server sends them."""


class ChatDelta(Wire):
    """A piece of a streamed reply; the last one carries ``finish_reason`` and, where the server counts, ``usage``."""

    text: str = ""
    reasoning: str = ""
    finish_reason: FinishReason | None = None
    usage: TokenUsage | None = None
    chances: list[TokenChance] = Field(default_factory=list[TokenChance])
