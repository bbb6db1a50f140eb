"""Locks that one process of all holds: for as long as its connection lives, or until its transaction ends."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

import psycopg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

TIMER_LOCK: Final = 0x41_54_46_02
RETENTION_LOCK: Final = 0x41_54_46_04
ROLLUP_LOCK: Final = 0x41_54_46_05
CLAIM_LOCK: Final = 0x41_54_46_06
"""The first of two keys; the second is the hash of the job type."""


async def is_alone(connection: AsyncConnection, key: int) -> bool:
    """Return whether this transaction got the lock, which it holds to its end; another one has it otherwise."""
    taken = await connection.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key})
    return bool(taken.scalar_one())


class SessionLock:
    """A PostgreSQL session advisory lock on a connection of its own.

    The server frees it when the process or the connection dies, so nobody needs to clean up after a crash.
    """

    def __init__(self, direct_url: str, key: int) -> None:
        self._url = direct_url
        self._key = key
        self._connection: psycopg.AsyncConnection | None = None

    async def try_acquire(self) -> bool:
        """Return whether this process holds the lock now; ask again later if not.

        Errors: none; a database that cannot be reached means that the lock is not held.
        """
        try:
            return await self._held_or_taken()
        except psycopg.Error:
            await self.release()
            return False

    async def _held_or_taken(self) -> bool:
        if self._connection is not None:
            await self._connection.execute("SELECT 1")
            return True
        connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True, connect_timeout=10)
        try:
            cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", [self._key])
            row = await cursor.fetchone()
            if row is not None and row[0]:
                self._connection = connection
        finally:
            if self._connection is None:
                await connection.close()
        return self._connection is not None

    async def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.release()
