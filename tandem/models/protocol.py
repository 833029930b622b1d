"""OpenAI's chat-completions protocol as model servers speak it: request bodies out, replies and stream chunks in. No I/O.

Reading is lenient where servers differ (unknown fields, ``reasoning_content`` or ``reasoning``, missing usage) and strict where a wrong guess would
corrupt an answer: what is not the protocol raises ``ModelBadResponse``.
"""

import math
from typing import Final, cast

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from tandem.errors import ModelBadResponse
from tandem.schemas.base import JsonObject
from tandem.schemas.chat import ChatRequest, FinishReason, TokenChance, TokenUsage

_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_SHOWN_CHARS: Final = 200
LEAST_LOGPROB: Final = -9_999.0
"""What OpenAI and vLLM send for "impossible"; other servers send less, even minus infinity."""


class _Lenient(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Piece(_Lenient):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None


class _Choice(_Lenient):
    delta: _Piece | None = None
    message: _Piece | None = None
    finish_reason: str | None = None
    logprobs: JsonValue = None


class _Usage(_Lenient):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Chunk(_Lenient):
    """A stream chunk or a whole reply: they differ only in ``delta`` or ``message``."""

    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    error: JsonValue = None

    @property
    def _piece(self) -> _Piece:
        choice = self.choices[0] if self.choices else _Choice()
        return choice.delta or choice.message or _Piece()

    @property
    def text(self) -> str:
        return _storable(self._piece.content or "")

    @property
    def thinking(self) -> str:
        return _storable(self._piece.reasoning_content or self._piece.reasoning or "")

    @property
    def chances(self) -> list[TokenChance]:
        """Of the tokens of this piece's text; none where the server sends none, or in another shape than OpenAI's."""
        return read_chances(self.choices[0].logprobs) if self.choices and (self.text or not self.thinking) else []

    @property
    def finish_reason(self) -> FinishReason | None:
        said = self.choices[0].finish_reason if self.choices else None
        return finish_reason_of(said) if said else None

    @property
    def token_usage(self) -> TokenUsage | None:
        usage = self.usage
        return TokenUsage(input_tokens=max(0, usage.prompt_tokens), output_tokens=max(0, usage.completion_tokens)) if usage else None


class ServedModel(_Lenient):
    """One entry of ``GET /v1/models``."""

    id: str
    owned_by: str = ""


class ServedModels(_Lenient):
    """The answer of ``GET /v1/models``."""

    data: tuple[ServedModel, ...]


def request_body(model: str, request: ChatRequest, *, takes_grammar: bool) -> JsonObject:
    """The body of a streamed chat completion."""
    body: JsonObject = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.seed is not None:
        body["seed"] = request.seed
    if request.stop:
        body["stop"] = list[JsonValue](request.stop)
    if request.grammar is not None and takes_grammar:
        body["grammar"] = request.grammar
    if request.top_logprobs:
        body |= {"logprobs": True, "top_logprobs": request.top_logprobs}
    if request.json_schema is not None:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": request.json_schema}}
    return body


def finish_reason_of(said: str) -> FinishReason:
    """The protocol's word in ours."""
    return _FINISH_REASONS.get(said, "unknown")


def without_logprobs(body: JsonObject) -> JsonObject:
    """The same request of a server that refuses to tell them."""
    return {name: value for name, value in body.items() if name not in ("logprobs", "top_logprobs")}


def read_chances(logprobs: JsonValue) -> list[TokenChance]:
    """``choices[].logprobs`` as OpenAI, llama.cpp and vLLM send it; they are extra, so what is off that shape is left out and spoils no answer."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    chances: list[TokenChance] = []
    for each in content if isinstance(content, list) else ():
        if (known := _chance(each)) is not None:
            token, logprob = known
            alternatives = cast("dict[str, JsonValue]", each).get("top_logprobs")
            top = [found for other in (alternatives if isinstance(alternatives, list) else ()) if (found := _chance(other)) is not None]
            chances.append(TokenChance(token=token, logprob=logprob, top=sorted(top, key=lambda pair: -pair[1])))
    return chances


def _chance(value: JsonValue) -> tuple[str, float] | None:
    if not isinstance(value, dict):
        return None
    token, logprob = value.get("token"), value.get("logprob")
    if not isinstance(token, str) or isinstance(logprob, bool) or not isinstance(logprob, int | float) or math.isnan(logprob):
        return None
    return _storable(token), max(min(0.0, float(logprob)), LEAST_LOGPROB)


def read_chunk(data: str | bytes) -> Chunk:
    """Parse one chunk or one whole reply.

    Raises:
        ModelBadResponse: It is not JSON, or not of the protocol's shape.
    """
    try:
        return Chunk.model_validate_json(data)
    except ValidationError as error:
        raise ModelBadResponse(f"the model server sent {_shown(data)}, which is not the OpenAI protocol: {error.errors()[0]['msg']}") from None


def read_models(data: bytes) -> ServedModels:
    """Parse the list of models.

    Raises:
        ModelBadResponse: It is not the protocol's list.
    """
    try:
        return ServedModels.model_validate_json(data)
    except ValidationError:
        raise ModelBadResponse(f"GET /models answered {_shown(data)}, which is not the OpenAI protocol; check the lane's url") from None


def _shown(data: str | bytes) -> str:
    text = data if isinstance(data, str) else data.decode("utf-8", errors="replace")
    return repr(text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…")


def _storable(text: str) -> str:
    """Replace NUL and half surrogate pairs, which no database of ours takes, by U+FFFD."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\ufffd").encode("utf-16-le", errors="surrogatepass").decode("utf-16-le", errors="replace")
