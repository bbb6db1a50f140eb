"""Users who want to be told of a run's end are told in the transaction in which it ends, whoever ends it.

Most runs do not ask, and nothing is read or written for them. Who was disabled is told nothing any more.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.jobs.run_request import NOTIFY
from atf.notifications.run_message import run_ended_message
from atf.notifications.texts import ENGLISH
from atf.storage.message_adding import add_messages
from atf.storage.runs_repository import RECORD, record

ASKS_TO_TELL: Final = f"COALESCE(jsonb_typeof(r.job_snapshot -> '{NOTIFY}') = 'array', false)"
"""SQL: whether the run ``r`` wants its user to be told of its end."""
_ENDED: Final = text(
    f"""
    SELECT ended.*, p.language
    FROM (SELECT {RECORD} FROM job_schedule_runs r
          WHERE run_id = ANY(CAST(:run_ids AS uuid[])) AND {ASKS_TO_TELL}
            AND status IN ('COMPLETED', 'FAILED', 'CANCELLED')) AS ended
    JOIN users u ON u.id = ended.user_id AND u.is_active
    LEFT JOIN msg_preferences p ON p.user_id = u.id
    ORDER BY ended.run_id
    """
)


async def tell_of_ended(connection: AsyncConnection, run_ids: Collection[UUID]) -> None:
    """Write the messages of those of the runs that have ended; one that was written before is left alone.

    A run that is tried again has not ended, so nothing is told of it yet.
    """
    if not run_ids:
        return
    rows = (await connection.execute(_ENDED, {"run_ids": list(run_ids)})).all()
    messages = [run_ended_message(record(row), row.user_id, row.language or ENGLISH) for row in rows]
    await add_messages(connection, messages)
