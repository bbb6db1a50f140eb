"""The session lock: one holder of all, and free when its session ends, however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from atf.storage.advisory_lock import TIMER_LOCK, SessionLock
from atf.storage.database import Database

if TYPE_CHECKING:
    from tests.integration.conftest import Eventually, Rows

HOLDERS = """
    SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.granted"""


@pytest.fixture
async def first(database: Database) -> AsyncIterator[SessionLock]:
    async with SessionLock(database.direct_url, TIMER_LOCK) as lock:
        yield lock


@pytest.fixture
async def second(database: Database) -> AsyncIterator[SessionLock]:
    async with SessionLock(database.direct_url, TIMER_LOCK) as lock:
        yield lock


async def test_one_of_two_holds_it(first: SessionLock, second: SessionLock) -> None:
    assert sorted(await asyncio.gather(first.try_acquire(), second.try_acquire())) == [False, True]


async def test_the_holder_keeps_it_when_it_asks_again(
    first: SessionLock, second: SessionLock, rows: Rows
) -> None:
    assert await first.try_acquire()
    assert await first.try_acquire()
    assert not await second.try_acquire()
    assert len(await rows.column(HOLDERS)) == 1


async def test_it_is_free_when_its_holder_gives_it_back(
    first: SessionLock, second: SessionLock, eventually: Eventually
) -> None:
    assert await first.try_acquire()
    await first.release()
    await first.release()
    await eventually(second.try_acquire)
    assert not await first.try_acquire()


async def test_it_is_free_when_its_holders_session_ends_and_the_holder_notices(
    first: SessionLock, second: SessionLock, rows: Rows
) -> None:
    assert await first.try_acquire()
    (pid,) = await rows.column(HOLDERS)
    assert await rows.value("SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
    assert await second.try_acquire()
    assert not await first.try_acquire(), "the one who lost it learns so"
    assert not await first.try_acquire(), "and has not got it again"


async def test_the_former_holder_may_get_it_again(first: SessionLock, rows: Rows) -> None:
    assert await first.try_acquire()
    (pid,) = await rows.column(HOLDERS)
    assert await rows.value("SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
    assert not await first.try_acquire()
    assert await first.try_acquire()


async def test_other_keys_are_other_locks(first: SessionLock, database: Database) -> None:
    assert await first.try_acquire()
    async with SessionLock(database.direct_url, TIMER_LOCK + 1) as other:
        assert await other.try_acquire()


async def test_a_database_that_is_not_there_holds_nothing() -> None:
    assert not await SessionLock("postgresql://me@127.0.0.1:1/atf", TIMER_LOCK).try_acquire()


async def test_a_try_that_fails_leaves_no_session_behind(
    database: Database, rows: Rows, eventually: Eventually
) -> None:
    async def only_ours_is_left() -> bool:
        return bool(
            await rows.value("SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()")
        )

    assert not await SessionLock(database.direct_url, key=2**70).try_acquire()
    await eventually(only_ours_is_left)
