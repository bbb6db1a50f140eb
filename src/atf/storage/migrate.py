"""Bring a database to the schema of this version, and say which schema a database has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from atf.errors import ConfigurationError
from atf.storage.database import database_errors, parse_url

# One key for "somebody migrates": two services that start together wait for each other instead of colliding.
_MIGRATION_LOCK = 0x41_54_46_01


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """Which revision a database has and which one this code needs."""

    current: str | None
    head: str

    @property
    def is_current(self) -> bool:
        """Whether the code and the database fit."""
        return self.current == self.head


def upgrade(url: str) -> SchemaVersion:
    """Migrate the database to this version's schema and return the versions before it ran.

    Errors: ConfigurationError if the database was made by a newer ATF.
    """
    with database_errors(), _connect(url) as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
        connection.commit()
        before = _version(connection)
        _refuse_newer(before)
        if not before.is_current:
            command.upgrade(_config(connection), "head")
            connection.commit()
        return before


def schema_version(url: str) -> SchemaVersion:
    """Return the revision of the database and of this code."""
    with database_errors(), _connect(url) as connection:
        return _version(connection)


def require_current_schema(url: str) -> None:
    """Raise ConfigurationError unless the database has exactly this version's schema."""
    version = schema_version(url)
    _refuse_newer(version)
    if not version.is_current:
        raise ConfigurationError(
            f"the database has schema {version.current or 'none'} and this ATF needs {version.head}: "
            "run `atf db migrate`"
        )


def _connect(url: str) -> Connection:
    engine = create_engine(parse_url(url), poolclass=NullPool)
    return engine.connect()


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _version(connection: Connection) -> SchemaVersion:
    head = ScriptDirectory.from_config(_config()).get_current_head()
    current = MigrationContext.configure(connection).get_current_revision()
    connection.commit()
    return SchemaVersion(current, head or "")


def _refuse_newer(version: SchemaVersion) -> None:
    if version.current is None:
        return
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if version.current not in known:
        raise ConfigurationError(
            f"the database was made by a newer ATF (schema {version.current}; this one knows up to "
            f"{version.head}): install that version again"
        )
