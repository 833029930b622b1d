"""The only way from the engine to a model: granted by the budget, bounded in time, patient with a server that is restarting.

A server that refuses connections is tried again for about half a minute, the time an embedded server needs to come back; then the failure is the
job's. A reply that times out or is off the protocol is asked for once more. Failures cost no call unless the model may have worked on them.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from slow_worker.budget import BudgetLedger, Grant, prompt_tokens
from tandem.errors import BudgetReached, ModelBadResponse, ModelTimeout, ModelUnavailable
from tandem.ports import ChatModel
from tandem.schemas.base import JsonObject
from tandem.schemas.chat import ChatDelta, ChatMessage, ChatReply, ChatRequest, TokenUsage
from tandem.schemas.jobs import Usage

RETRY_DELAYS_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0)
"""Pauses between tries at a server that is down: 23.5 s in all."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What one call wants."""

    messages: list[ChatMessage]
    max_tokens: int
    temperature: float = 0.0
    seed: int = 0
    json_schema: JsonObject | None = None
    is_last: bool = False
    """The call may use the reserve."""

    def request(self, grant: Grant) -> ChatRequest:
        return ChatRequest(
            messages=self.messages, max_tokens=grant.max_tokens, temperature=self.temperature, seed=self.seed, json_schema=self.json_schema
        )


@dataclass(frozen=True, slots=True)
class ModelCaller:
    """Calls one model within one job's budget."""

    model: ChatModel
    ledger: BudgetLedger
    sleep: Callable[[float], Awaitable[None]]
    step_timeout_s: float = 600.0
    """Longest seconds of one call, whatever the budget allows."""
    retry_delays_s: tuple[float, ...] = RETRY_DELAYS_S

    async def complete(self, ask: Ask) -> tuple[ChatReply, Usage]:
        """One whole reply and what it cost.

        Raises:
            BudgetReached: The call is not affordable, or its time ran out.
            ModelError: The server failed for good.
        """
        grant = self._grant(ask)
        try:
            async with asyncio.timeout(min(grant.seconds, self.step_timeout_s)):
                reply = await self._patiently(ask, grant)
        except TimeoutError:
            self.ledger.settle(grant, TokenUsage(input_tokens=grant.prompt_tokens))
            raise self._too_late(grant) from None
        except ModelUnavailable:
            self.ledger.release(grant)
            raise
        except BaseException:
            self.ledger.settle(grant, TokenUsage(input_tokens=grant.prompt_tokens))
            raise
        return reply, self.ledger.settle(grant, reply.usage)

    async def stream(self, ask: Ask) -> AsyncGenerator[str | ChatReply]:
        """The reply's text in pieces, at last the whole reply; a stream that breaks is not asked for again. Raises like ``complete``."""
        grant = self._grant(ask)
        used = TokenUsage(input_tokens=grant.prompt_tokens)
        parts: list[str] = []
        last = ChatDelta()
        try:
            async with asyncio.timeout(min(grant.seconds, self.step_timeout_s)), aclosing(self.model.stream(ask.request(grant))) as deltas:
                async for delta in deltas:
                    parts.append(delta.text)
                    last = delta if delta.finish_reason else last
                    used = delta.usage or used
                    if delta.text:
                        yield delta.text
        except TimeoutError:
            raise self._too_late(grant) from None
        finally:
            self.ledger.settle(grant, used)
        yield ChatReply(text="".join(parts), finish_reason=last.finish_reason or "unknown", usage=used, model=self.model.name)

    def _grant(self, ask: Ask) -> Grant:
        return self.ledger.grant(prompt_tokens(ask.messages), ask.max_tokens, is_last=ask.is_last)

    def _too_late(self, grant: Grant) -> BudgetReached | ModelTimeout:
        if grant.seconds <= self.step_timeout_s:
            return BudgetReached("the job's seconds ran out during a model call", param="budget.max_seconds")
        return ModelTimeout(f"a model call took longer than {self.step_timeout_s:g} s (worker.step_timeout_s)")

    async def _patiently(self, ask: Ask, grant: Grant) -> ChatReply:
        delays = iter(self.retry_delays_s)
        may_repeat = True
        while True:
            try:
                return await self.model.complete(ask.request(grant))
            except ModelUnavailable:
                if (delay := next(delays, None)) is None:
                    raise
                await self.sleep(delay)
            except (ModelTimeout, ModelBadResponse):
                if not may_repeat:
                    raise
                may_repeat = False
