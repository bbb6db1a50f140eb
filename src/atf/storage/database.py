"""The connection to PostgreSQL: one URL in any spelling, one engine, transactions, and errors in our terms."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import psycopg
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from atf.errors import (
    AtfError,
    ConfigurationError,
    DatabaseUnavailable,
    Forbidden,
    IllegalTransition,
    InvariantViolation,
    TransactionConflict,
    UnstorableData,
)
from atf.security.caller import Caller, acting_caller
from atf.storage.sent_arrays import register_columns

MINIMUM_SERVER_VERSION: Final = 150000

# Whose doing a change is, for the audit log: a service's, unless the transaction says that it is a user's.
_AS_SERVICE: Final = "-c atf.actor=atf -c atf.origin=system"
_ACTING: Final = text(
    "SELECT set_config('atf.actor_id', :user_id, true), set_config('atf.actor', :name, true), "
    "set_config('atf.origin', :origin, true), set_config('atf.address', :address, true)"
)
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
    except (ArgumentError, ValueError) as exc:  # ValueError: the port is not a number
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
        self.limits = limits = limits or DatabaseLimits()
        self.url = parse_url(url)
        self.direct_url = plain_url(direct_url or url)
        register_columns()
        self.engine: AsyncEngine = create_async_engine(
            self.url,
            pool_size=limits.pool_size,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,  # an error that comes into a log has no messages of people in it
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
                if (caller := acting_caller()) is not None:
                    await connection.execute(_ACTING, _acting(caller))
                yield connection

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection on which each statement is a transaction: for one alone, it saves two round trips.

        Errors: those of ``translate``.
        """
        with database_errors():
            async with self.engine.connect() as connection:
                yield await connection.execution_options(isolation_level="AUTOCOMMIT")

    async def connect(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        """Open a connection beside the pool, in autocommit mode and with the pool's limits; the caller closes it.

        Errors: psycopg's own.
        """
        arguments = _connect_arguments(self.limits)
        url = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
        return await psycopg.AsyncConnection.connect(url, autocommit=True, **arguments)

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


def _acting(caller: Caller) -> dict[str, str]:
    return {
        "user_id": str(caller.user_id),
        "name": caller.name,
        "origin": caller.origin,
        "address": caller.address or "",
    }


def _connect_arguments(limits: DatabaseLimits) -> dict[str, Any]:
    statement = int(limits.statement_timeout.total_seconds() * 1000)
    lock = int(limits.lock_timeout.total_seconds() * 1000)
    return {
        "connect_timeout": 10,
        # A network that swallows everything is noticed in half a minute; the kernel's own time is a quarter of an
        # hour for what was sent, and two hours for who only listens.
        "tcp_user_timeout": 30_000,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "options": f"-c statement_timeout={statement} -c lock_timeout={lock} -c timezone=UTC {_AS_SERVICE}",
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
    except PoolTimeout as exc:
        raise DatabaseUnavailable("all connections of this process are in use; none was free in time") from exc
    except UnicodeEncodeError as exc:
        raise UnstorableData(f"the text cannot be stored: {exc.reason}") from exc


# The first two characters of an SQLSTATE are its class; a whole one goes before its class.
_BY_SQLSTATE: Final[Mapping[str, tuple[type[AtfError], str]]] = {
    "ATF01": (IllegalTransition, "{}"),
    "ATF02": (Forbidden, "{}"),
    "22": (UnstorableData, "the database refuses the data: {}"),
    "23": (InvariantViolation, "the database refuses the statement: {}"),
    "28": (ConfigurationError, "ATF_DATABASE_URL: the database refuses this user or password ({})"),
    "3D000": (ConfigurationError, "ATF_DATABASE_URL: {}; create it with `createdb`"),
    "40001": (TransactionConflict, "{}"),
    "40P01": (TransactionConflict, "{}"),
    "42": (InvariantViolation, "the database refuses the statement: {}"),
    "42P01": (ConfigurationError, "the database lacks a table ({}): run `atf db migrate`"),
    "53100": (DatabaseUnavailable, "the database's disk is full: free space there; nothing stored is lost"),
    "54": (UnstorableData, "the database refuses the data: {}"),
    "55P03": (DatabaseUnavailable, "what is needed stays locked by another transaction: {}"),
    "57014": (DatabaseUnavailable, "a statement took too long or was cancelled: {}"),
}

# libpq gives no SQLSTATE to what goes wrong before a session exists.
_BY_TEXT: Final[Mapping[re.Pattern[str], str]] = {
    re.compile(
        r'authentication failed|no password supplied|no pg_hba\.conf entry|role ".*" does not exist'
    ): "28",
    re.compile(r'database ".*" does not exist'): "3D000",
}
_WRONG_OPTION: Final = re.compile("invalid connection option|invalid URI query parameter")


def translate(error: psycopg.Error | None, text: str) -> AtfError:
    """Return our error for one of the driver's, chosen by SQLSTATE.

    40001 and 40P01 repeat the transaction at once. 22xxx, 54xxx (too long, too deep) and NUL bytes are the
    data's fault. 28xxx, 3D000 and options that libpq does not know are settings. A statement or a wait for a
    lock that the limits ended (57014, 55P03) is tried again with back-off and not at once, as whoever is slow
    will be so a little longer; so is everything that says nothing about the statement.
    """
    first_line = text.strip().splitlines()[0] if text.strip() else "no answer"
    state = (error.sqlstate if error else None) or _state_by_text(text)
    if not state and isinstance(error, psycopg.DataError):
        state = "22"
    if not state and _WRONG_OPTION.search(text):
        return ConfigurationError(f"ATF_DATABASE_URL: {first_line}")
    silent = (DatabaseUnavailable, "the database does not answer: {}")
    kind, sentence = _BY_SQLSTATE.get(state) or _BY_SQLSTATE.get(state[:2]) or silent
    return kind(sentence.format(first_line))


def _state_by_text(text: str) -> str:
    return next((state for pattern, state in _BY_TEXT.items() if pattern.search(text)), "")
