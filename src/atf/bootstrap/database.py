"""The database of a process: the one that a setting names, or ATF's own, kept alive while it is used."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar

from atf.bootstrap.master_keys import build_master_keys
from atf.errors import AtfError
from atf.settings import Settings
from atf.storage.database import Database, DatabaseLimits, parse_url, plain_url
from atf.storage.embedded import ClusterHandle, EmbeddedCluster
from atf.storage.schema_version import schema_version, version_of
from atf.storage.secrets_repository import master_key_id

T = TypeVar("T")
_LOGGER = logging.getLogger(__name__)
_CHECK_SECONDS: Final = 2.0


def embedded_cluster(settings: Settings) -> EmbeddedCluster:
    """Return ATF's own PostgreSQL of these settings, not started yet."""
    return EmbeddedCluster(
        settings.home,
        pg_user=settings.pg_user,
        pg_bindir=settings.pg_bindir,
        allow_nobody=settings.pg_allow_nobody,
    )


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
    """Yield the URL of the configured database; ATF's own runs at least as long as this lasts."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    with embedded_cluster(settings).acquire() as handle:
        yield handle.url()


@contextmanager
def libpq_url(settings: Settings) -> Iterator[str]:
    """Yield the URL as psql and pg_dump read it, password included."""
    with database_url(settings) as url:
        yield plain_url(url)


def start_embedded(settings: Settings) -> None:
    """Start ATF's own PostgreSQL and leave it running when this process ends."""
    embedded_cluster(settings).keep_running()


def stop_embedded(settings: Settings, *, force: bool) -> bool:
    """Stop ATF's own PostgreSQL; return whether it ran. Errors: Conflict if processes use it."""
    return embedded_cluster(settings).stop(force=force)


def psql_program(settings: Settings) -> str | None:
    """Return the psql that belongs to ATF's own server; None for a database that ATF does not run.

    The wheel's psql has no TLS, which a server elsewhere may require.
    """
    if settings.database_url is not None:
        return None
    with embedded_cluster(settings).acquire() as handle:
        return str(handle.bindir / "psql")


def describe_database(settings: Settings) -> dict[str, object]:
    """Return what is known of the database; ATF's own is not started for it."""
    if settings.database_url is not None:
        version = schema_version(settings.database_url)
        shown = parse_url(settings.database_url).render_as_string(hide_password=True)
        return {"kind": "external", "running": True, "url": shown, **asdict(version)}
    cluster = embedded_cluster(settings)
    status = cluster.status()
    fields = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(status).items()}
    if not status.running:
        return {"kind": "embedded", **fields}
    with cluster.acquire() as handle:
        return {"kind": "embedded", **fields, **asdict(schema_version(handle.url()))}


@asynccontextmanager
async def open_database(settings: Settings, *, needs_key: bool = True) -> AsyncIterator[Database]:
    """Open the configured database, with the schema of this version and the master key that fits to it.

    ``needs_key`` is false only for who is going to say another key. Errors: ConfigurationError that names the
    setting or the command that helps; nothing has been changed then.
    """
    if settings.database_url is not None:
        async with _connected(settings, settings.database_url, needs_key=needs_key) as database:
            yield database
        return
    handle = await _acquire(settings)
    keeper = asyncio.create_task(_keep_alive(handle), name="keeper of the embedded database")
    try:
        async with _connected(settings, handle.url(), needs_key=needs_key) as database:
            yield database
    finally:
        keeper.cancel()
        await asyncio.wait({keeper})
        await asyncio.shield(asyncio.to_thread(handle.release))


async def _acquire(settings: Settings) -> ClusterHandle:
    """Take a reference in a thread; a cancellation meanwhile gives it back, or the server would stay for ever."""
    acquiring = asyncio.create_task(asyncio.to_thread(embedded_cluster(settings).acquire))
    try:
        return await uninterrupted(acquiring)
    except asyncio.CancelledError:
        if acquiring.exception() is None:
            await asyncio.to_thread(acquiring.result().release)
        raise


async def uninterrupted(work: Awaitable[T]) -> T:
    """Await work that must come to its own end, such as a thread; a cancellation takes effect after it."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


@asynccontextmanager
async def _connected(settings: Settings, url: str, *, needs_key: bool) -> AsyncIterator[Database]:
    limits = DatabaseLimits(
        settings.database_pool_size,
        timedelta(seconds=settings.database_statement_timeout_seconds),
        timedelta(seconds=settings.database_lock_timeout_seconds),
    )
    database = Database(url, direct_url=settings.database_direct_url, limits=limits)
    try:
        await database.check_server()
        async with database.transaction() as connection:
            version = await connection.run_sync(version_of)
            key_id = await connection.run_sync(master_key_id)
        version.require_current()
        if needs_key:
            build_master_keys(settings).require(key_id)
        yield database
    finally:
        await database.close()


async def _keep_alive(handle: ClusterHandle) -> None:
    """Revive a server that was killed: whoever of the processes looks first does it, under the cluster's lock."""
    while True:
        await asyncio.sleep(_CHECK_SECONDS)
        try:
            if await asyncio.to_thread(handle.ensure):
                _LOGGER.warning("the embedded database was down and has been started again")
        except AtfError as exc:
            _LOGGER.error("the embedded database cannot be started: %s", exc)
