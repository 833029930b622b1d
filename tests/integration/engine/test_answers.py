"""Whole jobs through the engine: what each kind of task comes to."""

import json

import pytest

from slow_worker.runner import RunEnd
from slow_worker.testing import PLANNING, PROBLEM, PROGRAM, WRITTEN, Workshop, assert_sound, plans, prompt, said, solves
from tandem.errors import ModelBadResponse, ModelError, ModelTimeout, ModelUnavailable
from tandem.schemas.chat import ChatMessage, ChatRequest
from tandem.schemas.events import JobEvent
from tandem.schemas.jobs import AnswerContract, JobRequest, JobStatus
from tandem.storage.invariants import check_invariants
from tandem.testing.time_travel import let_pass

pytestmark = pytest.mark.integration


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


async def test_a_model_server_that_is_down_fails_the_job_after_some_patience(workshop: Workshop) -> None:
    def refuse(_request: ChatRequest) -> str:
        raise ModelUnavailable("connection refused")

    workshop.model.answer = refuse

    job = await workshop.do(JobRequest(input=PROBLEM))

    assert (job.status, job.error.code if job.error else None, job.usage.calls) == (JobStatus.FAILED, "model_unavailable", 0)
    assert len(workshop.model.asked) == 2 * 7
    assert_sound(job, await workshop.events(job.id))


async def test_a_model_server_that_stays_away_puts_the_job_off_and_what_was_done_is_not_done_again(workshop: Workshop) -> None:
    patient = workshop.with_settings(model_patience_s=600)
    is_away = True

    def come_and_go(request: ChatRequest) -> str:
        if is_away and "Write notes for part" in said(request.messages):
            raise ModelUnavailable("connection refused")
        return plans(request)

    workshop.model.answer = come_and_go
    job_id = await patient.submit(JobRequest(input=PLANNING))
    assert await patient.run() is RunEnd.DEFERRED
    job = await patient.job(job_id)
    assert (job.status, job.error, (await patient.types(job_id))[-1]) == (JobStatus.SCHEDULED, None, JobEvent.DEFERRED)
    assert await patient.run() is RunEnd.NOTHING

    is_away = False
    await let_pass(patient.services.settings.database_url, 10)
    await patient.storage.jobs.reap(rehint_after_s=3, max_attempts=5)
    assert await patient.run() is RunEnd.FINISHED

    job = await patient.job(job_id)
    assert (job.status, job.output_text) == (JobStatus.COMPLETED, WRITTEN)
    assert sum("List the parts" in said(request.messages) for request in workshop.model.asked) == 1
    assert_sound(job, await patient.events(job_id))
    assert not await check_invariants(patient.services.settings.database_url)


async def test_the_patience_with_a_model_server_ends_unless_it_has_answered_in_between(workshop: Workshop) -> None:
    patient = workshop.with_settings(model_patience_s=600)
    answers_plans = False

    def refuse(request: ChatRequest) -> str:
        if answers_plans and "List the parts" in said(request.messages):
            return plans(request)
        raise ModelUnavailable("connection refused")

    async def later() -> RunEnd:
        await let_pass(patient.services.settings.database_url, 700)
        await patient.storage.jobs.reap(rehint_after_s=3, max_attempts=5)
        return await patient.run()

    workshop.model.answer = refuse
    job_id = await patient.submit(JobRequest(input=PLANNING))
    assert await patient.run() is RunEnd.DEFERRED
    answers_plans = True
    assert await later() is RunEnd.DEFERRED
    assert await later() is RunEnd.FINISHED
    job = await patient.job(job_id)
    assert (job.status, job.error.code if job.error else None) == (JobStatus.FAILED, "model_unavailable")
    assert_sound(job, await patient.events(job_id))


async def test_a_model_server_that_comes_back_costs_nothing_but_time(workshop: Workshop) -> None:
    def stumble(request: ChatRequest) -> str:
        if len(workshop.model.asked) < 6:
            raise ModelUnavailable("connection refused")
        return solves(request)

    workshop.model.answer = stumble

    job = await workshop.do(JobRequest(input=PROBLEM), "low")

    assert (job.status, job.answer, job.usage.calls) == (JobStatus.COMPLETED, "72", 2)


@pytest.mark.parametrize("task", ["Write a poem.", PROBLEM])
@pytest.mark.parametrize("kind", [ModelUnavailable, ModelBadResponse, ModelTimeout])
async def test_where_the_model_server_is_stays_out_of_the_job(workshop: Workshop, kind: type[ModelError], task: str) -> None:
    def fail(_request: ChatRequest) -> str:
        raise kind("the model server at http://10.0.0.7:8000/v1 answered HTTP 500")

    workshop.model.answer = fail

    job = await workshop.do(JobRequest(input=task), "low")

    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.code == kind.code
    told = job.model_dump_json() + "".join(event.model_dump_json() for event in await workshop.events(job.id))
    assert "10.0.0.7" not in told


async def test_a_text_waits_for_a_model_server_that_comes_back(workshop: Workshop) -> None:
    def load(_request: ChatRequest) -> str:
        if len(workshop.model.asked) < 5:
            raise ModelUnavailable("503: loading model")
        return "A poem about the sea."

    workshop.model.answer = load

    job = await workshop.do(JobRequest(input="Write a poem."), "low")

    assert (job.status, job.output_text, job.usage.calls) == (JobStatus.COMPLETED, "A poem about the sea.", 1)
    assert_sound(job, await workshop.events(job.id))


async def test_a_text_whose_model_server_stays_away_fails_after_some_patience_and_costs_no_call(workshop: Workshop) -> None:
    def refuse(_request: ChatRequest) -> str:
        raise ModelUnavailable("connection refused")

    workshop.model.answer = refuse

    job = await workshop.do(JobRequest(input="Write a poem."), "low")

    assert (job.status, job.error.code if job.error else None, job.usage.calls) == (JobStatus.FAILED, "model_unavailable", 0)
    assert len(workshop.model.asked) == 7
    assert_sound(job, await workshop.events(job.id))


async def test_a_model_server_lost_later_leaves_the_best_so_far(workshop: Workshop) -> None:
    def vanish(request: ChatRequest) -> str:
        if len(workshop.model.asked) > 2:
            raise ModelUnavailable("connection refused")
        return solves(request)

    workshop.model.answer = vanish

    job = await workshop.do(JobRequest(input=PROBLEM))

    assert (job.status, job.answer, job.error.code if job.error else None) == (JobStatus.INCOMPLETE, "72", "model_unavailable")
