"""JobsService: makes, changes and lists schedules and runs for a user."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol

from atf.errors import InvalidInput, NotFound
from atf.jobs.run import JobType, RunFilter, RunId, RunRecord
from atf.market.market_clock import MarketClock
from atf.schedules.cron_parser import CronParser
from atf.schedules.schedule import Schedule, ScheduleCreate, ScheduleDefaults

_LONGEST_NAME: Final = 255
_LONGEST_CRON: Final = 100
_LARGEST_COUNT: Final = 2**31 - 1


class JobsRepository(Protocol):
    """Schedules and runs in the database. Every call sees only what belongs to the user."""

    async def create_schedule(
        self, user_id: int, schedule: ScheduleCreate, *, now: datetime, next_fire_at: datetime
    ) -> Schedule:
        """Store a schedule in its group."""
        ...

    async def get_schedule(self, user_id: int, schedule_id: int) -> Schedule | None:
        """Return a schedule that is not deleted."""
        ...

    async def list_schedules(self, user_id: int, job_type: JobType | None) -> Sequence[Schedule]:
        """Return the user's schedules that are not deleted, oldest first."""
        ...

    async def pause_schedule(self, schedule_id: int, *, now: datetime) -> None:
        """Stop a schedule from firing and cancel its waiting runs."""
        ...

    async def resume_schedule(self, schedule_id: int, *, now: datetime, next_fire_at: datetime) -> None:
        """Let a schedule fire again from now on; what was due meanwhile stays undone."""
        ...

    async def delete_schedule(self, schedule_id: int, *, now: datetime) -> None:
        """Take a schedule out of sight and cancel its waiting runs; its history stays."""
        ...

    async def list_runs(self, wanted: RunFilter) -> Sequence[RunRecord]:
        """Return runs, newest first."""
        ...

    async def get_run(self, user_id: int, run_id: RunId) -> RunRecord | None:
        """Return one run."""
        ...


class JobsService:
    """What users do with schedules and runs."""

    def __init__(
        self, repository: JobsRepository, clock: MarketClock, defaults: ScheduleDefaults | None = None
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._defaults = defaults or ScheduleDefaults()

    async def create_schedule(self, user_id: int, schedule: ScheduleCreate) -> Schedule:
        """Store a schedule; it fires for the first time at the first instant after now.

        Errors: InvalidInput that names the field; nothing is stored then.
        """
        schedule = self.prepare(schedule)
        now = await self._clock.now()
        upcoming = CronParser.calculate_next_run(schedule.cron, schedule.timezone, after=now)
        return await self._repository.create_schedule(user_id, schedule, now=now, next_fire_at=upcoming)

    def prepare(self, schedule: ScheduleCreate) -> ScheduleCreate:
        """Return the schedule as it can be stored, with the defaults for what it leaves open.

        Errors: InvalidInput that names the field.
        """
        self._check(schedule)
        return self._defaults.fill(schedule)

    @staticmethod
    def _check(schedule: ScheduleCreate) -> None:
        if not 0 < len(schedule.name) <= _LONGEST_NAME or not schedule.name.isprintable():
            raise InvalidInput(f"must have 1 to {_LONGEST_NAME} printable characters", field="name")
        if schedule.job_type not in list(JobType):
            allowed = ", ".join(JobType)
            raise InvalidInput(f"'{schedule.job_type}' is not one of {allowed}", field="job_type")
        if len(schedule.cron) > _LONGEST_CRON:
            raise InvalidInput(f"has more than {_LONGEST_CRON} characters", field="cron")
        for name in ("max_instances", "misfire_grace_seconds"):
            value = getattr(schedule, name)
            if value is not None and not 1 <= value <= _LARGEST_COUNT:
                raise InvalidInput(f"must be 1 to {_LARGEST_COUNT}, got {value}", field=name)
        CronParser.parse(schedule.cron, schedule.timezone)

    async def get_schedule(self, user_id: int, schedule_id: int) -> Schedule:
        """Return a schedule. Errors: NotFound."""
        schedule = await self._repository.get_schedule(user_id, schedule_id)
        if schedule is None:
            raise NotFound(f"there is no schedule {schedule_id}")
        return schedule

    async def list_schedules(self, user_id: int, job_type: JobType | None = None) -> Sequence[Schedule]:
        """Return the user's schedules, oldest first."""
        return await self._repository.list_schedules(user_id, job_type)

    async def pause_schedule(self, user_id: int, schedule_id: int) -> Schedule:
        """Stop a schedule from firing; harmless when it is paused already."""
        await self.get_schedule(user_id, schedule_id)
        await self._repository.pause_schedule(schedule_id, now=await self._clock.now())
        return await self.get_schedule(user_id, schedule_id)

    async def resume_schedule(self, user_id: int, schedule_id: int) -> Schedule:
        """Let a paused schedule fire again; harmless when it is not paused."""
        schedule = await self.get_schedule(user_id, schedule_id)
        if not schedule.enabled:
            now = await self._clock.now()
            upcoming = CronParser.calculate_next_run(schedule.cron, schedule.timezone, after=now)
            await self._repository.resume_schedule(schedule_id, now=now, next_fire_at=upcoming)
        return await self.get_schedule(user_id, schedule_id)

    async def delete_schedule(self, user_id: int, schedule_id: int) -> bool:
        """Delete a schedule; its runs and triggers stay."""
        await self.get_schedule(user_id, schedule_id)
        await self._repository.delete_schedule(schedule_id, now=await self._clock.now())
        return True

    async def list_runs(self, wanted: RunFilter) -> Sequence[RunRecord]:
        """Return runs, newest first."""
        return await self._repository.list_runs(wanted)

    async def get_run(self, user_id: int, run_id: RunId) -> RunRecord:
        """Return a run. Errors: NotFound."""
        run = await self._repository.get_run(user_id, run_id)
        if run is None:
            raise NotFound(f"there is no run {run_id}")
        return run
