"""A connection that one statement after another uses for good, for what must be quick.

A pool's check-out, BEGIN and COMMIT are round trips of their own; here all statements of a transaction travel
together: measured, a claim takes half the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import psycopg

from atf.errors import DatabaseUnavailable
from atf.storage.database import Database, database_errors

Statement = tuple[str, Mapping[str, Any]]
"""SQL with ``%(name)s`` and the values."""


class PinnedConnection:
    """Opened when it is first used, closed and opened anew after any error, as its state is not known then."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._turn = asyncio.Lock()

    async def fetch(self, *statements: Statement, within: timedelta | None = None) -> Sequence[tuple[Any, ...]]:
        """Execute statements as one transaction in one round trip; return the rows of the last.

        Errors: those of ``translate``; DatabaseUnavailable if there is no answer in time.
        """
        limit = within or self._database.limits.statement_timeout * 2
        async with self._turn:
            try:
                with database_errors():
                    async with asyncio.timeout(limit.total_seconds()):
                        return await self._fetch(statements)
            except TimeoutError as exc:
                await self._close()
                raise DatabaseUnavailable("the database does not answer in time") from exc
            except BaseException:
                await self._close()
                raise

    async def _fetch(self, statements: Sequence[Statement]) -> Sequence[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = await self._database.connect()
        async with self._connection.pipeline():
            # Without BEGIN the server takes what comes before the pipeline's end as one transaction.
            cursors = [await self._connection.execute(sql.encode(), values) for sql, values in statements]
        return await cursors[-1].fetchall()

    async def close(self) -> None:
        """Close; harmless when repeated."""
        async with self._turn:
            await self._close()

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
