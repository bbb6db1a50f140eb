"""Which schema a database has and which one this code needs.

Every command asks this when it starts, so it is read without alembic, whose import alone would make each of them
wait; migrating itself is in ``storage.migrate``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from atf.errors import ConfigurationError
from atf.storage.database import database_errors, parse_url

MIGRATIONS: Final = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """Which revision a database has and which one this code needs."""

    current: str | None
    head: str

    @property
    def is_current(self) -> bool:
        """Whether the code and the database fit."""
        return self.current == self.head

    def require_current(self) -> None:
        """Raise ConfigurationError with the command that helps unless the code and the database fit."""
        self.refuse_newer()
        if not self.is_current:
            raise ConfigurationError(
                f"the database has schema {self.current or 'none'} and this ATF needs {self.head}: "
                "run `atf db migrate`"
            )

    def refuse_newer(self) -> None:
        """Raise ConfigurationError if a newer ATF has made the database."""
        if self.current is not None and self.current not in known_revisions():
            raise ConfigurationError(
                f"the database was made by a newer ATF (schema {self.current}; this one knows up to "
                f"{self.head}): install that version again"
            )


@cache
def known_revisions() -> tuple[str, ...]:
    """Return this code's revisions, oldest first: a migration is named after its own, v0010_last_seen.py."""
    files = sorted(MIGRATIONS.glob("versions/v*.py"))
    return tuple(file.stem.removeprefix("v").partition("_")[0] for file in files)


def schema_version(url: str) -> SchemaVersion:
    """Return the revision of a database and of this code."""
    with database_errors(), create_engine(parse_url(url), poolclass=NullPool).connect() as connection:
        return version_of(connection)


def version_of(connection: Connection) -> SchemaVersion:
    """Return the revision of the connection's database and of this code."""
    is_marked = connection.execute(text("SELECT to_regclass('alembic_version') IS NOT NULL")).scalar_one()
    marked = connection.execute(text("SELECT version_num FROM alembic_version")) if is_marked else None
    return SchemaVersion(marked.scalar_one_or_none() if marked is not None else None, known_revisions()[-1])
