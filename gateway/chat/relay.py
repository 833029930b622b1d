"""A streamed chat completion, read as it passes: its words go on at once, its log-probabilities stay here, its end is held back. Pure.

Only the check band pays for this; the other bands pass the server's bytes through unread.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec import Raw

from tandem.errors import ModelBadResponse
from tandem.models.protocol import finish_reason_of, read_chances
from tandem.schemas.base import JsonObject
from tandem.schemas.chat import FinishReason, TokenChance, TokenUsage
from tandem.sse import Parser, data_frame

_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])
_CHOICES: Final = msgspec.json.Decoder(list[dict[str, Raw]])
_USAGE: Final = msgspec.json.Decoder(dict[str, object])
_ENVELOPE: Final = ("id", "object", "created", "model", "system_fingerprint")
_NULL: Final = b"null"
_BROKEN: Final = "the fast model's server sent something that is not a chat completion; the operator must look at it"


@dataclass(slots=True)
class Relay:
    """One answer on its way to the caller."""

    chances: list[TokenChance] = field(default_factory=list[TokenChance])
    finish_reason: FinishReason | None = None
    usage: TokenUsage | None = None
    _said: list[str] = field(default_factory=list[str])
    _parser: Parser = field(default_factory=Parser)
    _held: list[bytes] = field(default_factory=list[bytes])
    _envelope: dict[str, Raw] = field(default_factory=dict[str, Raw])

    @property
    def text(self) -> str:
        return "".join(self._said)

    @property
    def held(self) -> bytes:
        """The chunks that end the answer: its finish reason and, where asked for, its usage."""
        return b"".join(self._held)

    def feed(self, data: bytes) -> bytes:
        """What of these bytes may go on now. Raises ``ModelBadResponse`` for what is not the protocol, and for a fault the server reports."""
        return b"".join(self._pass(frame.data) for frame in self._parser.feed(data) if frame.data.strip() != "[DONE]")

    def close(self) -> None:
        """The server has nothing more to say. Raises ``ModelBadResponse`` when it stopped in the middle."""
        if self.finish_reason is None:
            raise ModelBadResponse("the fast model's server stopped in the middle of the answer; ask again")

    def chunk(self, delta: JsonObject, finish: str | None = None, **more: JsonObject) -> bytes:
        """A chunk of our own, in the answer's envelope."""
        choices = [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]
        return self._frame({"choices": choices, **more})

    def usage_chunk(self, usage: JsonObject) -> bytes:
        """The last chunk, for callers who want the usage."""
        return self._frame({"choices": [], "usage": usage})

    def _pass(self, data: str) -> bytes:
        try:
            fields = _OBJECT.decode(data)
            if "error" in fields and bytes(fields["error"]) != _NULL:
                raise ModelBadResponse("the fast model's server reported a fault in the middle of the answer; ask again")
            self._envelope = self._envelope or {name: fields[name] for name in _ENVELOPE if name in fields}
            choices = _CHOICES.decode(fields["choices"])
            self._count(fields.get("usage"))
            if choices:
                return self._pass_choice(fields, choices[0])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
            raise ModelBadResponse(_BROKEN) from None
        self._held.append(data_frame(msgspec.json.encode(fields)))
        return b""

    def _pass_choice(self, fields: dict[str, Raw], choice: dict[str, Raw]) -> bytes:
        """The piece without its log-probabilities; a finish reason is taken off it and held back."""
        delta = _OBJECT.decode(choice.get("delta", Raw(b"{}")))
        said = msgspec.json.decode(delta.get("content", Raw(_NULL)), type=str | None) or ""
        logprobs = choice.pop("logprobs", Raw(_NULL))
        if said or "reasoning_content" not in delta:
            self.chances += read_chances(msgspec.json.decode(logprobs))
        self._said.append(said)
        reason = msgspec.json.decode(choice.get("finish_reason", Raw(_NULL)), type=str | None)
        if reason is None:
            return _encoded(fields, choice)
        self.finish_reason = finish_reason_of(reason)
        self._held.append(_encoded(fields, choice | {"delta": Raw(b"{}")}))
        rest = {name: value for name, value in fields.items() if name in _ENVELOPE}
        return _encoded(rest, choice | {"finish_reason": Raw(_NULL)}) if said else b""

    def _count(self, usage: Raw | None) -> None:
        if usage is not None and bytes(usage) != _NULL:
            self.usage = usage_of(_USAGE.decode(usage))

    def _frame(self, fields: Mapping[str, object]) -> bytes:
        return data_frame(msgspec.json.encode({**self._envelope, **fields}))


def usage_of(told: Mapping[str, object]) -> TokenUsage:
    """What the server counted; what it did not count is 0."""
    counts = [value if isinstance(value, int) and value > 0 else 0 for value in (told.get("prompt_tokens"), told.get("completion_tokens"))]
    return TokenUsage(input_tokens=counts[0], output_tokens=counts[1])


def _encoded(fields: dict[str, Raw], choice: dict[str, Raw]) -> bytes:
    return data_frame(msgspec.json.encode({**fields, "choices": [choice]}))


class _Message(msgspec.Struct):
    content: str | None = None


class _WholeChoice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """A chat completion that came whole."""

    body: bytes
    """Without log-probabilities."""
    text: str
    finish_reason: FinishReason | None
    chances: list[TokenChance]

    @classmethod
    def read(cls, body: bytes) -> "WholeAnswer":
        """Raises ``ModelBadResponse``."""
        try:
            fields = _OBJECT.decode(body)
            choices = _CHOICES.decode(fields["choices"])
            chances = read_chances(msgspec.json.decode(choices[0].pop("logprobs", Raw(_NULL))))
            choice = msgspec.json.decode(msgspec.json.encode(choices[0]), type=_WholeChoice)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, IndexError):
            raise ModelBadResponse(_BROKEN) from None
        reason = finish_reason_of(choice.finish_reason) if choice.finish_reason else None
        return cls(msgspec.json.encode({**fields, "choices": choices}), choice.message.content or "", reason, chances)

    def with_facts(self, **facts: JsonObject) -> bytes:
        """The body with more fields, which stock clients ignore."""
        return msgspec.json.encode({**_OBJECT.decode(self.body), **facts})
