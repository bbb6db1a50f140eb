"""The audit log: what is changed is in it, whoever did it; nothing of it is ever changed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from atf.errors import Forbidden
from atf.schedules.tick import Tick
from atf.security.audit import AuditEvent, AuditFilter, AuditOutcome
from atf.security.caller import Caller, Origin, acting
from atf.security.role import Role
from atf.storage.audit_repository import PostgresAuditLog
from atf.storage.groups_repository import PostgresGroups

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

    from atf.storage.database import Database
    from atf.testing.clocks import FakeMarketClock

ANN = Caller(7, "ann", Role.TRADER, Origin.API, "192.0.2.1")
SIGN_IN = AuditEvent("user.sign_in", AuditOutcome.REFUSED, "user", "7", 7, "wrong password")


@pytest.fixture
def log(database: Database) -> PostgresAuditLog:
    return PostgresAuditLog(database)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET actor = 'bob'",
        "UPDATE audit_log SET actor = 'bob' WHERE false",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
    ],
)
async def test_entries_are_never_changed_or_deleted(log: PostgresAuditLog, rows: Rows, statement: str) -> None:
    await log.record(SIGN_IN)
    before = await rows.all("SELECT * FROM audit_log")
    with pytest.raises(Forbidden):
        await rows.change(statement)
    assert await rows.all("SELECT * FROM audit_log") == before


async def test_the_account_of_the_services_may_only_add_and_read(rows: Rows) -> None:
    granted = await rows.column(
        "SELECT privilege_type FROM information_schema.table_privileges "
        "WHERE table_name = 'audit_log' AND grantee = current_user"
    )
    assert {"INSERT", "SELECT"} <= set(granted)
    assert not {"UPDATE", "DELETE", "TRUNCATE"} & set(granted)


async def test_an_entry_says_who_acts_and_from_where(log: PostgresAuditLog) -> None:
    await log.record(SIGN_IN)
    with acting(ANN):
        await log.record(SIGN_IN)
    anns, services = await log.entries(AuditFilter(), limit=10)
    assert (anns.actor_id, anns.actor, anns.origin, anns.address) == (7, "ann", Origin.API, "192.0.2.1")
    assert (services.actor_id, services.actor, services.origin) == (None, "atf", Origin.SYSTEM)
    assert (anns.outcome, anns.detail) == (AuditOutcome.REFUSED, "wrong password")


async def test_whose_doing_a_change_is_ends_with_the_transaction(
    database: Database, log: PostgresAuditLog
) -> None:
    async def add(name: str) -> None:
        async with database.transaction() as connection:
            await connection.execute(
                text("INSERT INTO users (name, role) VALUES (:name, 'viewer')"), {"name": name}
            )

    with acting(ANN):
        await add("bob")
    await add("cid")
    found = await log.entries(AuditFilter(action="user.create"), limit=10)
    assert [(one.after and one.after["name"], one.actor) for one in found] == [("cid", "atf"), ("bob", "ann")]


async def test_a_change_that_is_undone_leaves_no_entry(database: Database, log: PostgresAuditLog) -> None:
    async def change_and_fail() -> None:
        async with database.transaction() as connection:
            await connection.execute(text("UPDATE users SET role = 'trader'"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await change_and_fail()
    assert await log.entries(AuditFilter(), limit=10) == []


async def test_what_a_tick_advances_is_no_change_of_a_schedule(
    database: Database, rows: Rows, log: PostgresAuditLog, market_clock: FakeMarketClock
) -> None:
    await schedules_of(rows, 1)
    before = await log.entries(AuditFilter(), limit=10)
    assert await Tick(PostgresGroups(database, is_replay=False), market_clock).fire_due() == 1
    assert await rows.value("SELECT next_run_at > now() FROM job_schedules")
    assert await log.entries(AuditFilter(), limit=10) == before


@pytest.mark.parametrize(
    "rest",
    ["UPDATE users SET is_active = false WHERE id = 2", "UPDATE users SET role = 'viewer' WHERE id = 2"],
)
async def test_schedules_of_who_may_not_rest_and_nothing_is_made_up_for(
    database: Database, rows: Rows, market_clock: FakeMarketClock, rest: str
) -> None:
    await rows.change("INSERT INTO users (id, name, role) VALUES (2, 'ann', 'trader')")
    await schedules_of(rows, 1)
    await schedules_of(rows, 2)
    await rows.change(rest)
    tick = Tick(PostgresGroups(database, is_replay=False), market_clock)
    assert await tick.fire_due() == 1
    assert await rows.column("SELECT user_id FROM job_schedule_runs") == [1]
    await rows.change("UPDATE users SET is_active = true, role = 'trader' WHERE id = 2")
    market_clock.at += timedelta(minutes=1)
    assert await tick.fire_due() == 2
    assert await rows.column("SELECT user_id FROM job_schedule_runs ORDER BY id") == [1, 1, 2]
    assert await rows.all("SELECT * FROM job_misfires") == []


async def test_a_users_day_has_as_many_runs_as_allowed(
    database: Database, rows: Rows, market_clock: FakeMarketClock
) -> None:
    await rows.change(
        "INSERT INTO users (id, name, role, runs_per_day_limit) "
        "VALUES (2, 'ann', 'trader', 2), (3, 'bob', 'trader', 0)"
    )
    for user_id in (1, 2, 3):
        await schedules_of(rows, user_id)
    tick = Tick(PostgresGroups(database, is_replay=False, runs_per_day=3), market_clock)
    for _ in range(4):
        await tick.fire_due()
        market_clock.at += timedelta(minutes=1)
    made = await rows.all("SELECT user_id, count(*) AS runs FROM job_schedule_runs GROUP BY 1 ORDER BY 1")
    assert [(row.user_id, row.runs) for row in made] == [(1, 3), (2, 2), (3, 4)]
    counted = await rows.all("SELECT user_id, runs FROM user_run_days ORDER BY 1")
    assert [(row.user_id, row.runs) for row in counted] == [(1, 3), (2, 2)]
    told = await rows.all("SELECT user_id, title, body FROM msg_messages ORDER BY 1")
    assert [(one.user_id, one.body.split(".")[0]) for one in told] == [
        (1, "You may have 3 runs a day and have had as many"),
        (2, "You may have 2 runs a day and have had as many"),
    ]
    await rows.change("UPDATE user_run_days SET day = day - 1")
    assert await tick.fire_due() == 3


async def schedules_of(rows: Rows, user_id: int) -> None:
    """Store a schedule that is due at each minute, from the present one on."""
    await rows.change(
        """
        WITH made AS (
            INSERT INTO schedule_groups (cron, timezone, next_fire_at)
            VALUES ('* * * * *', 'UTC', date_trunc('minute', now()))
            ON CONFLICT (cron, timezone, calendar) DO UPDATE SET next_fire_at = EXCLUDED.next_fire_at
            RETURNING id)
        INSERT INTO job_schedules (user_id, name, job_type, target, cron, effective_from, group_id)
        SELECT :user_id, 'n', 'report', 'daily_summary', '* * * * *', now() - interval '1 hour', id FROM made
        """,
        user_id=user_id,
    )
