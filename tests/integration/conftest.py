"""A real PostgreSQL for every test: one server a test run, one fresh database a test.

All processes of a run share the server through its reference count; the last one out stops it.
"""

import asyncio
import fcntl
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


@pytest.fixture(scope="session")
def cluster(testrun_uid: str) -> Iterator[ClusterHandle]:
    # Not pytest's own temporary folder: it is closed to the account that PostgreSQL runs as under root.
    home = Path(tempfile.gettempdir()) / f"atf-test-{testrun_uid[:12]}"
    home.mkdir(exist_ok=True, mode=0o755)
    handle = EmbeddedCluster(home, pg_user=None, pg_bindir=None, allow_nobody=True).acquire()
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
            connection.execute(f"CREATE DATABASE {TEMPLATE}")
        migrate.upgrade(handle.url(TEMPLATE))


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
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield cluster.url(name)
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url)
    yield opened
    await opened.close()
    await asyncio.sleep(0)
