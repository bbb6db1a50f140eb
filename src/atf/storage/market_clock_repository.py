"""The market clock's row: where a replay stands, and its step to the next session."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

from sqlalchemy import text

from atf.errors import ConfigurationError, InvalidInput
from atf.market.bars import Timeframe
from atf.market.market_clock import Pace, ReplayPosition
from atf.storage.database import Database

_POSITION: Final = text("SELECT timeframe, begins_at, now_at, ends_at, step, started_at, speed FROM market_clock")
_LOCK: Final = text("SELECT timeframe FROM market_clock WHERE now_at < ends_at AND speed IS NULL FOR UPDATE")
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
      AND NOT EXISTS (
        SELECT FROM trading_bots b LEFT JOIN trading_bot_states s ON s.bot_id = b.id
        WHERE b.deleted_at IS NULL AND b.desired_state = 'running'
          AND b.status IN ('running', 'starting', 'stopped')
          AND s.last_processed_bar IS DISTINCT FROM (
            SELECT max(m.open_time) FROM market_bars m
            WHERE m.symbol = b.config ->> 'symbol' AND m.timeframe = c.timeframe
              AND m.open_time <= c.now_at - CAST(:length AS interval)))
    """
)
_BEGIN: Final = text(
    "INSERT INTO market_clock (timeframe, begins_at, now_at, ends_at, speed) "
    "VALUES (:timeframe, :at, :at, :at, :speed)"
)
# A replay with a speed that stood still at its end goes on from there, not from where it would be by now.
_RUN_UNTIL: Final = text(
    """
    UPDATE market_clock SET ends_at = :at, updated_at = now(),
        started_at = GREATEST(started_at, now() - (ends_at - begins_at) / speed)
    """
)


class PostgresMarketClock:
    """At most one row; where there is none, market time is wall time."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self) -> ReplayPosition | None:
        """Return where the replay stands, None if this database has none."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_POSITION)).first()
        if row is None:
            return None
        pace = None if row.speed is None else Pace(row.begins_at, row.ends_at, row.started_at, row.speed)
        return ReplayPosition(Timeframe(row.timeframe), row.begins_at, row.now_at, row.ends_at, row.step, pace)

    async def position(self) -> ReplayPosition:
        """Return where the replay stands."""
        found = await self.find()
        if found is None:
            raise ConfigurationError("the replay's market_clock row is gone: restart the services")
        return found

    async def begin(self, timeframe: Timeframe, begins_at: datetime, *, speed: float | None = None) -> None:
        """Make this database's time that of a replay that stands still until ``run_until``.

        Without a speed it then moves in steps, with one so many times as fast as the wall.

        Errors: InvalidInput at ``speed`` if that is no number above 0.
        """
        if speed is not None and not (speed > 0 and math.isfinite(speed)):
            raise InvalidInput(f"speed must be a number above 0, not {speed}", field="speed")
        async with self._database.transaction() as connection:
            await connection.execute(_BEGIN, {"timeframe": timeframe, "at": begins_at, "speed": speed})

    async def run_until(self, ends_at: datetime) -> None:
        """Let the replay move on to ``ends_at``."""
        async with self._database.transaction() as connection:
            await connection.execute(_RUN_UNTIL, {"at": ends_at})
            await connection.execute(text("SELECT pg_notify('atf_schedules', '')"))

    async def step(self) -> bool:
        """Move to the close of the next stored session, if nothing is due, pending or running, and bots are done.

        A replay with a speed makes no steps. The row is locked first, so that the conditions are judged after
        another scheduler's step.
        """
        async with self._database.transaction() as connection:
            timeframe = (await connection.execute(_LOCK)).scalar()
            if timeframe is None:
                return False
            moved = await connection.execute(_STEP, {"length": Timeframe(timeframe).length})
            if moved.rowcount:
                await connection.execute(text("SELECT pg_notify('atf_clock', '')"))
            return moved.rowcount == 1
