"""All stores over one SQL database, and the state of its schema."""

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tandem.errors import StorageNotMigrated
from tandem.ids import IdFactory
from tandem.settings import RetentionSettings
from tandem.storage.audit import SqlAuditLog
from tandem.storage.decisions import SqlDecisionLog
from tandem.storage.engine import Database
from tandem.storage.events import SqlEventLog
from tandem.storage.files import SqlFileStore
from tandem.storage.jobs import SqlJobStore
from tandem.storage.keys import SqlKeyStore
from tandem.storage.memories import SqlMemoryStore
from tandem.storage.outbox import SqlOutbox
from tandem.storage.outcomes import SqlOutcomeStore
from tandem.storage.policies import SqlPolicyStore
from tandem.storage.responses import SqlResponseStore
from tandem.storage.retention import SqlRetention
from tandem.storage.schedules import SqlScheduleStore
from tandem.storage.tables import SCHEMA_VERSION
from tandem.storage.threads import SqlThreadStore
from tandem.storage.tool_board import SqlToolBoard
from tandem.storage.webhooks import SqlWebhookStore
from tandem.storage.work import SqlJobWork


class SqlStorage:
    """Implements ``Storage``; one ``Database`` below all stores."""

    def __init__(self, database: Database, ids: IdFactory, retention: RetentionSettings) -> None:
        self._database = database
        self.jobs = SqlJobStore(database, ids)
        self.work = SqlJobWork(database, ids)
        self.events = SqlEventLog(database)
        self.threads = SqlThreadStore(database, ids)
        self.keys = SqlKeyStore(database)
        self.decisions = SqlDecisionLog(database)
        self.outcomes = SqlOutcomeStore(database)
        self.policies = SqlPolicyStore(database)
        self.outbox = SqlOutbox(database, ids)
        self.webhooks = SqlWebhookStore(database, ids)
        self.schedules = SqlScheduleStore(database)
        self.responses = SqlResponseStore(database)
        self.files = SqlFileStore(database)
        self.memories = SqlMemoryStore(database)
        self.audit = SqlAuditLog(database)
        self.tools = SqlToolBoard(database)
        self.retention = SqlRetention(database, retention)

    async def migrate(self) -> None:
        try:
            await self.check()
        except StorageNotMigrated:
            await self._database.write(self._upgrade)

    async def check(self) -> None:
        version = await self._database.row(select(text("version_num")).select_from(text("alembic_version")))
        if version is None or version["version_num"] != SCHEMA_VERSION:
            found = None if version is None else version["version_num"]
            raise StorageNotMigrated(
                f"the database has schema version {found!r} and this code needs {SCHEMA_VERSION!r}; start Tandem with `tandem up`, which migrates it"
            )

    async def close(self) -> None:
        await self._database.close()

    async def _upgrade(self, connection: AsyncConnection) -> None:
        # Alembic takes 10 MB, which a process on a migrated database need not carry.
        from tandem.storage.migrations import upgrade  # noqa: PLC0415

        # Held until the commit; whoever waited for it finds the schema done and changes nothing.
        await self._database.lock(connection, "migrate")
        await connection.run_sync(upgrade)
