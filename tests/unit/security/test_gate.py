"""The gate: who calls, for what and whose; everything else is refused, and what is refused is recorded."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from atf.errors import Forbidden, InvariantViolation
from atf.security.audit import AuditEvent, AuditOutcome
from atf.security.caller import Caller, Origin, acting_caller
from atf.security.gate import Right, Rights, first_argument, gated, of_filter
from atf.security.role import Permission, Role


@dataclass(frozen=True)
class Wanted:
    user_id: int


class Desk:
    kinds = ("pen", "paper")

    async def look(self, user_id: int) -> str:
        return f"{user_id} by {caller.name if (caller := acting_caller()) else 'nobody'}"

    async def change(self, user_id: int, thing: str, *, to: str) -> str:
        return f"{user_id} {thing} {to}"

    async def search(self, wanted: Wanted) -> int:
        return wanted.user_id

    async def clean(self) -> str:
        return "clean"

    async def forgotten(self) -> None:
        raise AssertionError


RIGHTS = Rights(
    "desk",
    {
        "kinds": Right(Permission.VIEW),
        "look": Right(Permission.VIEW, first_argument),
        "change": Right(Permission.EDIT, first_argument),
        "search": Right(Permission.VIEW, of_filter),
        "clean": Right(Permission.ADMINISTER),
    },
)


class Log:
    def __init__(self) -> None:
        self.events: list[tuple[str | None, AuditEvent]] = []

    async def record(self, event: AuditEvent) -> None:
        caller = acting_caller()
        self.events.append((caller.name if caller else None, event))


@pytest.fixture
def log() -> Log:
    return Log()


def desk(log: Log, role: Role, user_id: int = 7) -> Desk:
    return gated(Desk(), Caller(user_id, "ann", role, Origin.API, "192.0.2.1"), RIGHTS, log)


async def test_what_is_allowed_goes_through_on_the_callers_behalf(log: Log) -> None:
    trader = desk(log, Role.TRADER)
    assert await trader.look(7) == "7 by ann"
    assert await trader.change(7, "pen", to="red") == "7 pen red"
    assert await trader.search(Wanted(7)) == 7
    assert trader.kinds == ("pen", "paper")
    assert acting_caller() is None
    assert log.events == []


async def test_without_the_permission_nothing_is_called_and_it_is_recorded(log: Log) -> None:
    with pytest.raises(Forbidden, match="only users of the role admin or trader may edit"):
        await desk(log, Role.VIEWER).change(7, "pen", to="red")
    ((name, event),) = log.events
    assert (name, event.action, event.outcome, event.owner_id) == ("ann", "desk.change", AuditOutcome.REFUSED, 7)


async def test_what_belongs_to_another_is_refused_however_it_is_named(log: Log) -> None:
    trader = desk(log, Role.TRADER)
    for call in (trader.look(8), trader.look(user_id=8), trader.search(Wanted(8)), trader.change(8, "x", to="y")):
        with pytest.raises(Forbidden, match="what is ann's own"):
            await call
    assert len(log.events) == 4


async def test_administrators_reach_what_is_everybodys(log: Log) -> None:
    admin = desk(log, Role.ADMIN)
    assert await admin.look(8) == "8 by ann"
    assert await admin.clean() == "clean"
    with pytest.raises(Forbidden):
        await desk(log, Role.TRADER).clean()


@pytest.mark.parametrize("role", Role)
async def test_what_nobody_has_decided_about_is_closed_to_everybody(log: Log, role: Role) -> None:
    with pytest.raises(InvariantViolation, match="nobody has decided who may use forgotten of desk"):
        await desk(log, role).forgotten()
