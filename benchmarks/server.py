"""ATF's own PostgreSQL in a temporary home, durable as users have it, and gone afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import psycopg

from atf.storage import migrate
from atf.storage.database import Database, plain_url
from atf.storage.embedded import ClusterHandle, EmbeddedCluster
from benchmarks.measure import BenchmarkError

_DURABLE: Final = ("fsync", "synchronous_commit", "full_page_writes")


class BenchServer:
    """One running server; each database on it has the schema of this version."""

    def __init__(self, handle: ClusterHandle) -> None:
        self._handle = handle

    @asynccontextmanager
    async def database(self, name: str, *, copy_of: str | None = None) -> AsyncIterator[Database]:
        """Yield a new database, or a copy of one that nobody is connected to."""
        await self.execute("postgres", f"CREATE DATABASE {name} TEMPLATE {copy_of or 'template1'}")
        url = self._handle.url(name)
        if copy_of is None:
            await asyncio.to_thread(migrate.upgrade, url)
        database = Database(url)
        try:
            yield database
        finally:
            await database.close()

    async def execute(self, name: str, *statements: str) -> None:
        """Execute statements that must not run within a transaction."""
        async with await psycopg.AsyncConnection.connect(self.url(name), autocommit=True) as connection:
            for statement in statements:
                await connection.execute(statement.encode())

    def url(self, name: str) -> str:
        """Return the URL of a database as psycopg reads it."""
        return plain_url(self._handle.url(name))

    async def settle(self, name: str) -> None:
        """Leave the next contender neither stale statistics nor somebody else's dirty pages."""
        await self.execute(name, "VACUUM (ANALYZE)", "CHECKPOINT")

    async def version(self) -> str:
        """Return the server's version. Errors: BenchmarkError if it is not durable."""
        async with await psycopg.AsyncConnection.connect(self.url("postgres")) as connection:
            for setting in (*_DURABLE, "server_version"):
                cursor = await connection.execute(f"SHOW {setting}".encode())
                (value,) = await cursor.fetchone() or ("",)
                if setting in _DURABLE and value != "on":
                    raise BenchmarkError(f"{setting} is {value}: figures would not be those of users")
        return str(value)


def temporary_folder() -> Path:
    """Make a folder on a disk, if there is one: /tmp is often memory, which syncs in no time.

    It is open to the account that runs PostgreSQL under root.
    """
    permanent = Path("/var/tmp")
    parent = permanent if permanent.is_dir() and os.access(permanent, os.W_OK) else Path(tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix="atf-bench-", dir=parent))
    folder.chmod(0o755)
    return folder


@asynccontextmanager
async def running_server(folder: Path) -> AsyncIterator[BenchServer]:
    """Run a server below ``folder``; afterwards it is stopped and its files are gone."""
    home = folder / "home"
    bindir = os.environ.get("ATF_PG_BINDIR")
    cluster = EmbeddedCluster(
        home,
        pg_user=os.environ.get("ATF_PG_USER"),
        pg_bindir=Path(bindir) if bindir else None,
        allow_nobody=True,
    )
    try:
        handle = await asyncio.to_thread(cluster.acquire)
        try:
            yield BenchServer(handle)
        finally:
            await asyncio.shield(asyncio.to_thread(handle.release))
    finally:
        with contextlib.suppress(FileNotFoundError):
            await asyncio.to_thread(cluster.stop, force=True)
        shutil.rmtree(home, ignore_errors=True)
