"""The market clock's row: where a replay stands, and its step to the next session."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import text

from atf.errors import ConfigurationError
from atf.market.bars import Timeframe
from atf.market.market_clock import ReplayPosition
from atf.storage.database import Database

_POSITION: Final = text("SELECT timeframe, begins_at, now_at, ends_at, step FROM market_clock")
_LOCK: Final = text("SELECT timeframe FROM market_clock WHERE now_at < ends_at FOR UPDATE")
# Two index probes a symbol: asked for the earliest bar of all, the server reads every bar that is still to come
# (100 symbols, 14 years: 30 to 200 ms a step).
_STEP: Final = text(
    """
    WITH RECURSIVE symbols AS (
        SELECT min(symbol) AS symbol FROM market_bars
        UNION ALL
        SELECT (SELECT min(symbol) FROM market_bars b WHERE b.symbol > s.symbol) FROM symbols s
        WHERE s.symbol IS NOT NULL)
    UPDATE market_clock c
    SET now_at = LEAST(ends_at, COALESCE(
            (SELECT min(upcoming.open_time) + CAST(:length AS interval) FROM symbols s, LATERAL (
                SELECT open_time FROM market_bars b
                WHERE b.symbol = s.symbol AND b.timeframe = c.timeframe
                  AND b.open_time > c.now_at - CAST(:length AS interval)
                ORDER BY open_time LIMIT 1) AS upcoming),
            ends_at)),
        step = step + 1, updated_at = now()
    WHERE NOT EXISTS (SELECT FROM schedule_groups g WHERE g.next_fire_at <= c.now_at)
      AND NOT EXISTS (SELECT FROM job_schedule_runs r WHERE r.status = 'PENDING')
      AND NOT EXISTS (SELECT FROM job_schedule_runs r WHERE r.status = 'RUNNING')
    """
)
_BEGIN: Final = text(
    "INSERT INTO market_clock (timeframe, begins_at, now_at, ends_at) VALUES (:timeframe, :at, :at, :at)"
)


class PostgresMarketClock:
    """At most one row; where there is none, market time is wall time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self) -> ReplayPosition | None:
        """Return where the replay stands, None if this database has none."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_POSITION)).first()
        return None if row is None else ReplayPosition(Timeframe(row[0]), *row[1:])

    async def position(self) -> ReplayPosition:
        """Return where the replay stands."""
        found = await self.find()
        if found is None:
            raise ConfigurationError("the replay's market_clock row is gone: restart the services")
        return found

    async def begin(self, timeframe: Timeframe, begins_at: datetime) -> None:
        """Make this database's time that of a replay that stands still until ``run_until``."""
        async with self._database.transaction() as connection:
            await connection.execute(_BEGIN, {"timeframe": timeframe, "at": begins_at})

    async def run_until(self, ends_at: datetime) -> None:
        """Let the replay move on to ``ends_at``."""
        async with self._database.transaction() as connection:
            await connection.execute(text("UPDATE market_clock SET ends_at = :at"), {"at": ends_at})
            await connection.execute(text("SELECT pg_notify('atf_schedules', '')"))

    async def step(self) -> bool:
        """Move to the close of the next stored session, if nothing is due, pending or running.

        The row is locked first, so that the conditions are judged after another scheduler's step.
        """
        async with self._database.transaction() as connection:
            timeframe = (await connection.execute(_LOCK)).scalar()
            if timeframe is None:
                return False
            moved = await connection.execute(_STEP, {"length": Timeframe(timeframe).length})
            return moved.rowcount == 1
