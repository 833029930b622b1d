"""The way to a model server behind TLS: a hosted API. Costs four times the CPU of ``pool.py`` per request. Never looks into a reply."""

import asyncio
import io
from typing import Final

import aiohttp

from gateway.chat.upstream import Reply
from tandem.errors import ModelBadResponse, ModelError, ModelTimeout, ModelUnavailable
from tandem.settings import ModelSettings

_LARGE_BYTES: Final = 1_048_576
"""aiohttp warns when more bytes than these are given as one object."""


class AiohttpReply:
    """A reply over aiohttp."""

    def __init__(self, response: aiohttp.ClientResponse, lane: str) -> None:
        self._response = response
        self._lane = lane

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def content_type(self) -> str:
        return self._response.content_type

    async def read(self) -> bytes:
        try:
            return await self._response.content.readany()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise translate(error, self._lane) from error

    def close(self) -> None:
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


class AiohttpTransport:
    """One session with as many connections as there are requests; must be made and closed in the running loop."""

    def __init__(self, url: str, settings: ModelSettings, lane: str) -> None:
        self._url = f"{url}/chat/completions"
        self._lane = lane
        self._headers = {"content-type": "application/json"} | _authorization(settings)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_timeout_s, sock_read=settings.read_timeout_s),
            skip_auto_headers=("accept-encoding", "user-agent"),
            trust_env=False,
        )

    async def send(self, body: bytes) -> Reply:
        try:
            return await self._post(body)
        except aiohttp.ServerDisconnectedError:
            # A kept connection that the server closed while it was idle: nothing was answered, so asking again is safe.
            try:
                return await self._post(body)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise translate(error, self._lane) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise translate(error, self._lane) from error

    async def _post(self, body: bytes) -> Reply:
        data = body if len(body) < _LARGE_BYTES else io.BytesIO(body)
        return AiohttpReply(await self._session.post(self._url, data=data, headers=self._headers, allow_redirects=False), self._lane)

    async def close(self) -> None:
        await self._session.close()
        await asyncio.sleep(0)  # lets the closed transports leave the loop


def translate(error: Exception, lane: str) -> ModelError:
    """The dependency's faults in Tandem's words; addresses stay out of the message."""
    if isinstance(error, TimeoutError):
        return ModelTimeout(f"the {lane} model was silent longer than allowed; try again later", retry_after_s=5)
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ClientResponseError):
        return ModelBadResponse(f"the {lane} model's server broke off or does not speak HTTP; the operator must look at it")
    return ModelUnavailable(f"the {lane} model's server cannot be reached; try again later", retry_after_s=5)


def _authorization(settings: ModelSettings) -> dict[str, str]:
    return {"authorization": f"Bearer {settings.api_key.get_secret_value()}"} if settings.api_key else {}
