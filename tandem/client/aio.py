"""The async client: moves bytes for ``calls.py`` and ``streams.py``."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Literal, Self, TypeVar

import httpx

from tandem.client import calls, job_calls, platform_calls, router_calls
from tandem.client.calls import Call, read_answer, read_error
from tandem.client.http import Door, request_parts
from tandem.client.streams import ChatPiece, ChatReader, Following
from tandem.client.tool_doors import AsyncToolDoors
from tandem.client.waiting import Waiting
from tandem.errors import TandemError
from tandem.schemas.chat import ChatMessage
from tandem.schemas.events import Event, EventPage
from tandem.schemas.health import Readiness
from tandem.schemas.inputs import InputAnswer, InputRequest, Steer
from tandem.schemas.jobs import Artifact, Job, JobChange, JobPage, JobRequest, JobRetry, JobStatus
from tandem.schemas.keys import DEFAULT_SCOPES, ApiKey, CreatedKey, Scope
from tandem.schemas.operations import Operations
from tandem.schemas.outcomes import (
    Feedback,
    FeedbackCreate,
    Imported,
    LabelStatus,
    LabelVerdict,
    Outcome,
    OutcomeImport,
    OutcomeKind,
    OutcomePage,
)
from tandem.schemas.policies import (
    HistoryPage,
    PolicyComparison,
    PolicyDraft,
    PolicyPage,
    PolicyVersion,
    Publish,
    Replay,
    ReplayRequest,
    RollBack,
    RouterStats,
    RoutingState,
    ShadowReport,
    Validation,
)
from tandem.schemas.routing import Decision, Effort, LaneChoice
from tandem.schemas.schedules import Schedule, ScheduleChange, ScheduleCreate, SchedulePage
from tandem.schemas.threads import MessagePage, Thread, ThreadPage, Turn
from tandem.schemas.traces import StepPage, Trace
from tandem.schemas.webhooks import (
    CreatedEndpoint,
    DeliveryPage,
    DeliveryState,
    EndpointChange,
    EndpointCreate,
    EndpointPage,
    Recovered,
    WebhookDelivery,
    WebhookEndpoint,
)

T = TypeVar("T")


class AsyncTandemClient(AsyncToolDoors):
    """Everything a program can ask of a gateway.

    Errors are those of ``tandem/errors.py``, by the server's code; a gateway that is away is ``GatewayUnreachable``.

    Args:
        url: Base address without ``/v1``.
        api_key: Bearer token; none for a gateway that asks for none.
        transport: Another way to carry requests (tests).
        sleep: Waits between two connections of a followed stream, and before a broken wait goes on.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8700",
        api_key: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._door = Door(url, api_key)
        self._http = httpx.AsyncClient(transport=transport, **self._door.options())
        self._sleep = sleep

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def models(self) -> list[str]:
        """Names that ``chat`` takes."""
        return await self._send(calls.models())

    async def ready(self) -> Readiness:
        """Whether the platform can serve, and what is degraded; also when it is down."""
        return await self._send(calls.ready())

    async def chat(
        self, messages: Sequence[ChatMessage] | str, model: str = "auto", *, stream: bool = True, max_tokens: int | None = None
    ) -> AsyncGenerator[ChatPiece, None]:
        """A reply in pieces; close the iterator to stop it. A slow turn goes on as the job named in the pieces."""
        call = calls.chat(messages, model, stream=stream, max_tokens=max_tokens)
        async with self._open(call) as response:
            reader = ChatReader(response.headers)
            yield reader.opening()
            if not stream:
                for piece in reader.whole(await self._body(response)):
                    yield piece
                return
            async for chunk in self._chunks(response):
                for piece in reader.feed(chunk):
                    yield piece
                if reader.is_done:
                    return
            reader.close()

    async def create_job(self, request: JobRequest, idempotency_key: str | None = None) -> Job:
        """Hand over a task; a returned job is committed. The same key with the same request gives the same job."""
        return await self._send(job_calls.create_job(request, idempotency_key))

    async def get_job(self, job_id: str, wait: float | None = None) -> Job:
        """The job; with ``wait`` (seconds) not before it has ended, is parked until somebody acts, or the time is over."""
        return await self._send(job_calls.get_job(job_id, wait))

    async def wait_for_job(self, job_id: str, timeout_s: float | None = None) -> Job:
        """The job when it has ended, or is parked (a question, a pause, a budget: look at ``status``); after ``timeout_s`` as it then stands.

        A gateway that goes away meanwhile is asked again, for about 45 seconds, as for ``job_events``.
        """
        waiting = Waiting(job_id, timeout_s)
        while True:
            try:
                job = await self._send(waiting.call())
            except TandemError as error:
                waiting.failed(error)
                await self._sleep(waiting.delay_s())
                continue
            if waiting.is_over(job):
                return job

    async def list_jobs(
        self,
        status: JobStatus | None = None,
        after: str | None = None,
        limit: int = 20,
        *,
        metadata: Mapping[str, str] | None = None,
        thread_id: str | None = None,
        parent_id: str | None = None,
        schedule_id: str | None = None,
    ) -> JobPage:
        """Newest first; only those that match everything given."""
        return await self._send(job_calls.list_jobs(status, after, limit, metadata, thread_id, parent_id, schedule_id))

    async def cancel_job(self, job_id: str, mode: Literal["interrupt", "rollback"] = "interrupt") -> Job:
        """Idempotent; a job that has ended is returned unchanged. ``rollback`` also discards what it has made."""
        return await self._send(job_calls.cancel_job(job_id, mode))

    async def change_job(self, job_id: str, change: JobChange) -> Job:
        """Set budget, priority or metadata; a job that waits for a budget goes on."""
        return await self._send(job_calls.change_job(job_id, change))

    async def pause_job(self, job_id: str) -> Job:
        """Idempotent; a running job stops at its next checkpoint."""
        return await self._send(job_calls.pause_job(job_id))

    async def resume_job(self, job_id: str) -> Job:
        """Idempotent."""
        return await self._send(job_calls.resume_job(job_id))

    async def retry_job(self, job_id: str, retry: JobRetry | None = None, idempotency_key: str | None = None) -> Job:
        """A new job that tries an ended one again, by default from its last checkpoint."""
        return await self._send(job_calls.retry_job(job_id, retry, idempotency_key))

    async def steer_job(self, job_id: str, message: str, idempotency_key: str | None = None) -> Steer:
        """Add words to a job under way."""
        return await self._send(job_calls.steer_job(job_id, message, idempotency_key))

    async def delete_job(self, job_id: str) -> None:
        """Delete an ended job with all it has written."""
        await self._send(job_calls.delete_job(job_id))

    async def job_inputs(self, job_id: str) -> list[InputRequest]:
        """What it has asked, oldest first."""
        return await self._send(job_calls.job_inputs(job_id))

    async def answer_input(self, job_id: str, input_id: str, answer: InputAnswer, idempotency_key: str | None = None) -> InputRequest:
        """Answer a question, once; ``InputClosed`` says what stands when somebody was faster."""
        return await self._send(job_calls.answer_input(job_id, input_id, answer, idempotency_key))

    async def job_steps(self, job_id: str) -> StepPage:
        """Where each step stands, with times, notes and the words applied at it."""
        return await self._send(job_calls.job_steps(job_id))

    async def job_trace(self, job_id: str) -> Trace:
        """Its course as spans."""
        return await self._send(job_calls.job_trace(job_id))

    async def job_artifacts(self, job_id: str) -> list[Artifact]:
        """Its files, oldest first."""
        return await self._send(job_calls.job_artifacts(job_id))

    async def read_artifact(self, job_id: str, artifact_id: str) -> bytes:
        """The bytes of a file."""
        return await self._send(job_calls.read_artifact(job_id, artifact_id))

    async def job_event_page(self, job_id: str, after: int = -1, limit: int = 100) -> EventPage:
        """Events that are there, without waiting for more."""
        return await self._send(job_calls.job_event_page(job_id, after, limit))

    def job_events(self, job_id: str, after: int = -1) -> AsyncGenerator[Event, None]:
        """Every event above ``after``, as it happens, across broken connections; ends with the job."""
        return self._follow(Following.of_job(job_id, after))

    async def create_thread(self, title: str = "", idempotency_key: str | None = None) -> Thread:
        return await self._send(calls.create_thread(title, idempotency_key))

    async def get_thread(self, thread_id: str) -> Thread:
        return await self._send(calls.get_thread(thread_id))

    async def list_threads(self, after: str | None = None, limit: int = 20) -> ThreadPage:
        """Newest first."""
        return await self._send(calls.list_threads(after, limit))

    async def send_message(
        self, thread_id: str, content: str, lane: LaneChoice = "auto", effort: Effort | None = None, idempotency_key: str | None = None
    ) -> Turn:
        """Hand a message over; the gateway owns the turn from here, watch it with ``thread_events``."""
        return await self._send(calls.send_message(thread_id, content, lane, effort, idempotency_key))

    async def messages(self, thread_id: str, after_seq: int | None = None, limit: int = 200) -> MessagePage:
        """Stored messages, oldest first, and where a viewer should start ``thread_events``."""
        return await self._send(calls.messages(thread_id, after_seq, limit))

    def thread_events(self, thread_id: str, after: int = -1) -> AsyncGenerator[Event, None]:
        """Every event above ``after``, as it happens, across broken connections; never ends by itself."""
        return self._follow(Following.of_thread(thread_id, after))

    async def cancel_turn(self, thread_id: str, turn_id: str) -> Turn:
        """Idempotent; a turn that has ended is returned unchanged."""
        return await self._send(calls.cancel_turn(thread_id, turn_id))

    async def decide(
        self, text: str, history: Sequence[str] = (), lane: LaneChoice = "auto", effort: Effort | None = None, policy_version: str | None = None
    ) -> Decision:
        """Which lane the router would choose, by the active policy or the version named; nothing is started."""
        return await self._send(calls.decide(text, history, lane, effort, policy_version))

    async def draft_policy(self, draft: PolicyDraft, idempotency_key: str | None = None) -> PolicyVersion:
        """Keep a policy; nothing decides by it before it is published. The doors of policies need the scope ``admin``."""
        return await self._send(router_calls.draft_policy(draft, idempotency_key))

    async def list_policies(self, after: str | None = None, limit: int = 20) -> PolicyPage:
        """Newest first."""
        return await self._send(router_calls.list_policies(after, limit))

    async def get_policy(self, version: str) -> PolicyVersion:
        """One version; ``settings`` is what decides before anything is published."""
        return await self._send(router_calls.get_policy(version))

    async def validate_policy(self, version: str) -> Validation:
        """What logged traffic says against it."""
        return await self._send(router_calls.validate_policy(version))

    async def diff_policies(self, version: str, against: str | None = None) -> PolicyComparison:
        """What it changes; held against its parent when nothing else is said."""
        return await self._send(router_calls.diff_policies(version, against))

    async def publish_policy(self, version: str, publish: Publish) -> RoutingState:
        """Let it decide, for everybody or as a candidate. ``PolicyRefused`` has the findings."""
        return await self._send(router_calls.publish_policy(version, publish))

    async def advance_rollout(self, expected_revision: int | None = None) -> RoutingState:
        """The candidate's next stage, now."""
        return await self._send(router_calls.advance_rollout(expected_revision))

    async def roll_back_policy(self, wish: RollBack) -> RoutingState:
        """Drop the candidate; without one go back to what was before, or to what is named."""
        return await self._send(router_calls.roll_back_policy(wish))

    async def throw_kill_switch(self, mode: Literal["all_fast", "rules"], note: str = "") -> RoutingState:
        """Everybody fast, or the fixed rules alone, until it is released."""
        return await self._send(router_calls.throw_kill_switch(mode, note))

    async def release_kill_switch(self) -> RoutingState:
        """Idempotent."""
        return await self._send(router_calls.release_kill_switch())

    async def routing_state(self) -> RoutingState:
        """Who decides now."""
        return await self._send(router_calls.routing_state())

    async def routing_history(self, before: int | None = None, limit: int = 50) -> HistoryPage:
        """Drafts and changes, newest first."""
        return await self._send(router_calls.routing_history(before, limit))

    async def replay_policy(self, request: ReplayRequest) -> Replay:
        """What a policy would have done with logged traffic."""
        return await self._send(router_calls.replay_policy(request))

    async def router_stats(self, since_s: float = 86_400) -> RouterStats:
        """Figures of every policy version, the traffic, and its drift."""
        return await self._send(router_calls.router_stats(since_s))

    async def shadow_report(self, since_s: float = 86_400) -> ShadowReport:
        """How the shadow policy differs from what was done."""
        return await self._send(router_calls.shadow_report(since_s))

    async def set_shadow(self, version: str) -> RoutingState:
        """Let a version decide beside the active one, without acting."""
        return await self._send(router_calls.set_shadow(version))

    async def end_shadow(self) -> RoutingState:
        """Idempotent."""
        return await self._send(router_calls.end_shadow())

    async def list_labels(
        self, status: LabelStatus | None = None, kind: OutcomeKind | None = None, after: str | None = None, limit: int = 20
    ) -> OutcomePage:
        """What was learnt of decisions, newest first."""
        return await self._send(router_calls.list_labels(status, kind, after, limit))

    async def import_labels(self, rows: Sequence[OutcomeImport]) -> Imported:
        """Keep scored answers for approval, at most 1,000; the same text replaces its scores."""
        return await self._send(router_calls.import_labels(rows))

    async def judge_label(self, outcome_id: str, verdict: LabelVerdict) -> Outcome:
        """Approve or reject."""
        return await self._send(router_calls.judge_label(outcome_id, verdict))

    async def export_labels(self) -> list[Outcome]:
        """Every approved row."""
        return await self._send(router_calls.export_labels())

    async def give_feedback(self, feedback: FeedbackCreate) -> Feedback:
        """Say what a decision was worth; said again it replaces what was said."""
        return await self._send(router_calls.give_feedback(feedback))

    async def operations(self) -> Operations:
        """The work at hand, across tenants; for a key with the scope ``admin``."""
        return await self._send(platform_calls.operations())

    async def create_schedule(self, schedule: ScheduleCreate, idempotency_key: str | None = None) -> Schedule:
        return await self._send(platform_calls.create_schedule(schedule, idempotency_key))

    async def get_schedule(self, schedule_id: str) -> Schedule:
        return await self._send(platform_calls.get_schedule(schedule_id))

    async def list_schedules(self, after: str | None = None, limit: int = 20) -> SchedulePage:
        """Newest first."""
        return await self._send(platform_calls.list_schedules(after, limit))

    async def change_schedule(self, schedule_id: str, change: ScheduleChange) -> Schedule:
        return await self._send(platform_calls.change_schedule(schedule_id, change))

    async def delete_schedule(self, schedule_id: str) -> None:
        """The jobs it has made stay."""
        await self._send(platform_calls.delete_schedule(schedule_id))

    async def run_schedule(self, schedule_id: str, idempotency_key: str | None = None) -> Job:
        """Make its job now, beside its turns."""
        return await self._send(platform_calls.run_schedule(schedule_id, idempotency_key))

    async def create_webhook_endpoint(self, endpoint: EndpointCreate, idempotency_key: str | None = None) -> CreatedEndpoint:
        """Its secret is shown only here and at a rotation."""
        return await self._send(platform_calls.create_webhook_endpoint(endpoint, idempotency_key))

    async def get_webhook_endpoint(self, endpoint_id: str) -> WebhookEndpoint:
        return await self._send(platform_calls.get_webhook_endpoint(endpoint_id))

    async def list_webhook_endpoints(self, after: str | None = None, limit: int = 20) -> EndpointPage:
        """Newest first."""
        return await self._send(platform_calls.list_webhook_endpoints(after, limit))

    async def change_webhook_endpoint(self, endpoint_id: str, change: EndpointChange) -> WebhookEndpoint:
        return await self._send(platform_calls.change_webhook_endpoint(endpoint_id, change))

    async def delete_webhook_endpoint(self, endpoint_id: str) -> None:
        """What was still to be sent to it is not."""
        await self._send(platform_calls.delete_webhook_endpoint(endpoint_id))

    async def rotate_webhook_secret(
        self, endpoint_id: str, overlap_seconds: float | None = None, idempotency_key: str | None = None
    ) -> CreatedEndpoint:
        """A new secret; the old one signs beside it for ``overlap_seconds``, 0 revokes it now. The same key gives the same secret."""
        return await self._send(platform_calls.rotate_webhook_secret(endpoint_id, overlap_seconds, idempotency_key))

    async def test_webhook_endpoint(self, endpoint_id: str, idempotency_key: str | None = None) -> WebhookDelivery:
        """Send it a ``webhook_endpoint.test``; the same key sends no second one."""
        return await self._send(platform_calls.test_webhook_endpoint(endpoint_id, idempotency_key))

    async def recover_webhook_endpoint(self, endpoint_id: str, since: datetime) -> Recovered:
        """Send again what has failed since then."""
        return await self._send(platform_calls.recover_webhook_endpoint(endpoint_id, since))

    async def list_webhook_deliveries(
        self,
        endpoint_id: str | None = None,
        job_id: str | None = None,
        state: DeliveryState | None = None,
        after: str | None = None,
        limit: int = 20,
    ) -> DeliveryPage:
        """The delivery log, newest first, without attempts."""
        return await self._send(platform_calls.list_webhook_deliveries(endpoint_id, job_id, state, after, limit))

    async def get_webhook_delivery(self, delivery_id: str) -> WebhookDelivery:
        """With its attempts."""
        return await self._send(platform_calls.get_webhook_delivery(delivery_id))

    async def retry_webhook_delivery(self, delivery_id: str) -> WebhookDelivery:
        """Send it again under the same ``webhook-id``."""
        return await self._send(platform_calls.retry_webhook_delivery(delivery_id))

    async def create_key(self, name: str, scopes: Sequence[Scope] = DEFAULT_SCOPES) -> CreatedKey:
        """The only time the secret is shown."""
        return await self._send(calls.create_key(name, scopes))

    async def list_keys(self) -> list[ApiKey]:
        return await self._send(calls.list_keys())

    async def revoke_key(self, key_id: str) -> ApiKey:
        """Idempotent."""
        return await self._send(calls.revoke_key(key_id))

    async def _send(self, call: Call[T]) -> T:
        try:
            response = await self._http.send(self._http.build_request(**request_parts(call)))
        except httpx.HTTPError as error:
            raise self._door.unreachable(error) from error
        return read_answer(call, response.status_code, response.headers, response.content)

    @asynccontextmanager
    async def _open(self, call: Call[bytes]) -> AsyncGenerator[httpx.Response, None]:
        """An answer whose body is read as it comes; errors are read at once."""
        try:
            response = await self._http.send(self._http.build_request(**request_parts(call)), stream=True)
        except httpx.HTTPError as error:
            raise self._door.unreachable(error) from error
        try:
            if response.status_code >= 400:
                raise read_error(response.status_code, response.headers, await self._body(response))
            yield response
        finally:
            await response.aclose()

    async def _body(self, response: httpx.Response) -> bytes:
        try:
            return await response.aread()
        except httpx.HTTPError as error:
            raise self._door.unreachable(error) from error

    async def _chunks(self, response: httpx.Response) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in response.aiter_bytes():
                yield chunk
        except httpx.HTTPError as error:
            raise self._door.unreachable(error) from error

    async def _follow(self, following: Following) -> AsyncGenerator[Event, None]:
        while not following.is_final:
            try:
                async with self._open(following.connect()) as response:
                    following.connected(response.status_code)
                    async for chunk in self._chunks(response):
                        for event in following.feed(chunk):
                            yield event
                        if following.is_final:
                            return
            except TandemError as error:
                following.failed(error)
            if not following.is_final:
                await self._sleep(following.delay_s())
