"""The check band in a conversation: the answer stays, says that it is in doubt, and a job brings the correction."""

import asyncio
from typing import Any

import httpx
import pytest

from tandem.ids import TenantId
from tandem.schemas.events import ThreadEvent
from tandem.schemas.jobs import JobStatus
from tandem.schemas.policies import Bands, CheckRules, RoutingPolicy

pytestmark = pytest.mark.integration
QUESTION = "How many legs do three spiders have?"


async def say(client: httpx.AsyncClient, text: str = QUESTION) -> tuple[str, str]:
    thread = (await client.post("/v1/threads", json={})).json()["id"]
    turn = (await client.post(f"/v1/threads/{thread}/messages", json={"content": text})).json()["id"]
    return thread, turn


async def until(client: httpx.AsyncClient, thread: str, kind: str) -> list[dict[str, Any]]:
    async with asyncio.timeout(10):
        while True:
            seen = (await client.get(f"/v1/threads/{thread}/events", params={"limit": 1000})).json()["data"]
            if any(event["type"] == kind for event in seen):
                return seen
            await asyncio.sleep(0.01)


async def messages(client: httpx.AsyncClient, thread: str) -> list[dict[str, Any]]:
    return (await client.get(f"/v1/threads/{thread}/messages")).json()["data"]


async def test_an_answer_that_passes_is_completed_as_ever_and_the_check_is_told(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They have 24 legs.")
    async with check_house.http() as client:
        thread, turn = await say(client)
        seen = await until(client, thread, ThreadEvent.TURN_COMPLETED)
        _, answer = await messages(client, thread)
    assert [event["type"] for event in seen][-3:] == [ThreadEvent.TURN_CHECKED, ThreadEvent.MESSAGE_CREATED, ThreadEvent.TURN_COMPLETED]
    checked = seen[-3]["data"]
    assert checked == {"turn_id": turn, "passed": True, "confidence": 0.95, "reasons": [], "job_id": None}
    assert (answer["content"], answer["lane"], answer["job_id"]) == ("They have 24 legs.", "fast", None)
    assert check_house.hints.count == 0


async def test_a_failed_answer_stays_says_so_and_is_corrected_by_a_job(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They have 18 legs.", probability=0.2)
    async with check_house.http() as client:
        thread, turn = await say(client)
        seen = await until(client, thread, ThreadEvent.TURN_COMPLETED)
        _, answer = await messages(client, thread)
        job_id = await check_house.next_job()
        await check_house.work(text="24 legs.")
        correction = (await messages(client, thread))[-1]
    note = f"I am not sure about this answer, so I have started a careful check: “{QUESTION}”. Its result will appear here."
    assert (answer["content"], answer["lane"], answer["job_id"]) == (f"They have 18 legs.\n\n{note}", "fast", job_id)
    told = "".join(event["data"]["delta"] for event in seen if event["type"] == ThreadEvent.TEXT_DELTA)
    assert told == answer["content"]
    (checked,) = [event["data"] for event in seen if event["type"] == ThreadEvent.TURN_CHECKED]
    assert (checked["passed"], checked["reasons"], checked["job_id"]) == (False, ["low_confidence"], job_id)
    assert [event["data"]["job_id"] for event in seen if event["type"] == ThreadEvent.TURN_COMPLETED] == [job_id]
    assert (correction["content"], correction["job_id"], correction["turn_id"]) == ("24 legs.", job_id, None)
    assert (answer["turn_id"], correction["lane"]) == (turn, "slow")


async def test_the_job_reads_the_conversation_and_the_answer_in_doubt(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("是18条。", probability=0.2)
    async with check_house.http() as client:
        thread, _ = await say(client, "三只蜘蛛有多少条腿？")
        job = await check_house.storage.jobs.get(await check_house.next_job(), TenantId("acme"))
        await until(client, thread, ThreadEvent.TURN_COMPLETED)
        answer = (await messages(client, thread))[-1]
    assert [(message.role, message.content) for message in job.request.input[:2]] == [("user", "三只蜘蛛有多少条腿？"), ("assistant", "是18条。")]
    assert "确认或纠正" in job.request.input[2].content
    assert (job.view.title, job.request.thread_id) == ("核对：三只蜘蛛有多少条腿？", thread)
    assert "没有把握" in answer["content"]


async def test_a_doubtful_answer_without_a_job_says_that_it_could_not_be_checked(check_house: Any, speaking: Any) -> None:
    await check_house.publish(RoutingPolicy(bands=Bands(check_at=0.0, slow_at=1.0), check=CheckRules(max_pending=0)))
    check_house.model.answer = speaking("They have 18 legs.", probability=0.2)
    async with check_house.http() as client:
        thread, _ = await say(client)
        await until(client, thread, ThreadEvent.TURN_COMPLETED)
        answer = (await messages(client, thread))[-1]
    assert answer["content"] == "They have 18 legs.\n\nI am not sure about this answer, and it could not be checked more carefully."
    assert (answer["job_id"], check_house.hints.count) == (None, 0)


@pytest.mark.parametrize("is_here", [True, False])
async def test_a_job_of_a_turn_that_was_cancelled_meanwhile_is_withdrawn(check_house: Any, speaking: Any, is_here: bool) -> None:
    start = check_house.services.checks.start
    async with check_house.http() as client:
        thread, turn = "", ""

        async def cancelled_meanwhile(*arguments: Any) -> Any:
            created = await start(*arguments)
            await check_house.storage.threads.cancel_turn(turn, thread, "acme")
            if is_here:  # another gateway's turn is not told
                check_house.services.turns.stop(turn)
                await asyncio.sleep(0)
            return created

        check_house.services.checks.start = cancelled_meanwhile
        thread = (await client.post("/v1/threads", json={})).json()["id"]
        release = asyncio.Event()

        async def wait(ask: Any) -> None:
            await release.wait()
            await speaking("They have 18 legs.", probability=0.2)(ask)

        check_house.model.answer = wait
        turn = (await client.post(f"/v1/threads/{thread}/messages", json={"content": QUESTION})).json()["id"]
        release.set()
        job_id = await check_house.next_job()
        async with asyncio.timeout(5):
            while (await check_house.storage.jobs.get(job_id, TenantId("acme"))).status is not JobStatus.CANCELLED:
                await asyncio.sleep(0.01)


async def test_a_lane_that_was_chosen_is_not_checked(check_house: Any, speaking: Any) -> None:
    check_house.model.answer = speaking("They have 18 legs.", probability=0.2)
    async with check_house.http() as client:
        thread = (await client.post("/v1/threads", json={})).json()["id"]
        await client.post(f"/v1/threads/{thread}/messages", json={"content": QUESTION, "lane": "fast"})
        seen = await until(client, thread, ThreadEvent.TURN_COMPLETED)
    assert ThreadEvent.TURN_CHECKED not in [event["type"] for event in seen]
    assert "logprobs" not in check_house.model.asked[0].fields
