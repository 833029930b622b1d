"""Following the append-only logs: wake-ups between processes, and the tail that turns them into events."""

from tandem.errors import DependencyMissing
from tandem.events.feeds import Feeds
from tandem.events.memory import MemoryNotifier
from tandem.ports import Notifier
from tandem.settings import Settings

__all__ = ["Feeds", "MemoryNotifier", "open_notifier"]


def open_notifier(settings: Settings) -> Notifier:
    """The notifier over ``settings.redis_url``; connects at first use, and never fails for a Redis that is away.

    Raises:
        DependencyMissing: The ``redis`` library is not installed.
    """
    try:
        from tandem.events.redis_hints import RedisNotifier  # noqa: PLC0415 - an extra: whoever only reads logs needs no redis
    except ModuleNotFoundError as error:
        raise DependencyMissing(f"the library {error.name!r} is not installed; pip install 'tandem-agents[gateway]'") from None
    return RedisNotifier(settings)
