"""Opening a notifier."""

import sys

import pytest

from tandem.errors import DependencyMissing
from tandem.events import open_notifier
from tandem.events.redis_hints import RedisNotifier
from tandem.settings import Settings


async def test_a_notifier_opens_without_a_server() -> None:
    notifier = open_notifier(Settings())
    assert isinstance(notifier, RedisNotifier)
    await notifier.close()


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tandem.events.redis_hints", raising=False)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(DependencyMissing, match="tandem-agents"):
        open_notifier(Settings())
