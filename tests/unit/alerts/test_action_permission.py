"""Who may use actions, when they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from tests.unit.alerts.test_alerts_service import CONFIG, AaplOnly, FrozenMarketClock, Memory

from atf.alerts.action_permission import ActionPermission, refusal_of
from atf.alerts.alerts_service import AlertsService, NewAlert
from atf.errors import InvalidAlertRule, InvalidInput
from atf.jobs.schedules_service import SchedulesService
from atf.schedules.schedule import ScheduleCreate, ScheduleUpdate
from atf.testing.market import open_market

ACTIONS: Sequence[Any] = ({"type": "bot", "bot_id": 7, "command": "stop"},)
WITH = {**CONFIG, "actions": list(ACTIONS)}


class Users:
    """Users by id; notes who was asked for."""

    def __init__(self) -> None:
        self.roles: dict[int, str] = {1: "admin", 2: "trader", 3: "viewer"}
        self.asked: list[int] = []

    async def role_of(self, user_id: int) -> str | None:
        self.asked.append(user_id)
        return self.roles.get(user_id)


def services(users: Users) -> tuple[AlertsService, SchedulesService, Memory]:
    memory, clock = Memory(), FrozenMarketClock()
    schedules = SchedulesService(memory, clock, permission=ActionPermission(users))
    return AlertsService(memory, schedules, open_market(AaplOnly()), clock), schedules, memory


@pytest.mark.parametrize("user_id", [1, 2])
async def test_an_admin_and_a_trader_may(user_id: int) -> None:
    alerts, _, memory = services(Users())
    added = await alerts.add(user_id, NewAlert(WITH))
    assert memory.schedules[added.id].task_params["actions"] == list(ACTIONS)


@pytest.mark.parametrize(("user_id", "what"), [(3, "a viewer"), (4, "not active")])
async def test_others_may_not_and_nothing_is_stored(user_id: int, what: str) -> None:
    alerts, schedules, memory = services(Users())
    with pytest.raises(InvalidAlertRule) as refused:
        await alerts.add(user_id, NewAlert(WITH))
    assert str(refused.value) == (
        f"actions: only users of the role admin or trader may use actions, and this one is {what}; leave them out"
    )
    plain = ScheduleCreate("n", "alert", "AAPL", "0 * * * *", task_params=WITH)
    with pytest.raises(InvalidInput, match=r"^actions: "):
        await schedules.create_schedule(user_id, plain)
    assert memory.schedules == {}


async def test_a_viewer_cannot_bring_them_in_by_an_edit() -> None:
    alerts, schedules, _ = services(Users())
    added = await alerts.add(3, NewAlert(CONFIG))
    with pytest.raises(InvalidAlertRule, match=r"^actions: "):
        await alerts.edit(3, added.id, WITH)
    with pytest.raises(InvalidInput, match=r"^actions: "):
        await schedules.update_schedule(3, added.id, ScheduleUpdate(task_params=WITH))


async def test_without_actions_nobody_is_asked() -> None:
    users = Users()
    alerts, _, _ = services(users)
    await alerts.add(3, NewAlert(CONFIG))
    await alerts.add(3, NewAlert({**CONFIG, "actions": []}))
    assert users.asked == []


def test_an_unknown_role_may_not() -> None:
    assert refusal_of("guest") is not None
    assert refusal_of("admin") is refusal_of("trader") is None
