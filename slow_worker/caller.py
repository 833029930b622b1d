"""The only way from the engine to a model: granted by the budget, bounded in time, patient with a server that is restarting.

A server that refuses connections is tried again for about half a minute, the time an embedded server needs to come back; then the failure is the
job's. A refused connection costs no call; a call that failed later does, for the model may have worked on it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from slow_worker.budget import BudgetLedger, Grant, prompt_tokens
from tandem.errors import BudgetReached, ModelError, ModelTimeout, ModelUnavailable, TandemError
from tandem.ports import ChatModel
from tandem.schemas.base import JsonObject
from tandem.schemas.chat import ChatMessage, ChatReply, ChatRequest, TokenUsage
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
        return reply, self.ledger.settle(grant, _counted(reply.usage, grant))

    async def write(self, ask: Ask, on_text: Callable[[str], Awaitable[None]]) -> "Written":
        """A reply that is shown while it is written. What was written before a failure or the end of the time is kept, with its fault.

        Raises:
            BudgetReached: The call is not affordable, or its time ran out before the first word.
            ModelError: The server failed before the first word.
        """
        grant = self._grant(ask)
        parts: list[str] = []
        used = TokenUsage(input_tokens=grant.prompt_tokens)
        fault: TandemError | None = None
        try:
            async with asyncio.timeout(min(grant.seconds, self.step_timeout_s)), aclosing(self.model.stream(ask.request(grant))) as deltas:
                async for delta in deltas:
                    used = _counted(delta.usage, grant) if delta.usage else used
                    if delta.finish_reason == "length":
                        fault = BudgetReached("the answer was cut off at its longest allowed length; raise the effort or budget.max_tokens")
                    if delta.text:
                        parts.append(delta.text)
                        await on_text(delta.text)
        except TimeoutError:
            fault = self._too_late(grant)
        except ModelError as error:
            fault = error
        finally:
            if not used.output_tokens:
                # The server did not count, or could not any more; a piece is a token at least.
                used = used.model_copy(update={"output_tokens": min(len(parts), grant.max_tokens)})
            usage = self.ledger.settle(grant, used)
        if fault is not None and not parts:
            raise fault
        return Written("".join(parts), usage, fault)

    def _grant(self, ask: Ask) -> Grant:
        return self.ledger.grant(prompt_tokens(ask.messages), ask.max_tokens, is_last=ask.is_last)

    def _too_late(self, grant: Grant) -> BudgetReached | ModelTimeout:
        if grant.seconds <= self.step_timeout_s:
            return BudgetReached("the job's seconds ran out during a model call", param="budget.max_seconds")
        return ModelTimeout(f"a model call took longer than {self.step_timeout_s:g} s (worker.step_timeout_s)")

    async def _patiently(self, ask: Ask, grant: Grant) -> ChatReply:
        for delay_s in self.retry_delays_s:
            try:
                return await self.model.complete(ask.request(grant))
            except ModelUnavailable:
                await self.sleep(delay_s)
        return await self.model.complete(ask.request(grant))


@dataclass(frozen=True, slots=True)
class Written:
    """A reply that was shown while it was written."""

    text: str
    usage: Usage
    fault: TandemError | None
    """Why it is not whole; None when it is."""


def _counted(usage: TokenUsage, grant: Grant) -> TokenUsage:
    """A server that does not count prompts is charged the estimate."""
    return usage if usage.input_tokens else usage.model_copy(update={"input_tokens": grant.prompt_tokens})
