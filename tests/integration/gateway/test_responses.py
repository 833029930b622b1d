"""The responses door with the stock client: both lanes, whole and in the background; reading, cancelling, deleting."""

import asyncio
from typing import Any

import openai
import pytest
from openai.types.responses import Response

from tandem.ports import NewEvent, Outcome, Parking
from tandem.schemas.events import JobEvent
from tandem.schemas.inputs import InputAsk
from tandem.schemas.jobs import Check, JobFailure, JobResult, JobStatus, JobView, PlanStep, Usage, Verification

pytestmark = pytest.mark.integration
SCHEMA = {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"], "additionalProperties": False}
JSON_FORMAT: Any = {"format": {"type": "json_schema", "name": "sum", "schema": SCHEMA}}


def checked(response: Response) -> Response:
    """The response, which must be what OpenAI's own types accept without leniency."""
    return Response.model_validate(response.model_dump(mode="json", by_alias=True))


async def test_a_fast_answer_is_whole_and_stored(house: Any) -> None:
    async with house.openai() as client:
        raw = await client.responses.with_raw_response.create(model="auto", input="hi", metadata={"ticket": "7"}, user="u1")
        answer = checked(raw.parse())
        again = checked(await client.responses.retrieve(answer.id))
    assert (answer.status, answer.output_text, answer.model, answer.metadata) == ("completed", "Hello there", "m-fast", {"ticket": "7"})
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0
    assert answer.output[0].id == f"msg_{answer.id.removeprefix('resp_')}_0"
    assert (again.id, again.output, again.usage, again.user) == (answer.id, answer.output, answer.usage, "u1")
    assert (raw.headers["x-tandem-lane"], raw.headers["x-tandem-decision"][:4]) == ("fast", "dec_")


async def test_instructions_replace_the_copilots_prompt_and_what_the_fast_model_needs_reaches_it(house: Any) -> None:
    async with house.openai() as client:
        await client.responses.create(model="fast", input="hi")
        await client.responses.create(
            model="auto", input=[{"role": "developer", "content": "be kind"}, {"role": "user", "content": "/fast hi"}],
            instructions="be brief", temperature=0.1, top_p=0.5, max_output_tokens=33, text=JSON_FORMAT,
        )  # fmt: skip
    plain, shaped = (ask.fields for ask in house.model.asked)
    assert plain["messages"][0]["content"].startswith("You are Tandem's copilot")
    assert shaped["messages"] == [{"role": "system", "content": "be brief\n\nbe kind"}, {"role": "user", "content": "hi"}]
    assert (shaped["temperature"], shaped["top_p"], shaped["max_tokens"]) == (0.1, 0.5, 33)
    assert shaped["response_format"]["json_schema"]["schema"] == SCHEMA


async def test_a_slow_answer_is_a_job_that_is_waited_for(house: Any) -> None:
    async with house.openai() as client:
        asking = asyncio.create_task(
            client.responses.with_raw_response.create(
                model="slow", input="/deep add 2 and 3", metadata={"ticket": "7"}, max_tool_calls=3, max_output_tokens=900, text=JSON_FORMAT,
                tools=[{"type": "code_interpreter", "container": {"type": "auto"}}], reasoning={"effort": "xhigh"},
            )
        )  # fmt: skip
        job_id = await house.next_job()
        view = JobView(title="A sum", plan=[PlanStep(id="1", title="Add")])
        claim = await house.claim(job_id)
        await house.tell(claim, NewEvent(JobEvent.PLAN_CREATED, {"steps": [{"id": "1", "title": "Add"}]}), view=view)
        verification = Verification(level="V3", checks=[Check(name="program", level="V3", passed=True)])
        result = JobResult(output_text='{"sum": 5}', verification=verification, usage=Usage(input_tokens=10, output_tokens=5))
        await house.storage.work.finish(job_id, claim.epoch, Outcome(JobStatus.COMPLETED, result=result))
        raw = await asking
        answer = checked(raw.parse())
    assert (answer.status, answer.output_text, answer.model) == ("completed", '{"sum": 5}', "m-slow")
    assert answer.output[0].type == "reasoning"
    assert answer.output[0].summary[0].text == "Plan: 1. Add\nCheck passed (V3): program\n"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 15
    assert raw.headers["x-tandem-job"] == answer.tandem["job_id"] == job_id  # type: ignore[attr-defined]
    assert (answer.tools[0].type, answer.reasoning and answer.reasoning.effort, answer.max_tool_calls) == ("code_interpreter", "xhigh", 3)
    job = await house.storage.jobs.get(job_id, "acme")
    assert (job.request.input, job.request.tools, job.effort, job.response_id) == ("add 2 and 3", ["python"], "max", answer.id)
    assert (job.request.budget.max_tokens, job.request.budget.max_tool_calls, job.request.metadata) == (900, 3, {"ticket": "7"})
    assert (job.request.answer.kind, job.request.answer.json_schema) == ("json", SCHEMA)


async def test_a_whole_answer_that_takes_long_is_kept_alive_by_blanks(open_house: Any) -> None:
    async with open_house(gateway={"heartbeat_s": 0.02}) as house, house.openai() as client, house.http() as http:
        asking = asyncio.create_task(client.responses.create(model="slow", input="hi"))
        bare = asyncio.create_task(http.post("/v1/responses", json={"model": "slow", "input": "hi"}))
        await house.next_job(2)
        await asyncio.sleep(0.1)
        await house.work(1)
        await house.work(2)
        assert checked(await asking).output_text == "42"
        body = (await bare).content
    assert body.startswith(b"  ")
    assert body.lstrip().startswith(b"{")


async def test_a_background_answer_is_always_a_job_to_be_polled(house: Any) -> None:
    async with house.openai() as client:
        raw = await client.responses.with_raw_response.create(model="auto", input="hi", background=True)
        queued = checked(raw.parse())
        assert (queued.status, queued.background, queued.output, queued.usage) == ("queued", True, [], None)
        assert raw.headers["openai-poll-after-ms"] == "2000"
        claim = await house.claim(await house.next_job())
        running = checked(await client.responses.retrieve(queued.id))
        assert (running.status, running.output[0].type) == ("in_progress", "reasoning")
        await house.finish(claim, "done")
        ended = checked(await client.responses.retrieve(queued.id))
    assert (ended.status, ended.output_text) == ("completed", "done")
    assert ended.completed_at is not None


async def test_cancelling_twice_gives_the_same_cancelled_response(house: Any) -> None:
    async with house.openai() as client:
        queued = await client.responses.create(model="slow", input="hi", background=True)
        first = checked(await client.responses.cancel(queued.id))
        second = checked(await client.responses.cancel(queued.id))
        running = await client.responses.create(model="slow", input="hi", background=True)
        claim = await house.claim(running.tandem["job_id"])  # type: ignore[attr-defined]
        cancelling = checked(await client.responses.cancel(running.id))
        await house.storage.work.finish(claim.job_id, claim.epoch, Outcome(JobStatus.COMPLETED, result=JobResult(output_text="too late")))
        cancelled = checked(await client.responses.retrieve(running.id))
    assert (first.status, second.status) == ("cancelled", "cancelled")
    assert first == second
    assert (cancelling.status, cancelled.status, cancelled.output_text) == ("in_progress", "cancelled", "")


async def test_only_a_background_response_can_be_cancelled(house: Any) -> None:
    async with house.openai() as client:
        fast = await client.responses.create(model="fast", input="hi")
        asking = asyncio.create_task(client.responses.create(model="slow", input="hi"))
        job = await house.storage.jobs.get(await house.next_job(), "acme")
        for response_id in (fast.id, job.response_id):
            with pytest.raises(openai.BadRequestError, match="was not created with 'background'"):
                await client.responses.cancel(response_id)
        await house.work()
        assert (await asking).status == "completed"


async def test_deleting_forgets_the_response_and_its_job_but_not_while_it_runs(house: Any) -> None:
    async with house.openai() as client:
        fast = await client.responses.create(model="fast", input="hi")
        slow = await client.responses.create(model="slow", input="hi", background=True)
        with pytest.raises(openai.ConflictError):
            await client.responses.delete(slow.id)
        job_id = await house.work()
        await client.responses.delete(fast.id)
        await client.responses.delete(slow.id)
        for response_id in (fast.id, slow.id):
            with pytest.raises(openai.NotFoundError):
                await client.responses.retrieve(response_id)
    async with house.http() as http:
        assert (await http.get(f"/v1/jobs/{job_id}")).status_code == 404
        assert (await http.delete(f"/v1/responses/{fast.id}")).status_code == 404


async def test_input_items_are_listed_in_pages(house: Any) -> None:
    given: Any = [{"role": "user", "content": word} for word in ("one", "two", "three")]
    async with house.openai() as client:
        answer = await client.responses.create(model="fast", input=given)
        newest = await client.responses.input_items.list(answer.id, limit=2)
        everything = [item async for item in client.responses.input_items.list(answer.id, limit=2, order="asc")]
    words = [item.content[0].text for item in everything]  # type: ignore[union-attr]
    assert words == ["one", "two", "three"]
    assert [item.id for item in newest.data] == [everything[2].id, everything[1].id]
    assert newest.has_more
    assert (newest.first_id, newest.last_id) == (everything[2].id, everything[1].id)  # type: ignore[attr-defined]


async def test_a_conversation_goes_on_over_both_lanes_without_old_instructions(house: Any) -> None:
    async with house.openai() as client:
        first = await client.responses.create(model="fast", input="I am Ada.", instructions="be rude")
        second = await client.responses.create(model="slow", input="Add up.", previous_response_id=first.id, background=True)
        with pytest.raises(openai.ConflictError) as unfinished:
            await client.responses.create(model="fast", input="And?", previous_response_id=second.id)
        await house.work(text="It is 5.")
        third = await client.responses.create(model="fast", input="Who am I?", previous_response_id=second.id, instructions="be kind")
    assert unfinished.value.param == "previous_response_id"
    job = await house.storage.jobs.get(second.tandem["job_id"], "acme")  # type: ignore[attr-defined]
    assert [(said.role, said.content) for said in job.request.input] == [("user", "I am Ada."), ("assistant", "Hello there"), ("user", "Add up.")]
    said = house.model.asked[-1].fields["messages"]
    assert said[0] == {"role": "system", "content": "be kind"}
    assert [message["content"] for message in said[1:]] == ["I am Ada.", "Hello there", "Add up.", "It is 5.", "Who am I?"]
    assert third.previous_response_id == second.id


async def test_what_is_not_to_be_stored_is_gone_after_the_answer(house: Any) -> None:
    async with house.openai() as client:
        fast = await client.responses.create(model="fast", input="hi", store=False)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(fast.id)
        slow = await client.responses.create(model="slow", input="hi", background=True, store=False)
        await house.work()
        assert (await client.responses.retrieve(slow.id)).output_text == "42"
    assert (fast.output_text, fast.store, slow.store) == ("Hello there", False, False)  # type: ignore[attr-defined]


LOST = JobFailure(code="worker_lost", message="too many workers died")
SPENT = JobFailure(code="budget_reached", message="max_calls")
LATE = JobFailure(code="deadline_passed", message="too late")
BEST = JobResult(output_text="so far")


@pytest.mark.parametrize(
    ("outcome", "status", "reason"),
    [
        (Outcome(JobStatus.FAILED, error=LOST), "failed", None),
        (Outcome(JobStatus.INCOMPLETE, BEST, SPENT), "incomplete", "max_output_tokens"),
        (Outcome(JobStatus.INCOMPLETE, BEST, LATE), "incomplete", None),
    ],
)
async def test_a_job_that_does_not_complete_is_told_in_openais_words(house: Any, outcome: Outcome, status: str, reason: str | None) -> None:
    async with house.openai() as client:
        asking = asyncio.create_task(client.responses.create(model="slow", input="hi"))
        claim = await house.claim(await house.next_job())
        await house.storage.work.finish(claim.job_id, claim.epoch, outcome)
        answer = checked(await asking)
    assert answer.status == status
    assert outcome.error is not None
    assert answer.tandem["error"]["code"] == outcome.error.code  # type: ignore[attr-defined]
    if status == "failed":
        assert answer.error is not None
        assert (answer.error.code, answer.error.type, answer.error.message) == ("server_error", "worker_lost", "too many workers died")
    else:
        assert answer.incomplete_details is not None
        assert (answer.incomplete_details.reason, answer.output_text) == (reason, "so far")


async def test_a_job_that_asks_requires_action(house: Any) -> None:
    async with house.openai() as client:
        asked = await client.responses.create(model="slow", input="hi", background=True)
        claim = await house.claim(await house.next_job())
        await house.park(claim, Parking(JobStatus.INPUT_REQUIRED, asks=[InputAsk(key="sure", kind="text", prompt="Sure?")], wait_s=60))
        waiting = await client.responses.retrieve(asked.id)
    assert waiting.status == "requires_action"
    assert waiting.tandem["inputs"][0]["prompt"] == "Sure?"  # type: ignore[attr-defined]
