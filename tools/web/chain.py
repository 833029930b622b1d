"""One search over several providers, in the operator's order: the first that finds something answers, and whoever failed is left alone for a while.

What a process remembers of its providers is in its ``SearchChain``. Knows no provider in particular.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tandem.egress import FetchLimits, GuardedClient, Response
from tandem.errors import EgressDenied
from tandem.ports import Clock
from tandem.telemetry import get_logger
from tools.web.manners import USER_AGENT, retry_after_s
from tools.web.providers.base import AnswerUnusable, Hit, SearchProvider, SearchQuery, SearchRequest

PROVIDER_TIMEOUT_S: Final = 7.0
MAX_ANSWER_BYTES: Final = 1_048_576
FIRST_REST_S: Final = 2.0
LONGEST_REST_S: Final = 300.0
LONGEST_ASKED_REST_S: Final = 3_600.0
"""Of what a provider may ask for with ``Retry-After``."""
_FOUND_NOTHING: Final = "found nothing"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A provider that gave no hits, and why."""

    provider: str
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """Hits, who gave them, and who was asked before."""

    provider: str
    hits: Sequence[Hit]
    tried: Sequence[Attempt]


class NothingFound(Exception):
    """No provider gave a hit.

    ``is_certain``: all of them answered, and none knows a page. Otherwise some failed, and ``wait_s`` says when the first of them may be asked again.
    """

    def __init__(self, tried: Sequence[Attempt], *, is_certain: bool, wait_s: float) -> None:
        super().__init__("; ".join(f"{attempt.provider}: {attempt.reason}" for attempt in tried))
        self.tried = tried
        self.is_certain = is_certain
        self.wait_s = wait_s


class _ProviderFailed(Exception):
    """A provider gave no list of results; ``rest_s`` is what it asked for, ``is_lasting`` what no waiting cures."""

    def __init__(self, reason: str, rest_s: float | None = None, *, is_lasting: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.rest_s = rest_s
        self.is_lasting = is_lasting


@dataclass(slots=True)
class Rest:
    """How long a provider is left alone: doubled with every failure in a row, or as long as it asks for."""

    failures: int = 0
    until: float = 0.0
    """On the monotonic clock."""
    reason: str = ""

    def begin(self, now: float, reason: str, asked_s: float | None) -> None:
        own_s = min(LONGEST_REST_S, FIRST_REST_S * 2.0 ** min(self.failures, 10))
        self.failures += 1
        self.until = now + (own_s if asked_s is None else min(LONGEST_ASKED_REST_S, max(own_s, asked_s)))
        self.reason = reason

    def left_s(self, now: float) -> float:
        return max(0.0, self.until - now)


@dataclass(slots=True)
class _Seat:
    provider: SearchProvider
    slots: asyncio.Semaphore
    rest: Rest = field(default_factory=Rest)


class SearchChain:
    """Providers in order, with what this process remembers of them."""

    def __init__(self, providers: Sequence[SearchProvider], egress: GuardedClient, clock: Clock) -> None:
        self._seats = [_Seat(provider, asyncio.Semaphore(provider.concurrency)) for provider in providers]
        self._egress = egress
        self._clock = clock

    async def search(self, query: SearchQuery) -> Found:
        """The hits of the first provider that has any, at most ``query.count``. Raises ``NothingFound``."""
        tried: list[Attempt] = []
        for seat in self._seats:
            name = seat.provider.name
            if left_s := seat.rest.left_s(self._clock.monotonic()):
                tried.append(Attempt(name, f"left alone for {left_s:.0f} s more, because it {seat.rest.reason}"))
                continue
            try:
                hits = await self._ask(seat, query)
            except _ProviderFailed as failure:
                self._let_rest(seat, failure)
                tried.append(Attempt(name, failure.reason))
                continue
            if hits:
                return Found(name, hits[: query.count], tried)
            tried.append(Attempt(name, _FOUND_NOTHING))
        now = self._clock.monotonic()
        is_certain = all(attempt.reason == _FOUND_NOTHING for attempt in tried)
        raise NothingFound(tried, is_certain=is_certain, wait_s=min(seat.rest.left_s(now) for seat in self._seats))

    async def _ask(self, seat: _Seat, query: SearchQuery) -> Sequence[Hit]:
        request = seat.provider.request(query)
        async with seat.slots:
            response = await self._sent(seat.provider, request)
        _require_success(response, retry_after_s(response.headers.get("retry-after"), self._clock.now()))
        if response.is_truncated:
            raise _ProviderFailed(f"answered more than {MAX_ANSWER_BYTES} bytes")
        try:
            # A page of results is parsed in Python: milliseconds that the loop should not stand still for.
            hits = await asyncio.to_thread(seat.provider.hits, response.body)
        except AnswerUnusable as error:
            raise _ProviderFailed(f"gave no results: {error}") from None
        seat.rest = Rest()
        return hits

    async def _sent(self, provider: SearchProvider, request: SearchRequest) -> Response:
        headers = {"User-Agent": USER_AGENT, **request.headers}
        # No redirects: the key belongs to this address alone.
        limits = FetchLimits(PROVIDER_TIMEOUT_S, MAX_ANSWER_BYTES, max_redirects=0)
        try:
            return await self._egress.fetch(
                request.url, method=request.method, headers=headers, body=request.body, rules=provider.rules, limits=limits
            )
        except EgressDenied as error:
            raise _ProviderFailed(f"may not be reached: {error.message}", is_lasting=True) from None
        except TimeoutError:
            raise _ProviderFailed(f"did not answer within {PROVIDER_TIMEOUT_S:g} s") from None
        except ConnectionError:
            raise _ProviderFailed("could not be reached") from None

    def _let_rest(self, seat: _Seat, failure: _ProviderFailed) -> None:
        get_logger(__name__).warning("search_provider_failed", provider=seat.provider.name, reason=failure.reason)
        if not failure.is_lasting:
            seat.rest.begin(self._clock.monotonic(), failure.reason, failure.rest_s)


def _require_success(response: Response, rest_s: float | None) -> None:
    match response.status:
        case 200:
            return
        case 202 | 429:
            raise _ProviderFailed(f"answered {response.status}: too many requests", rest_s)
        case 401 | 402 | 403:
            raise _ProviderFailed(
                f"answered {response.status}: it refuses the key, the plan or the format; the operator must look at it", LONGEST_REST_S
            )
        case status:
            raise _ProviderFailed(f"answered {status}", rest_s)
