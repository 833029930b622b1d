"""The body of ``POST /v1/responses``, and what each lane makes of it. Pure.

Fields that change nothing here are accepted and repeated in the answer; fields that would change the answer and cannot be honoured are refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from fast_model.prompts import SYSTEM_PROMPTS, copilot_messages
from gateway.chat.request import lane_choice
from gateway.errors import shown
from gateway.responses.items import InputItem
from router.overrides import strip_command
from tandem.errors import InvalidRequest, UnknownTool
from tandem.ids import DecisionId
from tandem.schemas.base import JsonObject, Wire
from tandem.schemas.chat import ChatMessage, ChatRequest
from tandem.schemas.jobs import AnswerContract, Budget, JobRequest, MetadataKey, MetadataValue
from tandem.schemas.routing import Decision, Effort, LaneChoice
from tandem.schemas.text import CleanText
from tools.registry import PYTHON

CODE_INTERPRETER: Final = "code_interpreter"
_TOOLS: Final = {CODE_INTERPRETER: [PYTHON], "web_search": ["web_search", "web_fetch"], "web_search_preview": ["web_search", "web_fetch"]}
"""OpenAI's own tools, and what a job uses for each."""
SCHEMA_PARAM: Final = "text.format.schema"
"""Where this door has what a job calls ``answer.schema``."""
_EFFORTS: Final[dict[str, Effort]] = {
    "none": "low",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
}
_MAX_FILES: Final = 32
"""Uploads that one job may name."""
_MIN_JOB_TOKENS: Final = 64
_MAX_REPLY_TOKENS: Final = 65_536
_ANY_OBJECT: Final[JsonObject] = {"type": "object"}
_TOOL_REMEDY: Final = "Tandem has 'code_interpreter' and 'web_search' at this door, and all its tools at POST /v1/jobs; leave the others out"


class ReasoningOptions(Wire):
    """How hard to think."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    """Accepted; a job's progress is always its summary."""
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


class PlainFormat(Wire):
    """Words, or any JSON object."""

    type: Literal["text", "json_object"]


class SchemaFormat(Wire):
    """JSON that a schema accepts."""

    type: Literal["json_schema"]
    name: CleanText = Field(default="reply", max_length=64)
    description: CleanText | None = None
    json_schema: JsonObject = Field(alias="schema")
    strict: bool | None = None


class TextOptions(Wire):
    """The form of the answer."""

    format: Annotated[PlainFormat | SchemaFormat, Field(discriminator="type")] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    """Accepted and repeated."""


class ToolWish(BaseModel):
    """A tool the answer may use: ``code_interpreter`` is Tandem's sandboxed Python, ``web_search`` searches and reads pages."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str

    @property
    def container(self) -> JsonValue:
        """Where code runs: a new one for each job."""
        return cast("JsonValue", (self.model_extra or {}).get("container", {"type": "auto"}))


class ResponseCreate(Wire):
    """Body of ``POST /v1/responses``."""

    model: str
    """``auto``, ``fast``, ``slow``, or a served model's name."""
    input: CleanText | list[InputItem]
    """The task, as text or as messages."""
    instructions: CleanText | None = None
    """A system message for this response alone: it is not carried over by ``previous_response_id``."""
    stream: bool | None = None
    background: bool | None = None
    """True always makes a job: an answer nobody waits for must survive."""
    store: bool | None = None
    """Null means true. False: nothing is kept after the answer; of a job, ten minutes after its end."""
    previous_response_id: str | None = None
    metadata: dict[MetadataKey, MetadataValue] | None = Field(default=None, max_length=16)
    max_output_tokens: int | None = Field(default=None, ge=16, le=10_000_000)
    """Of a job: prompt and generated tokens of all its calls together, at least 64."""
    max_tool_calls: int | None = Field(default=None, ge=0, le=1_000)
    reasoning: ReasoningOptions | None = None
    text: TextOptions | None = None
    tools: list[ToolWish] | None = Field(default=None, max_length=64)
    """``{"type": "code_interpreter", "container": {"type": "auto"}}`` or ``{"type": "web_search"}``; null leaves the choice to System 2,
    an empty list allows none."""
    tool_choice: JsonValue = None
    """``auto`` or ``none``."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Fast lane only."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Fast lane only."""
    parallel_tool_calls: bool | None = None
    truncation: Literal["auto", "disabled"] | None = None
    include: list[str] | None = Field(default=None, max_length=32)
    stream_options: JsonObject | None = None
    user: str | None = Field(default=None, max_length=512)
    safety_identifier: str | None = Field(default=None, max_length=512)
    prompt_cache_key: str | None = Field(default=None, max_length=512)
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast", "ultrafast"] | None = None

    @property
    def is_stored(self) -> bool:
        return self.store is not False

    @property
    def effort(self) -> Effort | None:
        """The effort asked for, in Tandem's words."""
        return _EFFORTS[self.reasoning.effort] if self.reasoning and self.reasoning.effort else None

    @property
    def fast_only(self) -> str | None:
        """The field that only the fast lane can honour, if there is one."""
        return next((name for name in ("temperature", "top_p") if getattr(self, name) is not None), None)

    @property
    def tool_names(self) -> list[str] | None:
        """What a job may use, in Tandem's names; None for all."""
        if self.tool_choice == "none":
            return []
        if self.tools is None:
            return None
        return list(dict.fromkeys(name for tool in self.tools for name in _TOOLS[tool.type]))

    @property
    def file_ids(self) -> list[str]:
        """The uploads that the tools may read, as their containers name them; checked before."""
        named = [cast("list[str]", tool.container.get("file_ids") or []) for tool in self.tools or () if isinstance(tool.container, dict)]
        return list(dict.fromkeys(file_id for file_ids in named for file_id in file_ids))

    @property
    def slow_only(self) -> str | None:
        """The field that only a job can honour, if there is one."""
        return "background" if self.background else "tools" if self.tool_names else None

    @property
    def answer_schema(self) -> JsonObject | None:
        """What the answer must satisfy; None for words."""
        chosen = self.text.format if self.text else None
        if isinstance(chosen, SchemaFormat):
            return chosen.json_schema
        return _ANY_OBJECT if chosen is not None and chosen.type == "json_object" else None


def choose_lane(body: ResponseCreate, served: dict[str, LaneChoice]) -> LaneChoice:
    """The lane the request asks for; what only one lane can honour decides for ``auto``.

    Raises:
        UnknownModel: The model is not served.
        UnknownTool: A tool is not offered here.
        InvalidRequest: The request asks for what its lane cannot do; names the field and the remedy.
    """
    _check_tools(body)
    choice = lane_choice(body.model, served)
    if body.background or (choice == "auto" and body.slow_only):
        choice = "slow"
    if choice == "slow" and (field := body.fast_only):
        raise InvalidRequest(f"{field!r} needs the fast lane; leave it out, or ask for model 'fast' without 'background' and 'tools'", param=field)
    if choice == "fast" and body.slow_only:
        raise InvalidRequest(f"{body.slow_only!r} needs the slow lane; leave it out, or ask for model 'slow'", param=body.slow_only)
    return "fast" if choice == "auto" and body.fast_only else choice


def _check_tools(body: ResponseCreate) -> None:
    for at, tool in enumerate(body.tools or ()):
        if tool.type not in _TOOLS:
            raise UnknownTool(f"'tools.{at}.type' {shown(tool.type)} is not offered here: {_TOOL_REMEDY}", param=f"tools.{at}.type")
        if (filters := (tool.model_extra or {}).get("filters")) is not None:
            param = f"tools.{at}.filters"
            raise InvalidRequest(f"{param!r} is {shown(filters)}; a search cannot be confined: say in the task which sites to use", param=param)
        _check_container(tool, f"tools.{at}.container")
    if len(body.file_ids) > _MAX_FILES:
        raise InvalidRequest(f"'tools' name {len(body.file_ids)} files; at most {_MAX_FILES} can be read by one job", param="tools")
    if body.tool_choice not in (None, "auto", "none"):
        raise InvalidRequest(f"'tool_choice' is {shown(body.tool_choice)}; use 'auto' or 'none'", param="tool_choice")


def _check_container(tool: ToolWish, param: str) -> None:
    container = tool.container
    if not isinstance(container, dict) or container.get("type") != "auto":
        message = f"{param!r} is {shown(container)}; containers are not kept: use {{'type': 'auto'}}, with the files it may read in 'file_ids'"
        raise InvalidRequest(message, param=param)
    file_ids = container.get("file_ids")
    if file_ids is not None and not (isinstance(file_ids, list) and all(isinstance(each, str) for each in file_ids)):
        param = f"{param}.file_ids"
        raise InvalidRequest(f"{param!r} is {shown(file_ids)}; give the ids of uploaded files as a list", param=param)


@dataclass(frozen=True, slots=True)
class Task:
    """A request that has been read: its body, the conversation it continues, and where it goes."""

    body: ResponseCreate
    conversation: Sequence[ChatMessage]
    """Instructions, earlier responses and this request's messages."""
    decision_id: DecisionId
    decision: Decision

    def job(self) -> JobRequest:
        """What System 2 is asked."""
        body = self.body
        if body.max_output_tokens is not None and body.max_output_tokens < _MIN_JOB_TOKENS:
            raise InvalidRequest(
                f"'max_output_tokens' is {body.max_output_tokens!r}; a job needs at least {_MIN_JOB_TOKENS}: raise it or ask for model 'fast'",
                param="max_output_tokens",
            )
        said = self.said()
        return JobRequest(
            input=said[0].content if len(said) == 1 and said[0].role == "user" else said,
            answer=self.answer_contract(),
            budget=Budget(max_tokens=body.max_output_tokens, max_tool_calls=body.max_tool_calls),
            tools=body.tool_names,
            files=body.file_ids,
            metadata=body.metadata or {},
        )

    def answer_contract(self) -> AnswerContract:
        """The form of the answer, in a job's words."""
        schema = self.body.answer_schema
        return AnswerContract() if schema is None else AnswerContract.model_validate({"kind": "json", "schema": schema})

    def prompt(self, *, context_tokens: int, max_tokens: int) -> ChatRequest:
        """What the fast model is asked. Instructions of the caller's replace the copilot's own prompt."""
        body = self.body
        said = self.said()
        own = "" if any(message.role == "system" for message in said) else SYSTEM_PROMPTS[self.decision.language]
        limit = min(body.max_output_tokens or max_tokens, context_tokens, _MAX_REPLY_TOKENS)
        reply_tokens = min(limit, context_tokens // 2)
        messages = copilot_messages(said, self.decision.language, context_tokens=context_tokens, reply_tokens=reply_tokens, prompt=own)
        request = ChatRequest(messages=messages, max_tokens=limit, json_schema=body.answer_schema, top_p=body.top_p)
        return request if body.temperature is None else request.model_copy(update={"temperature": body.temperature})

    @property
    def is_checkable(self) -> bool:
        """Whether the fast answer can be tested, and worked out anew by a job: words alone, and a human's message last."""
        return self.conversation[-1].role == "user" and self.body.answer_schema is None

    def correction(self, said: list[ChatMessage]) -> JobRequest:
        """What System 2 is asked about a doubtful fast answer. The limit of that answer's length is none of the job's whole work."""
        return JobRequest(input=said, tools=self.body.tool_names, metadata=self.body.metadata or {})

    def said(self) -> list[ChatMessage]:
        """The conversation; a leading ``/deep`` or ``/fast`` of its last message is not part of the task."""
        *before, last = self.conversation
        return [*before, last.model_copy(update={"content": strip_command(last.content)})]


def repeated(task: Task, model: str) -> JsonObject:
    """What every rendering of the response repeats of its request."""
    body = task.body
    fields = cast("JsonObject", body.model_dump(mode="json", by_alias=True))
    form = body.text.model_dump(mode="json", by_alias=True, exclude_none=True) if body.text else {}
    tools: list[JsonValue] = [
        {"type": CODE_INTERPRETER, "container": tool.container} if tool.type == CODE_INTERPRETER else {"type": "web_search"}
        for tool in body.tools or ()
    ]
    kept = {name: fields[name] for name in _REPEATED if fields[name] is not None}
    decision = task.decision
    return {
        **kept,
        "model": model,
        "background": bool(body.background),
        "store": body.is_stored,
        "metadata": dict[str, JsonValue](body.metadata or {}),
        "tools": tools,
        "tool_choice": body.tool_choice or "auto",
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "truncation": body.truncation or "disabled",
        "text": {"format": {"type": "text"}, **form},
        "reasoning": fields["reasoning"] or {"effort": None, "summary": None},
        "tandem": {
            "decision_id": task.decision_id,
            "lane": decision.lane,
            "band": decision.band,
            "effort": decision.effort,
            "p_slow": decision.p_slow,
            "threshold": decision.threshold,
            "language": decision.language,
        },
    }


_REPEATED: Final = (
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "temperature",
    "top_p",
    "user",
    "safety_identifier",
    "prompt_cache_key",
    "service_tier",
)
