"""All stores over one database."""

from typing import Protocol

from tandem.ports.common import EventLog
from tandem.ports.jobs import JobStore
from tandem.ports.responses import ResponseStore
from tandem.ports.schedules import Retention, ScheduleStore
from tandem.ports.threads import DecisionLog, KeyStore, ThreadStore
from tandem.ports.webhooks import Outbox, WebhookStore
from tandem.ports.work import JobWork


class Storage(Protocol):
    """All stores over one database."""

    @property
    def jobs(self) -> JobStore: ...
    @property
    def work(self) -> JobWork: ...
    @property
    def events(self) -> EventLog: ...
    @property
    def threads(self) -> ThreadStore: ...
    @property
    def keys(self) -> KeyStore: ...
    @property
    def decisions(self) -> DecisionLog: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def webhooks(self) -> WebhookStore: ...
    @property
    def schedules(self) -> ScheduleStore: ...
    @property
    def responses(self) -> ResponseStore: ...
    @property
    def retention(self) -> Retention: ...

    async def migrate(self) -> None:
        """Bring the schema to this code's version; safe when several processes do it at once."""
        ...

    async def check(self) -> None:
        """Raises ``StorageUnavailable`` or ``StorageNotMigrated``."""
        ...

    async def close(self) -> None: ...
