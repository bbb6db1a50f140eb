from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from atf.errors import InvalidInput, NotFound
from atf.jobs.jobs_service import JobsService
from atf.jobs.run import JobType, RunFilter, RunId, RunRecord
from atf.schedules.schedule import Schedule, ScheduleCreate, ScheduleDefaults

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
        )
        self.schedules[made.id] = made
        return made

    async def get_schedule(self, user_id: int, schedule_id: int) -> Schedule | None:
        found = self.schedules.get(schedule_id)
        return found if found and found.user_id == user_id else None

    async def list_schedules(self, user_id: int, job_type: JobType | None) -> Sequence[Schedule]:
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

    async def list_runs(self, wanted: RunFilter) -> Sequence[RunRecord]:
        return []

    async def get_run(self, user_id: int, run_id: RunId) -> RunRecord | None:
        return None


@pytest.fixture
def repository() -> FakeRepository:
    return FakeRepository()


@pytest.fixture
def service(repository: FakeRepository) -> JobsService:
    return JobsService(repository, FrozenMarketClock())


async def test_first_run_is_the_first_instant_after_now(service: JobsService) -> None:
    at_noon = await service.create_schedule(1, replace(BACKUP, cron="0 12 * * *"))
    assert at_noon.next_run_at == datetime(2027, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "field", "reason"),
    [
        (replace(BACKUP, name=""), "name", "must have 1 to 255 printable characters"),
        (replace(BACKUP, name="x" * 256), "name", "must have 1 to 255 printable characters"),
        (replace(BACKUP, name="a\0b"), "name", "must have 1 to 255 printable characters"),
        (replace(BACKUP, name="a\ud800b"), "name", "must have 1 to 255 printable characters"),
        (replace(BACKUP, job_type="bakcup"), "job_type", "'bakcup' is not one of report, screener, alert, "),
        (replace(BACKUP, cron="61 * * * *"), "cron", "minute: 61 is outside 0-59"),
        (replace(BACKUP, cron="* " * 60), "cron", "has more than 100 characters"),
        (replace(BACKUP, timezone="Mars/Base"), "timezone", ""),
    ],
)
async def test_refused_schedule_is_not_stored(
    service: JobsService, repository: FakeRepository, schedule: ScheduleCreate, field: str, reason: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await service.create_schedule(1, schedule)
    assert refused.value.field == field
    assert refused.value.reason.startswith(reason)
    assert repository.schedules == {}


async def test_names_in_any_script_are_welcome(service: JobsService) -> None:
    assert (await service.create_schedule(1, replace(BACKUP, name="x" * 255))).id == 1
    assert (await service.create_schedule(1, replace(BACKUP, name="Überblick 毎日"))).id == 2


async def test_pause_and_resume(service: JobsService, repository: FakeRepository) -> None:
    await service.create_schedule(1, BACKUP)
    assert not (await service.pause_schedule(1, 1)).enabled
    resumed = await service.resume_schedule(1, 1)
    assert (resumed.enabled, resumed.next_run_at) == (True, datetime(2027, 3, 2, 2, 30, tzinfo=UTC))
    await service.resume_schedule(1, 1)
    assert repository.calls == [("pause", 1), ("resume", 1)]


async def test_what_is_not_there_or_not_the_users_is_not_found(
    service: JobsService, repository: FakeRepository
) -> None:
    await service.create_schedule(1, BACKUP)
    for call in (service.get_schedule, service.pause_schedule, service.resume_schedule, service.delete_schedule):
        with pytest.raises(NotFound, match="there is no schedule"):
            await call(2, 1)
        with pytest.raises(NotFound, match="there is no schedule 9"):
            await call(1, 9)
    with pytest.raises(NotFound, match="there is no run"):
        await service.get_run(1, RunId(UUID(int=5)))
    assert repository.calls == []


async def test_delete_takes_it_out_of_sight(service: JobsService) -> None:
    await service.create_schedule(1, BACKUP)
    assert await service.delete_schedule(1, 1)
    assert await service.list_schedules(1) == []


async def test_schedule_gets_the_installation_s_defaults_for_what_it_leaves_open() -> None:
    defaults = ScheduleDefaults(coalesce=True, max_instances=2, misfire_grace_seconds=60)
    service = JobsService(FakeRepository(), FrozenMarketClock(), defaults)
    made = await service.create_schedule(1, replace(BACKUP, misfire_grace_seconds=5))
    assert (made.coalesce, made.max_instances, made.misfire_grace_seconds) == (True, 2, 5)


@pytest.mark.parametrize("field", ["max_instances", "misfire_grace_seconds"])
async def test_counts_out_of_range_are_refused(field: str) -> None:
    service = JobsService(FakeRepository(), FrozenMarketClock())
    changes: dict[str, Any] = {field: 0}
    with pytest.raises(InvalidInput, match=f"^{field}: must be 1 to"):
        await service.create_schedule(1, replace(BACKUP, **changes))
