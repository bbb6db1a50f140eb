"""Fixtures with a real PostgreSQL: one server a test run, one fresh database a test.

Use them with ``pytest_plugins = ["atf.testing.pytest_plugin"]``; they need pytest-xdist and pytest-asyncio.
All processes of a run share the server through its reference count; the last one out stops it. The
environment variable ATF_TEST_PG_BINDIR names the programs of another PostgreSQL than the one in the wheel.
"""

import asyncio
import fcntl
import gc
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from atf.storage import migrate
from atf.storage.database import Database, plain_url
from atf.storage.embedded import ClusterHandle, EmbeddedCluster

TEMPLATE = "template_atf"
BINDIR = os.environ.get("ATF_TEST_PG_BINDIR")


def cluster_in(home: Path) -> EmbeddedCluster:
    """A cluster of the PostgreSQL that is tested; its folder must be open to the account that runs it."""
    return EmbeddedCluster(home, pg_user=None, pg_bindir=Path(BINDIR) if BINDIR else None, allow_nobody=True)


def pytest_collection_finish() -> None:
    """Keep what is loaded by now out of the collections to come."""
    _collect()


def _collect() -> None:
    """Collect garbage. What is left is alive: looking through it again would take longer than most tests do."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def cluster(testrun_uid: str) -> Iterator[ClusterHandle]:
    """The server of this test run."""
    # Not pytest's own temporary folder: it is closed to the account that PostgreSQL runs as under root.
    home = Path(tempfile.gettempdir()) / f"atf-test-{testrun_uid[:12]}"
    home.mkdir(exist_ok=True, mode=0o755)
    handle = cluster_in(home).acquire()
    try:
        _make_template(home, handle)
        yield handle
    finally:
        if handle.release():
            shutil.rmtree(home)


def _make_template(home: Path, handle: ClusterHandle) -> None:
    with (home / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with psycopg.connect(plain_url(handle.url("postgres")), autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [TEMPLATE])
            if found.fetchone() is not None:
                return
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):  # nobody needs this data again
                connection.execute(f"ALTER SYSTEM SET {setting} = off")
            connection.execute("SELECT pg_reload_conf()")
            connection.execute(f"CREATE DATABASE {TEMPLATE}")
        migrate.upgrade(handle.url(TEMPLATE))


@pytest.fixture
def own_cluster() -> Iterator[EmbeddedCluster]:
    """A cluster that belongs to one test, which may kill it."""
    home = Path(tempfile.mkdtemp(prefix="atf-own-"))
    home.chmod(0o755)
    own = cluster_in(home)
    try:
        yield own
    finally:
        own.stop(force=True)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def empty_database_url(cluster: ClusterHandle) -> Iterator[str]:
    """A database without a schema."""
    yield from _temporary_database(cluster, "template1")


@pytest.fixture
def database_url(cluster: ClusterHandle) -> Iterator[str]:
    """A database with the schema of this version."""
    yield from _temporary_database(cluster, TEMPLATE)


def _temporary_database(cluster: ClusterHandle, template: str) -> Iterator[str]:
    name = f"test_{os.getpid()}_{uuid4().hex[:8]}"
    admin = plain_url(cluster.url("postgres"))
    with psycopg.connect(admin, autocommit=True) as connection:
        # Without fsync copying files is three times as fast as logging each page.
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    try:
        yield cluster.url(name)
    finally:
        # A connection whose opening was cancelled stays open until it is collected; its backend then waits for
        # a password that nobody sends, and DROP DATABASE waits for that backend.
        _collect()
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open database with the schema of this version."""
    opened = Database(database_url)
    yield opened
    await opened.close()
    await asyncio.sleep(0)
