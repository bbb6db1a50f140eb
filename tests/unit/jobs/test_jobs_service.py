from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from atf.errors import Conflict, InvalidInput, NotFound
from atf.jobs.schedules_service import SchedulesService
from atf.schedules.calendars import SessionCalendar
from atf.schedules.misfire import MisfirePolicy
from atf.schedules.schedule import Schedule, ScheduleCreate, ScheduleDefaults, ScheduleUpdate

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
BACKUP = ScheduleCreate("nightly", "backup", "all", "30 2 * * *")


class FrozenMarketClock:
    is_replay = False

    async def now(self) -> datetime:
        return NOON

    async def step(self) -> bool:
        return False

    def rings_at(self, instant: datetime, now: datetime) -> datetime | None:
        return instant


class FakeRepository:
    """One user's schedules in memory."""

    def __init__(self) -> None:
        self.schedules: dict[int, Schedule] = {}
        self.calls: list[tuple[str, int]] = []

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
            coalesce=bool(schedule.coalesce),
            max_instances=schedule.max_instances or 0,
            misfire_grace_seconds=schedule.misfire_grace_seconds or 0,
            misfire_policy=MisfirePolicy(schedule.misfire_policy or "skip"),
            calendar=schedule.calendar,
        )
        self.schedules[made.id] = made
        return made

    async def update_schedule(
        self, known: Schedule, wanted: ScheduleCreate, *, now: datetime, next_fire_at: datetime | None
    ) -> Schedule | None:
        if self.schedules[known.id].version != known.version:
            return None
        changes: dict[str, Any] = {one.name: getattr(wanted, one.name) for one in fields(wanted)}
        changed = replace(
            known, **changes, version=known.version + 1, next_run_at=next_fire_at or known.next_run_at
        )
        self.schedules[known.id] = changed
        return changed

    async def count_schedules(self, user_id: int) -> int:
        return len(self.schedules)

    async def get_schedule(self, user_id: int, schedule_id: int) -> Schedule | None:
        found = self.schedules.get(schedule_id)
        return found if found and found.user_id == user_id else None

    async def list_schedules(self, user_id: int, job_type: str | None) -> Sequence[Schedule]:
        return [one for one in self.schedules.values() if job_type in (None, one.job_type)]

    async def pause_schedule(self, schedule_id: int, *, now: datetime) -> None:
        assert now == NOON
        self.calls.append(("pause", schedule_id))
        self.schedules[schedule_id] = replace(self.schedules[schedule_id], enabled=False, next_run_at=None)

    async def resume_schedule(self, schedule_id: int, *, now: datetime, next_fire_at: datetime) -> None:
        self.calls.append(("resume", schedule_id))
        changed = replace(self.schedules[schedule_id], enabled=True, next_run_at=next_fire_at)
        self.schedules[schedule_id] = changed

    async def delete_schedule(self, schedule_id: int, *, now: datetime) -> None:
        self.calls.append(("delete", schedule_id))
        del self.schedules[schedule_id]


class Weekdays:
    """A calendar without holidays, and the one source that knows it."""

    name = "XNYS"
    zone = ZoneInfo("America/New_York")

    def is_session(self, day: date) -> bool:
        return day.weekday() < 5

    async def load(self, name: str) -> SessionCalendar:
        if name != self.name:
            raise InvalidInput(f"'{name}' is not one of XNYS", field="calendar")
        return self


@pytest.fixture
def repository() -> FakeRepository:
    return FakeRepository()


@pytest.fixture
def service(repository: FakeRepository) -> SchedulesService:
    return SchedulesService(repository, FrozenMarketClock(), calendars=Weekdays())


async def test_first_run_is_the_first_instant_after_now(service: SchedulesService) -> None:
    at_noon = await service.create_schedule(1, replace(BACKUP, cron="0 12 * * *"))
    assert at_noon.next_run_at == datetime(2027, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "field", "reason"),
    [
        (replace(BACKUP, name=""), "name", "must have 1 to 255 printable characters"),
        (replace(BACKUP, name="x" * 256), "name", "must have 1 to 255 printable characters"),
        (replace(BACKUP, name="a\0b"), "name", "must have 1 to 255 printable characters"),
        (replace(BACKUP, name="a\ud800b"), "name", "must have 1 to 255 printable characters"),
        (replace(BACKUP, job_type="bakcup"), "job_type", '"bakcup" is not one of report, screener, alert, '),
        (replace(BACKUP, cron="61 * * * *"), "cron", "minute: 61 is outside 0-59"),
        (replace(BACKUP, cron="* " * 60), "cron", "has more than 100 characters"),
        (replace(BACKUP, timezone="Mars/Base"), "timezone", ""),
        (replace(BACKUP, target=""), "target", "must have 1 to 255 printable characters"),
        (replace(BACKUP, target="a\0b"), "target", "must have 1 to 255 printable characters"),
        (replace(BACKUP, target="\udc00"), "target", "must have 1 to 255 printable characters"),
        (replace(BACKUP, task_params={"kepe": 3}), "task_params.kepe", "unknown field; did you mean 'keep'?"),
        (replace(BACKUP, task_params={"keep": 0}), "task_params.keep", "0 is less than the minimum of 1"),
        (replace(BACKUP, task_params={"keep": "3"}), "task_params.keep", 'must be an integer, got "3"'),
        (replace(BACKUP, task_params={"a": "\0"}), "task_params.a", "has characters that cannot be stored"),
        (replace(BACKUP, task_params={"\ud800": 1}), "task_params", "has characters that cannot be stored"),
        (replace(BACKUP, task_params={"a": ["x" * 4000] * 20}), "task_params", "are 80"),
        (replace(BACKUP, priority=101), "priority", "must be -100 to 100, got 101"),
        (replace(BACKUP, priority=-101), "priority", "must be -100 to 100, got -101"),
        (
            replace(BACKUP, misfire_policy="later"),
            "misfire_policy",
            '"later" is not one of skip, run_once, run_all',
        ),
        (replace(BACKUP, max_attempts=0), "max_attempts", "must be 1 to 1000, got 0"),
        (replace(BACKUP, max_runtime_seconds=0), "max_runtime_seconds", "must be more than 0 to 86400 seconds"),
        (replace(BACKUP, max_runtime_seconds=float("nan")), "max_runtime_seconds", "must be more than 0"),
        (replace(BACKUP, retry_delay_seconds=-1), "retry_delay_seconds", "must be 0 to 86400 seconds, got -1"),
        (replace(BACKUP, calendar="XNYX"), "calendar", "'XNYX' is not one of XNYS"),
        (replace(BACKUP, calendar="a\0"), "calendar", "must have 1 to 255 printable characters"),
    ],
)
async def test_refused_schedule_is_not_stored(
    service: SchedulesService, repository: FakeRepository, schedule: ScheduleCreate, field: str, reason: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await service.create_schedule(1, schedule)
    assert refused.value.field == field
    assert refused.value.reason.startswith(reason)
    assert repository.schedules == {}


async def test_names_in_any_script_are_welcome(service: SchedulesService) -> None:
    assert (await service.create_schedule(1, replace(BACKUP, name="x" * 255))).id == 1
    assert (await service.create_schedule(1, replace(BACKUP, name="Überblick 毎日"))).id == 2


async def test_pause_and_resume(service: SchedulesService, repository: FakeRepository) -> None:
    await service.create_schedule(1, BACKUP)
    assert not (await service.pause_schedule(1, 1)).enabled
    resumed = await service.resume_schedule(1, 1)
    assert (resumed.enabled, resumed.next_run_at) == (True, datetime(2027, 3, 2, 2, 30, tzinfo=UTC))
    await service.resume_schedule(1, 1)
    assert repository.calls == [("pause", 1), ("resume", 1)]


async def test_what_is_not_there_or_not_the_users_is_not_found(
    service: SchedulesService, repository: FakeRepository
) -> None:
    await service.create_schedule(1, BACKUP)
    for call in (service.get_schedule, service.pause_schedule, service.resume_schedule, service.delete_schedule):
        with pytest.raises(NotFound, match="there is no schedule"):
            await call(2, 1)
        with pytest.raises(NotFound, match="there is no schedule 9"):
            await call(1, 9)
    assert repository.calls == []


async def test_delete_takes_it_out_of_sight(service: SchedulesService) -> None:
    await service.create_schedule(1, BACKUP)
    assert await service.delete_schedule(1, 1)
    assert await service.list_schedules(1) == []


async def test_schedule_gets_the_installation_s_defaults_for_what_it_leaves_open() -> None:
    defaults = ScheduleDefaults(coalesce=True, max_instances=2, misfire_grace_seconds=60)
    service = SchedulesService(FakeRepository(), FrozenMarketClock(), defaults)
    made = await service.create_schedule(1, replace(BACKUP, misfire_grace_seconds=5))
    assert (made.coalesce, made.max_instances, made.misfire_grace_seconds) == (True, 2, 5)


@pytest.mark.parametrize("field", ["max_instances", "misfire_grace_seconds"])
async def test_counts_out_of_range_are_refused(field: str) -> None:
    service = SchedulesService(FakeRepository(), FrozenMarketClock())
    changes: dict[str, Any] = {field: 0}
    with pytest.raises(InvalidInput, match=f"^{field}: must be 1 to"):
        await service.create_schedule(1, replace(BACKUP, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"priority": True}, "priority: must be -100 to 100, got true"),
        ({"priority": "1"}, "priority: must be -100 to 100"),
        ({"enabled": "yes"}, "enabled: must be true or false"),
        ({"coalesce": 1}, "coalesce: must be true or false"),
        ({"target": 5}, "target: must have 1 to 255"),
        ({"name": None}, "name: must have 1 to 255"),
        ({"cron": 5}, "cron: must be a text, got 5"),
        ({"timezone": None}, "timezone: must be a text"),
        ({"task_params": [1]}, r"task_params: must be a JSON object, got \[1\]"),
        ({"task_params": {"keep": {1}}}, "task_params.keep: is not JSON"),
        ({"job_type": ["backup"]}, r'job_type: \["backup"\] is not one of'),
        ({"max_runtime_seconds": "5"}, "max_runtime_seconds: must be more than 0"),
    ],
)
async def test_values_of_another_kind_are_refused_with_their_field(
    service: SchedulesService, repository: FakeRepository, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=f"^{message}"):
        await service.create_schedule(1, replace(BACKUP, **changes))
    assert repository.schedules == {}


async def test_misfires_are_treated_as_the_job_type_says_unless_the_schedule_does(
    service: SchedulesService,
) -> None:
    assert (await service.create_schedule(1, BACKUP)).misfire_policy is MisfirePolicy.RUN_ONCE
    message = replace(BACKUP, job_type="notification", task_params={"message": "hello"})
    assert (await service.create_schedule(1, message)).misfire_policy is MisfirePolicy.RUN_ALL
    own = replace(BACKUP, misfire_policy="skip")
    assert (await service.create_schedule(1, own)).misfire_policy is MisfirePolicy.SKIP


async def test_the_first_run_falls_on_a_session_of_the_calendar(service: SchedulesService) -> None:
    weekend = replace(BACKUP, cron="0 12 * * 0,6,2", calendar="XNYS")
    assert (await service.create_schedule(1, weekend)).next_run_at == datetime(2027, 3, 2, 12, tzinfo=UTC)
    none_here = SchedulesService(FakeRepository(), FrozenMarketClock())
    with pytest.raises(InvalidInput, match=r"^calendar: no trading calendars are installed"):
        await none_here.create_schedule(1, weekend)


async def test_what_the_target_says_is_stored_in_the_parameters(service: SchedulesService) -> None:
    report = ScheduleCreate("daily", "report", "daily_summary", "0 9 * * *")
    made = await service.create_schedule(1, report)
    assert made.task_params == {"report_type": "daily_summary"}
    moved = await service.update_schedule(1, made.id, ScheduleUpdate(target="portfolio_analysis"))
    assert moved.task_params == {"report_type": "portfolio_analysis"}


async def test_a_change_touches_only_what_is_given(service: SchedulesService) -> None:
    made = await service.create_schedule(1, replace(BACKUP, task_params={"keep": 3}, priority=5))
    changed = await service.update_schedule(1, made.id, ScheduleUpdate(name="weekly"))
    assert changed == replace(made, name="weekly", version=2)
    moved = await service.update_schedule(1, made.id, ScheduleUpdate(cron="0 3 * * *"))
    assert moved.next_run_at == datetime(2027, 3, 2, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (ScheduleUpdate(cron="61 * * * *"), "cron: minute"),
        (ScheduleUpdate(timezone="Mars/Base"), "timezone: "),
        (ScheduleUpdate(task_params={"keep": -1}), "task_params.keep: "),
        (ScheduleUpdate(priority=500), "priority: must be -100 to 100"),
        (ScheduleUpdate(calendar="XNYX"), "calendar: "),
    ],
)
async def test_a_wrong_change_changes_nothing(
    service: SchedulesService, repository: FakeRepository, update: ScheduleUpdate, message: str
) -> None:
    made = await service.create_schedule(1, BACKUP)
    with pytest.raises(InvalidInput, match=f"^{message}"):
        await service.update_schedule(1, made.id, update)
    assert repository.schedules == {made.id: made}


async def test_a_change_of_an_old_version_is_refused(
    service: SchedulesService, repository: FakeRepository
) -> None:
    made = await service.create_schedule(1, BACKUP)
    await service.update_schedule(1, made.id, ScheduleUpdate(name="theirs", version=1))
    with pytest.raises(Conflict, match="has been changed by somebody else"):
        await service.update_schedule(1, made.id, ScheduleUpdate(name="ours", version=1))
    assert repository.schedules[made.id].name == "theirs"


async def test_numbers_that_no_schedule_can_have_are_not_found(service: SchedulesService) -> None:
    for number in (0, -1, 2**31, 10**30):
        with pytest.raises(NotFound, match=f"there is no schedule {number}"):
            await service.get_schedule(1, number)
