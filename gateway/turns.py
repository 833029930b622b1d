"""Turns of conversations: decide, then answer at once or hand over to a job. The gateway owns a turn from its 202 on; nobody has to listen.

Everything a viewer sees goes through the thread's event log: the decision, the words in at most ten pieces a second, the stored answer, the end.
Knows nothing of HTTP. A turn ends when it is answered, fails, is cancelled (here or in another gateway), or when this process stops.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from fast_model.prompts import acknowledgement, check_title, copilot_messages, doubt, unchecked_doubt
from gateway.auth import Principal
from gateway.background import Background
from gateway.checks import Checked, Checks, FastAnswer, check_facts
from gateway.conversations import LastAnswer, fits, known_decision
from gateway.errors import error_message
from gateway.grants import Grants
from gateway.jobs import JobDesk
from gateway.routing import Routing, title_of
from gateway.streams import with_pauses
from router.check import TOP_LOGPROBS, CheckVerdict
from router.overrides import strip_command
from tandem.errors import Conflict, InternalError, ModelContextExceeded, ModelError, NotFound, TandemError
from tandem.ids import DecisionId, IdFactory, JobId, TenantId, ThreadId, TurnId
from tandem.ports import ChatModel, Clock, NewEvent, NewJob, Once, ThreadStore, Turns, TurnWork
from tandem.schemas.chat import ChatMessage, ChatRequest, FinishReason, TokenChance
from tandem.schemas.events import ThreadEvent
from tandem.schemas.jobs import JobFailure, JobRequest
from tandem.schemas.routing import Decision, Lane
from tandem.schemas.threads import MessageCreate, ThreadMessage
from tandem.telemetry import get_logger

LEASE_S: Final = 15.0
"""A turn whose gateway is silent this long is failed by the dispatcher."""
RENEW_S: Final = 2.0
"""Seconds between two renewals while the model is silent; also how soon a cancel in another gateway is seen."""
FLUSH_S: Final = 0.1
"""Words are stored at most this often, so that a viewer gets ten pieces a second at most."""
FLUSH_CHARS: Final = 2_000
HISTORY_EVENTS: Final = 4_000
"""How far back, in events, a turn looks for its conversation."""
HISTORY_MESSAGES: Final = 200
CHARS_PER_TOKEN: Final = 4
"""Generous, as in English: the prompt is cut to tokens later, a job's model has its own context."""
CLOSE_GRACE_S: Final = 5.0
T = TypeVar("T")
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Turn:
    id: TurnId
    thread_id: ThreadId
    principal: Principal
    asked: MessageCreate
    message: ThreadMessage

    @property
    def tenant(self) -> TenantId:
        return self.principal.tenant


class TurnRunner:
    """Runs turns as background tasks of this process."""

    def __init__(
        self,
        threads: ThreadStore,
        desk: JobDesk,
        grants: Grants,
        routing: Routing,
        checks: Checks,
        fast: ChatModel,
        ids: IdFactory,
        clock: Clock,
        *,
        context_tokens: int,
        max_tokens: int,
    ) -> None:
        self._threads = threads
        self._desk = desk
        self._grants = grants
        self._routing = routing
        self._checks = checks
        self._fast = fast
        self._ids = ids
        self._clock = clock
        self._context_tokens = context_tokens
        self._history_chars = max(0, context_tokens - max_tokens) * CHARS_PER_TOKEN
        self._max_tokens = max_tokens
        self._background = Background()
        self._running: dict[TurnId, asyncio.Task[None]] = {}
        self._is_closing = False

    async def begin(self, thread_id: ThreadId, principal: Principal, asked: MessageCreate, once: Once | None = None) -> TurnWork:
        """Store the message, own the turn, answer it in the background. A turn that an earlier call began is left to whoever owns it.

        Raises as ``ThreadStore.begin_turn``.
        """
        work = await self._threads.begin_turn(thread_id, principal.tenant, self._ids.turn(), self._ids.message(), asked.content, LEASE_S, once=once)
        if work.is_replay:
            return work
        self._desk.announce(work.appended)
        turn = _Turn(TurnId(work.turn.id), thread_id, principal, asked, work.user_message)
        task = self._background.start(self._run(turn), f"turn {turn.id}")
        self._running[turn.id] = task
        task.add_done_callback(lambda _: self._running.pop(turn.id, None))
        return work

    def stop(self, turn_id: TurnId) -> None:
        """Stop working on a turn that was cancelled in the store; closes the model's stream. No effect on a turn of another process."""
        if task := self._running.get(turn_id):
            task.cancel()

    async def close(self) -> None:
        """Fail what still runs, so that nobody waits for it."""
        self._is_closing = True
        for task in list(self._running.values()):
            task.cancel()
        await self._background.close(CLOSE_GRACE_S)

    async def _run(self, turn: _Turn) -> None:
        try:
            await self._answer(turn)
        except Conflict:
            _log.info("turn_ended_elsewhere", turn_id=turn.id)
        except asyncio.CancelledError:
            if self._is_closing:
                await self._fail(
                    turn, JobFailure(code="turn_interrupted", message="the gateway was stopped while it answered; send the message again")
                )
            raise
        except TandemError as error:
            await self._fail(turn, JobFailure(code=error.code, message=_said_of(error)))
        except Exception:  # noqa: BLE001 - the task's boundary: whatever broke is logged with its traceback, and the turn does not stay open
            _log.exception("turn_failed", turn_id=turn.id)
            await self._fail(turn, JobFailure(code=InternalError.code, message=error_message(InternalError("unexpected"))))

    async def _fail(self, turn: _Turn, failure: JobFailure) -> None:
        _log.info("turn_failed_cleanly", turn_id=turn.id, code=failure.code)
        try:
            self._desk.announce(await self._threads.fail_turn(turn.id, failure))
        except TandemError as error:  # its lease runs out and the dispatcher fails it
            _log.warning("turn_not_failed", turn_id=turn.id, code=error.code)

    async def _answer(self, turn: _Turn) -> None:
        history, last = await self._history(turn)
        human = [message.content for message in history if message.role == "user"]
        has_job = bool(await self._threads.running_jobs(turn.thread_id, turn.tenant))
        turns = Turns(
            text=turn.asked.content,
            history=human,
            previous_lane=last.lane if last else None,
            choice=turn.asked.lane,
            effort=turn.asked.effort,
            has_running_job=has_job,
        )
        decision_id, decision = await self._routing.decide(
            turns,
            turn.tenant,
            "threads",
            key=turn.thread_id,
            fits_fast=fits([turn.asked.content], self._context_tokens, self._max_tokens),
            previous=last.decision_id if last else None,
        )
        await self._append(turn, [_decided(turn, decision_id, decision)])
        task = strip_command(turn.asked.content)
        if decision.band == "check":
            await self._answer_checked(turn, [*history, ChatMessage(role="user", content=task)], decision_id, decision)
        elif decision.lane == "fast":
            await self._answer_fast(turn, [*history, ChatMessage(role="user", content=task)], decision_id, decision)
        else:
            await self._hand_over(turn, [*history, ChatMessage(role="user", content=task)], decision_id, decision)

    async def _answer_fast(self, turn: _Turn, conversation: Sequence[ChatMessage], decision_id: DecisionId, decision: Decision) -> None:
        answer = await self._relay(turn, self._prompt(conversation, decision))
        await self._complete(turn, answer.text, "fast", decision_id, None)

    async def _answer_checked(self, turn: _Turn, conversation: Sequence[ChatMessage], decision_id: DecisionId, decision: Decision) -> None:
        """Answer at once, then test the answer; a doubtful one stays, says so, and is worked out anew by a job that tells the thread."""
        prompt = self._prompt(conversation, decision)
        answer = await self._relay(turn, prompt.model_copy(update={"top_logprobs": TOP_LOGPROBS}))
        asked = Checked(turn.principal, decision_id, decision, conversation, prompt)
        verdict = await self._kept_alive(turn, self._checks.judge(asked, answer))
        if verdict.passed:
            await self._tell_check(turn, answer.text, "", verdict, decision_id, None)
            return
        title = title_of(conversation[-1].content)
        new = self._job(turn, asked.correction(answer), check_title(decision.language, title), decision_id, decision)
        async with self._withdrawing(turn, new.id):
            created = await self._checks.start(asked, new)
            words = doubt(decision.language, title) if created else unchecked_doubt(decision.language)
            note = f"\n\n{words}" if answer.text.strip() else words
            await self._tell_check(turn, answer.text, note, verdict, decision_id, new.id if created else None)

    async def _tell_check(self, turn: _Turn, text: str, note: str, verdict: CheckVerdict, decision_id: DecisionId, job_id: JobId | None) -> None:
        checked = NewEvent(ThreadEvent.TURN_CHECKED, {"turn_id": turn.id, **check_facts(verdict, job_id)})
        await self._append(turn, [checked, *_words(turn, note)])
        await self._complete(turn, text + note, "fast", decision_id, job_id)

    def _prompt(self, conversation: Sequence[ChatMessage], decision: Decision) -> ChatRequest:
        said = copilot_messages(conversation, decision.language, context_tokens=self._context_tokens, reply_tokens=self._max_tokens)
        return ChatRequest(messages=said, max_tokens=self._max_tokens)

    async def _relay(self, turn: _Turn, request: ChatRequest) -> FastAnswer:
        """Store the reply's words as they come; the lease is renewed also while the model is silent. Returns the whole answer."""
        said: list[str] = []
        chances: list[TokenChance] = []
        finish_reason: FinishReason | None = None
        pending = ""
        last_append = -RENEW_S
        async with contextlib.aclosing(with_pauses(self._fast.stream(request), FLUSH_S, asyncio.Event())) as deltas:
            async for delta in deltas:
                if delta is not None:
                    said.append(delta.text)
                    pending += delta.text
                    chances += delta.chances
                    finish_reason = delta.finish_reason or finish_reason
                silent_s = self._clock.monotonic() - last_append
                if (pending and (silent_s >= FLUSH_S or len(pending) >= FLUSH_CHARS)) or silent_s >= RENEW_S:
                    await self._append(turn, _words(turn, pending))
                    pending, last_append = "", self._clock.monotonic()
        if pending:
            await self._append(turn, _words(turn, pending))
        return FastAnswer("".join(said), finish_reason, chances)

    async def _kept_alive(self, turn: _Turn, work: Coroutine[Any, Any, T]) -> T:
        """Do something that writes nothing itself, and keep the turn's lease meanwhile."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=RENEW_S)
                if not task.done():
                    await self._append(turn, [])
            return task.result()
        finally:
            task.cancel()

    async def _hand_over(self, turn: _Turn, conversation: Sequence[ChatMessage], decision_id: DecisionId, decision: Decision) -> None:
        title = title_of(conversation[-1].content)
        new = self._job(turn, conversation, title, decision_id, decision)
        new = replace(new, tools=await self._grants.settle(new.request, turn.principal))
        async with self._withdrawing(turn, new.id):
            await self._desk.submit(new)
            await self._complete(turn, acknowledgement(decision.language, title), "slow", decision_id, new.id)

    def _job(self, turn: _Turn, conversation: Sequence[ChatMessage], title: str, decision_id: DecisionId, decision: Decision) -> NewJob:
        said = conversation[-1].content if len(conversation) == 1 else list(conversation)
        return NewJob(
            id=self._ids.job(),
            tenant=turn.tenant,
            key_id=turn.principal.key_id,
            request=JobRequest(input=said, thread_id=turn.thread_id),
            effort=decision.effort,
            title=title,
            thread_id=turn.thread_id,
            decision_id=decision_id,
        )

    @contextlib.asynccontextmanager
    async def _withdrawing(self, turn: _Turn, job_id: JobId) -> AsyncGenerator[None]:
        """When the turn is cancelled while its job is made, here or in another gateway, the job goes too. A gateway that stops lets it run."""
        try:
            yield
        except Conflict:
            await self._withdraw(turn, job_id)
            raise
        except asyncio.CancelledError:
            if not self._is_closing:
                self._background.start(self._withdraw(turn, job_id), f"withdraw {job_id}")
            raise

    async def _withdraw(self, turn: _Turn, job_id: JobId) -> None:
        with contextlib.suppress(NotFound):  # the turn was cancelled before its job was stored
            await self._desk.cancel(job_id, turn.tenant)

    async def _complete(self, turn: _Turn, words: str, lane: Lane, decision_id: DecisionId, job_id: JobId | None) -> None:
        appended = await self._threads.complete_turn(turn.id, self._ids.message(), words, lane=lane, decision_id=decision_id, job_id=job_id)
        self._desk.announce(appended)

    async def _append(self, turn: _Turn, events: Sequence[NewEvent]) -> None:
        self._desk.announce(await self._threads.append(turn.id, events, LEASE_S))

    async def _history(self, turn: _Turn) -> tuple[list[ChatMessage], LastAnswer | None]:
        """The conversation before this turn's message as far as the model's context holds it, oldest first, and who answered last."""
        before = turn.message.seq
        after = max(-1, before - HISTORY_EVENTS)
        stored: list[ThreadMessage] = []
        while page := await self._threads.messages(turn.thread_id, turn.tenant, after_seq=after, limit=HISTORY_MESSAGES):
            stored += [message for message in page if message.seq < before and message.error is None and message.content]
            after = page[-1].seq
            if after >= before or len(page) < HISTORY_MESSAGES:
                break
        answers = [LastAnswer(message.lane, known_decision(message.decision_id)) for message in stored if message.lane]
        return _newest(stored, self._history_chars - len(turn.asked.content)), answers[-1] if answers else None


def _said_of(error: TandemError) -> str:
    """What the conversation shows of a failure; a model server's own words, which may hold paths and addresses, stay out."""
    if isinstance(error, ModelContextExceeded):
        return "the conversation does not fit the model's context; begin another one, or send this message to the slow lane"
    if isinstance(error, ModelError):
        return "the fast model could not answer; send the message again, or choose the slow lane"
    return error_message(error)


def _newest(stored: Sequence[ThreadMessage], budget_chars: int) -> list[ChatMessage]:
    """The newest messages that fit together."""
    kept: list[ChatMessage] = []
    for message in reversed(stored):
        budget_chars -= len(message.content)
        if budget_chars < 0:
            break
        kept.append(ChatMessage(role=message.role, content=message.content))
    return kept[::-1]


def _decided(turn: _Turn, decision_id: DecisionId, decision: Decision) -> NewEvent:
    data = {"turn_id": turn.id, "decision_id": decision_id, "lane": decision.lane, "p_slow": decision.p_slow, "override": decision.override}
    return NewEvent(ThreadEvent.TURN_DECIDED, {**data})


def _words(turn: _Turn, text: str) -> list[NewEvent]:
    """The event of some words; none of no words, which only renews the lease."""
    return [NewEvent(ThreadEvent.TEXT_DELTA, {"turn_id": turn.id, "delta": text})] if text else []
