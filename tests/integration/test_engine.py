"""Whole jobs through the engine: real storage on a file, real graph and sandbox, a model that says what the test wants."""

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import JsonValue
from structlog.testing import capture_logs

from slow_worker.budget import prompt_tokens
from slow_worker.checkpoints import checkpoint_errors, open_checkpoints
from slow_worker.graph import build_graph
from slow_worker.process import Services
from slow_worker.runner import JobRunner, RunEnd
from tandem.errors import ModelUnavailable
from tandem.events import MemoryNotifier
from tandem.ids import DEFAULT_TENANT, IdFactory, JobId, StreamId
from tandem.ports import NewJob, Storage
from tandem.schemas.chat import ChatDelta, ChatMessage, ChatReply, ChatRequest, TokenUsage
from tandem.schemas.events import Event, JobEvent
from tandem.schemas.jobs import AnswerContract, Budget, Job, JobRequest, JobStatus
from tandem.schemas.routing import Effort
from tandem.settings import DatabaseSettings, Settings, WorkerSettings
from tandem.storage import open_storage
from tandem.testing.clock import FakeClock
from tools.python_exec import PythonTool
from tools.registry import Toolbox
from tools.wrappers import guarded

pytestmark = pytest.mark.integration

Answer = Callable[[ChatRequest], str]


@dataclass
class SaidModel:
    """A ``ChatModel`` that answers by a function; keeps what it was asked."""

    answer: Answer
    asked: list[ChatRequest] = field(default_factory=list[ChatRequest])
    closed_streams: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Opens the replies that wait."""
    pause_after: int | None = None
    """Replies beyond this many wait for the gate; null lets all pass."""
    name: str = "said"

    async def complete(self, request: ChatRequest) -> ChatReply:
        self.asked.append(request)
        await self._wait()
        text = self.answer(request)
        return ChatReply(text=text, finish_reason="stop", usage=self._usage(request, text), model=self.name)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta]:
        self.asked.append(request)
        await self._wait()
        text = self.answer(request)
        for start in range(0, len(text), 7):
            yield ChatDelta(text=text[start : start + 7])
        yield ChatDelta(finish_reason="stop", usage=self._usage(request, text))

    async def _wait(self) -> None:
        try:
            if self.pause_after is not None and len(self.asked) > self.pause_after:
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
class Workshop:
    """Everything a job needs, in one process."""

    storage: Storage
    services: Services
    runner: JobRunner
    model: SaidModel
    ids: IdFactory
    draining: asyncio.Event = field(default_factory=asyncio.Event)

    async def submit(self, request: JobRequest, effort: Effort = "medium") -> JobId:
        new = NewJob(id=self.ids.job(), tenant=DEFAULT_TENANT, key_id=None, request=request, effort=effort, title="a task")
        return JobId((await self.storage.jobs.create(new, max_unfinished=100)).job.id)

    async def run(self, job_id: JobId) -> RunEnd:
        return await self.runner.run(job_id, self.draining)

    async def do(self, request: JobRequest, effort: Effort = "medium") -> Job:
        job_id = await self.submit(request, effort)
        await self.run(job_id)
        return await self.job(job_id)

    async def job(self, job_id: JobId) -> Job:
        return await self.storage.jobs.get(job_id, DEFAULT_TENANT)

    async def events(self, job_id: str) -> list[Event]:
        return list(await self.storage.events.read(StreamId(job_id), -1, 1_000))


def says_nothing(_request: ChatRequest) -> str:
    return ""


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its tables, to be copied: migrating anew for each test would take most of its time."""
    home = tmp_path_factory.mktemp("migrated")

    async def migrate() -> None:
        storage = open_storage(Settings(home=home))
        await storage.migrate()
        await storage.close()

    asyncio.run(migrate())
    return home / "tandem.sqlite3"


@pytest.fixture
async def workshop(tmp_path: Path, migrated: Path, toolbox: Toolbox) -> AsyncIterator[Workshop]:
    shutil.copy(migrated, tmp_path / "tandem.sqlite3")
    settings = Settings(home=tmp_path, worker=WorkerSettings(lease_s=1), database=DatabaseSettings(synchronous="normal"))
    ids = IdFactory(now_ms=lambda: 1_700_000_000_000)
    storage = open_storage(settings, ids=ids)
    model = SaidModel(says_nothing)
    clock = FakeClock()
    services = Services(storage, MemoryNotifier(), model, toolbox, clock, settings)
    async with open_checkpoints(settings) as checkpoints:
        runner = JobRunner(
            jobs=storage.jobs,
            notifier=services.notifier,
            graph=build_graph(checkpoints),
            open_context=services.open_context,
            forget=checkpoints.adelete_thread,
            clock=clock,
            settings=settings.worker,
            storage_errors=checkpoint_errors(),
            worker="test",
        )
        yield Workshop(storage, services, runner, model, ids)
    await storage.close()


@pytest.fixture
async def toolbox() -> AsyncIterator[Toolbox]:
    python = PythonTool()
    yield Toolbox({"python": guarded(python)})
    await python.close()


PROBLEM = "Natalia sold 48 clips in April and half as many in May. How many clips did she sell altogether?"
PROGRAM = "```python\ndef solve():\n    april = 48\n    return april + april // 2\n```"
PLANNING = "Plan a picnic for a school class: food, transport and games."


def prompt(request: ChatRequest) -> str:
    return request.messages[-1].content


def solves(request: ChatRequest) -> str:
    return PROGRAM if "solve()" in prompt(request) else "48 / 2 = 24\n48 + 24 = 72\nAnswer: 72"


def plans(request: ChatRequest) -> str:
    if "List the parts" in prompt(request):
        return "1. Food\n2. Transport\n3. Games"
    if "Write notes for part" in prompt(request):
        return f"- notes on {prompt(request).rsplit('only: ', 1)[1].splitlines()[0]}"
    return "Food: bread. Transport: bus. Games: football."


def assert_sound(job: Job, events: list[Event]) -> None:
    """Gap-free, one terminal event at the end."""
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events if event.type in JobEvent.TERMINAL] == [events[-1].type]
    assert job.status.is_terminal


async def test_a_word_problem_is_answered_when_program_and_reasoning_agree(workshop: Workshop) -> None:
    workshop.model.answer = solves

    job = await workshop.do(JobRequest(input=PROBLEM))

    assert (job.status, job.answer, job.confidence) == (JobStatus.COMPLETED, "72", 1.0)
    assert job.verification is not None
    assert job.verification.level == "V3"
    assert job.output_text is not None
    assert job.output_text.endswith("**Answer: 72**")
    assert job.usage.calls == 3
    assert_sound(job, await workshop.events(job.id))


async def test_low_effort_stops_after_two_calls_that_agree(workshop: Workshop) -> None:
    workshop.model.answer = solves

    job = await workshop.do(JobRequest(input=PROBLEM, answer=AnswerContract(kind="number")), "low")

    assert (job.answer, job.usage.calls, job.usage.tool_calls, job.effort_used) == (72, 2, 1, "low")


async def test_the_course_of_a_job_is_visible(workshop: Workshop) -> None:
    workshop.model.answer = solves

    job = await workshop.do(JobRequest(input=PROBLEM), "low")

    types = [event.type for event in await workshop.events(job.id)]
    assert types.index(JobEvent.PLAN_CREATED) < types.index(JobEvent.STEP_STARTED) < types.index(JobEvent.SOLUTION_ATTEMPTED)
    assert types.index(JobEvent.VERIFICATION_PASSED) < types.index(JobEvent.TEXT_DONE) < types.index(JobEvent.COMPLETED)
    assert {JobEvent.TOOL_STARTED, JobEvent.TOOL_COMPLETED, JobEvent.TEXT_DELTA} <= set(types)
    assert {step.state for step in job.view.plan} == {"done"}
    assert [attempt.answer for attempt in job.view.attempts] == ["72", "72"]


async def test_a_program_that_fails_is_an_attempt_with_an_error_and_the_next_one_hears_of_it(workshop: Workshop) -> None:
    workshop.model.answer = lambda request: (
        "```python\nimport sympy\ndef solve():\n    return 1\n```" if "solve()" in prompt(request) else solves(request)
    )

    job = await workshop.do(JobRequest(input=PROBLEM))

    failed = [attempt for attempt in job.view.attempts if attempt.strategy == "program"]
    assert "only these modules exist" in (failed[0].error or "")
    assert any("An earlier try failed" in prompt(request) for request in workshop.model.asked)
    assert (job.answer, job.verification.level if job.verification else None) == ("72", "V1")


async def test_disagreement_is_settled_by_more_votes_and_lowers_the_confidence(workshop: Workshop) -> None:
    replies = iter(["Answer: 70", PROGRAM, "Answer: 72", PROGRAM, "Answer: 72", PROGRAM, "Answer: 72", PROGRAM])
    workshop.model.answer = lambda _: next(replies)

    job = await workshop.do(JobRequest(input=PROBLEM))

    assert job.answer == "72"
    assert job.confidence is not None
    assert 0.5 < job.confidence < 1
    assert 4 <= job.usage.calls <= 8


@pytest.mark.parametrize(
    "garbage", ["", "???", "```", "I cannot help with that.", "{" * 500, "答案：", "Answer:", "\\boxed{}", "def solve(:\n  pass"]
)
async def test_garbage_ends_incomplete_and_says_so(workshop: Workshop, garbage: str) -> None:
    workshop.model.answer = lambda _: garbage

    job = await workshop.do(JobRequest(input=PROBLEM, answer=AnswerContract(kind="number")), "low")

    assert (job.status, job.answer) == (JobStatus.INCOMPLETE, None)
    assert job.error is not None
    assert job.error.code == "no_answer"
    assert (job.output_text or "").startswith("I found no answer")
    assert_sound(job, await workshop.events(job.id))


async def test_a_chinese_problem_is_asked_and_answered_in_chinese(workshop: Workshop) -> None:
    workshop.model.answer = lambda request: (
        "```python\ndef solve():\n    return 30 - 6\n```" if "solve()" in prompt(request) else "30 - 6 = 24\n答案：24元"
    )

    job = await workshop.do(JobRequest(input="妈妈带了30元，买了一条鱼，剩6元，这条鱼多少钱？"), "low")

    assert job.answer == "24"
    assert (job.output_text or "").endswith("**答案：24**")
    assert all("请" in prompt(request) for request in workshop.model.asked)


async def test_an_open_task_is_planned_worked_out_and_written(workshop: Workshop) -> None:
    workshop.model.answer = plans

    job = await workshop.do(JobRequest(input=PLANNING))

    assert (job.status, job.answer) == (JobStatus.COMPLETED, "Food: bread. Transport: bus. Games: football.")
    assert [step.title for step in job.view.plan] == ["Food", "Transport", "Games", "Write the answer"]
    assert job.verification is not None
    assert job.verification.level == "V0"
    assert {check.name: check.passed for check in job.verification.checks} == {
        "answer_is_whole": True,
        "does_not_repeat_itself": True,
        "covers_the_plan": True,
    }
    assert "notes on Transport" in prompt(workshop.model.asked[-1])
    assert job.usage.calls == 5
    assert_sound(job, await workshop.events(job.id))


async def test_the_streamed_text_is_the_written_text(workshop: Workshop) -> None:
    workshop.model.answer = plans

    job = await workshop.do(JobRequest(input=PLANNING))

    events = await workshop.events(job.id)
    streamed = "".join(str(event.data["delta"]) for event in events if event.type == JobEvent.TEXT_DELTA)
    done = next(event for event in events if event.type == JobEvent.TEXT_DONE)
    assert streamed == done.data["text"]


async def test_an_open_task_at_low_effort_takes_one_call(workshop: Workshop) -> None:
    workshop.model.answer = plans

    job = await workshop.do(JobRequest(input=PLANNING), "low")

    assert (job.status, job.usage.calls) == (JobStatus.COMPLETED, 1)


async def test_a_missing_part_of_the_plan_fails_the_coverage_check(workshop: Workshop) -> None:
    workshop.model.answer = lambda request: "Food only." if "Notes:" in prompt(request) else plans(request)

    job = await workshop.do(JobRequest(input=PLANNING))

    assert job.verification is not None
    assert [check.detail for check in job.verification.checks if not check.passed] == ["missing: Transport; Games"]


async def test_json_that_breaks_its_schema_is_asked_for_again_with_the_fault(workshop: Workshop) -> None:
    replies = iter(['{"total": "many"}', '```json\n{"total": 3}\n```'])
    workshop.model.answer = lambda _: next(replies)
    contract = AnswerContract.model_validate({
        "kind": "json",
        "schema": {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]},
    })

    job = await workshop.do(JobRequest(input="count the apples", answer=contract))

    assert (job.status, job.answer) == (JobStatus.COMPLETED, {"total": 3})
    assert job.verification is not None
    assert job.verification.level == "V3"
    assert "'many' is not of type 'integer'" in prompt(workshop.model.asked[1])
    assert json.loads(job.output_text or "") == {"total": 3}


async def test_a_schema_that_is_none_fails_the_job(workshop: Workshop) -> None:
    job = await workshop.do(JobRequest(input="x", answer=AnswerContract.model_validate({"kind": "json", "schema": {"type": "thing"}})))

    assert (job.status, job.error.code if job.error else None, job.usage.calls) == (JobStatus.FAILED, "invalid_request", 0)


async def test_code_that_does_not_parse_is_asked_for_again(workshop: Workshop) -> None:
    replies = iter(["```python\ndef f(:\n```", "```python\ndef f():\n    return 1\n```"])
    workshop.model.answer = lambda _: next(replies)

    job = await workshop.do(JobRequest(input="write f", answer=AnswerContract(kind="code")))

    assert (job.answer, job.usage.calls) == ("def f():\n    return 1", 2)


async def test_a_choice_is_voted_on_in_the_callers_spelling(workshop: Workshop) -> None:
    workshop.model.answer = lambda _: "Reptiles lay eggs.\nAnswer: (B) snake"

    job = await workshop.do(JobRequest(input="Which is a reptile?", answer=AnswerContract(kind="choice", choices=["Dog", "Snake"])))

    assert (job.answer, job.verification.level if job.verification else None) == ("Snake", "V1")


async def test_a_tool_that_is_not_offered_fails_the_job(workshop: Workshop) -> None:
    job = await workshop.do(JobRequest(input=PROBLEM, tools=["shell"]))

    assert (job.status, job.error.code if job.error else None) == (JobStatus.FAILED, "unknown_tool")


async def test_without_tools_only_chains_of_thought_vote(workshop: Workshop) -> None:
    workshop.model.answer = solves

    job = await workshop.do(JobRequest(input=PROBLEM, tools=[]))

    assert {attempt.strategy for attempt in job.view.attempts} == {"cot"}
    assert "program" not in {step.id for step in job.view.plan}


async def test_earlier_messages_are_context(workshop: Workshop) -> None:
    workshop.model.answer = solves
    history = [
        ChatMessage(role="user", content="I sell clips."),
        ChatMessage(role="assistant", content="Fine."),
        ChatMessage(role="user", content=PROBLEM),
    ]

    await workshop.do(JobRequest(input=history), "low")

    assert [message.content for message in workshop.model.asked[0].messages[1:3]] == ["I sell clips.", "Fine."]


@pytest.mark.parametrize("calls", [1, 2, 3, 5])
@pytest.mark.parametrize("task", [PROBLEM, PLANNING])
async def test_the_budget_of_calls_is_never_exceeded(workshop: Workshop, calls: int, task: str) -> None:
    workshop.model.answer = lambda request: plans(request) if task == PLANNING else f"Answer: {len(workshop.model.asked)}"

    job = await workshop.do(JobRequest(input=task, budget=Budget(max_calls=calls)), "high")

    assert job.usage.calls == len(workshop.model.asked) <= calls
    assert job.status in {JobStatus.COMPLETED, JobStatus.INCOMPLETE}
    assert job.output_text


async def test_a_budget_that_stops_the_search_gives_the_best_so_far_as_incomplete(workshop: Workshop) -> None:
    workshop.model.answer = lambda _: "Answer: 1"

    job = await workshop.do(JobRequest(input=PROBLEM, budget=Budget(max_calls=2)))

    assert (job.status, job.answer, job.error.code if job.error else None) == (JobStatus.INCOMPLETE, "1", "budget_reached")
    assert JobEvent.BUDGET_REACHED in [event.type for event in await workshop.events(job.id)]


@pytest.mark.parametrize("tokens", [64, 400, 1_000, 3_000])
@pytest.mark.parametrize("task", [PROBLEM, PLANNING])
async def test_the_budget_of_tokens_is_never_exceeded(workshop: Workshop, tokens: int, task: str) -> None:
    workshop.model.answer = lambda request: plans(request) * 40 if task == PLANNING else f"{'word ' * 900}Answer: {len(workshop.model.asked)}"

    job = await workshop.do(JobRequest(input=task, budget=Budget(max_tokens=tokens)), "high")

    assert job.usage.input_tokens + job.usage.output_tokens <= tokens
    assert_sound(job, await workshop.events(job.id))


async def test_a_tool_budget_of_zero_runs_no_program(workshop: Workshop) -> None:
    workshop.model.answer = solves

    job = await workshop.do(JobRequest(input=PROBLEM, budget=Budget(max_tool_calls=0)))

    assert (job.usage.tool_calls, job.answer) == (0, "72")


async def test_a_model_server_that_is_down_fails_the_job_after_some_patience(workshop: Workshop) -> None:
    def refuse(_request: ChatRequest) -> str:
        raise ModelUnavailable("connection refused")

    workshop.model.answer = refuse

    job = await workshop.do(JobRequest(input=PROBLEM))

    assert (job.status, job.error.code if job.error else None, job.usage.calls) == (JobStatus.FAILED, "model_unavailable", 0)
    assert len(workshop.model.asked) == 2 * 7
    assert_sound(job, await workshop.events(job.id))


async def test_a_model_server_that_comes_back_costs_nothing_but_time(workshop: Workshop) -> None:
    def stumble(request: ChatRequest) -> str:
        if len(workshop.model.asked) < 6:
            raise ModelUnavailable("connection refused")
        return solves(request)

    workshop.model.answer = stumble

    job = await workshop.do(JobRequest(input=PROBLEM), "low")

    assert (job.status, job.answer, job.usage.calls) == (JobStatus.COMPLETED, "72", 2)


async def test_a_model_server_lost_later_leaves_the_best_so_far(workshop: Workshop) -> None:
    def vanish(request: ChatRequest) -> str:
        if len(workshop.model.asked) > 2:
            raise ModelUnavailable("connection refused")
        return solves(request)

    workshop.model.answer = vanish

    job = await workshop.do(JobRequest(input=PROBLEM))

    assert (job.status, job.answer, job.error.code if job.error else None) == (JobStatus.INCOMPLETE, "72", "model_unavailable")


async def test_a_defect_fails_the_job_and_not_the_worker(workshop: Workshop) -> None:
    def break_down(_request: ChatRequest) -> str:
        raise KeyError("a bug")

    workshop.model.answer = break_down

    with capture_logs() as logs:
        job = await workshop.do(JobRequest(input=PROBLEM))

    assert (job.status, job.error.code if job.error else None) == (JobStatus.FAILED, "internal_error")
    assert [line["exc_info"] for line in logs if line["event"] == "job_defect"] == [True]


async def test_cancelling_ends_the_running_call_and_the_job(workshop: Workshop) -> None:
    workshop.model.pause_after = 0
    job_id = await workshop.submit(JobRequest(input=PROBLEM))
    running = asyncio.create_task(workshop.run(job_id))
    await until(lambda: len(workshop.model.asked) == 2)

    await workshop.storage.jobs.request_cancel(job_id, DEFAULT_TENANT)

    assert await running is RunEnd.FINISHED
    job = await workshop.job(job_id)
    assert (job.status, workshop.model.closed_streams) == (JobStatus.CANCELLED, 2)
    assert_sound(job, await workshop.events(job_id))


async def test_draining_gives_the_job_back_and_another_run_makes_only_what_was_missing(workshop: Workshop) -> None:
    workshop.model.answer, workshop.model.pause_after = plans, 3
    job_id = await workshop.submit(JobRequest(input=PLANNING))
    running = asyncio.create_task(workshop.run(job_id))
    await until(lambda: len(workshop.model.asked) == 4)
    workshop.draining.set()
    assert await running is RunEnd.RELEASED
    assert (await workshop.job(job_id)).status is JobStatus.QUEUED

    workshop.draining.clear()
    workshop.model.gate.set()
    assert await workshop.run(job_id) is RunEnd.FINISHED

    job = await workshop.job(job_id)
    answered = Counter(prompt(request) for request in workshop.model.asked)
    assert (job.status, job.attempt) == (JobStatus.COMPLETED, 2)
    assert sorted(answered.values()) == [1, 1, 1, 1, 2]
    assert [event.type for event in await workshop.events(job_id)].count(JobEvent.PLAN_CREATED) == 1
    assert_sound(job, await workshop.events(job_id))


async def test_a_recorded_attempt_is_not_made_again_by_a_new_owner(workshop: Workshop) -> None:
    workshop.model.answer = solves
    job_id = await workshop.submit(JobRequest(input=PROBLEM), "low")
    claim = await workshop.storage.jobs.claim(job_id, "dead", 60, 5)
    assert claim is not None
    context = await workshop.services.open_context(claim)
    recorded: dict[str, JsonValue] = {
        "id": "attempt:1:cot:0",
        "wave": 1,
        "strategy": "cot",
        "answer": "72",
        "usage": {"calls": 1, "input_tokens": 10, "output_tokens": 5},
    }
    await context.effects.jobs.record_effect(job_id, claim.epoch, "attempt:1:cot:0", recorded)
    await workshop.storage.jobs.release(job_id, claim.epoch)

    await workshop.run(job_id)

    job = await workshop.job(job_id)
    assert (job.answer, len(workshop.model.asked), job.usage.calls) == ("72", 1, 2)


async def test_a_run_whose_lease_went_to_another_worker_writes_nothing_more(workshop: Workshop) -> None:
    workshop.model.pause_after = 0
    workshop.model.answer = solves
    job_id = await workshop.submit(JobRequest(input=PROBLEM))
    running = asyncio.create_task(workshop.run(job_id))
    await until(lambda: len(workshop.model.asked) == 2)
    await workshop.storage.jobs.release(job_id, 1)
    other = await workshop.storage.jobs.claim(job_id, "other", 60, 5)
    before = await workshop.events(job_id)

    assert await running is RunEnd.LOST
    assert other is not None
    assert (await workshop.events(job_id), (await workshop.job(job_id)).status) == (before, JobStatus.IN_PROGRESS)


async def test_a_second_hint_for_a_finished_job_does_nothing(workshop: Workshop) -> None:
    workshop.model.answer = solves
    job = await workshop.do(JobRequest(input=PROBLEM), "low")

    assert await workshop.run(JobId(job.id)) is RunEnd.NOT_OURS
    assert len(workshop.model.asked) == 2


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop run until something holds; the test's own time limit ends it otherwise."""
    while not holds():
        await asyncio.sleep(0.005)
