"""What a chaos test does in a town, and what it counts afterwards: jobs lost, effects or ends doubled, gaps in the logs."""

import asyncio
import contextlib
import json
import os
import random
import sqlite3
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

import httpx

from tandem.ids import DEFAULT_TENANT, JobId, StreamId
from tandem.ports import Storage
from tandem.schemas.events import Event, JobEvent
from tandem.schemas.jobs import Job, JobStatus
from tandem.storage import open_storage
from tandem.storage.invariants import check_invariants
from tandem.testing.chaos.processes import PATIENCE_S, Group, until
from tandem.testing.chaos.town import Town
from tandem.testing.chaos.world import STEPS, Order

SHARED_MACHINE: Final = 10.0
"""How many times longer a promised time may be on a machine that others share."""
_BLOWS: Final = 6
"""Jobs tried until one is struck before its end."""


@dataclass(slots=True)
class Tally:
    """One line of the chaos table."""

    row: int
    database: str
    injections: int = 0
    jobs: int = 0
    kills: int = 0
    lost: int = 0
    """Jobs that did not end, or not as they should have."""
    duplicates: int = 0
    """Effects or ends that happened twice, or webhooks queued twice."""
    gaps: int = 0
    """Logs whose numbers have a hole or begin elsewhere than at 0."""
    raw_calls: int = 0
    """Calls that reached the outside; more than effects is legal, for a call that a kill cut off is made again with the same key."""
    note: str = ""

    def add(self, other: Self) -> None:
        """Add the counts of another line."""
        for name in ("injections", "jobs", "kills", "lost", "duplicates", "gaps", "raw_calls"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.note = "; ".join(note for note in (self.note, other.note) if note)

    def as_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Holder:
    """Who runs a job."""

    worker: Group
    pid: int
    """Of the worker's pool process that has the lease."""


@dataclass(frozen=True, slots=True)
class Struck:
    """A job that was running when its worker was dealt a blow."""

    job_id: str
    holder: Holder
    at: float
    """Unix seconds: everything the worker did itself was done before."""
    blows: int
    """Dealt in all; more than one where earlier jobs had ended too soon."""


@dataclass(slots=True)
class Scene:
    """One test's view of a town: a caller at its door, and a reader of its database."""

    town: Town
    storage: Storage
    http: httpx.AsyncClient
    tally: Tally
    rng: random.Random
    submitted: list[str] = field(default_factory=list[str])

    async def post(self, path: str, body: object | None = None, **headers: str) -> httpx.Response:
        """One request, without patience."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(path, json=body, headers=named)

    async def submit(self, order: Order | None = None, *, key: str | None = None, **fields: Any) -> str:
        """Hand over a job; the id is that of a committed one."""
        answer = await self.post("/v1/jobs", self.body(order, **fields), **({"idempotency_key": key} if key else {}))
        assert answer.status_code == 202, answer.text  # noqa: S101 - a test's own check
        return self.note(str(answer.json()["id"]))

    async def submit_patiently(self, order: Order, key: str, **fields: Any) -> str:
        """Hand over a job through a gateway that may die at any moment: the same key, again and again."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(httpx.HTTPError):
                answer = await self.post("/v1/jobs", self.body(order, **fields), idempotency_key=key)
                if answer.status_code == 202:
                    return self.note(str(answer.json()["id"]))
                assert answer.status_code in {409, 429, 503, 507}, answer.text  # noqa: S101 - a test's own check
            assert time.monotonic() < deadline, self.town.logs()  # noqa: S101 - a test's own check
            await asyncio.sleep(0.2)

    def body(self, order: Order | None = None, **fields: Any) -> dict[str, Any]:
        """The body of ``POST /v1/jobs``."""
        return {"input": (order or Order()).text(), "effort": "low", **fields}

    def note(self, job_id: str) -> str:
        """Remember a job, so that it is ended with the test."""
        if job_id not in self.submitted:
            self.submitted.append(job_id)
        return job_id

    async def job(self, job_id: str) -> Job:
        """The job by its row."""
        return await self.storage.jobs.get(JobId(job_id), DEFAULT_TENANT)

    async def events(self, job_id: str) -> list[Event]:
        """Its whole log, by the rows."""
        return list(await self.storage.events.read(StreamId(job_id), -1, 10_000))

    async def reaches(self, job_id: str, *statuses: JobStatus) -> Job:
        """Wait until the job stands there, where it must stay until the test goes on."""

        async def is_there() -> bool:
            return (await self.job(job_id)).status in statuses

        await until(is_there, f"{job_id} is {[str(status) for status in statuses]}", self.town.logs)
        return await self.job(job_id)

    async def ended(self, job_ids: Iterable[str], timeout_s: float = PATIENCE_S) -> list[Job]:
        """Wait until all have ended."""
        waiting = list(job_ids)
        first: Job | None = None

        async def are_over() -> bool:
            nonlocal first
            while waiting and (first := await self.job(waiting[0])).status.is_terminal:
                waiting.pop(0)
            return not waiting

        def explain() -> str:
            stands = f"{first.id} {first.status} attempt {first.attempt} lost {first.lost} event {first.last_seq}" if first else ""
            return f"{len(waiting)} have not, the first is {stands}\n{self.town.logs()}"

        await until(are_over, "the jobs have ended", explain, timeout_s=timeout_s)
        return [await self.job(job_id) for job_id in job_ids]

    async def outside(self, job_id: str, step: str) -> None:
        """Wait until a step of the job has reached the outside."""
        await until(lambda: self.town.world.counts(job_id)[step] > 0, f"{step} of {job_id} is done outside", self.town.logs)

    async def struck(self, order: Order, step: str, blow: Callable[[Holder], None], *, after_s: float = 0.0) -> Struck:
        """Deal a blow to the worker of a job that is under way: ``after_s`` after a step reached the outside, before the job's end.

        A test that looks too late, because it had to wait for a core, finds the job at its end: then another job, with slower steps, is struck.
        """
        for blows in range(1, _BLOWS + 1):
            job_id = await self.submit(order)
            await self.outside(job_id, step)
            await asyncio.sleep(after_s)
            if (holder := await self._holder(job_id)) is not None:
                at = time.time()
                blow(holder)
                if not (await self.job(job_id)).status.is_terminal:
                    return Struck(job_id, holder, at, blows)
                await self.town.make_whole(workers=2)
            order = order.model_copy(update={"step_s": order.step_s * 2})
        raise AssertionError(f"{_BLOWS} jobs had ended before their workers could be struck\n{self.town.logs()}")

    async def _holder(self, job_id: str) -> Holder | None:
        for lease in await self.storage.jobs.leases(stuck_after_s=3_600):
            if lease.job_id == job_id:
                for worker in self.town.workers:
                    for pid in (worker.pid, *worker.children()):
                        if str(pid) in lease.worker.split(":"):
                            return Holder(worker, pid)
        return None

    @asynccontextmanager
    async def frozen_workers(self) -> AsyncGenerator[None]:
        """All workers stand still while inside; none of them in a transaction of SQLite, for that would keep everybody else from writing."""
        workers = list(self.town.workers)

        async def stand_still() -> bool:
            for worker in workers:
                worker.freeze()
            if not self.town.is_sqlite or await asyncio.to_thread(_is_writable, self.town.database_url):
                return True
            for worker in workers:
                worker.thaw()
            return False

        try:
            await until(stand_still, "the workers are frozen outside of a transaction", self.town.logs)
            yield
        finally:
            for worker in workers:
                worker.thaw()

    async def streamed(self, job_id: str, numbers: list[int], *, last_event_id: int | None = None) -> list[int]:
        """Add to ``numbers`` what one SSE connection gives, as it comes; returns at its end, raises when it breaks."""
        headers = {"accept": "text/event-stream"} | ({} if last_event_id is None else {"last-event-id": str(last_event_id)})
        async with self.http.stream("GET", f"/v1/jobs/{job_id}/events", headers=headers) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("id:"):
                    numbers.append(int(line.removeprefix("id:")))  # noqa: PERF401 - a reader in another task sees each at once
        return numbers

    async def audit(self, job_ids: Sequence[str], status: JobStatus | None = JobStatus.COMPLETED) -> Tally:
        """Count what went wrong with these jobs; with ``status`` each must have ended so, a completed one with all of its effects."""
        found = Tally(self.tally.row, self.tally.database, jobs=len(job_ids))
        for job_id in job_ids:
            job, events = await self.job(job_id), await self.events(job_id)
            numbers = [event.sequence_number for event in events]
            ends = [event for event in events if event.type in JobEvent.TERMINAL]
            found.gaps += numbers != list(range(len(numbers))) or job.last_seq != len(numbers) - 1
            found.lost += not job.status.is_terminal or (status is not None and job.status is not status) or not ends
            found.duplicates += max(0, len(ends) - 1) + (bool(ends) and ends[0] is not events[-1])
            calls = self.town.world.counts(job_id)
            found.raw_calls += calls.total()
            if job.status is JobStatus.COMPLETED:
                await self._audit_effects(job, found)
        self.tally.add(found)
        return found

    async def sound(
        self, job_ids: Sequence[str], *, injections: int = 1, kills: int = 0, note: str = "", status: JobStatus | None = JobStatus.COMPLETED
    ) -> None:
        """The row's guarantee: nothing lost, nothing doubled, no gap; and its line in the table."""
        found = await self.audit(job_ids, status)
        self.tally.add(Tally(self.tally.row, self.tally.database, injections=injections, kills=kills, note=note))
        ends = [f"{job_id} {job.status} {job.error} attempt {job.attempt}" for job_id in job_ids if (job := await self.job(job_id))]
        assert (found.lost, found.duplicates, found.gaps) == (0, 0, 0), "\n".join([*ends, self.town.logs()])  # noqa: S101 - a test's own check

    async def _audit_effects(self, job: Job, found: Tally) -> None:
        ledger = [effect.key for effect in await self.storage.jobs.effects(JobId(job.id), DEFAULT_TENANT) if effect.is_done]
        calls = self.town.world.counts(job.id)
        found.lost += len(set(STEPS) - set(ledger)) + len(set(STEPS) - set(calls))
        found.duplicates += len(set(calls) - set(STEPS))
        # A step is only ever called again by a worker that took over from one that could not record it.
        found.duplicates += sum(count > job.attempt for count in calls.values())

    async def leave(self) -> None:
        """End what the test left unfinished."""
        for job_id in self.submitted:
            await self.storage.jobs.request_cancel(JobId(job_id), DEFAULT_TENANT)
        await self.ended(self.submitted)


@asynccontextmanager
async def staged(town: Town, row: int, seed: int) -> AsyncGenerator[Scene]:
    """A scene in a town; afterwards nothing is unfinished and the whole database passes the audit."""
    storage = open_storage(town.settings())
    headers = {"authorization": f"Bearer {town.key}"}
    tally = Tally(row, "sqlite" if town.is_sqlite else "postgresql")
    async with httpx.AsyncClient(base_url=town.url, headers=headers, timeout=PATIENCE_S / 2, trust_env=False) as http:
        scene = Scene(town, storage, http, tally, random.Random(seed))  # noqa: S311 - repeatable faults
        try:
            yield scene
            await scene.leave()
            broken = await check_invariants(town.database_url)
            assert not broken, broken  # noqa: S101 - a test's own check
        finally:
            await storage.close()


def bound_s(promised_s: float) -> float:
    """Longest seconds that what is promised within ``promised_s`` may take: just these in the long run, which has the machine for itself.

    In the short run others may use the machine; the chaos table's note has what was measured.
    """
    return promised_s if is_long() else promised_s * SHARED_MACHINE


def is_long() -> bool:
    """Whether this is the long run of ``make chaos``."""
    return bool(os.environ.get("CHAOS_LONG"))


def seed_of_run() -> int:
    """``CHAOS_SEED``, else 1."""
    return int(os.environ.get("CHAOS_SEED", "1"))


def _is_writable(url: str) -> bool:
    """Whether a SQLite file can be written within a second."""
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=1, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True


__all__ = ["Holder", "Scene", "Struck", "Tally", "bound_s", "is_long", "seed_of_run", "staged"]
