"""What a replay has done so far, counted in one look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import text

from atf.storage.database import Database

_COUNTS: Final = text(
    """
    SELECT c.begins_at, c.now_at, c.ends_at, c.step,
        EXISTS (SELECT FROM schedule_groups g WHERE g.next_fire_at <= c.now_at) AS is_due,
        (SELECT count(*) FROM market_bars b
         WHERE b.timeframe = c.timeframe AND b.open_time >= c.begins_at AND b.open_time < c.now_at) AS bars,
        (SELECT jsonb_object_agg(status, n) FROM (
            SELECT status, count(*) AS n FROM job_schedule_runs GROUP BY status) r) AS runs,
        (SELECT count(*) FROM alert_triggers) AS triggers,
        (SELECT count(*) FROM msg_messages) AS messages,
        (SELECT jsonb_object_agg(status, n) FROM (
            SELECT status, count(*) AS n FROM msg_deliveries GROUP BY status) d) AS deliveries,
        (SELECT count(*) FROM msg_inbox) AS inbox,
        (SELECT COALESCE(array_agg(DISTINCT channel ORDER BY channel), '{}') FROM msg_deliveries) AS channels,
        (SELECT count(*) FROM trading_bots) AS bots,
        (SELECT count(*) FROM trading_bots b LEFT JOIN trading_bot_states s ON s.bot_id = b.id
         WHERE b.status <> 'error' AND s.last_processed_bar IS DISTINCT FROM (
            SELECT max(m.open_time) FROM market_bars m
            WHERE m.symbol = b.config ->> 'symbol' AND m.timeframe = c.timeframe AND m.open_time < c.now_at))
          AS bots_behind,
        (SELECT count(*) FROM trading_fills) AS fills,
        (SELECT count(*) FROM trading_trades WHERE status = 'closed') AS trades,
        (SELECT COALESCE(sum(realized - fees), 0) FROM trading_trades) AS earned,
        (SELECT count(*) FROM trading_bot_states s JOIN paper_accounts a ON a.name = 'bot-' || s.bot_id
         WHERE s.cash = a.cash AND NOT EXISTS (
            (SELECT symbol, quantity FROM trading_positions p WHERE p.bot_id = s.bot_id AND p.status = 'open'
             EXCEPT SELECT symbol, quantity FROM paper_positions q WHERE q.account_id = a.id AND q.quantity <> 0)
            UNION ALL
            (SELECT symbol, quantity FROM paper_positions q WHERE q.account_id = a.id AND q.quantity <> 0
             EXCEPT SELECT symbol, quantity FROM trading_positions p
                    WHERE p.bot_id = s.bot_id AND p.status = 'open'))) AS balanced
    FROM market_clock c
    """
)
_NEWEST: Final = text(
    """
    SELECT t.bar_time, s.name, m.body FROM alert_triggers t
    JOIN job_schedules s ON s.id = t.schedule_id JOIN msg_messages m ON m.dedup_key = t.dedup_key
    ORDER BY t.id DESC LIMIT :limit
    """
)


@dataclass(frozen=True, slots=True)
class NewestTrigger:
    """A trigger as the live view shows it."""

    bar_time: datetime
    name: str
    body: str


@dataclass(frozen=True, slots=True)
class ReplayCounts:
    """Every stage of the pipeline, counted.

    ``bots_behind``: how many have not seen the newest bar; ``balanced``: how many hold, to the last digit, what
    their venue says. ``earned`` by trades, less fees.
    """

    begins_at: datetime
    now_at: datetime
    ends_at: datetime
    step: int
    is_due: bool
    bars: int
    runs: Mapping[str, int]
    triggers: int
    messages: int
    deliveries: Mapping[str, int]
    inbox: int
    channels: tuple[str, ...]
    bots: int
    bots_behind: int
    fills: int
    trades: int
    earned: Decimal
    balanced: int
    newest: tuple[NewestTrigger, ...]

    @property
    def session(self) -> datetime:
        """An instant within the newest session: market time stands at its close, which is the next midnight."""
        return self.now_at - timedelta(microseconds=1)


class PostgresReplayCounts:
    """Counts the replay of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self, *, newest: int = 8) -> ReplayCounts:
        """Return the counts and the newest triggers."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_COUNTS)).one()
            triggers = (await connection.execute(_NEWEST, {"limit": newest})).all()
        fields: dict[str, Any] = dict(row._mapping)
        return ReplayCounts(
            **{
                **fields,
                "runs": row.runs or {},
                "deliveries": row.deliveries or {},
                "channels": tuple(row.channels),
                "newest": tuple(NewestTrigger(*trigger) for trigger in triggers),
            }
        )
