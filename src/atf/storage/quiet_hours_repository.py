"""Quiet hours as SQL: when users are not to be disturbed, and how much waits for it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from atf.notifications.quiet_hours import QuietHours, QuietStatus, in_order
from atf.storage.database import Database
from atf.storage.holds import quiet_hours_of, release

_SET: Final = text(
    """
    INSERT INTO msg_quiet_hours (user_id, begins, ends, timezone, days)
    VALUES (:user_id, :begins, :ends, :timezone, CAST(:days AS text[]))
    ON CONFLICT (user_id) DO UPDATE SET begins = EXCLUDED.begins, ends = EXCLUDED.ends,
        timezone = EXCLUDED.timezone, days = EXCLUDED.days, updated_at = now()
    """
)
_CLEAR: Final = text("DELETE FROM msg_quiet_hours WHERE user_id = :user_id")
_STATUS: Final = text(
    """
    SELECT q.user_id, q.begins, q.ends, q.timezone, q.days, now() AS now_at,
        (SELECT count(*) FROM msg_deliveries d WHERE d.held_until > now() AND d.user_id = u.id) AS held
    FROM users u LEFT JOIN msg_quiet_hours q ON q.user_id = u.id WHERE u.id = :user_id
    """
)


class PostgresQuietHours:
    """The quiet hours of users."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def status(self, user_id: int) -> QuietStatus:
        """Return a user's quiet hours and what they hold now."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_STATUS, {"user_id": user_id})).one()
        if row.user_id is None:
            return QuietStatus(None, None, row.held)
        hours = quiet_hours_of(row)
        return QuietStatus(hours, hours.holds(row.now_at), row.held)

    async def set(self, user_id: int, hours: QuietHours) -> None:
        """Give a user quiet hours, in place of those of before; what is held is decided anew."""
        values = {
            "user_id": user_id,
            "begins": hours.begins,
            "ends": hours.ends,
            "timezone": hours.timezone,
            "days": [str(day) for day in in_order(hours.days)],
        }
        async with self._database.transaction() as connection:
            await connection.execute(_SET, values)
            await release(connection, user_id)

    async def clear(self, user_id: int) -> bool:
        """Take a user's quiet hours away and let go of what is held; return whether there were any."""
        async with self._database.transaction() as connection:
            cleared = (await connection.execute(_CLEAR, {"user_id": user_id})).rowcount
            await release(connection, user_id)
        return bool(cleared)
