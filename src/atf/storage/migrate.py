"""Bring a database to the schema of this version."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from atf.storage.database import database_errors, parse_url
from atf.storage.schema_version import MIGRATIONS, SchemaVersion, version_of

# One key for "somebody migrates": two services that start together wait for each other instead of colliding.
_MIGRATION_LOCK = 0x41_54_46_01


def upgrade(url: str) -> SchemaVersion:
    """Migrate the database to this version's schema and return the versions before it ran.

    Errors: ConfigurationError if the database was made by a newer ATF.
    """
    with database_errors(), create_engine(parse_url(url), poolclass=NullPool).connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
        connection.commit()
        before = version_of(connection)
        connection.commit()
        before.refuse_newer()
        if not before.is_current:
            command.upgrade(_config(connection), "head")
            connection.commit()
        return before


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
