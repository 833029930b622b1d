"""The only way from the engine to a model: granted by the budget, bounded in time, patient with a server that is restarting.

A server that refuses connections, or still loads its model, is tried again for about half a minute, the time an embedded server needs to come back;
then the caller gives up, and the runner puts the job off. A refused connection costs no call; a call that failed later does, for the model may have
worked on it.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from slow_worker.budget import BudgetLedger, Grant, prompt_tokens
from slow_worker.documents import NO_DOCUMENTS, Documents
from tandem.errors import BudgetReached, ModelBadResponse, ModelContextExceeded, ModelError, ModelTimeout, ModelUnavailable, TandemError
from tandem.ports import ChatModel
from tandem.schemas.base import JsonObject
from tandem.schemas.chat import ChatDelta, ChatMessage, ChatReply, ChatRequest, TokenUsage
from tandem.schemas.jobs import Usage
from tandem.telemetry import get_logger

RETRY_DELAYS_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0)
"""Pauses between tries at a server that is down: 23.5 s in all."""
_PUBLIC_WORDS: Final[Mapping[type[ModelError], str]] = {
    ModelUnavailable: "the slow model's server is away; retry the job when it is back",
    ModelTimeout: "the slow model's server did not answer in time; retry the job",
    ModelBadResponse: "the slow model's server broke off, or answered something that cannot be read; retry the job",
}


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

    def request(self, grant: Grant, messages: list[ChatMessage]) -> ChatRequest:
        return ChatRequest(messages=messages, max_tokens=grant.max_tokens, temperature=self.temperature, seed=self.seed, json_schema=self.json_schema)


@dataclass(frozen=True, slots=True)
class ModelCaller:
    """Calls one model within one job's budget."""

    model: ChatModel
    ledger: BudgetLedger
    sleep: Callable[[float], Awaitable[None]]
    step_timeout_s: float = 600.0
    """Longest seconds of one call, whatever the budget allows."""
    documents: Documents = NO_DOCUMENTS
    """Texts of the job, put before what each call says."""
    retry_delays_s: tuple[float, ...] = RETRY_DELAYS_S

    async def complete(self, ask: Ask) -> tuple[ChatReply, Usage]:
        """One whole reply and what it cost.

        Raises:
            BudgetReached: The call is not affordable, or its time ran out.
            ModelError: The server failed for good.
        """
        messages = self.documents.before(ask.messages)
        grant = self._grant(ask, messages)
        try:
            async with asyncio.timeout(min(grant.seconds, self.step_timeout_s)):
                reply = await self._patiently(ask, grant, messages)
        except TimeoutError:
            self.ledger.settle(grant, TokenUsage(input_tokens=grant.prompt_tokens))
            raise self._too_late(grant) from None
        except ModelUnavailable as error:
            self.ledger.release(grant)
            raise _public(error) from error
        except ModelContextExceeded as error:
            self.ledger.settle(grant, TokenUsage(input_tokens=grant.prompt_tokens))
            raise self.documents.explain(error) from error
        except ModelError as error:
            self.ledger.settle(grant, TokenUsage(input_tokens=grant.prompt_tokens))
            raise _public(error) from error
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
        messages = self.documents.before(ask.messages)
        grant = self._grant(ask, messages)
        parts: list[str] = []
        used = TokenUsage(input_tokens=grant.prompt_tokens)
        fault: TandemError | None = None
        try:
            async with asyncio.timeout(min(grant.seconds, self.step_timeout_s)), aclosing(self._stream(ask.request(grant, messages))) as deltas:
                async for delta in deltas:
                    used = _counted(delta.usage, grant) if delta.usage else used
                    if delta.finish_reason == "length":
                        fault = self._cut_off(ask, grant)
                    if delta.text:
                        parts.append(delta.text)
                        await on_text(delta.text)
        except TimeoutError:
            fault = self._too_late(grant)
        except ModelError as error:
            fault = self.documents.explain(error) if isinstance(error, ModelContextExceeded) else _public(error)
        finally:
            if not used.output_tokens:
                # The server did not count, or could not any more; a piece is a token at least.
                used = used.model_copy(update={"output_tokens": min(len(parts), grant.max_tokens)})
            usage = self._settle(grant, used, is_refused=isinstance(fault, ModelUnavailable) and not parts)
        if fault is not None and not parts:
            raise fault
        return Written("".join(parts), usage, fault)

    def _grant(self, ask: Ask, messages: list[ChatMessage]) -> Grant:
        return self.ledger.grant(prompt_tokens(messages), ask.max_tokens, is_last=ask.is_last)

    def _settle(self, grant: Grant, used: TokenUsage, *, is_refused: bool) -> Usage:
        if is_refused:
            self.ledger.release(grant)
            return Usage()
        return self.ledger.settle(grant, used)

    def _cut_off(self, ask: Ask, grant: Grant) -> BudgetReached:
        """A reply that reached its longest length; only where the budget had shortened that length, a meter is to blame."""
        message = "the answer was cut off at its longest allowed length; raise the effort or budget.max_tokens"
        return self.ledger.refusal(message, "max_tokens") if grant.max_tokens < ask.max_tokens else BudgetReached(message)

    def _too_late(self, grant: Grant) -> BudgetReached | ModelTimeout:
        if grant.seconds <= self.step_timeout_s:
            return self.ledger.refusal("the job's seconds ran out during a model call", "max_seconds")
        return ModelTimeout(f"a model call took longer than {self.step_timeout_s:g} s (worker.step_timeout_s)")

    async def _patiently(self, ask: Ask, grant: Grant, messages: list[ChatMessage]) -> ChatReply:
        for delay_s in self.retry_delays_s:
            try:
                return await self.model.complete(ask.request(grant, messages))
            except ModelUnavailable:
                await self.sleep(delay_s)
        return await self.model.complete(ask.request(grant, messages))

    async def _stream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta]:
        """As patient as ``_patiently`` until the first word; what was shown is not begun again."""
        delays_s = iter(self.retry_delays_s)
        while True:
            has_begun = False
            try:
                async with aclosing(self.model.stream(request)) as deltas:
                    async for delta in deltas:
                        has_begun = has_begun or bool(delta.text)
                        yield delta
            except ModelUnavailable:
                if has_begun or (delay_s := next(delays_s, None)) is None:
                    raise
            else:
                return
            await self.sleep(delay_s)


@dataclass(frozen=True, slots=True)
class Written:
    """A reply that was shown while it was written."""

    text: str
    usage: Usage
    fault: TandemError | None
    """Why it is not whole; None when it is."""


def _public(error: ModelError) -> ModelError:
    """What the job's owner may read: where the server is and what it said goes to the log."""
    words = _PUBLIC_WORDS.get(type(error))
    if words is None:
        return error
    get_logger(__name__).warning("model_failed", code=error.code, reason=error.message)
    return type(error)(words)


def _counted(usage: TokenUsage, grant: Grant) -> TokenUsage:
    """A server that does not count prompts is charged the estimate."""
    return usage if usage.input_tokens else usage.model_copy(update={"input_tokens": grant.prompt_tokens})
