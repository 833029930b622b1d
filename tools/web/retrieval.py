"""One address fetched through the guarded way out, with manners: few requests per host, one more try where a server asks to wait a little.

Knows no format. ``robots.txt`` is not read: a fetch is one page that a person's task asked for, as a browser's is, not a crawl; Tandem says who it
is.
"""

from dataclasses import replace
from typing import Final
from urllib.parse import urlsplit

from tandem.egress import FetchLimits, GuardedClient, Response
from tandem.errors import EgressDenied
from tandem.ports import Clock
from tools.web.manners import USER_AGENT, HostSlots, retry_after_s

TOTAL_S: Final = 30.0
"""For a fetch, its wait and its second try."""
ONE_REQUEST_S: Final = 15.0
LONGEST_WAIT_S: Final = 10.0
_DEFAULT_WAIT_S: Final = 1.0
_LEAST_LEFT_S: Final = 2.0
"""Below, a second try is not worth beginning."""
PER_HOST: Final = 2
_ACCEPT: Final = "text/html,application/xhtml+xml,text/markdown;q=0.9,text/plain;q=0.8,application/json;q=0.8,application/pdf;q=0.7,*/*;q=0.1"
_PLEASE_WAIT: Final = frozenset({429, 503})


class FetchFailed(Exception):
    """The address gave no page; worded for the model."""

    def __init__(self, code: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable


class Retrieval:
    """Fetches addresses; all calls of a process share the slots of a host."""

    def __init__(self, egress: GuardedClient, clock: Clock) -> None:
        self._egress = egress
        self._clock = clock
        self._hosts = HostSlots(PER_HOST)

    async def get(self, url: str, max_bytes: int, *, may_leave_host: bool) -> Response:
        """The answer, with a status of success. Raises ``FetchFailed``."""
        limits = FetchLimits(max_bytes=max_bytes, may_leave_host=may_leave_host)
        deadline = self._clock.monotonic() + TOTAL_S
        async with self._hosts.of(urlsplit(url).netloc.lower()):
            response = await self._once(url, limits, deadline)
            if response.status in _PLEASE_WAIT:
                wait_s = retry_after_s(response.headers.get("retry-after"), self._clock.now())
                wait_s = _DEFAULT_WAIT_S if wait_s is None else wait_s
                if wait_s > min(LONGEST_WAIT_S, deadline - self._clock.monotonic() - _LEAST_LEFT_S):
                    raise FetchFailed(
                        "site_busy", f"the site answers {response.status} and asks to wait {wait_s:.0f} s; use another page", retryable=True
                    )
                await self._clock.sleep(wait_s)
                response = await self._once(url, limits, deadline)
        _require_success(response.status)
        return response

    async def _once(self, url: str, limits: FetchLimits, deadline: float) -> Response:
        left_s = min(ONE_REQUEST_S, deadline - self._clock.monotonic())
        try:
            return await self._egress.fetch(
                url, headers={"User-Agent": USER_AGENT, "Accept": _ACCEPT}, limits=replace(limits, timeout_s=max(left_s, 0.001))
            )
        except EgressDenied as error:
            raise FetchFailed(error.code, f"{error.message}; only public web pages can be fetched") from None
        except TimeoutError:
            raise FetchFailed(
                "timeout", f"the site did not answer within {left_s:.0f} s; use another page, or try again later", retryable=True
            ) from None
        except ConnectionError as error:
            raise FetchFailed(
                "unreachable", f"the page could not be fetched ({error}); check the address or use another page", retryable=True
            ) from None


def _require_success(status: int) -> None:
    if 200 <= status < 300:
        return
    if status in {404, 410}:
        raise FetchFailed("not_found", f"there is no such page (the site answers {status}); check the address or search for the page")
    if status in {401, 402, 403, 407, 451}:
        raise FetchFailed("access_refused", f"the site refuses access ({status}): it wants a login or no programs; use another page")
    if status >= 500 or status in {408, 425, 429}:
        raise FetchFailed("site_busy", f"the site answers {status}; try again later or use another page", retryable=True)
    raise FetchFailed("http_error", f"the site answers {status} instead of a page; use another page")
