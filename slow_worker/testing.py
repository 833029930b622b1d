"""A worker for tests, in one process: real storage, graph and sandbox, and a model that says what the test wants."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Final

from slow_worker.budget import prompt_tokens
from slow_worker.checkpoints import FencedSaver
from slow_worker.coalescing import CoalescingCheckpoints
from slow_worker.graph import GraphBuilder, build_graph
from slow_worker.runner import JobRunner, RunEnd
from slow_worker.services import Services
from tandem.events import MemoryNotifier
from tandem.ids import DEFAULT_TENANT, IdFactory, JobId, StreamId
from tandem.ports import NewJob, Storage, Tool
from tandem.schemas.chat import ChatDelta, ChatMessage, ChatReply, ChatRequest, TokenUsage
from tandem.schemas.events import Event, JobEvent
from tandem.schemas.jobs import Job, JobRequest
from tandem.schemas.routing import Effort
from tandem.settings import Settings, ToolSettings
from tandem.storage import open_storage
from tandem.testing.clock import FakeClock
from tools.registry import Toolbox

Answer = Callable[[ChatRequest], str]

PROBLEM: Final = "Natalia sold 48 clips in April and half as many in May. How many clips did she sell altogether?"
PROGRAM: Final = "```python\ndef solve():\n    april = 48\n    return april + april // 2\n```"
PLANNING: Final = "Plan a picnic for a school class: food, transport and games."
WRITTEN: Final = "Food: bread. Transport: bus. Games: football."


def prompt(request: ChatRequest) -> str:
    """The last message: the request, unless somebody added words later."""
    return request.messages[-1].content


def said(messages: list[ChatMessage]) -> str:
    """All the words of a conversation."""
    return "\n".join(message.content for message in messages)


def solves(request: ChatRequest) -> str:
    """Answers ``PROBLEM`` rightly, by program and by reasoning."""
    return PROGRAM if "solve()" in said(request.messages) else "48 / 2 = 24\n48 + 24 = 72\nAnswer: 72"


def plans(request: ChatRequest) -> str:
    """Plans, notes and writes ``PLANNING``."""
    words = said(request.messages)
    if "List the parts" in words:
        return "1. Food\n2. Transport\n3. Games"
    if "Write notes for part" in words:
        return f"- notes on {words.rsplit('only: ', 1)[1].splitlines()[0]}"
    return WRITTEN


@dataclass
class SaidModel:
    """A ``ChatModel`` that answers by a function; keeps what it was asked."""

    answer: Answer = solves
    asked: list[ChatRequest] = field(default_factory=list[ChatRequest])
    closed_streams: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Opens the replies that wait."""
    pause_after: int | None = None
    """Replies beyond this many wait for the gate; null lets all pass."""
    cut_after: int | None = None
    """A streamed reply, whose pieces are its tokens, waits for the gate after this many."""
    name: str = "said"

    async def complete(self, request: ChatRequest) -> ChatReply:
        self.asked.append(request)
        await self._wait(is_due=self.pause_after is not None and len(self.asked) > self.pause_after)
        text = self.answer(request)
        return ChatReply(text=text, finish_reason="stop", usage=self._usage(request, text), model=self.name)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta]:
        self.asked.append(request)
        await self._wait(is_due=self.pause_after is not None and len(self.asked) > self.pause_after)
        text = self.answer(request)
        pieces = [text[start : start + 7] for start in range(0, len(text), 7)]
        for number, piece in enumerate(pieces[: request.max_tokens]):
            await self._wait(is_due=number == self.cut_after)
            yield ChatDelta(text=piece)
        yield ChatDelta(finish_reason="stop" if len(pieces) <= request.max_tokens else "length", usage=self._usage(request, text))

    async def _wait(self, *, is_due: bool) -> None:
        try:
            if is_due:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.closed_streams += 1
            raise

    def _usage(self, request: ChatRequest, text: str) -> TokenUsage:
        return TokenUsage(input_tokens=prompt_tokens(request.messages), output_tokens=min(request.max_tokens, max(1, len(text) // 4)))

    async def check(self) -> str:
        return self.name

    async def close(self) -> None:
        return None


@dataclass
class CountingWatchdog:
    """A ``Watchdog`` that bites nobody."""

    fed: int = 0
    is_armed: bool = False

    def feed(self) -> None:
        self.fed += 1
        self.is_armed = True

    def rest(self) -> None:
        self.is_armed = False


@dataclass
class Workshop:
    """Everything a job needs, in one process."""

    storage: Storage
    services: Services
    runner: JobRunner
    model: SaidModel
    clock: FakeClock
    watchdog: CountingWatchdog
    ids: IdFactory
    draining: asyncio.Event = field(default_factory=asyncio.Event)

    async def submit(self, request: JobRequest, effort: Effort = "medium") -> JobId:
        new = NewJob(id=self.ids.job(), tenant=DEFAULT_TENANT, key_id=None, request=request, effort=effort, title="a task")
        return JobId((await self.storage.jobs.create(new, max_unfinished=100)).job.id)

    async def run(self) -> RunEnd:
        return await self.runner.run(self.draining)

    async def do(self, request: JobRequest, effort: Effort = "medium") -> Job:
        job_id = await self.submit(request, effort)
        await self.run()
        return await self.job(job_id)

    async def job(self, job_id: str) -> Job:
        return await self.storage.jobs.get(JobId(job_id), DEFAULT_TENANT)

    async def events(self, job_id: str) -> list[Event]:
        return list(await self.storage.events.read(StreamId(job_id), -1, 1_000))

    async def types(self, job_id: str) -> list[str]:
        return [event.type for event in await self.events(job_id)]

    def with_graph(self, build: GraphBuilder) -> "Workshop":
        """The same workshop around another graph."""
        runner = replace(self.runner, graph=build(FencedSaver(self.runner.checkpoints)))
        return replace(self, runner=runner)

    def with_settings(self, **changes: float) -> "Workshop":
        """The same workshop with other worker settings."""
        settings = self.runner.settings.model_copy(update=changes)
        services = replace(self.services, settings=self.services.settings.model_copy(update={"worker": settings}))
        return replace(self, services=services, runner=replace(self.runner, settings=settings, open_context=services.open_context))

    def with_tools(self, tools: Mapping[str, Tool]) -> "Workshop":
        """The same workshop with these tools."""
        services = replace(self.services, toolbox=Toolbox(tools))
        return replace(self, services=services, runner=replace(self.runner, open_context=services.open_context))

    def with_tool_settings(self, tools: ToolSettings) -> "Workshop":
        """The same workshop with other rules for its tools."""
        services = replace(self.services, settings=self.services.settings.model_copy(update={"tools": tools}))
        return replace(self, services=services, runner=replace(self.runner, open_context=services.open_context))


@asynccontextmanager
async def open_workshop(settings: Settings, toolbox: Toolbox) -> AsyncGenerator[Workshop]:
    """A workshop over a database that has its tables."""
    milliseconds = count(1_700_000_000_000)
    ids = IdFactory(now_ms=lambda: next(milliseconds))
    storage = open_storage(settings, ids=ids)
    model, clock, watchdog = SaidModel(), FakeClock(), CountingWatchdog()
    services = Services(storage.work, storage.jobs, storage.files, storage.audit, MemoryNotifier(), model, toolbox, clock, ids, settings)
    checkpoints = CoalescingCheckpoints(storage.work.checkpoints)
    runner = JobRunner(
        work=storage.work,
        notifier=services.notifier,
        graph=build_graph(FencedSaver(checkpoints)),
        checkpoints=checkpoints,
        open_context=services.open_context,
        clock=clock,
        settings=settings.worker,
        watchdog=watchdog,
        worker="test",
    )
    try:
        yield Workshop(storage, services, runner, model, clock, watchdog, ids)
    finally:
        await storage.close()


def assert_sound(job: Job, events: list[Event]) -> None:
    """Gap-free, one terminal event, which is the last."""
    assert [event.sequence_number for event in events] == list(range(len(events)))  # noqa: S101 - a test's own check
    assert [event.type for event in events if event.type in JobEvent.TERMINAL] == [events[-1].type]  # noqa: S101
    assert job.status.is_terminal  # noqa: S101


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop run until something holds; the test's own time limit ends it otherwise."""
    while not holds():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.005)
