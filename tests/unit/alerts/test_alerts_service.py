from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from atf.alerts.alert import rule_hash
from atf.alerts.alerts_service import (
    ActionRecord,
    AlertRecord,
    AlertsService,
    NewAlert,
    TriggerRecord,
)
from atf.alerts.default_rhythm import DEFAULT_CRON
from atf.alerts.state import AlertState
from atf.errors import InvalidAlertRule, InvalidCron, InvalidInput, NotFound
from atf.jobs.run import JobType
from atf.jobs.schedules_service import SchedulesService
from atf.market.bars import Bars, Series, Timeframe
from atf.market.chains import Chains
from atf.market.data_manager import DataManager
from atf.market.due_bars import DueBars
from atf.market.forming import FormingBar
from atf.market.provider import ProviderTraits
from atf.market.provider_lane import ProviderLane
from atf.market.trading_calendar import Session, TradingCalendar
from atf.schedules.cron_parser import CronParser
from atf.schedules.schedule import Schedule, ScheduleCreate
from atf.testing.market import MemoryBarStore, open_market

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
CONFIG = {"ticker": "AAPL", "timeframe": "1h", "rule": {"indicator": "price", "operator": ">", "value": 70}}


class FrozenMarketClock:
    is_replay = False

    async def now(self) -> datetime:
        return NOON

    async def step(self) -> bool:
        return False

    def rings_at(self, instant: datetime, now: datetime) -> datetime | None:
        return instant


class AaplOnly:
    name = "aapl"
    traits = ProviderTraits(is_local=True)

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        return Bars.empty()

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        return symbol == "AAPL"

    async def symbols(self) -> Sequence[str]:
        return ["AAPL"]


@dataclass
class Memory:
    """Both repositories over one table of schedules; alert 1 belongs to user 1."""

    schedules: dict[int, Schedule] = field(default_factory=dict)
    hashes: dict[int, str] = field(default_factory=dict)
    done: list[tuple[Any, ...]] = field(default_factory=list)

    async def add(
        self, user_id: int, schedule: ScheduleCreate, *, state: AlertState, now: datetime, next_fire_at: datetime
    ) -> Schedule:
        made = await self.create_schedule(user_id, schedule, now=now, next_fire_at=next_fire_at)
        self.hashes[made.id] = state.rule_hash
        return made

    async def create_schedule(
        self, user_id: int, schedule: ScheduleCreate, *, now: datetime, next_fire_at: datetime
    ) -> Schedule:
        made = Schedule(
            id=len(self.schedules) + 1,
            user_id=user_id,
            name=schedule.name,
            job_type=schedule.job_type,
            target=schedule.target,
            task_params=schedule.task_params,
            cron=schedule.cron,
            timezone=schedule.timezone,
            enabled=schedule.enabled,
            priority=schedule.priority,
            next_run_at=next_fire_at,
            created_at=now,
            updated_at=now,
            version=1,
        )
        self.schedules[made.id] = made
        return made

    async def get_schedule(self, user_id: int, schedule_id: int) -> Schedule | None:
        found = self.schedules.get(schedule_id)
        return found if found and found.user_id == user_id else None

    async def list_schedules(self, user_id: int, job_type: str | None) -> Sequence[Schedule]:
        return list(self.schedules.values())

    async def count_schedules(self, user_id: int) -> int:
        return len(self.schedules)

    async def update_schedule(
        self, known: Schedule, wanted: ScheduleCreate, *, now: datetime, next_fire_at: datetime | None
    ) -> Schedule | None:
        raise AssertionError("an alert is not changed here")

    async def pause_schedule(self, schedule_id: int, *, now: datetime) -> None:
        self.done.append(("pause", schedule_id))

    async def resume_schedule(self, schedule_id: int, *, now: datetime, next_fire_at: datetime) -> None:
        self.done.append(("resume", schedule_id))

    async def delete_schedule(self, schedule_id: int, *, now: datetime) -> None:
        self.done.append(("delete", schedule_id))

    async def list_alerts(self, user_id: int) -> Sequence[AlertRecord]:
        alerts = [await self.get_alert(user_id, schedule_id) for schedule_id in self.schedules]
        return [alert for alert in alerts if alert is not None]

    async def get_alert(self, user_id: int, schedule_id: int) -> AlertRecord | None:
        found = await self.get_schedule(user_id, schedule_id)
        if found is None or found.job_type != JobType.ALERT:
            return None
        return AlertRecord(
            id=found.id,
            user_id=found.user_id,
            name=found.name,
            task_params=found.task_params,
            cron=found.cron,
            timezone=found.timezone,
            enabled=found.enabled,
            created_at=found.created_at,
            next_run_at=found.next_run_at,
            state_json=None,
        )

    async def last_seen(self, user_id: int, schedule_id: int, version: int) -> bytes | None:
        return None

    async def list_triggers(self, schedule_id: int, limit: int) -> Sequence[TriggerRecord]:
        self.done.append(("triggers", schedule_id, limit))
        return []

    async def list_actions(self, schedule_id: int, limit: int) -> Sequence[ActionRecord]:
        self.done.append(("actions", schedule_id, limit))
        return []

    async def mute(self, schedule_id: int, until: datetime | None) -> None:
        self.done.append(("mute", schedule_id, until))

    async def begin_anew(self, schedule_id: int, state: AlertState) -> None:
        self.done.append(("begin anew", schedule_id, state))

    async def acknowledge(self, schedule_id: int) -> int:
        self.done.append(("acknowledge", schedule_id))
        return 3


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def service(memory: Memory) -> AlertsService:
    clock = FrozenMarketClock()
    return AlertsService(memory, SchedulesService(memory, clock), open_market(AaplOnly()), clock)


class Forming(AaplOnly):
    async def forming_bar(self, series: Series, now: datetime) -> FormingBar | None:
        return None


class NewYork:
    """Sessions end at 16:00, on Fridays at 13:00."""

    name = "XNYS"
    zone = ZoneInfo("America/New_York")

    def sessions_between(self, first: date, last: date) -> tuple[Session, ...]:
        days = (first + timedelta(days=n) for n in range((last - first).days + 1))
        return tuple(
            Session(day, self._at(day, 9), self._at(day, 13 if day.weekday() == 4 else 16))
            for day in days
            if day.weekday() < 5
        )

    def _at(self, day: date, hour: int) -> datetime:
        return datetime(day.year, day.month, day.day, hour, tzinfo=self.zone).astimezone(UTC)


class OneExchange:
    async def trading_calendar(self, name: str) -> TradingCalendar:
        if name != "XNYS":
            raise InvalidInput(f"{name} is not a trading calendar; did you mean XNYS?", field="calendar")
        return NewYork()


def service_of(memory: Memory, provider: AaplOnly) -> AlertsService:
    clock = FrozenMarketClock()
    data = DataManager(Chains([ProviderLane(provider)]), MemoryBarStore(), DueBars(OneExchange()))
    return AlertsService(memory, SchedulesService(memory, clock), data, clock)


async def test_a_live_alert_whose_forming_bars_nobody_has_is_refused(memory: Memory) -> None:
    with pytest.raises(InvalidInput) as refused:
        await service_of(memory, AaplOnly()).add(1, NewAlert({**CONFIG, "options": {"evaluate_on": "live"}}))
    assert (refused.value.field, memory.schedules) == ("options.evaluate_on", {})
    assert "aapl has no bars that are still forming" in str(refused.value)


async def test_an_unknown_calendar_is_refused_with_what_is_meant(memory: Memory) -> None:
    with pytest.raises(InvalidInput) as refused:
        await service_of(memory, AaplOnly()).add(1, NewAlert({**CONFIG, "calendar": "NYSE"}))
    assert (refused.value.field, memory.schedules) == ("calendar", {})
    assert "NYSE is not a trading calendar; did you mean XNYS?" in str(refused.value)


@pytest.mark.parametrize(
    ("more", "cron", "zone"),
    [
        ({"options": {"evaluate_on": "live"}}, "* * * * *", "UTC"),
        ({"options": {"evaluate_on": "live"}, "timeframe": "1m"}, "*/15 * * * * *", "UTC"),
        ({"calendar": "XNYS"}, "0 * * * *", "UTC"),
        ({"calendar": "XNYS", "timeframe": "1d"}, "0 13,16 * * *", "America/New_York"),
        ({"calendar": "XNYS", "timeframe": "1w"}, "0 13,16 * * *", "America/New_York"),
        ({"calendar": "XNYS", "timeframe": "1d", "options": {"evaluate_on": "live"}}, "* * * * *", "UTC"),
    ],
)
async def test_without_a_cron_an_alert_is_looked_at_as_its_bars_close_or_form(
    memory: Memory, more: dict[str, Any], cron: str, zone: str
) -> None:
    added = await service_of(memory, Forming()).add(1, NewAlert({**CONFIG, **more}))
    assert (added.cron, added.timezone) == (cron, zone)


async def test_alert_is_stored_with_defaults_made_from_its_configuration(
    service: AlertsService, memory: Memory
) -> None:
    alert = await service.add(1, NewAlert(CONFIG))
    assert (alert.name, alert.cron, alert.timezone) == ("AAPL 1h", "0 * * * *", "UTC")
    assert alert.next_run_at == datetime(2027, 3, 1, 13, tzinfo=UTC)
    assert alert.created_at == NOON
    assert alert.task_params == CONFIG
    assert memory.hashes == {1: rule_hash(CONFIG)}
    assert memory.schedules[1].job_type == JobType.ALERT


async def test_names_and_times_may_be_given(service: AlertsService) -> None:
    alert = await service.add(1, NewAlert(CONFIG, "mine", "30 9 * * 1-5", "America/New_York"))
    assert (alert.name, alert.cron, alert.timezone) == ("mine", "30 9 * * 1-5", "America/New_York")
    assert alert.next_run_at is not None
    assert alert.next_run_at.isoformat() == "2027-03-01T09:30:00-05:00"


@pytest.mark.parametrize(
    ("new", "error", "field"),
    [
        (NewAlert(None), InvalidAlertRule, ""),
        (
            NewAlert({**CONFIG, "rule": {"indicator": "price", "operator": ">", "value": "70"}}),
            InvalidAlertRule,
            "rule.value",
        ),
        (NewAlert({**CONFIG, "ticker": "APPL"}), InvalidInput, "ticker"),
        (NewAlert(CONFIG, cron="60 * * * *"), InvalidCron, "cron"),
        (NewAlert(CONFIG, timezone="Mars/Base"), InvalidCron, "timezone"),
        (NewAlert(CONFIG, name="x" * 256), InvalidInput, "name"),
        (NewAlert(CONFIG, name="a\nb"), InvalidInput, "name"),
    ],
)
async def test_nothing_is_stored_if_anything_is_wrong(
    service: AlertsService, memory: Memory, new: NewAlert, error: type[InvalidInput], field: str
) -> None:
    with pytest.raises(error) as refused:
        await service.add(1, new)
    assert refused.value.field == field
    assert memory.schedules == {}


async def test_unknown_ticker_comes_with_a_suggestion(service: AlertsService) -> None:
    with pytest.raises(InvalidInput, match="did you mean 'AAPL'"):
        await service.add(1, NewAlert({**CONFIG, "ticker": "APPL"}))


@pytest.mark.parametrize("timeframe", list(Timeframe))
def test_default_cron_rings_when_a_bar_closes(timeframe: Timeframe) -> None:
    day = datetime(2027, 3, 1, tzinfo=UTC)  # a Monday
    runs = CronParser.next_runs(DEFAULT_CRON[timeframe], "UTC", after=day, count=30)
    step = min(timeframe.length, Timeframe.D1.length)
    assert runs == [day + step * (index + 1) for index in range(30)]


async def test_another_users_alert_is_not_there(service: AlertsService, memory: Memory) -> None:
    await service.add(1, NewAlert(CONFIG))
    for call in (service.get, service.triggers, service.pause, service.resume, service.delete):
        with pytest.raises(NotFound, match="there is no alert 1"):
            await call(2, 1)
    assert memory.done == []


async def test_schedule_that_is_no_alert_is_not_touched(service: AlertsService, memory: Memory) -> None:
    await memory.create_schedule(
        1, ScheduleCreate("b", "backup", "all", "0 0 * * *"), now=NOON, next_fire_at=NOON
    )
    for call in (service.get, service.pause, service.resume, service.delete):
        with pytest.raises(NotFound):
            await call(1, 1)
    assert memory.done == []


async def test_alert_is_paused_and_deleted_and_its_triggers_are_read(
    service: AlertsService, memory: Memory
) -> None:
    await service.add(1, NewAlert(CONFIG))
    await service.pause(1, 1)
    await service.resume(1, 1)  # is not paused here, so nothing happens
    await service.triggers(1, 1, limit=5)
    await service.delete(1, 1)
    assert memory.done == [("pause", 1), ("triggers", 1, 5), ("delete", 1)]
    assert [alert.id for alert in await service.list_alerts(1)] == [1]
