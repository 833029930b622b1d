"""Jobs as callers see and change them. The promises are those of ``JobStore``.

Every change is one transaction that first locks the job's row and looks at it again, so a job that has ended never changes. The workers' side is
``work.py``; sweeping for what crashes and time leave behind is in ``reaper.py``.
"""

from collections.abc import Sequence

from sqlalchemy import select

from tandem.errors import NotFound
from tandem.ids import ArtifactId, IdFactory, InputId, JobId, KeyId, SteerId, TenantId
from tandem.ports import Changed, Created, Effect, JobCounts, JobFilter, NewJob, Once, Reaped
from tandem.schemas.inputs import InputAnswer, InputRequest, Steer
from tandem.schemas.jobs import Artifact, Job, JobChange
from tandem.schemas.operations import Lease
from tandem.storage.effects import effect_from
from tandem.storage.engine import Database
from tandem.storage.job_changes import change_request, pause_job, resume_job
from tandem.storage.job_creation import create_job
from tandem.storage.job_families import cancel_family
from tandem.storage.job_inputs import answer_input, steer_job
from tandem.storage.job_listing import list_jobs
from tandem.storage.job_rows import job_from, unknown_job
from tandem.storage.job_states import count_jobs, list_leases
from tandem.storage.reaper import reap
from tandem.storage.retries import purge_job, retry_job
from tandem.storage.tables import artifacts, effects, jobs


class SqlJobStore:
    """Implements ``JobStore``."""

    def __init__(self, database: Database, ids: IdFactory) -> None:
        self._database = database
        self._ids = ids

    async def create(self, new: NewJob, *, max_unfinished: int) -> Created:
        return await self._database.write(lambda connection: create_job(self._database, connection, new, max_unfinished))

    async def get(self, job_id: JobId, tenant: TenantId) -> Job:
        row = await self._database.row(select(jobs).where(jobs.c.id == job_id, jobs.c.tenant == tenant))
        if row is None:
            raise unknown_job(job_id)
        return job_from(row)

    async def list(self, tenant: TenantId, *, where: JobFilter, after: JobId | None, limit: int) -> Sequence[Job]:
        return await list_jobs(self._database, tenant, where, after, limit)

    async def request_cancel(self, job_id: JobId, tenant: TenantId, *, is_rollback: bool = False) -> Changed:
        return await self._database.write(lambda connection: cancel_family(connection, self._ids, job_id, tenant, is_rollback=is_rollback))

    async def request_pause(self, job_id: JobId, tenant: TenantId) -> Changed:
        return await self._database.write(lambda connection: pause_job(connection, job_id, tenant))

    async def resume(self, job_id: JobId, tenant: TenantId) -> Changed:
        return await self._database.write(lambda connection: resume_job(connection, job_id, tenant))

    async def change(self, job_id: JobId, tenant: TenantId, change: JobChange) -> Changed:
        return await self._database.write(lambda connection: change_request(connection, job_id, tenant, change))

    async def steer(self, job_id: JobId, tenant: TenantId, steer_id: SteerId, message: str, *, once: Once | None = None) -> tuple[Steer, Changed]:
        return await self._database.write(lambda connection: steer_job(self._database, connection, job_id, tenant, steer_id, message, once))

    async def answer(
        self,
        job_id: JobId,
        tenant: TenantId,
        input_id: InputId,
        answer: InputAnswer,
        *,
        answered_by: KeyId | None = None,
        once: Once | None = None,
    ) -> tuple[InputRequest, Changed]:
        return await self._database.write(
            lambda connection: answer_input(self._database, connection, job_id, tenant, input_id, answer, answered_by, once)
        )

    async def retry(self, ended: JobId, new: NewJob, *, carries_steps: bool, max_unfinished: int) -> Created:
        return await self._database.write(
            lambda connection: retry_job(
                self._database, connection, ended, new, self._ids, carries_steps=carries_steps, max_unfinished=max_unfinished
            )
        )

    async def purge(self, job_id: JobId, tenant: TenantId) -> None:
        await self._database.write(lambda connection: purge_job(connection, job_id, tenant))

    async def artifact(self, job_id: JobId, tenant: TenantId, artifact_id: ArtifactId) -> tuple[Artifact, bytes]:
        artifact = next((each for each in (await self.get(job_id, tenant)).artifacts if each.id == artifact_id), None)
        row = None if artifact is None else await self._database.row(select(artifacts.c.content).where(artifacts.c.id == artifact_id))
        if artifact is None or row is None:
            raise NotFound(f"job {job_id!r} has no artifact {artifact_id!r}; GET /v1/jobs/{job_id}/artifacts lists them", param="artifact_id")
        return artifact, row["content"]

    async def effects(self, job_id: JobId, tenant: TenantId) -> Sequence[Effect]:
        await self.get(job_id, tenant)
        ledger = select(effects).where(effects.c.job_id == job_id).order_by(effects.c.created_at, effects.c.key)
        return [effect_from(row) for row in await self._database.rows(ledger)]

    async def reap(self, *, rehint_after_s: float, max_attempts: int, limit: int = 100) -> Reaped:
        return await reap(self._database, self._ids, rehint_after_s=rehint_after_s, max_attempts=max_attempts, limit=limit)

    async def counts(self) -> JobCounts:
        return await count_jobs(self._database)

    async def leases(self, *, stuck_after_s: float, limit: int = 200) -> Sequence[Lease]:
        return await list_leases(self._database, stuck_after_s, limit)
