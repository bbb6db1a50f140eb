"""Dead letters in the database."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.jobs.dead_letters import DeadLetter, DeadLetterFilter
from atf.jobs.run import RunId

_LETTER: Final = """
    id, run_id, job_type, job_id, user_id, scheduled_for, reason, attempt, max_attempts, priority, error,
    error_details, attempts, job_snapshot, died_at, requeued_at, requeued_run_id"""
_LIST: Final = text(
    f"""
    SELECT {_LETTER} FROM job_dead_letters
    WHERE user_id = :user_id
      AND (CAST(:job_type AS text) IS NULL OR job_type = :job_type)
      AND (CAST(:job_id AS bigint) IS NULL OR job_id = :job_id)
      AND (CAST(:is_open AS boolean) IS NULL OR (requeued_at IS NULL) = :is_open)
    ORDER BY died_at DESC, id DESC LIMIT :limit
    """
)
_GET: Final = text(f"SELECT {_LETTER} FROM job_dead_letters WHERE id = :id AND user_id = :user_id")
_LOCK: Final = text("SELECT id FROM job_dead_letters WHERE id = :id AND requeued_at IS NULL FOR UPDATE")
_MARK: Final = text("UPDATE job_dead_letters SET requeued_at = now(), requeued_run_id = :run_id WHERE id = :id")
_DROP: Final = text("DELETE FROM job_dead_letters WHERE id = :id AND user_id = :user_id")


async def list_dead_letters(connection: AsyncConnection, wanted: DeadLetterFilter) -> list[DeadLetter]:
    """Return a user's dead letters, newest first."""
    values = {
        "user_id": wanted.user_id,
        "job_type": wanted.job_type,
        "job_id": wanted.job_id,
        "is_open": wanted.is_open,
        "limit": wanted.limit,
    }
    return [_letter(row) for row in await connection.execute(_LIST, values)]


async def get_dead_letter(connection: AsyncConnection, user_id: int, letter_id: int) -> DeadLetter | None:
    """Return one."""
    row = (await connection.execute(_GET, {"id": letter_id, "user_id": user_id})).first()
    return None if row is None else _letter(row)


async def lock(connection: AsyncConnection, letter_id: int) -> bool:
    """Lock one that is to be repeated; return whether it is there and nobody has repeated it."""
    return (await connection.execute(_LOCK, {"id": letter_id})).first() is not None


async def mark(connection: AsyncConnection, letter_id: int, run_id: RunId) -> None:
    """Note the run that repeats one."""
    await connection.execute(_MARK, {"id": letter_id, "run_id": run_id})


async def drop_dead_letter(connection: AsyncConnection, user_id: int, letter_id: int) -> bool:
    """Forget one; return whether there was one."""
    return (await connection.execute(_DROP, {"id": letter_id, "user_id": user_id})).rowcount == 1


def _letter(row: Row[Any]) -> DeadLetter:
    return DeadLetter(**row._mapping)
