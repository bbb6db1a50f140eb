"""What users wish of their messages, as SQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.notifications.preferences import Preferences
from atf.notifications.texts import ENGLISH
from atf.storage.database import Database
from atf.storage.holds import release

_LOAD: Final = text(
    "SELECT language, timezone, digest_minutes, fallback FROM msg_preferences WHERE user_id = :user_id"
)
_ROUTES: Final = text(
    "SELECT notification_type, channel, is_on FROM msg_routes WHERE user_id = :user_id ORDER BY 1, 2"
)
_SAVE: Final = text(
    """
    INSERT INTO msg_preferences (user_id, language, timezone, digest_minutes, fallback)
    VALUES (:user_id, :language, :timezone, :digest_minutes, :fallback)
    ON CONFLICT (user_id) DO UPDATE
    SET language = COALESCE(EXCLUDED.language, msg_preferences.language), timezone = EXCLUDED.timezone,
        digest_minutes = EXCLUDED.digest_minutes, fallback = EXCLUDED.fallback, updated_at = now()
    """
)
_LOCK_USER: Final = text("SELECT FROM users WHERE id = :user_id FOR NO KEY UPDATE")
_SET_ROUTE: Final = text(
    """
    INSERT INTO msg_routes (user_id, notification_type, channel, is_on)
    VALUES (:user_id, :notification_type, :channel, :is_on)
    ON CONFLICT (user_id, notification_type, channel) DO UPDATE SET is_on = EXCLUDED.is_on
    WHERE msg_routes.is_on <> EXCLUDED.is_on
    """
)
_CLEAR_ROUTES: Final = text("DELETE FROM msg_routes WHERE user_id = :user_id")


class PostgresPreferences:
    """The wishes of users; who has never said anything has the defaults."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, user_id: int) -> Preferences:
        """Return what a user wishes."""
        async with self._database.transaction() as connection:
            return await _load(connection, user_id)

    async def change(self, user_id: int, **changes: Any) -> Preferences:
        """Store some wishes, by the names of ``Preferences``; what is held for a digest is decided anew."""
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK_USER, {"user_id": user_id})
            after = replace(await _load(connection, user_id), **changes)
            values = {
                "user_id": user_id,
                "language": changes.get("language"),  # nobody's until it is chosen
                "timezone": after.timezone,
                "digest_minutes": None if after.digest is None else after.digest // timedelta(minutes=1),
                "fallback": after.fallback,
            }
            await connection.execute(_SAVE, values)
            await release(connection, user_id)
        return after

    async def set_route(self, user_id: int, notification_type: str, channel: str, *, is_on: bool) -> None:
        """Store whether a type of messages goes to a channel."""
        values = {
            "user_id": user_id,
            "notification_type": notification_type,
            "channel": channel,
            "is_on": is_on,
        }
        async with self._database.transaction() as connection:
            await connection.execute(_SET_ROUTE, values)

    async def clear_routes(self, user_id: int) -> None:
        """Forget all that was decided about channels."""
        async with self._database.transaction() as connection:
            await connection.execute(_CLEAR_ROUTES, {"user_id": user_id})


async def _load(connection: AsyncConnection, user_id: int) -> Preferences:
    row = (await connection.execute(_LOAD, {"user_id": user_id})).first()
    routes = {
        (one.notification_type, one.channel): one.is_on
        for one in await connection.execute(_ROUTES, {"user_id": user_id})
    }
    if row is None:
        return Preferences(routes=routes)
    digest = None if row.digest_minutes is None else timedelta(minutes=row.digest_minutes)
    return Preferences(row.language or ENGLISH, row.timezone, digest, row.fallback, routes)
