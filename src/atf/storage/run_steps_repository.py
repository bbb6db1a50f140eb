"""Steps of runs in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.expression import bindparam

from atf.jobs.run import Progress, RunId
from atf.jobs.run_steps import Outcome
from atf.storage.database import Database

_BEGIN: Final = text(
    """
    INSERT INTO job_run_steps (run_id, step, position)
    SELECT :run_id, step, position FROM unnest(CAST(:steps AS text[])) WITH ORDINALITY AS given (step, position)
    ON CONFLICT (run_id, step) DO NOTHING
    """
)
_FINISHED: Final = text(
    "SELECT step, outcome FROM job_run_steps WHERE run_id = :run_id AND outcome IS NOT NULL ORDER BY position"
)
_FINISH: Final = text(
    """
    UPDATE job_run_steps SET outcome = :outcome, finished_at = now()
    WHERE run_id = :run_id AND step = :step AND outcome IS NULL
    """
).bindparams(bindparam("outcome", type_=JSONB))
_PROGRESS: Final = text("SELECT count(outcome), count(*) FROM job_run_steps WHERE run_id = :run_id")
_DELETE_OLD: Final = text(
    """
    DELETE FROM job_run_steps WHERE (run_id, step) IN (
        SELECT run_id, step FROM job_run_steps WHERE begun_at < now() - :age LIMIT :limit)
    """
)


async def progress_of(connection: AsyncConnection, run_id: RunId) -> Progress | None:
    """Return how far a run is, None if it has no steps."""
    done, total = (await connection.execute(_PROGRESS, {"run_id": run_id})).one()
    return Progress(done, total) if total else None


class PostgresRunSteps:
    """Implements ``jobs.run_steps.RunSteps``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, run_id: RunId, steps: Sequence[str]) -> Mapping[str, Outcome]:
        """Note the steps of a run, and return what came of those that are finished already."""
        async with self._database.transaction() as connection:
            await connection.execute(_BEGIN, {"run_id": run_id, "steps": list(steps)})
            rows = await connection.execute(_FINISHED, {"run_id": run_id})
            return {row.step: row.outcome for row in rows}

    async def finish(self, run_id: RunId, step: str, outcome: Outcome) -> None:
        """Note what came of a step; the first note counts."""
        async with self._database.transaction() as connection:
            await connection.execute(_FINISH, {"run_id": run_id, "step": step, "outcome": dict(outcome)})

    async def delete_older(self, age: timedelta, limit: int) -> int:
        """Delete up to ``limit`` steps that were begun longer ago than ``age``; return how many."""
        async with self._database.transaction() as connection:
            return (await connection.execute(_DELETE_OLD, {"age": age, "limit": limit})).rowcount
