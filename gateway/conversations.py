"""What the doors know of a conversation beside its words: its place among others, who answered last, and whether the fast model can hold it.

Conversations whose clients keep the history themselves are recognised by their human messages.
Each gateway remembers its own newest ones; one that another gateway answered, or whose client cut the history, counts as new. Only digests are kept.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fast_model.prompts import estimate_tokens
from tandem.ids import DecisionId, KeyId
from tandem.schemas.routing import Lane

REMEMBERED: Final = 10_000
"""Conversations; about 4 MB."""
READ_CHARS: Final = 500
"""Of each message."""
REPLY_TOKENS: Final = 256
"""Room that an answer needs where the caller does not say."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request stands in its conversation."""

    key: str
    """The same for the whole conversation: what a staged rollout goes by."""
    before: bytes | None
    """Of the human messages up to the last answer; None for the first message."""
    now: bytes
    """With the newest message."""


@dataclass(frozen=True, slots=True)
class LastAnswer:
    """Who answered last in a conversation."""

    lane: Lane
    decision_id: DecisionId | None


def place_of(key_id: KeyId | None, history: Sequence[str], text: str) -> Place:
    """A request's place, told by its API key and its human messages."""
    said = hashlib.blake2b(f"{key_id}\0".encode(), digest_size=16)
    first: str | None = None
    for message in history:
        _add(said, message)
        first = first or said.hexdigest()
    before = said.digest() if history else None
    _add(said, text)
    return Place(first or said.hexdigest(), before, said.digest())


def fits(texts: Sequence[str], context_tokens: int, reply_tokens: int = REPLY_TOKENS) -> bool:
    """Whether a conversation and its reply fit the fast model's context, by a cautious estimate; only what could be too long is counted."""
    room = context_tokens - min(reply_tokens, context_tokens // 2)
    return sum(map(len, texts)) <= room or sum(map(estimate_tokens, texts)) <= room


class Conversations:
    """The last answers of the newest conversations, bounded."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._last: OrderedDict[bytes, LastAnswer] = OrderedDict()

    def last(self, place: Place) -> LastAnswer | None:
        """Who answered before this request; None where that is not known."""
        return None if place.before is None else self._last.get(place.before)

    def note(self, place: Place, answer: LastAnswer) -> None:
        """Who answers this request."""
        self._last[place.now] = answer
        self._last.move_to_end(place.now)
        if len(self._last) > self._limit:
            self._last.popitem(last=False)


def known_decision(decision_id: str | None) -> DecisionId | None:
    """As it stands beside a stored answer."""
    return None if decision_id is None else DecisionId(decision_id)


def _add(said: "hashlib.blake2b", message: str) -> None:
    said.update(f"{len(message)}\0{message[:READ_CHARS]}\0".encode(errors="surrogatepass"))
