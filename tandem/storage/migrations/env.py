"""Run by Alembic: applies the migrations over the connection and in the transaction it was given."""

from alembic import context

from tandem.storage.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
