"""For tests of what jobs do with tools: a tool that counts its calls, a model that plays its turns by a list, and one that obeys all it reads."""

import base64
import binascii
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from pydantic import JsonValue

from slow_worker.testing import Answer, prompt, said
from tandem.ports import ToolContext
from tandem.schemas.chat import ChatRequest
from tandem.schemas.tools import ToolResult, ToolSpec

Body = Callable[[Mapping[str, JsonValue], ToolContext], Awaitable[ToolResult]]
ANY_ARGUMENTS: Final[dict[str, JsonValue]] = {"type": "object"}


@dataclass
class Gadget:
    """A tool that counts its calls and answers their number, or by ``body``."""

    name: str = "gadget"
    body: Body | None = None
    declared: dict[str, Any] = field(default_factory=dict[str, Any])
    """Fields of its spec."""
    calls: list[tuple[dict[str, JsonValue], ToolContext]] = field(default_factory=list[tuple[dict[str, JsonValue], ToolContext]])

    @property
    def spec(self) -> ToolSpec:
        fields = {"description": f"Does what a {self.name} does.", "parameters": ANY_ARGUMENTS, "side_effect": "read_internal", "timeout_s": 5.0}
        return ToolSpec.model_validate({"name": self.name, **fields, **self.declared})

    async def run(self, arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:
        self.calls.append((dict(arguments), context))
        return ToolResult(ok=True, output=f"{self.name} {len(self.calls)}") if self.body is None else await self.body(arguments, context)


def called(tool: str, **arguments: JsonValue) -> str:
    """A turn that calls a tool."""
    return json.dumps({"tool": tool, "arguments": arguments}, ensure_ascii=False)


def answered(text: str) -> str:
    """A turn that answers."""
    return json.dumps({"answer": text}, ensure_ascii=False)


def is_turn(request: ChatRequest) -> bool:
    """Whether the model is asked for a turn, not for a text."""
    return request.json_schema is not None and "anyOf" in request.json_schema


def plays(*turns: str, text: str = "The end.") -> Answer:
    """A model that plays these turns one after the other, the last one again and again, and then writes ``text``."""
    left: Iterator[str] = iter(turns)
    last = turns[-1]

    def answer(request: ChatRequest) -> str:
        nonlocal last
        if not is_turn(request):
            return text
        last = next(left, last)
        return last

    return answer


_ORDER: Final = re.compile(r'\{\s*"tool"\s*:')
_SAY: Final = re.compile(r"SAY\[\[(.*?)\]\]", re.DOTALL)
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]{40,}={0,2}")


@dataclass
class Victim:
    """A model without judgement: it reads the page it was told to read, then does all that any text tells it, secrets included."""

    url: str
    secret: str
    ordered: list[str] = field(default_factory=list[str])
    """Turns it made."""

    def __call__(self, request: ChatRequest) -> str:
        words = said([message for message in request.messages if message.role == "user"])
        if not is_turn(request):
            return "Here is what I was told to say. " + " ".join(self._filled(text, words) for text in _SAY.findall(self._open(words)))
        if prompt(request).startswith("Tools:") and self.url in words and not self.ordered:
            return self._make(called("web_fetch", url=self.url))
        orders = [self._filled(order, words) for order in _orders(self._open(words))]
        fresh = [order for order in dict.fromkeys(orders) if order not in self.ordered]
        return self._make(fresh[0]) if fresh else answered("I have done all I was told.")

    def _make(self, turn: str) -> str:
        self.ordered.append(turn)
        return turn

    def _filled(self, text: str, words: str) -> str:
        """It tells whatever it knows."""
        return text.replace("%SECRET%", self.secret if self.secret in words else "nothing")

    def _open(self, words: str) -> str:
        """It takes the trouble to decode."""
        return "\n".join([words, *_decoded(_BASE64.findall(words))])


def _orders(words: str) -> Iterator[str]:
    """Every call that a text spells out."""
    for found in _ORDER.finditer(words):
        try:
            order, _ = json.JSONDecoder().raw_decode(words, found.start())
        except ValueError:
            continue
        yield json.dumps(order, ensure_ascii=False)


def _decoded(texts: Sequence[str]) -> Iterator[str]:
    for text in texts:
        try:
            yield base64.b64decode(text, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue


def result_of(output: JsonValue, **changes: object) -> Body:
    """A body that always answers this."""

    async def body(arguments: Mapping[str, JsonValue], context: ToolContext) -> ToolResult:  # noqa: ARG001 - a body's signature
        return ToolResult.model_validate({"ok": True, "output": output, **cast("dict[str, Any]", changes)})

    return body
