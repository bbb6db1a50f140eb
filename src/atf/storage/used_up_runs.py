"""Users whose day's runs are used up are told, in the transaction in which their schedules first rest."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.notifications.used_up_runs import used_up_message
from atf.storage.message_adding import add_messages

_USED_UP: Final = text(
    """
    SELECT u.id, d.day, COALESCE(u.runs_per_day_limit, :runs_per_day) AS most
    FROM users u JOIN user_run_days d ON d.user_id = u.id AND d.day = (now() AT TIME ZONE 'UTC')::date
    WHERE u.id = ANY(CAST(:ids AS int[])) AND u.is_active AND u.role <> 'viewer'
    ORDER BY u.id
    """
)


async def tell_of_used_up_runs(connection: AsyncConnection, user_ids: Collection[int], runs_per_day: int) -> None:
    """Tell those of the users, whose schedules rest, for whom it is the runs; each once a day."""
    values = {"ids": sorted(user_ids), "runs_per_day": runs_per_day}
    found = (await connection.execute(_USED_UP, values)).all()
    await add_messages(connection, [used_up_message(row.id, row.day, row.most) for row in found])
