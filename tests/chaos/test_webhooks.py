"""Webhooks between crashes and bad receivers (rows 14, 19-21). The 75 hours of the schedule pass on a fake clock in the unit tests."""

import asyncio
import json
import time
from collections import Counter

import pytest
from openai import OpenAI
from standardwebhooks import Webhook

from tandem.schemas.jobs import JobStatus
from tandem.testing.chaos.processes import until
from tandem.testing.chaos.receiver import Receiver, drip, flood, hang, status
from tandem.testing.chaos.scene import Scene
from tandem.testing.chaos.town import STEADY_LEASE_S
from tandem.testing.chaos.world import Order

POSTGRESQL = [pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))]
"""SQLite's clock is that of the process; it serves one machine, whose processes share one clock."""


async def test_row_14_a_webhook_whose_job_ended_without_a_dispatcher_is_still_sent(scene: Scene, receiver: Receiver) -> None:
    assert scene.town.dispatcher is not None
    job_id = ""
    for step_s in (0.5, 2.0, 8.0):
        job_id = await scene.submit(Order(step_s=step_s), webhook_url=receiver.address("/end"))
        # Only now: a hint that Redis did not take is the dispatcher's to give again.
        await scene.outside(job_id, "plan")
        scene.town.dispatcher.kill()
        if not (await scene.job(job_id)).status.is_terminal:
            break
        await scene.town.start_dispatcher()  # the test was too late: it waited for a core until the job had ended
        await until(lambda: bool(receiver.posts), "the webhook comes", scene.town.logs)
        receiver.posts.clear()
    await scene.ended([job_id])
    scene.town.kill_workers()
    assert not receiver.posts

    await scene.town.start_dispatcher()
    await until(lambda: bool(receiver.posts), "the webhook comes", scene.town.logs)
    Webhook(scene.town.webhook_secret).verify(receiver.posts[0].body, receiver.posts[0].headers)
    await scene.sound([job_id], kills=3)


async def test_row_19_bad_receivers_are_tried_again_or_given_up_and_cost_no_memory(scene: Scene, receiver: Receiver) -> None:
    assert scene.town.dispatcher is not None
    faults = {
        "/error": status(500),
        "/silent": hang,
        "/slow": drip,
        "/moved": status(302, f"location: {receiver.url}/elsewhere\r\n"),
        "/gone": status(410),
        "/busy": status(429, "retry-after: 7\r\n"),
        "/huge": flood,
    }
    scene.town.dispatcher.rss_mb.clear()
    scene.town.dispatcher.sample()
    jobs = [await scene.submit(webhook_url=receiver.address(path, fault)) for path, fault in faults.items()]
    await scene.ended(jobs)
    retried = ("/error", "/silent", "/slow", "/moved", "/busy")
    await until(
        lambda: all(len(receiver.at(path)) >= 2 for path in retried),
        "each is tried again",
        lambda: f"{Counter(post.path for post in receiver.posts)}",
    )
    scene.town.dispatcher.sample()

    for path in retried:
        first, second, *_ = receiver.at(path)
        assert first.webhook_id == second.webhook_id
        assert first.body == second.body
        assert second.at - first.at >= 3.9, f"{path}: the second attempt waits 5 s, less a fifth at most"
    busy = receiver.at("/busy")
    assert busy[1].at - busy[0].at >= 6.9, "Retry-After is honoured"
    assert len(receiver.at("/gone")) == 1, "410 ends it"
    assert not receiver.at("/elsewhere"), "a redirect is never followed"
    before, after = scene.town.dispatcher.rss_mb[0], scene.town.dispatcher.rss_mb[-1]
    assert after - before < 32, f"an endless answer took {after - before:.0f} MB"
    await scene.sound(jobs, injections=len(faults), note=f"dispatcher grew by {max(0.0, after - before):.1f} MB")


async def test_row_20_a_dispatcher_killed_after_the_post_sends_again_with_the_same_id(scene: Scene, receiver: Receiver) -> None:
    assert scene.town.dispatcher is not None
    job_id = await scene.submit(webhook_url=receiver.address("/slow", hang))
    await scene.ended([job_id])
    await until(lambda: bool(receiver.posts), "the webhook comes", scene.town.logs)
    scene.town.dispatcher.kill()
    begun = time.monotonic()
    await scene.town.start_dispatcher()
    # The delivery's lease is the request's 2 s and 10 s for its record.
    await until(lambda: len(receiver.posts) >= 2, "it is sent again", scene.town.logs)

    assert len({post.webhook_id for post in receiver.posts}) == 1
    assert len({post.body for post in receiver.posts}) == 1
    await scene.sound([job_id], kills=1, note=f"sent again after {time.monotonic() - begun:.1f} s")


async def test_row_21_a_secret_rotated_between_two_attempts_leaves_both_valid(scene: Scene, receiver: Receiver) -> None:
    # The first attempt is answered with a wish for time: the secret is rotated well before the second.
    url = receiver.address("/rotating", status(503, "retry-after: 8\r\n"))
    created = await scene.post("/v1/webhook_endpoints", {"url": url})
    assert created.status_code in {200, 201}, created.text
    endpoint, old = created.json()["id"], created.json()["secret"]
    job_id = await scene.submit()
    await scene.ended([job_id])
    await until(lambda: len(receiver.posts) == 1, "the webhook comes", scene.town.logs)
    rotated = await scene.post(f"/v1/webhook_endpoints/{endpoint}/rotate_secret")
    assert rotated.status_code == 200, rotated.text
    new = rotated.json()["secret"]
    await until(lambda: len(receiver.posts) == 2, "it is sent again", scene.town.logs)
    await scene.http.delete(f"/v1/webhook_endpoints/{endpoint}")

    retry = receiver.posts[1]
    assert new != old
    assert len(retry.headers["webhook-signature"].split()) == 2
    for secret in (old, new):
        Webhook(secret).verify(retry.body, retry.headers)
        event = OpenAI(api_key="none", webhook_secret=secret).webhooks.unwrap(retry.body, retry.headers)
        assert event.type == "response.completed"
    await scene.sound([job_id])


@pytest.mark.parametrize("database_url", POSTGRESQL, indirect=True)
@pytest.mark.workers(0)
async def test_row_23_a_workers_clock_that_is_wrong_leaves_no_mark_on_a_webhook(scene: Scene, receiver: Receiver, shifted_clock: str) -> None:
    scene.town.kill_workers()
    lease = str(STEADY_LEASE_S)  # far below the hour by which the clocks are wrong
    await asyncio.gather(
        scene.town.start_worker(CHAOS_CLOCK_SHIFT_S="3600", LD_PRELOAD=shifted_clock, WORKER_LEASE_S=lease),
        scene.town.start_worker(CHAOS_CLOCK_SHIFT_S="-3600", CHAOS_CLOCK_FLIP_S="3", LD_PRELOAD=shifted_clock, WORKER_LEASE_S=lease),
    )
    begun = time.time()
    jobs = [await scene.submit(Order(step_s=0.25), webhook_url=receiver.address("/on_time")) for _ in range(6)]
    done = await scene.ended(jobs)
    await until(lambda: len({post.webhook_id for post in receiver.posts}) == len(jobs), "each job's webhook has come", scene.town.logs)

    assert {(job.status, job.attempt, job.lost) for job in done} == {(JobStatus.COMPLETED, 1, 0)}, "no lease is stolen, none is kept for ever"
    calls = [call.at - begun for call in scene.town.world.calls() if call.job_id in jobs]
    assert any(abs(offset) > 3_000 for offset in calls), "the clocks were indeed wrong"
    for post in receiver.posts:
        body = json.loads(post.body)
        assert abs(int(post.headers["webhook-timestamp"]) - time.time()) < 600
        assert abs(body["created_at"] - time.time()) < 600
    for job_id in jobs:
        moments = [event.created_at.timestamp() for event in await scene.events(job_id)]
        assert moments == sorted(moments)
        assert all(abs(moment - time.time()) < 600 for moment in moments)
    await scene.sound(jobs, injections=2)
