"""Numbered migrations, run from code: no ``alembic.ini``, no command line.

``versions/`` holds one file per migration; ``env.py`` is what Alembic runs to find its connection.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from tandem.errors import StorageNotMigrated


def upgrade(connection: Connection) -> None:
    """Bring the schema to the newest version inside the caller's transaction.

    Raises:
        StorageNotMigrated: A later version of Tandem has migrated this database; it is left as it is.
    """
    try:
        command.upgrade(migration_config(connection), "head")
    except CommandError as error:
        raise StorageNotMigrated(f"cannot migrate the database: {error}; run the version of Tandem that wrote it, or a newer one") from error


def migration_config(connection: Connection) -> Config:
    """Alembic's configuration over an open connection."""
    config = Config()
    # Alembic reads % in a path as interpolation.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
