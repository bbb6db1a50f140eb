"""The connection to PostgreSQL: one URL in any spelling, one engine, transactions, and errors in our terms."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import psycopg
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from atf.errors import (
    AtfError,
    ConfigurationError,
    DatabaseUnavailable,
    InvariantViolation,
    TransactionConflict,
    UnstorableData,
)

MINIMUM_SERVER_VERSION: Final = 150000

_DRIVERS: Final = {
    "postgres",
    "postgresql",
    "postgresql+psycopg",
    "postgresql+psycopg_async",
    "postgresql+asyncpg",
    "postgresql+psycopg2",
}


def parse_url(url: str) -> URL:
    """Return the URL with our driver, whatever driver it was spelt for.

    Errors: ConfigurationError that names the setting, without the password.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise ConfigurationError(
            "ATF_DATABASE_URL: not a database URL; write postgresql://user:password@host:5432/name"
        ) from exc
    if parsed.drivername not in _DRIVERS:
        raise ConfigurationError(
            f"ATF_DATABASE_URL: '{parsed.drivername}' is not supported; "
            "ATF stores in PostgreSQL only, write postgresql://user:password@host:5432/name"
        )
    return parsed.set(drivername="postgresql+psycopg")


def plain_url(url: str) -> str:
    """Return the URL as libpq reads it (for psql, pg_dump and psycopg itself), with its password."""
    return parse_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@dataclass(frozen=True, slots=True)
class DatabaseLimits:
    """How many connections a process keeps and how long a statement may take."""

    pool_size: int = 5
    statement_timeout: timedelta = timedelta(seconds=30)
    lock_timeout: timedelta = timedelta(seconds=10)


class Database:
    """An engine and its transactions. Connections are tested before use, so a restarted server heals."""

    def __init__(self, url: str, *, direct_url: str | None = None, limits: DatabaseLimits | None = None) -> None:
        limits = limits or DatabaseLimits()
        self.url = parse_url(url)
        self.direct_url = plain_url(direct_url or url)
        self.engine: AsyncEngine = create_async_engine(
            self.url,
            pool_size=limits.pool_size,
            max_overflow=0,
            pool_pre_ping=True,
            pool_timeout=limits.statement_timeout.total_seconds(),
            connect_args=_connect_arguments(limits),
        )

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction; commit at the end, roll back on an error.

        Errors: those of ``translate``.
        """
        with database_errors():
            async with self.engine.begin() as connection:
                yield connection

    async def check_server(self) -> None:
        """Raise ConfigurationError if the server is too old for ATF."""
        async with self.transaction() as connection:
            number = int((await connection.execute(text("SHOW server_version_num"))).scalar_one())
        if number < MINIMUM_SERVER_VERSION:
            raise ConfigurationError(
                f"the database server is version {number // 10000}; ATF needs PostgreSQL 15 or newer"
            )

    async def close(self) -> None:
        """Close all connections; harmless when repeated."""
        await self.engine.dispose()


def _connect_arguments(limits: DatabaseLimits) -> dict[str, Any]:
    statement = int(limits.statement_timeout.total_seconds() * 1000)
    lock = int(limits.lock_timeout.total_seconds() * 1000)
    return {
        "connect_timeout": 10,
        "options": f"-c statement_timeout={statement} -c lock_timeout={lock} -c timezone=UTC",
    }


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn the driver's errors into ours, so that rooms above never see SQLAlchemy."""
    try:
        yield
    except DBAPIError as exc:
        raise translate(exc.orig if isinstance(exc.orig, psycopg.Error) else None, str(exc.orig)) from exc
    except psycopg.Error as exc:
        raise translate(exc, str(exc)) from exc
    except UnicodeEncodeError as exc:
        raise UnstorableData(f"the text cannot be stored: {exc.reason}") from exc


def translate(error: psycopg.Error | None, text: str) -> AtfError:
    """Return our error for one of the driver's, chosen by SQLSTATE.

    40001 and 40P01 repeat the transaction, 22xxx and NUL bytes are the data's fault, 28xxx and 3D000 are
    settings; everything that says nothing about the statement is a database that cannot be reached now.
    """
    state = (error.sqlstate if error else None) or ""
    first_line = text.strip().splitlines()[0] if text.strip() else "no answer"
    if state in ("40001", "40P01"):
        return TransactionConflict(first_line)
    if state.startswith("22") or (isinstance(error, psycopg.DataError) and not state):
        return UnstorableData(f"the database refuses the data: {first_line}")
    if state.startswith("28") or "password authentication failed" in text:
        return ConfigurationError(f"ATF_DATABASE_URL: the database refuses this user or password ({first_line})")
    if state == "3D000" or ("does not exist" in text and "database" in text and not state):
        return ConfigurationError(f"ATF_DATABASE_URL: {first_line}; create it with `createdb`")
    if state == "53100":
        return DatabaseUnavailable("the database's disk is full: free space there; nothing stored is lost")
    if state == "42P01":
        return ConfigurationError(f"the database lacks a table ({first_line}): run `atf db migrate`")
    if state[:2] in ("23", "42"):
        return InvariantViolation(f"the database refuses the statement: {first_line}")
    return DatabaseUnavailable(f"the database does not answer: {first_line}")
