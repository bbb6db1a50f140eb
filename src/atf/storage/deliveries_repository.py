"""The history of deliveries as SQL: listed and searched, counted by channel, sent once more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Row, text

from atf.clock import Clock
from atf.errors import NotFound
from atf.notifications.history import ChannelStatistics, DeliveryFilter
from atf.notifications.message import ACTION, DeliveryRecord, DeliveryStatus, Priority
from atf.storage.audit_repository import record_doing
from atf.storage.database import Database

_LIST: Final = text(
    """
    SELECT d.id, m.message_id, m.user_id, m.notification_type, m.priority, m.title, m.body, d.channel, d.status,
           d.attempts, d.dedup_key, d.error, d.created_at, d.sent_at, m.scheduled_for,
           CASE WHEN d.held_until > COALESCE(CAST(:now_at AS timestamptz), now()) THEN d.held_until END
             AS held_until
    FROM msg_deliveries d JOIN msg_messages m ON m.id = d.message_id
    WHERE d.user_id = :user_id AND (CAST(:status AS text) IS NULL OR d.status = :status)
      AND CASE WHEN CAST(:channel AS text) IS NULL THEN (m.notification_type = :action) = :actions
               ELSE d.channel = :channel END
      AND (CAST(:notification_type AS text) IS NULL OR m.notification_type = :notification_type)
      AND (CAST(:pattern AS text) IS NULL OR m.title ILIKE :pattern OR m.body ILIKE :pattern)
      AND (CAST(:since AS timestamptz) IS NULL OR d.created_at >= :since)
      AND (CAST(:until AS timestamptz) IS NULL OR d.created_at < :until)
      AND (CAST(:before_id AS bigint) IS NULL OR d.id < :before_id)
    ORDER BY d.id DESC LIMIT :limit
    """
)
_STATISTICS: Final = text(
    """
    WITH settled AS (
        SELECT channel, status, extract(epoch FROM sent_at - created_at) AS seconds FROM msg_deliveries
        WHERE settled_at >= now() - CAST(:window AS interval)
          AND (CAST(:user_id AS int) IS NULL OR user_id = :user_id)),
    ended AS (
        SELECT channel, count(*) FILTER (WHERE status = 'SENT') AS sent,
               count(*) FILTER (WHERE status = 'FAILED') AS failed,
               count(*) FILTER (WHERE status = 'DEAD') AS dead,
               percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS median_seconds,
               percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95_seconds
        FROM settled GROUP BY channel),
    waiting AS (
        SELECT channel, count(*) AS pending, count(*) FILTER (WHERE held_until > now()) AS held,
               extract(epoch FROM now() - min(created_at) FILTER (WHERE next_attempt_at <= now()))
                 AS oldest_seconds
        FROM msg_deliveries
        WHERE status IN ('PENDING', 'SENDING') AND (CAST(:user_id AS int) IS NULL OR user_id = :user_id)
        GROUP BY channel)
    SELECT channel, COALESCE(e.sent, 0) AS sent, COALESCE(e.failed, 0) AS failed, COALESCE(e.dead, 0) AS dead,
           COALESCE(w.pending, 0) AS pending, COALESCE(w.held, 0) AS held,
           CAST(w.oldest_seconds AS float8) AS oldest_seconds,
           e.median_seconds, e.p95_seconds, COALESCE(c.failures, 0) AS failures,
           CASE WHEN c.failures > 0 THEN c.paused_until END AS paused_until,
           CASE WHEN c.failures > 0 THEN c.error END AS error
    FROM ended e FULL JOIN waiting w USING (channel) FULL JOIN msg_channels c USING (channel)
    ORDER BY channel
    """
)
_REQUEUE: Final = text(
    """
    UPDATE msg_deliveries d
    SET status = 'PENDING', attempts = 0, waits = false, error = NULL, settled_at = NULL, next_attempt_at = now(),
        held_until = NULL
    WHERE d.user_id = :user_id AND d.status IN ('FAILED', 'DEAD')
      AND (CAST(:id AS bigint) IS NULL OR d.id = :id)
      AND (CAST(:channel AS text) IS NULL OR d.channel = :channel)
      AND (CAST(:id AS bigint) IS NOT NULL
           OR EXISTS (SELECT FROM msg_messages m
                      WHERE m.id = d.message_id AND m.notification_type <> :action))
    RETURNING d.id
    """
)


class PostgresDeliveries:
    """What became of messages."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock

    async def list_deliveries(self, wanted: DeliveryFilter) -> list[DeliveryRecord]:
        """Return a user's deliveries, newest first: those of a channel, else of messages or else of actions."""
        values = {
            **asdict(wanted),
            "pattern": None if wanted.search is None else f"%{_literal(wanted.search)}%",
            "action": ACTION,
            "now_at": None if self._clock is None else self._clock.now(),
        }
        async with self._database.transaction() as connection:
            return [_record(row) for row in await connection.execute(_LIST, values)]

    async def statistics(self, user_id: int | None, hours: int) -> Sequence[ChannelStatistics]:
        """Return what went over each channel within some hours, and what waits now; None: of everybody."""
        values = {"user_id": user_id, "window": f"{hours} hours"}
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_STATISTICS, values)).all()
        return [ChannelStatistics(**row._mapping) for row in rows]

    async def requeue(self, user_id: int, *, delivery_id: int | None = None, channel: str | None = None) -> int:
        """Send once more what failed, one delivery or all of a channel; return how many.

        Actions of alerts are done again only one by one.

        Errors: NotFound if the one is not there, or has not failed.
        """
        values = {"user_id": user_id, "id": delivery_id, "channel": channel, "action": ACTION}
        async with self._database.transaction() as connection:
            found = list((await connection.execute(_REQUEUE, values)).scalars())
            if delivery_id is not None and not found:
                raise NotFound(f"you have no delivery {delivery_id} that failed")
            if found:
                which = str(delivery_id) if delivery_id is not None else channel or "all"
                await record_doing(connection, "delivery.requeue", "delivery", which, user_id)
                await connection.execute(text("SELECT pg_notify('atf_outbox', '')"))
        return len(found)


def _literal(search: str) -> str:
    """Return a text as ILIKE takes it literally."""
    return search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _record(row: Row[Any]) -> DeliveryRecord:
    stored = dict(row._mapping)
    return DeliveryRecord(**{**stored, "priority": Priority(row.priority), "status": DeliveryStatus(row.status)})
