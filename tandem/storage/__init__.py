"""The truth over SQLite or PostgreSQL: jobs, threads, events, keys, decisions, webhooks, schedules, files, memories, the audit log and the rest."""

import time

from tandem.ids import IdFactory
from tandem.ports import Storage
from tandem.settings import Settings
from tandem.storage.engine import Database
from tandem.storage.sql import SqlStorage

__all__ = ["open_storage"]


def open_storage(settings: Settings, *, ids: IdFactory | None = None) -> Storage:
    """The stores over ``settings.database_url``; connects at first use, so a database that is away shows at the first call.

    Args:
        settings: Where the database is, and how durable.
        ids: Makes the ids of messages and deliveries.
    """
    ids = ids or IdFactory(now_ms=lambda: time.time_ns() // 1_000_000)
    return SqlStorage(Database(settings.database_url, settings.database), ids, settings.retention)
