"""Accepting and changing jobs: check, commit, then tell. The order is the promise: what was answered is stored; hints and notices may be lost."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import JsonValue

from gateway.auth import Principal
from gateway.background import Background
from gateway.grants import Grants
from tandem.errors import InputTooLong, InvalidRequest
from tandem.ids import IdFactory, InputId, JobId, TenantId, ThreadId, is_id
from tandem.ports import Appended, Changed, Created, JobQueue, JobStore, NewJob, Notifier, Once
from tandem.schemas.base import JsonObject
from tandem.schemas.inputs import InputAnswer, InputRequest, Steer
from tandem.schemas.jobs import AnswerContract, Budget, Document, Job, JobChange, JobRequest, JobRetry, JobStatus

WebhookCheck = Callable[[str], Awaitable[None]]
"""Raises ``EgressDenied`` or ``InvalidRequest`` for an address that may not be called."""
MAX_AHEAD: Final = timedelta(days=366)
"""Furthest ``run_at`` and ``deadline``."""
MAX_SCHEMA_CHARS: Final = 65_536
"""Longest ``answer.schema`` as JSON; checking one takes about 13 microseconds per character."""


class JobDesk:
    """Where jobs enter and are changed: one method per wish, for every door that has it. Raises as the store's method of the same name."""

    def __init__(
        self, store: JobStore, queue: JobQueue, notifier: Notifier, background: Background, ids: IdFactory, grants: Grants, *, max_unfinished: int
    ) -> None:
        self._store = store
        self._queue = queue
        self._notifier = notifier
        self._background = background
        self._ids = ids
        self._grants = grants
        self.max_unfinished = max_unfinished

    async def submit(self, new: NewJob) -> Created:
        """Store the job; hint and notify once it is committed, without making the caller wait."""
        created = self.accept(await self._store.create(new, max_unfinished=self.max_unfinished))
        await asyncio.sleep(0)  # the hint is on its way before the answer is built
        return created

    def accept(self, created: Created) -> Created:
        """Wake the workers for a job that has been committed; returns it unchanged. A replayed or scheduled one wakes nobody."""
        if not created.is_replay:
            self.announce(created.appended, hints=int(created.job.status is JobStatus.QUEUED))
        return created

    async def cancel(self, job_id: JobId, tenant: TenantId, *, is_rollback: bool = False) -> Job:
        """Ask for the job's end; idempotent."""
        return self._told(await self._store.request_cancel(job_id, tenant, is_rollback=is_rollback))

    async def pause(self, job_id: JobId, tenant: TenantId) -> Job:
        return self._told(await self._store.request_pause(job_id, tenant))

    async def resume(self, job_id: JobId, tenant: TenantId) -> Job:
        return self._told(await self._store.resume(job_id, tenant))

    async def change(self, job_id: JobId, tenant: TenantId, change: JobChange) -> Job:
        return self._told(await self._store.change(job_id, tenant, change))

    async def steer(self, job_id: JobId, tenant: TenantId, message: str, once: Once | None) -> tuple[Steer, bool]:
        """The words as stored, and whether an earlier call with the same key had brought them."""
        steer, changed = await self._store.steer(job_id, tenant, self._ids.steer(), message, once=once)
        self._told(changed)
        return steer, once is not None and not changed.appended

    async def answer(self, job_id: JobId, caller: Principal, input_id: InputId, answer: InputAnswer, once: Once | None) -> tuple[InputRequest, bool]:
        """The question as answered, and whether an earlier call with the same key had answered it."""
        question, changed = await self._store.answer(job_id, caller.tenant, input_id, answer, answered_by=caller.key_id, once=once)
        self._told(changed)
        return question, once is not None and not changed.appended

    async def retry(self, ended: Job, caller: Principal, wish: JobRetry, once: Once | None) -> Created:
        """A new job for the same task; it starts now and stands alone, whatever the ended one was scheduled for or part of.

        It may use what the ended one might, as far as this caller may. Raises as ``Grants.settle`` for the tools its request names.
        """
        request = retried(ended.request, wish)
        new = NewJob(
            id=self._ids.job(),
            tenant=caller.tenant,
            key_id=caller.key_id,
            request=request,
            tools=await self._grants.settle(request, caller, retry_of=ended),
            effort=ended.effort,
            title=ended.view.title,
            thread_id=None if ended.request.thread_id is None else ThreadId(ended.request.thread_id),
            once=once,
        )
        carries_steps = wish.start == "last_checkpoint"
        return self.accept(await self._store.retry(JobId(ended.id), new, carries_steps=carries_steps, max_unfinished=self.max_unfinished))

    def announce(self, appended: Sequence[Appended], *, hints: int = 0) -> None:
        """Tell workers that ``hints`` jobs wait and followers that logs grew, without waiting for either."""
        if hints:
            self._background.start(self._wake(hints), "hint")
        if appended:
            self._background.start(self._notifier.notify(appended), "notify")

    def _told(self, changed: Changed) -> Job:
        self.announce(changed.appended, hints=int(changed.is_queued))
        return changed.job

    async def _wake(self, hints: int) -> None:
        await self._queue.hint(hints)


def retried(request: JobRequest, wish: JobRetry) -> JobRequest:
    """The ended job's request as its retry asks it: with the new limits, and without what only held for the first try."""
    limits = request.budget.model_copy(update=wish.budget.model_dump(exclude_none=True))
    return request.model_copy(update={"budget": Budget.model_validate(limits.model_dump()), "run_at": None, "deadline": None, "parent_id": None})


def check_job(
    request: JobRequest,
    *,
    max_input_chars: int,
    max_documents_chars: int | None = None,
    now: datetime | None = None,
    schema_param: str = "answer.schema",
) -> None:
    """What the wire schema cannot know; tools are the business of ``grants.py``. Raises a ``CallerError`` naming field and value.

    A door whose requests can hold neither documents nor moments gives no limit for them; one with another name for the schema says it.
    """
    texts = [request.input] if isinstance(request.input, str) else [message.content for message in request.input]
    if not texts or not texts[-1].strip():
        raise InvalidRequest("'input' is empty; say what is to be done", param="input")
    if (longest := max(len(text) for text in texts)) > max_input_chars:
        raise InputTooLong(f"a text of 'input' has {longest} characters, {max_input_chars} are allowed; shorten it", param="input")
    check_answer(request.answer, schema_param)
    if max_documents_chars is not None:
        _check_documents(request.documents, max_documents_chars)
    if now is not None:
        _check_moments(request, now)
    _check_ids(request)


async def check_job_aside(request: JobRequest, check: Callable[[JobRequest], None]) -> None:
    """Run ``check``, a ``check_job`` with its limits; in a thread when there is a schema, whose check would stop all other callers for a while."""
    if request.answer.json_schema is None:
        check(request)
    else:
        await asyncio.to_thread(check, request)


def _check_documents(documents: Sequence[Document], max_chars: int) -> None:
    repeated = [name for name, count in Counter(document.name for document in documents).items() if count > 1]
    if repeated:
        raise InvalidRequest(f"two of 'documents' are named {repeated[0][:80]!r}; give each its own name", param="documents")
    if (total := sum(len(document.text) for document in documents)) > max_chars:
        raise InputTooLong(f"'documents' have {total} characters together, {max_chars} are allowed; leave some out", param="documents")


def _check_moments(request: JobRequest, now: datetime) -> None:
    """A ``run_at`` that has passed means now; a deadline that has passed could only fail."""
    for name, moment in (("run_at", request.run_at), ("deadline", request.deadline)):
        if moment is not None and moment - now > MAX_AHEAD:
            raise InvalidRequest(f"{name!r} is {moment.isoformat()!r}, more than {MAX_AHEAD.days} days ahead; choose an earlier moment", param=name)
    if request.deadline is None:
        return
    if request.deadline <= now:
        raise InvalidRequest(f"'deadline' is {request.deadline.isoformat()!r}, which has passed; choose a later moment", param="deadline")
    if request.run_at is not None and request.deadline <= request.run_at:
        raise InvalidRequest(
            f"'deadline' {request.deadline.isoformat()!r} is not after 'run_at' {request.run_at.isoformat()!r}; leave time to work", param="deadline"
        )


def _check_ids(request: JobRequest) -> None:
    """The shape only: the store says which ids it knows, in the transaction that uses them."""
    if request.thread_id is not None and not is_id(request.thread_id, "thr"):
        raise InvalidRequest(f"'thread_id' {request.thread_id[:64]!r} is no thread's id; make one with POST /v1/threads", param="thread_id")
    if request.parent_id is not None and not is_id(request.parent_id, "job"):
        raise InvalidRequest(f"'parent_id' {request.parent_id[:64]!r} is no job's id; GET /v1/jobs lists them", param="parent_id")
    for name in request.webhook_endpoints or ():
        if not is_id(name, "whe"):
            raise InvalidRequest(
                f"'webhook_endpoints' names {name[:64]!r}, which is no endpoint's id; GET /v1/webhook_endpoints lists them", param="webhook_endpoints"
            )


def check_answer(answer: AnswerContract, schema_param: str) -> None:
    """Whether an answer can have this form. Raises ``InvalidRequest``; a schema takes up to a second, so its check belongs into a thread."""
    if answer.kind == "choice" and answer.choices is None:
        raise InvalidRequest("'answer.choices' is missing; 'kind': 'choice' needs the allowed answers", param="answer.choices")
    if answer.kind != "choice" and answer.choices is not None:
        raise InvalidRequest(f"'answer.choices' goes with 'kind': 'choice' only; got kind {answer.kind!r}", param="answer.choices")
    if answer.choices is not None and len(set(answer.choices)) < len(answer.choices):
        raise InvalidRequest("'answer.choices' names an answer twice; every choice must differ", param="answer.choices")
    if answer.json_schema is None:
        return
    if answer.kind != "json":
        raise InvalidRequest(f"'answer.schema' goes with 'kind': 'json' only; got kind {answer.kind!r}", param="answer.schema")
    if (length := len(json.dumps(answer.json_schema, ensure_ascii=False))) > MAX_SCHEMA_CHARS:
        raise InvalidRequest(f"{schema_param!r} has {length} characters, {MAX_SCHEMA_CHARS} are allowed; shorten it", param=schema_param)
    try:
        Draft202012Validator.check_schema(answer.json_schema)
    except SchemaError as error:
        raise InvalidRequest(f"{schema_param!r} is not a JSON Schema: {error.message[:200]}; see json-schema.org", param=schema_param) from None
    except RecursionError:
        raise InvalidRequest(f"{schema_param!r} is nested too deeply, perhaps within a 'pattern'; flatten it", param=schema_param) from None
    if (reference := _outward_reference(answer.json_schema)) is not None:
        raise InvalidRequest(
            f"{schema_param!r} refers to {reference[:80]!r}, and nothing is fetched; put it under '$defs' and refer to '#/$defs/…'",
            param=schema_param,
        )


def _outward_reference(schema: JsonObject) -> str | None:
    """A reference out of the schema, if there is one."""
    pending: list[JsonValue] = [schema]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            for name in ("$ref", "$dynamicRef"):
                if isinstance(reference := part.get(name), str) and not reference.startswith("#"):
                    return reference
            pending += part.values()
        elif isinstance(part, list):
            pending += part
    return None
