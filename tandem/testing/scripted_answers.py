"""What a scripted model says: answers, delays and faults, chosen by queue, by rule or by the shape in a model's name. No I/O.

A script is one JSON object, so that a test in another process can bring it::

    {"queue": [{"status": 503}], "rules": [{"when": "weather", "answers": [{"text": "Sunny."}]}], "default": {"text": "I am a script."}}

The queue is used up first, then the first rule whose ``when`` (a regular expression) is found in the prompt answers, then a model name such as
``scripted-32x10ms`` (32 tokens, 10 ms apart; ``scripted-32x10ms-first200ms`` waits before the first), then the default.
"""

import math
import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from tandem.schemas.base import JsonObject

_TOKEN: Final = re.compile(r"[\u3000-\u9fff\uff00-\uffef]|\s*[^\s\u3000-\u9fff\uff00-\uffef]+|\s+")
_SHAPE: Final = re.compile(r"scripted-(?P<count>\d{1,6})x(?P<gap>\d{1,6})ms(?:-first(?P<first>\d{1,6})ms)?")


class Fault(StrEnum):
    """How an exchange goes wrong."""

    RESET = "reset"
    """The connection is torn down instead of an answer."""
    HANG = "hang"
    """Nothing is ever answered."""
    STALL = "stall"
    """After ``fault_after`` tokens nothing more comes."""
    CUT = "cut"
    """After ``fault_after`` tokens the connection is closed."""
    NO_FINISH = "no_finish"
    """The stream ends properly but without a ``finish_reason``."""
    STREAM_ERROR = "stream_error"
    """After ``fault_after`` tokens an ``error`` object comes."""
    GARBAGE = "garbage"
    """After ``fault_after`` tokens an event comes that is not JSON."""
    WRONG_TYPE = "wrong_type"
    """An HTML page with status 200."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Answer(_Frozen):
    """One scripted answer."""

    text: str = "I am a script."
    reasoning: str = ""
    """Sent first, as ``reasoning_content``."""
    finish_reason: str = "stop"
    first_token_s: float = Field(default=0.0, ge=0)
    """Seconds before the first piece."""
    token_gap_s: float = Field(default=0.0, ge=0)
    """Seconds between two pieces."""
    probability: float = Field(default=0.9, gt=0.0, le=1.0)
    """Of each piece, where the request asks for ``logprobs``."""
    doubts: dict[str, float] = Field(default_factory=dict[str, float])
    """Another probability for pieces that hold the key."""
    logprobs: Literal["told", "left_out", "refused"] = "told"
    """What a request for ``logprobs`` gets: them, an answer without them, or status 400."""
    counts_tokens: bool = True
    """Whether ``usage`` is sent."""
    status: int = 200
    """Another status answers with ``error`` at once."""
    error: JsonObject | None = None
    """The ``error`` object of the body; null takes a plain one."""
    headers: dict[str, str] = Field(default_factory=dict)
    fault: Fault | None = None
    fault_after: int = Field(default=2, ge=0)
    """Pieces sent before the fault."""
    ignores_stream: bool = False
    """Answers a whole JSON reply also when a stream was asked for."""

    def chance(self, piece: str) -> float:
        """The probability of a piece."""
        return next((doubt for part, doubt in self.doubts.items() if part in piece), self.probability)


class Rule(_Frozen):
    """Answers to prompts that match."""

    when: str
    """Regular expression searched in the messages, joined by newlines; dots match newlines."""
    answers: list[Answer] = Field(min_length=1)
    """Given in turn; the last one again and again."""


class Script(_Frozen):
    """All a scripted server knows."""

    queue: list[Answer] = Field(default_factory=list[Answer])
    """Given once each, in order, before any rule."""
    rules: list[Rule] = Field(default_factory=list[Rule])
    default: Answer = Answer()
    models: list[str] = Field(default=["scripted"], min_length=1)
    """Names that ``/v1/models`` lists; any other is answered too."""
    owned_by: str = "scripted"
    context_tokens: int | None = None
    """A longer prompt is refused in llama.cpp's words; null takes any."""


class Narrator:
    """Follows a script and remembers how far it is."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._queue = list(script.queue)
        self._rules = [(re.compile(rule.when, re.DOTALL), list(rule.answers)) for rule in script.rules]

    def enqueue(self, *answers: Answer) -> None:
        """Give these before anything else that is not queued yet."""
        self._queue.extend(answers)

    def answer(self, body: JsonObject) -> Answer:
        """What to say to a request."""
        said = prompt_of(body)
        prompt_tokens = len(tokens_of(said))
        limit = self.script.context_tokens
        if limit is not None and prompt_tokens > limit:
            words = f"request ({prompt_tokens} tokens) exceeds the available context size ({limit} tokens), try increasing it"
            return Answer(status=400, error={"code": 400, "message": words, "type": "exceed_context_size_error"})
        if self._queue:
            return self._queue.pop(0)
        for pattern, answers in self._rules:
            if pattern.search(said):
                return answers.pop(0) if len(answers) > 1 else answers[0]
        return shaped_answer(str(body.get("model", ""))) or self.script.default


def shaped_answer(model: str) -> Answer | None:
    """The answer that a name like ``scripted-32x10ms`` describes."""
    shape = _SHAPE.fullmatch(model)
    if shape is None:
        return None
    text = " ".join(f"tok{number}" for number in range(int(shape["count"])))
    gap_s = int(shape["gap"]) / 1000
    return Answer(text=text, token_gap_s=gap_s, first_token_s=int(shape["first"]) / 1000 if shape["first"] else gap_s)


def tokens_of(text: str) -> list[str]:
    """Words with the space before them, and single CJK characters; joined they are the text."""
    return _TOKEN.findall(text)


def prompt_of(body: JsonObject) -> str:
    """The messages' texts, one per line."""
    messages = body.get("messages")
    return "\n".join(_content(message) for message in messages) if isinstance(messages, list) else ""


def spoken_pieces(answer: Answer, body: JsonObject) -> tuple[list[str], str]:
    """The pieces of text to send and the finish reason, after the request's ``stop`` and ``max_tokens``."""
    text, finish_reason = answer.text, answer.finish_reason
    stops = body.get("stop")
    for stop in stops if isinstance(stops, list) else [stops]:
        if isinstance(stop, str) and (at := text.find(stop)) >= 0:
            text, finish_reason = text[:at], "stop"
    pieces = tokens_of(text)
    limit = body.get("max_tokens")
    if isinstance(limit, int) and len(pieces) > limit:
        return pieces[:limit], "length"
    return pieces, finish_reason


def logprobs_of(answer: Answer, pieces: Sequence[str], body: JsonObject) -> JsonObject | None:
    """``logprobs`` of these pieces, with as many alternatives as the request asks for; None where it gets none."""
    count = body.get("top_logprobs") or 0
    if not body.get("logprobs") or answer.logprobs != "told" or not isinstance(count, int):
        return None
    content: list[JsonValue] = []
    for piece in pieces:
        likely = answer.chance(piece)
        others = [(f"other{number}", (1.0 - likely) / 2**number) for number in range(1, count)]
        ranked = sorted([(piece, likely), *others], key=lambda pair: -pair[1])[:count]
        top: list[JsonValue] = [_logprob(token, probability) for token, probability in ranked]
        content.append({**_logprob(piece, likely), "top_logprobs": top})
    return {"content": content}


def _logprob(token: str, probability: float) -> JsonObject:
    return {"token": token, "logprob": math.log(max(probability, 1e-9)), "bytes": list(token.encode())}


def _content(message: JsonValue) -> str:
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, str) else ""
