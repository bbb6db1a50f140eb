"""A database for one occasion, beside the user's on the same server, and gone afterwards."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import uuid4

import psycopg
from psycopg import errors, sql

from atf.errors import ConfigurationError
from atf.storage import migrate
from atf.storage.database import database_errors, parse_url, plain_url

_LOGGER = logging.getLogger(__name__)
_NAME: Final = "atf_replay"
_LOCK: Final = 0x41_54_46_05
"""Held from cleaning up until one's own database is seen to be in use, so that nobody takes it for a leftover."""

_LEFTOVERS: Final = """
    SELECT datname FROM pg_database d
    WHERE starts_with(datname, %s) AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)"""

Connection = psycopg.Connection[tuple[Any, ...]]


@contextmanager
def scratch_database(url: str) -> Iterator[str]:
    """Make a database with this version's schema, yield its URL and drop it, whatever happens meanwhile.

    What a killed process left behind is dropped when the next one begins.

    Errors: ConfigurationError if the server does not let this user make one.
    """
    with database_errors(), _connection(url) as server:
        server.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        prefix = f"{_NAME}_{_oid(server)}_"  # the lock is the database's, and so are the names that it guards
        _drop_leftovers(server, prefix)
        name = prefix + uuid4().hex[:8]
        scratch = parse_url(url).set(database=name).render_as_string(hide_password=False)
        try:
            _create(server, name)
            with _connection(scratch):
                server.close()  # and with it the lock
                migrate.upgrade(scratch)
                yield scratch
        finally:
            _drop(url, name)


def _connection(url: str) -> Connection:
    return psycopg.connect(plain_url(url), autocommit=True, connect_timeout=10)


def _oid(server: Connection) -> int:
    row = server.execute("SELECT oid FROM pg_database WHERE datname = current_database()").fetchone()
    return int(row[0]) if row else 0


def _create(server: Connection, name: str) -> None:
    """Nobody needs what is in it after a crash, so commits need not wait for the disk."""
    identifier = sql.Identifier(name)
    try:
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(identifier))
    except (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction) as exc:
        raise ConfigurationError(
            f"ATF_DATABASE_URL: user '{server.info.user}' may not make the scratch database that this needs "
            f"({str(exc).splitlines()[0]}): let an administrator say ALTER ROLE {server.info.user} CREATEDB, "
            "or name another server"
        ) from exc
    server.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(identifier))


def _drop_leftovers(server: Connection, prefix: str) -> None:
    for (name,) in server.execute(_LEFTOVERS, [prefix]).fetchall():
        try:
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        except psycopg.Error as exc:  # somebody else's, or in use after all; it harms nobody
            _LOGGER.info("the scratch database %s stays: %s", name, exc)


def _drop(url: str, name: str) -> None:
    """Drop it over a connection of its own, as the one that made it may be broken by now."""
    try:
        with _connection(url) as server:
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    except psycopg.Error as exc:
        _LOGGER.warning("the scratch database %s could not be dropped, the next replay will do it: %s", name, exc)
