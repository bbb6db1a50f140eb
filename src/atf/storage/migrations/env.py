"""Alembic's environment: it always works on the connection that ``storage.migrate`` hands over."""

from alembic import context

from atf.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
