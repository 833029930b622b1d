"""What the store of the OpenAI door's responses must do in every ``Storage``. Part of ``storage``."""
# ruff: noqa: S101 - a conformance suite asserts

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tandem.errors import Conflict, IdempotencyKeyReused, NotFound
from tandem.ids import JobId, ResponseId, StreamId
from tandem.ports import NewJob, Once, Outcome, Storage, StoredResponse
from tandem.schemas.jobs import JobStatus
from tandem.testing.samples import ALICE, BOB, Samples

MANY = 1_000
ANSWER = {"type": "message", "text": "5"}


class ResponseConformance:
    """Responses with and without a job."""

    async def test_a_response_is_stored_and_ended(self, storage: Storage, samples: Samples) -> None:
        begun, is_replay = await storage.responses.begin(_response(samples))
        assert (begun.status, is_replay, begun.finished_at) == ("in_progress", False, None)
        assert begun.created_at is not None
        await storage.responses.end(replace(begun, status="completed", output=[ANSWER], usage={"input_tokens": 3}))
        stored = await storage.responses.get(begun.id, ALICE)
        assert (stored.status, list(stored.output), stored.usage, stored.error) == ("completed", [ANSWER], {"input_tokens": 3}, None)
        assert (list(stored.input), stored.request) == ([{"text": "2+3"}], {"model": "m"})
        assert stored.finished_at is not None
        assert stored.age_s >= 0
        await storage.responses.end(replace(begun, status="failed"))
        assert (await storage.responses.get(begun.id, ALICE)).status == "completed"

    async def test_one_that_is_not_to_be_stored_is_gone_at_its_end(self, storage: Storage, samples: Samples) -> None:
        begun, _ = await storage.responses.begin(replace(_response(samples), is_stored=False))
        await storage.responses.end(replace(begun, status="completed"))
        with pytest.raises(NotFound):
            await storage.responses.get(begun.id, ALICE)

    async def test_another_tenants_response_is_not_found(self, storage: Storage, samples: Samples) -> None:
        begun, _ = await storage.responses.begin(_response(samples))
        for asking in (
            storage.responses.get(begun.id, BOB),
            storage.responses.chain(begun.id, BOB, 10),
            storage.responses.remove(begun.id, BOB),
            storage.responses.get(samples.ids.response(), ALICE),
        ):
            with pytest.raises(NotFound):
                await asking
        await storage.responses.end(replace(begun, tenant=BOB, status="completed"))
        assert (await storage.responses.get(begun.id, ALICE)).status == "in_progress"

    async def test_a_repeated_call_finds_the_response_of_the_first(self, storage: Storage, samples: Samples) -> None:
        once = Once("POST /v1/responses", "k", "print")
        begun, _ = await storage.responses.begin(_response(samples), once=once)
        again, is_replay = await storage.responses.begin(_response(samples), once=once, stale_after_s=60)
        assert (again.id, again.status, is_replay) == (begun.id, "in_progress", True)
        await storage.responses.end(replace(begun, status="completed"))
        ended, is_replay = await storage.responses.begin(_response(samples), once=once)
        assert (ended.id, ended.status, is_replay) == (begun.id, "completed", True)
        with pytest.raises(IdempotencyKeyReused):
            await storage.responses.begin(_response(samples), once=replace(once, fingerprint="other"))

    async def test_what_failed_is_stale_or_gone_is_begun_anew_under_the_same_key(self, storage: Storage, samples: Samples) -> None:
        once = Once("POST /v1/responses", "k", "print")
        seen: list[str] = []
        for end in ("stale", "failed", "gone", "completed"):
            begun, is_replay = await storage.responses.begin(_response(samples), once=once, stale_after_s=-1)
            assert not is_replay
            seen.append(begun.id)
            if end == "gone":
                await storage.responses.remove(begun.id, ALICE)
            elif end != "stale":
                await storage.responses.end(replace(begun, status="failed" if end == "failed" else "completed"))
        assert len(set(seen)) == 4
        assert (await storage.responses.begin(_response(samples), once=once))[0].id == seen[-1]

    async def test_a_client_that_counts_its_retries_does_not_wait_for_the_call_it_gave_up(self, storage: Storage, samples: Samples) -> None:
        first = Once("POST /v1/responses", "auto", "print", kind="first")
        retry = replace(first, kind="retry")
        given_up, _ = await storage.responses.begin(_response(samples), once=first)
        anew, is_replay = await storage.responses.begin(_response(samples), once=retry, stale_after_s=60)
        assert (is_replay, anew.id != given_up.id) == (False, True)
        await storage.responses.end(replace(anew, status="completed"))
        found, is_replay = await storage.responses.begin(_response(samples), once=retry, stale_after_s=60)
        assert (found.id, is_replay) == (anew.id, True)

    async def test_a_response_and_its_job_are_made_together(self, storage: Storage, samples: Samples) -> None:
        new, job = _with_job(samples)
        stored, created = await storage.responses.begin_job(new, job, max_unfinished=MANY)
        assert created is not None
        assert (stored.job_id, created.job.response_id, created.is_replay) == (created.job.id, stored.id, False)
        assert [grown.last_seq for grown in created.appended] == [1]
        assert [event.type for event in await storage.events.read(StreamId(job.id), -1, 10)] == ["response.created", "response.queued"]

    async def test_calls_with_one_key_at_once_make_one_job(self, peers: Sequence[Storage], samples: Samples) -> None:
        once = Once("POST /v1/responses", "k", "print")
        calls = [(peer, *_with_job(samples, once)) for peer in peers for _ in range(3)]
        made = await asyncio.gather(*(peer.responses.begin_job(new, job, max_unfinished=MANY) for peer, new, job in calls))
        assert len({stored.id for stored, _ in made}) == 1
        assert len({created.job.id for _, created in made if created is not None}) == 1
        assert sum(created is not None and not created.is_replay for _, created in made) == 1

    async def test_a_key_means_the_same_answer_whichever_lane_it_was(self, storage: Storage, samples: Samples) -> None:
        once = Once("POST /v1/responses", "fast-first", "print")
        fast, _ = await storage.responses.begin(_response(samples), once=once)
        await storage.responses.end(replace(fast, status="completed"))
        new, job = _with_job(samples, once)
        stored, created = await storage.responses.begin_job(new, job, max_unfinished=MANY)
        assert (stored.id, created) == (fast.id, None)
        once = replace(once, key="slow-first")
        new, job = _with_job(samples, once)
        slow, _ = await storage.responses.begin_job(new, job, max_unfinished=MANY)
        found, is_replay = await storage.responses.begin(_response(samples), once=once)
        assert (found.id, found.job_id, is_replay) == (slow.id, job.id, True)

    async def test_a_chain_is_read_oldest_first_and_no_further_than_asked(self, storage: Storage, samples: Samples) -> None:
        previous: ResponseId | None = None
        ids: list[ResponseId] = []
        for _ in range(4):
            begun, _ = await storage.responses.begin(replace(_response(samples), previous_id=previous))
            previous = begun.id
            ids.append(begun.id)
        assert [response.id for response in await storage.responses.chain(ids[-1], ALICE, 10)] == ids
        assert [response.id for response in await storage.responses.chain(ids[-1], ALICE, 2)] == ids[-2:]
        await storage.responses.remove(ids[1], ALICE)
        assert [response.id for response in await storage.responses.chain(ids[-1], ALICE, 10)] == ids[2:]

    async def test_removing_a_response_removes_its_ended_job(self, storage: Storage, samples: Samples) -> None:
        new, job = _with_job(samples)
        await storage.responses.begin_job(new, job, max_unfinished=MANY)
        with pytest.raises(Conflict):
            await storage.responses.remove(new.id, ALICE)
        assert (await storage.responses.get(new.id, ALICE)).id == new.id
        await _finish(storage, job.id)
        await storage.responses.remove(new.id, ALICE)
        with pytest.raises(NotFound):
            await storage.responses.get(new.id, ALICE)
        with pytest.raises(NotFound):
            await storage.jobs.get(job.id, ALICE)
        assert not await storage.events.read(StreamId(job.id), -1, 10)

    async def test_a_removed_job_frees_its_key(self, storage: Storage, samples: Samples) -> None:
        once = Once("POST /v1/responses", "k", "print")
        new, job = _with_job(samples, once)
        await storage.responses.begin_job(new, job, max_unfinished=MANY)
        await _finish(storage, job.id)
        await storage.responses.remove(new.id, ALICE)
        fresh, job = _with_job(samples, once)
        stored, created = await storage.responses.begin_job(fresh, job, max_unfinished=MANY)
        assert created is not None
        assert (stored.id, created.job.id, created.is_replay) == (fresh.id, job.id, False)


def _response(samples: Samples) -> StoredResponse:
    return StoredResponse(samples.ids.response(), ALICE, None, None, "in_progress", request={"model": "m"}, input=[{"text": "2+3"}])


def _with_job(samples: Samples, once: Once | None = None) -> tuple[StoredResponse, NewJob]:
    new = _response(samples)
    job = replace(samples.job(), response_id=new.id, once=once)
    return replace(new, job_id=job.id), job


async def _finish(storage: Storage, job_id: JobId) -> None:
    claim = await storage.work.claim("w", 15, 5, job_id=job_id)
    assert claim is not None
    await storage.work.finish(job_id, claim.epoch, Outcome(JobStatus.COMPLETED))
