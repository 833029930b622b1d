"""The Global Workspace: the typed state that the graph's nodes read and write, and how parallel writes are merged.

Everything here is plain data that survives a checkpoint. The workspace knows no model, no store, and of tools only what they answered.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, TypedDict

from pydantic import Field

from tandem.errors import BudgetReached
from tandem.schemas.base import JsonObject, Wire
from tandem.schemas.chat import ChatMessage
from tandem.schemas.inputs import InputAsk
from tandem.schemas.jobs import AnswerContract, Attempt, Check, JobFailure, JobResult, PlanStep, Usage, VerificationLevel
from tandem.schemas.tools import Citation
from tools.authority import Authority

TaskKind = Literal["math", "choice", "code", "json", "open"]
"""``math`` has one short answer that attempts can vote on; ``open`` is everything that is judged by reading."""
Language = Literal["en", "zh"]
Strategy = Literal["cot", "program", "direct", "step"]
"""Chain of thought, a program that is executed, a plain reply, or the notes for one step of the plan."""


class Task(Wire):
    """What is asked, as intake understood it."""

    text: str
    context: list[ChatMessage] = Field(default_factory=list[ChatMessage])
    """What was said before the task, oldest first."""
    kind: TaskKind
    language: Language
    contract: AnswerContract = AnswerContract()
    steers: list[str] = Field(default_factory=list[str])
    """What people added while the job ran, oldest first."""
    uses_tools: bool = False
    """It is worked out by turns with the granted tools (``nodes/act.py``)."""


class Question(Wire):
    """What a node asks of people, as it stands in a checkpoint."""

    ask: InputAsk
    wait_s: float | None = None
    """Seconds it waits for its answer; null means ``worker.input_ttl_s``."""


class Order(Wire):
    """One attempt to be made. ``key`` names it for ever: a resumed job never makes the same attempt twice."""

    wave: int
    index: int
    """Position in the whole job, from 0."""
    strategy: Strategy
    seed: int
    temperature: float
    step_id: str | None = None
    """The plan step these notes are for; only with ``step``."""
    failure: str | None = None
    """An external failure (traceback, schema error) of an earlier attempt that this one shall avoid."""

    @property
    def key(self) -> str:
        return f"attempt:{self.wave}:{self.strategy}:{self.index}"


class Try(Wire):
    """What became of an order."""

    id: str
    wave: int
    strategy: Strategy
    step_id: str | None = None
    text: str = ""
    answer: str | None = None
    """Canonical answer; null when none could be extracted."""
    program: str | None = None
    error: str | None = None
    error_code: str | None = None
    """Stable code of a failure of the model server or of the budget; null when the attempt itself went wrong."""
    usage: Usage = Usage()

    def as_attempt(self) -> Attempt:
        strategy = "direct" if self.strategy == "step" else self.strategy
        return Attempt(
            id=self.id, strategy=strategy, answer=self.answer, error=self.error, output_tokens=self.usage.output_tokens, seconds=self.usage.seconds
        )


class Act(Wire):
    """One turn with a tool."""

    number: int
    """From 1, in the order they were made."""
    tool: str
    arguments: JsonObject
    ok: bool
    code: str = ""
    """Of a fault."""
    text: str
    """What the tool answered, as the model reads it: cleaned and cut, not yet fenced."""
    sources: list[int] = Field(default_factory=list[int])
    """Numbers of the job's sources that the answer brought."""
    repeats: int | None = None
    """The earlier turn whose answer this is again: the call was the same, or brought the same words."""
    is_program: bool = False
    """The tool ran a program or a query: its value was computed."""
    files: list[str] = Field(default_factory=list[str])
    """Names of the files that the call left with the job."""


class Conclusion(Wire):
    """Why the turns with tools are over."""

    reason: Literal["answered", "budget", "turns", "stuck"]
    answer: str = ""
    """The model's own answer, where it gave one."""
    failure: JobFailure | None = None
    """What ended the turns against the caller's wish."""


class Verdict(Wire):
    """What the attempts so far amount to."""

    is_final: bool
    reason: Literal["agreed", "exhausted", "budget", "model", "open"]
    """Why to stop (or, when not final, what is still missing); ``budget`` and ``model`` make the job incomplete."""
    winner: str | None = None
    confidence: float | None = None
    level: VerificationLevel = "V0"
    checks: list[Check] = Field(default_factory=list[Check])
    supporters: list[str] = Field(default_factory=list[str])
    """Ids of the attempts behind the winner."""
    failure: JobFailure | None = None
    """The failure that ended the search."""


def merge_tries(old: list[Try], new: list[Try]) -> list[Try]:
    """Reducer: attempts by id, first come stays, so that a re-run node adds nothing; one that could not be made gives way to one that could."""
    merged = {attempt.id: attempt for attempt in old}
    for attempt in new:
        if (known := merged.get(attempt.id)) is None or known.error_code is not None:
            merged[attempt.id] = attempt
    return list(merged.values())


def without_refused(tries: Sequence[Try]) -> list[Try]:
    """The attempts that were made, without those that the budget refused."""
    return [attempt for attempt in tries if attempt.error_code != BudgetReached.code]


class Workspace(TypedDict):
    """State of one job's graph. Keys appear as the graph gets to them: ``tries`` may still be absent where an open task is written at once."""

    task: Task
    plan: list[PlanStep]
    orders: list[Order]
    """The next wave; empty when the search is over."""
    tries: Annotated[list[Try], merge_tries]
    verdict: Verdict
    acts: list[Act]
    sources: list[Citation]
    """What tools read, each once; a source's number is its place, from 1."""
    authority: Authority
    mark: str
    """Random: fences what tools answered, for this job only."""
    conclusion: Conclusion | None
    result: JobResult
    failure: JobFailure | None
    """Why the result is incomplete; null when it is complete."""


class Update(TypedDict, total=False):
    """What a node changes; the fields are the workspace's."""

    task: Task
    plan: list[PlanStep]
    orders: list[Order]
    tries: list[Try]
    verdict: Verdict
    acts: list[Act]
    sources: list[Citation]
    authority: Authority
    mark: str
    conclusion: Conclusion | None
    result: JobResult
    failure: JobFailure | None


class Sent(TypedDict):
    """What one parallel attempt gets: its order and what it needs of the workspace."""

    order: Order
    task: Task
    plan: list[PlanStep]


CHECKPOINTED = (
    *(Task, Order, Try, Verdict, Act, Authority, Citation, Conclusion, Question),
    *(AnswerContract, Attempt, ChatMessage, Check, InputAsk, JobFailure, JobResult, PlanStep, Usage),
)
"""Classes a checkpoint may hold; the serializer refuses every other."""
