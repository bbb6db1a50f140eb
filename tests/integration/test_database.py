"""The connection to PostgreSQL: URLs in any spelling, healing, and errors that say what must be done."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import (
    AtfError,
    ConfigurationError,
    DatabaseUnavailable,
    InvariantViolation,
    TransactionConflict,
    UnstorableData,
)
from atf.storage.database import Database, DatabaseLimits, parse_url, plain_url, translate
from atf.storage.embedded import EmbeddedCluster

if TYPE_CHECKING:
    from tests.integration.conftest import Eventually, Rows


async def answers(database: Database) -> bool:
    async with database.transaction() as connection:
        return (await connection.execute(text("SELECT 1"))).scalar() == 1


async def refusal(url: str) -> AtfError:
    """What opening a database with this URL comes to."""
    database = Database(url)
    try:
        with pytest.raises(AtfError) as caught:
            await answers(database)
    finally:
        await database.close()
    assert len(str(caught.value).splitlines()) == 1
    return caught.value


async def rename(connection: AsyncConnection, old: str, new: str) -> None:
    await connection.execute(text("UPDATE users SET name = :new WHERE name = :old"), {"old": old, "new": new})


@pytest.mark.parametrize(
    "driver",
    [
        "postgres",
        "postgresql",
        "postgresql+psycopg",
        "postgresql+psycopg_async",
        "postgresql+asyncpg",
        "postgresql+psycopg2",
    ],
)
async def test_every_spelling_of_the_url_opens_the_database(database_url: str, driver: str) -> None:
    database = Database(database_url.replace("postgresql+psycopg", driver, 1))
    assert await answers(database)
    await database.close()


def test_the_plain_url_is_one_for_libpq(database_url: str) -> None:
    with psycopg.connect(plain_url(database_url)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///atf.db",
        "mysql://me:secret@host/atf",
        "mysql+pymysql://me:secret@host/atf",
        "me:secret@host/atf",
        "postgresql://me:secret@host:port/atf",
        "secret",
        "",
    ],
)
def test_what_is_no_postgresql_url_is_refused_with_the_settings_name(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^ATF_DATABASE_URL: ") as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)
    assert "postgresql://user:password@host:5432/name" in str(caught.value)


async def test_a_wrong_password_is_a_setting_to_fix(database_url: str) -> None:
    url = make_url(database_url).set(password="not-the-secret")
    error = await refusal(url.render_as_string(hide_password=False))
    assert isinstance(error, ConfigurationError)
    assert "ATF_DATABASE_URL: the database refuses this user or password" in str(error)
    assert "not-the-secret" not in str(error)


async def test_no_password_is_a_setting_to_fix(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("PGPASSFILE", "/nonexistent")
    parsed = make_url(database_url)
    url = database_url.replace(f":{parsed.password}@", "@")
    assert isinstance(await refusal(url), ConfigurationError)


async def test_a_missing_database_is_a_setting_to_fix(database_url: str) -> None:
    url = make_url(database_url).set(database="nowhere")
    error = await refusal(url.render_as_string(hide_password=False))
    assert isinstance(error, ConfigurationError)
    assert 'database "nowhere" does not exist' in str(error)
    assert "createdb" in str(error)


async def test_an_option_that_libpq_does_not_know_is_a_setting_to_fix(database_url: str) -> None:
    error = await refusal(f"{database_url}&prepared_statement_cache_size=0")
    assert isinstance(error, ConfigurationError)
    assert "prepared_statement_cache_size" in str(error)


@pytest.mark.parametrize(
    "url",
    ["postgresql://me:secret@127.0.0.1:1/atf", "postgresql://me:secret@/atf?host=/nonexistent"],
    ids=["port", "socket"],
)
async def test_a_server_that_is_not_there_is_worth_another_try(url: str) -> None:
    error = await refusal(url)
    assert isinstance(error, DatabaseUnavailable)
    assert "the database does not answer" in str(error)
    assert "secret" not in str(error)


async def test_the_server_of_the_tests_is_new_enough(database: Database) -> None:
    await database.check_server()


@pytest.mark.parametrize("name", ["nul \0 byte", "lone \ud800 surrogate"], ids=["nul", "surrogate"])
async def test_text_that_postgresql_cannot_hold_is_unstorable(database: Database, name: str) -> None:
    with pytest.raises(UnstorableData):
        async with database.transaction() as connection:
            await rename(connection, "owner", name)


async def test_json_that_postgresql_cannot_hold_is_unstorable(database: Database) -> None:
    for document in ('{"a": "\\u0000"}', '{"a": "\\ud800"}', "[" * 20_000):
        with pytest.raises(UnstorableData):
            async with database.transaction() as connection:
                await connection.execute(text("SELECT CAST(:it AS jsonb)"), {"it": document})


async def test_a_value_too_long_for_an_index_is_unstorable(database: Database) -> None:
    incompressible = os.urandom(20_000).hex()
    with pytest.raises(UnstorableData):
        async with database.transaction() as connection:
            await rename(connection, "owner", incompressible)


async def test_a_broken_constraint_is_an_error_of_ours(database: Database) -> None:
    with pytest.raises(InvariantViolation, match="users_role_check"):
        async with database.transaction() as connection:
            await connection.execute(text("UPDATE users SET role = 'king'"))


async def test_a_database_without_schema_names_the_command_that_makes_it(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    with pytest.raises(ConfigurationError, match="atf db migrate"):
        async with database.transaction() as connection:
            await connection.execute(text("SELECT * FROM users"))
    await database.close()


async def test_an_error_rolls_the_transaction_back(database: Database, rows: Rows) -> None:
    async def fail() -> None:
        async with database.transaction() as connection:
            await rename(connection, "owner", "other")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await rows.column("SELECT name FROM users") == ["owner"]


async def test_a_deadlock_is_a_conflict_for_one_and_a_commit_for_the_other(
    database: Database, rows: Rows, eventually: Eventually
) -> None:
    await rows.change("INSERT INTO users (name, role) VALUES ('second', 'viewer')")
    holds_first, holds_second = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with database.transaction() as connection:
            await connection.execute(text("SET LOCAL deadlock_timeout = '50ms'"))
            await rename(connection, "owner", "owner-1")
            holds_first.set()
            await holds_second.wait()
            await rename(connection, "second", "second-1")

    async def second() -> None:
        await holds_first.wait()
        async with database.transaction() as connection:
            await rename(connection, "second", "second-2")
            holds_second.set()
            await eventually(rows.somebody_waits_for_a_lock)
            await rename(connection, "owner", "owner-2")

    results = await asyncio.gather(first(), second(), return_exceptions=True)
    (error,) = [result for result in results if result is not None]
    assert isinstance(error, TransactionConflict)
    names = await rows.column("SELECT name FROM users ORDER BY id")
    assert names in (["owner-1", "second-1"], ["owner-2", "second-2"])


async def test_a_statement_that_takes_too_long_is_ended_and_worth_another_try(database_url: str) -> None:
    database = Database(database_url, limits=DatabaseLimits(statement_timeout=timedelta(milliseconds=50)))
    with pytest.raises(DatabaseUnavailable, match="took too long"):
        async with database.transaction() as connection:
            await connection.execute(text("SELECT pg_sleep(60)"))
    assert await answers(database)
    await database.close()


async def test_a_lock_that_others_keep_is_given_up_and_worth_another_try(
    database: Database, database_url: str
) -> None:
    impatient = Database(database_url, limits=DatabaseLimits(lock_timeout=timedelta(milliseconds=50)))
    async with database.transaction() as connection:
        await rename(connection, "owner", "other")
        with pytest.raises(DatabaseUnavailable, match="stays locked by another transaction"):
            async with impatient.transaction() as other:
                await rename(other, "owner", "another")
    assert await answers(impatient)
    await impatient.close()


async def test_no_free_connection_in_time_is_worth_another_try(database_url: str) -> None:
    limits = DatabaseLimits(pool_size=1, statement_timeout=timedelta(milliseconds=50))
    database = Database(database_url, limits=limits)
    async with database.transaction():
        with pytest.raises(DatabaseUnavailable, match="all connections of this process are in use"):
            await answers(database)
    assert await answers(database)
    await database.close()


@pytest.mark.parametrize(
    "message",
    [
        'FATAL:  role "bob" does not exist',
        'FATAL:  Peer authentication failed for user "bob"',
        'FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "bob", database "atf", no encryption',
    ],
)
def test_a_login_that_the_server_refuses_is_a_setting_to_fix(message: str) -> None:
    error = psycopg.OperationalError(f'connection to server at "10.0.0.2", port 5432 failed: {message}')
    assert isinstance(translate(error, str(error)), ConfigurationError)


async def test_a_session_that_the_server_ended_is_replaced_before_it_is_used(
    database: Database, rows: Rows
) -> None:
    pid = await rows.value("SELECT pg_backend_pid()")
    async with await psycopg.AsyncConnection.connect(database.direct_url, autocommit=True) as admin:
        await admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    assert await rows.value("SELECT pg_backend_pid()") != pid


async def test_a_session_that_ends_in_a_transaction_is_worth_another_try(database: Database) -> None:
    async def be_ended() -> None:
        async with database.transaction() as connection:
            pid = (await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one()
            async with await psycopg.AsyncConnection.connect(database.direct_url, autocommit=True) as admin:
                await admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
            await connection.execute(text("SELECT 1"))

    with pytest.raises(DatabaseUnavailable):
        await be_ended()
    assert await answers(database)


async def test_an_open_database_heals_when_its_server_is_killed_and_started_again(
    own_cluster: EmbeddedCluster,
) -> None:
    handle = await asyncio.to_thread(own_cluster.acquire)
    database = Database(handle.url())
    try:
        async with database.transaction() as connection:
            await connection.execute(text("CREATE TABLE kept AS SELECT 1 AS n"))
        pid = own_cluster.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert await asyncio.to_thread(handle.ensure)
        async with database.transaction() as connection:
            assert (await connection.execute(text("SELECT n FROM kept"))).scalar() == 1
    finally:
        await database.close()
        await asyncio.to_thread(handle.release)


async def test_closing_twice_is_harmless(database: Database) -> None:
    await database.close()
    await database.close()
    assert database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_the_socket_url_reaches_a_folder(database_url: str) -> None:
    assert Path(str(make_url(database_url).query["host"])).is_dir()
