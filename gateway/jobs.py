"""Accepting jobs: check, commit, then tell. The order is the promise: what was answered 202 is stored; hints and notices may be lost."""

from collections.abc import Awaitable, Callable, Sequence

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from gateway.background import Background
from tandem.errors import InputTooLong, InvalidRequest
from tandem.ids import JobId, TenantId
from tandem.ports import Appended, Created, JobQueue, JobStore, NewJob, Notifier
from tandem.schemas.jobs import AnswerContract, Job, JobRequest
from tools.registry import check_names

WebhookCheck = Callable[[str], Awaitable[None]]
"""Raises ``EgressDenied`` or ``InvalidRequest`` for an address that may not be called."""


class JobDesk:
    """Where jobs enter: one method for every door that makes them."""

    def __init__(self, store: JobStore, queue: JobQueue, notifier: Notifier, background: Background, *, max_unfinished: int) -> None:
        self._store = store
        self._queue = queue
        self._notifier = notifier
        self._background = background
        self._max_unfinished = max_unfinished

    async def submit(self, new: NewJob) -> Created:
        """Store the job; hint and notify once it is committed, without making the caller wait. Raises as ``JobStore.create``."""
        created = await self._store.create(new, max_unfinished=self._max_unfinished)
        if not created.is_replay:
            self._background.start(self._tell(JobId(created.job.id), created.appended), "hint")
        return created

    async def cancel(self, job_id: JobId, tenant: TenantId) -> Job:
        """Ask for the job's end; idempotent."""
        job, appended = await self._store.request_cancel(job_id, tenant)
        self.announce(appended)
        return job

    def announce(self, appended: Sequence[Appended]) -> None:
        """Tell followers that logs grew, without waiting."""
        if appended:
            self._background.start(self._notifier.notify(appended), "notify")

    async def _tell(self, job_id: JobId, appended: Sequence[Appended]) -> None:
        await self._queue.hint(job_id)
        await self._notifier.notify(appended)


def check_job(request: JobRequest, *, max_input_chars: int, tools: frozenset[str]) -> None:
    """What the wire schema cannot know. Raises a ``CallerError`` naming field and value."""
    texts = [request.input] if isinstance(request.input, str) else [message.content for message in request.input]
    if not texts or not texts[-1].strip():
        raise InvalidRequest("'input' is empty; say what is to be done", param="input")
    if (longest := max(len(text) for text in texts)) > max_input_chars:
        raise InputTooLong(f"a text of 'input' has {longest} characters, {max_input_chars} are allowed; shorten it", param="input")
    _check_answer(request.answer)
    check_names(request.tools or (), tools)


def _check_answer(answer: AnswerContract) -> None:
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
    try:
        Draft202012Validator.check_schema(answer.json_schema)
    except SchemaError as error:
        raise InvalidRequest(f"'answer.schema' is not a JSON Schema: {error.message[:200]}; see json-schema.org", param="answer.schema") from None
