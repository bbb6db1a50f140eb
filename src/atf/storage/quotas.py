"""What users may have, looked at in the transaction that would use it up, under a lock on the user."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import Conflict
from atf.security.user import Quotas

# Nobody waits for this lock but who adds for the same user: foreign keys do not conflict with it.
_SCHEDULES_LIMITS: Final = text(
    """
    SELECT COALESCE(schedules_limit, :schedules, 0) AS schedules, COALESCE(alerts_limit, :alerts, 0) AS alerts
    FROM users WHERE id = :user_id FOR NO KEY UPDATE
    """
)
_COUNT: Final = text(
    """
    SELECT count(*) AS schedules, count(*) FILTER (WHERE job_type = 'alert') AS alerts
    FROM job_schedules WHERE user_id = :user_id AND deleted_at IS NULL
    """
)
_BOTS: Final = text(
    "SELECT COALESCE(bots_limit, :bots, 0) AS bots FROM users WHERE id = :user_id FOR NO KEY UPDATE"
)
_COUNT_BOTS: Final = text("SELECT count(*) FROM trading_bots WHERE user_id = :user_id AND deleted_at IS NULL")
_TAKE_RUN: Final = text(
    """
    WITH most AS (
        SELECT COALESCE(runs_per_day_limit, :runs_per_day, 0) AS runs FROM users WHERE id = :user_id),
    taken AS (
        INSERT INTO user_run_days AS d (user_id, day, runs)
        SELECT :user_id, (now() AT TIME ZONE 'UTC')::date, 1 FROM most WHERE runs > 0
        ON CONFLICT (user_id, day) DO UPDATE SET runs = d.runs + 1 WHERE d.runs < (SELECT runs FROM most)
        RETURNING 1)
    SELECT runs, (SELECT count(*) FROM taken) AS taken FROM most
    """
)


async def take_schedule(connection: AsyncConnection, user_id: int, job_type: str, defaults: Quotas) -> None:
    """Wait for others who add schedules for the user, and see that there is room for one more.

    Errors: Conflict that says how many there may be.
    """
    values = {"user_id": user_id, **asdict(defaults)}
    most = (await connection.execute(_SCHEDULES_LIMITS, values)).one()
    if not most.schedules and not (most.alerts and job_type == "alert"):
        return
    has = (await connection.execute(_COUNT, {"user_id": user_id})).one()
    if most.schedules and has.schedules >= most.schedules:
        raise Conflict(f"a user may have {most.schedules} schedules here, and has as many; delete one first")
    if most.alerts and job_type == "alert" and has.alerts >= most.alerts:
        raise Conflict(f"a user may have {most.alerts} alerts here, and has as many; delete one first")


async def take_bot(connection: AsyncConnection, user_id: int, defaults: Quotas) -> None:
    """Wait for others who add bots for the user, and see that there is room for one more.

    Errors: Conflict that says how many there may be.
    """
    most = (await connection.execute(_BOTS, {"user_id": user_id, "bots": defaults.bots})).scalar_one()
    if most and (await connection.execute(_COUNT_BOTS, {"user_id": user_id})).scalar_one() >= most:
        raise Conflict(f"a user may have {most} bots here, and has as many; delete one first")


async def take_run(connection: AsyncConnection, user_id: int, defaults: Quotas) -> None:
    """Count one more run of the user's today.

    Errors: Conflict if there were as many as the user may have.
    """
    values = {"user_id": user_id, "runs_per_day": defaults.runs_per_day}
    row = (await connection.execute(_TAKE_RUN, values)).one()
    if row.runs and not row.taken:
        raise Conflict(
            f"a user may have {row.runs} runs a day here, and has had as many; at 00:00 UTC there are more"
        )
