"""Vectors of texts from a server with OpenAI's ``/v1/embeddings``, through the guarded way out. Knows no document.

A failure is ``MeaningUnavailable``: the search then goes by words and says so.
"""

import json
import math
import operator
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from tandem.egress import FetchLimits, GuardedClient, operated
from tandem.errors import EgressDenied
from tandem.settings import ToolSettings

Vector = tuple[float, ...]
_BATCH: Final = 32
_MAX_CHARS: Final = 2_000
"""Of one text; the server's own context may be shorter, and it says so."""
_LIMITS: Final = FetchLimits(timeout_s=15.0, max_bytes=16 * 1024 * 1024, max_redirects=0)


class MeaningUnavailable(Exception):
    """The server gave no vectors; the message says why, without what it answered."""


class Meaning:
    """Gives texts vectors of length one.

    Args:
        url: Base URL, with ``/v1``.
        settings: The model's name and the key.
        egress: The way out.
    """

    def __init__(self, url: str, settings: ToolSettings, egress: GuardedClient) -> None:
        self._url = url.rstrip("/") + "/embeddings"
        self._model = settings.embeddings_model
        self._rules = operated(url, "TANDEM_TOOLS_EMBEDDINGS_URL")
        self._egress = egress
        key = settings.embeddings_key
        self._headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key.get_secret_value()}"} if key else {})

    async def vectors(self, texts: Sequence[str]) -> list[Vector]:
        """A vector per text.

        Raises:
            MeaningUnavailable: The server is not there, refuses, or answers something else.
        """
        batches = [texts[at : at + _BATCH] for at in range(0, len(texts), _BATCH)]
        return [vector for batch in batches for vector in await self._ask(batch)]

    async def _ask(self, texts: Sequence[str]) -> list[Vector]:
        body = json.dumps({"model": self._model, "input": [text[:_MAX_CHARS] for text in texts], "encoding_format": "float"}).encode()
        try:
            response = await self._egress.fetch(self._url, method="POST", headers=self._headers, body=body, rules=self._rules, limits=_LIMITS)
        except (EgressDenied, TimeoutError, ConnectionError) as error:
            raise MeaningUnavailable(f"the embeddings server cannot be reached ({type(error).__name__})") from None
        if response.status != 200:
            raise MeaningUnavailable(f"the embeddings server answered {response.status}")
        return _parsed(response.body, len(texts))


def likeness(one: Vector, other: Vector) -> float:
    """Cosine of two vectors of length one, -1..1."""
    return sum(map(operator.mul, one, other))


def _parsed(body: bytes, count: int) -> list[Vector]:
    try:
        data = cast("list[Mapping[str, Any]]", json.loads(body)["data"])
        vectors = [_unit(each["embedding"]) for each in sorted(data, key=lambda each: int(each["index"]))]
    except (ValueError, KeyError, TypeError):
        raise MeaningUnavailable("the embeddings server answered something else than OpenAI's embeddings") from None
    if len(vectors) != count or len({len(vector) for vector in vectors}) != 1:
        raise MeaningUnavailable(f"the embeddings server answered {len(vectors)} vectors to {count} texts, or of different lengths")
    return vectors


def _unit(values: Sequence[float]) -> Vector:
    length = math.hypot(*values)
    if not math.isfinite(length) or length == 0:
        raise ValueError("a vector without a direction")
    return tuple(value / length for value in values)
