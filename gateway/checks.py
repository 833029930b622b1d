"""The check band, for every door: judges a fast answer, notes what came of it, and starts the job that works a doubtful one out anew.

Knows nothing of HTTP. A check never takes an answer away: where no job can be started, the answer stands and is only reported as doubtful.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fast_model.prompts import correction_task
from gateway.auth import Principal
from gateway.grants import Grants
from gateway.jobs import JobDesk
from gateway.records import Recorder
from router.check import CheckVerdict, judge_answer
from tandem.errors import ModelError, NotFound, TandemError
from tandem.ids import DecisionId, IdFactory, JobId, TenantId
from tandem.ports import ChatModel, Created, JobStore, NewJob, NewOutcome
from tandem.schemas.base import JsonObject
from tandem.schemas.chat import ChatMessage, ChatRequest, FinishReason, TokenChance
from tandem.schemas.policies import CheckRules
from tandem.schemas.routing import Decision
from tandem.telemetry import get_logger

SECOND_DRAFT_S: Final = 30.0
"""Longest a second draft may take; the answer is then judged without it."""
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FastAnswer:
    """What the fast model said."""

    text: str
    finish_reason: FinishReason | None
    chances: Sequence[TokenChance]
    """Empty where the server tells none."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A request of the check band."""

    caller: Principal
    decision_id: DecisionId
    decision: Decision
    conversation: Sequence[ChatMessage]
    """The newest human message last."""
    prompt: ChatRequest
    """What the fast model was asked, for a second draft."""
    is_bounded: bool = False
    """The caller has limited the length of the answer."""

    @property
    def tenant(self) -> TenantId:
        return self.caller.tenant

    def correction(self, answer: FastAnswer) -> list[ChatMessage]:
        """The task of the job that confirms or corrects the answer."""
        return correction_task(self.conversation, answer.text, self.decision.language)


class Checks:
    """The checks of one gateway.

    Args:
        rules: The rules of a policy version.
    """

    def __init__(
        self,
        model: ChatModel,
        desk: JobDesk,
        grants: Grants,
        jobs: JobStore,
        ids: IdFactory,
        recorder: Recorder,
        rules: Callable[[str], CheckRules],
    ) -> None:
        self._model = model
        self._desk = desk
        self._grants = grants
        self._jobs = jobs
        self._ids = ids
        self._recorder = recorder
        self._rules = rules
        self._unfinished: dict[JobId, TenantId] = {}
        self._starting = 0

    async def judge(self, asked: Checked, answer: FastAnswer) -> CheckVerdict:
        """Judge an answer and note the verdict as an outcome of its decision; only a second draft takes time."""
        rules = self._rules(asked.decision.policy_version)
        verdict = _judged(asked, answer, rules, None)
        if verdict.passed and rules.second_draft and (draft := await self._second_draft(asked)) is not None:
            verdict = _judged(asked, answer, rules, draft)
        self._recorder.learn(
            NewOutcome(
                id=self._ids.outcome(),
                decision_id=asked.decision_id,
                tenant=asked.tenant,
                kind="check_passed" if verdict.passed else "check_failed",
                source="gateway",
                wanted_lane="fast" if verdict.passed else "slow",
                comment=" ".join(verdict.reasons),
            )
        )
        return verdict

    async def start(self, asked: Checked, new: NewJob) -> Created | None:
        """The job that works a doubtful answer out anew, with the tools that the caller's jobs get; None when it cannot be had.

        The answer then stands as it is.
        """
        limit = self._rules(asked.decision.policy_version).max_pending
        try:
            if not await self._has_room(limit):
                _log.info("check_not_followed", reason="max_pending", limit=limit, decision_id=asked.decision_id)
                return None
            self._starting += 1
            try:
                granted = await self._grants.settle(new.request, asked.caller)
                created = await self._desk.submit(replace(new, tools=granted))
            finally:
                self._starting -= 1
        except TandemError as error:  # the queue is full, or the database away
            _log.warning("check_not_followed", reason=error.code, decision_id=asked.decision_id)
            return None
        self._unfinished[JobId(created.job.id)] = asked.tenant
        return created

    async def _has_room(self, limit: int) -> bool:
        """Whether fewer than ``limit`` of these jobs are unfinished; the database is only asked when it could matter."""
        if len(self._unfinished) + self._starting < limit:
            return True
        for job_id, tenant in list(self._unfinished.items()):
            if await self._has_ended(job_id, tenant):
                self._unfinished.pop(job_id, None)
        return len(self._unfinished) + self._starting < limit

    async def _has_ended(self, job_id: JobId, tenant: TenantId) -> bool:
        try:
            return (await self._jobs.get(job_id, tenant)).status.is_terminal
        except NotFound:  # ended and not kept
            return True

    async def _second_draft(self, asked: Checked) -> str | None:
        try:
            async with asyncio.timeout(SECOND_DRAFT_S):
                return (await self._model.complete(asked.prompt.model_copy(update={"top_logprobs": 0}))).text
        except (ModelError, TimeoutError) as error:
            _log.warning("second_draft_failed", reason=error.code if isinstance(error, ModelError) else "timeout", decision_id=asked.decision_id)
            return None


def check_facts(verdict: CheckVerdict, job_id: str | None) -> JsonObject:
    """A verdict as the doors tell it."""
    return {"passed": verdict.passed, "confidence": _rounded(verdict.confidence), "reasons": [*verdict.reasons], "job_id": job_id}


def _rounded(confidence: float | None) -> float | None:
    return None if confidence is None else round(confidence, 4)


def _judged(asked: Checked, answer: FastAnswer, rules: CheckRules, draft: str | None) -> CheckVerdict:
    question = asked.conversation[-1].content
    return judge_answer(
        question, answer.text, answer.finish_reason, answer.chances, rules, asked.decision.language, draft, is_bounded=asked.is_bounded
    )
