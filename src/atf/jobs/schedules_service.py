"""What users do with schedules: add, change, pause, resume, delete, look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from atf.errors import Conflict, InvalidInput, NotFound
from atf.jobs.field_checks import LARGEST_COUNT
from atf.jobs.job_type import JobTypes
from atf.jobs.job_types_builtin import builtin_types
from atf.jobs.run_request import RunCreate
from atf.jobs.schedule_checks import checked_schedule
from atf.jobs.sensitive_jobs import SensitiveJobs
from atf.market.market_clock import MarketClock
from atf.schedules.calendars import CalendarSource
from atf.schedules.fire_times import FireTimes
from atf.schedules.schedule import UNCHANGED, Schedule, ScheduleCreate, ScheduleDefaults, ScheduleUpdate
from atf.security.document_seals import DocumentSeals


class ScheduleStore(Protocol):
    """Schedules in the database."""

    async def create_schedule(
        self, user_id: int, schedule: ScheduleCreate, *, now: datetime, next_fire_at: datetime
    ) -> Schedule:
        """Store a schedule in its group. Errors: Conflict if the user has as many as allowed."""
        ...

    async def update_schedule(
        self, known: Schedule, wanted: ScheduleCreate, *, now: datetime, next_fire_at: datetime | None
    ) -> Schedule | None:
        """Change a schedule; None, and nothing is changed, if it is no longer the known version.

        With ``next_fire_at`` it moves to the group of its new times and fires from ``now`` on.
        """
        ...

    async def get_schedule(self, user_id: int, schedule_id: int) -> Schedule | None:
        """Return a schedule that is not deleted."""
        ...

    async def list_schedules(self, user_id: int, job_type: str | None) -> Sequence[Schedule]:
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


class StorePermission(Protocol):
    """Who may store what: some parameters are not for everybody, and what they name must be there."""

    async def require_allowed(self, user_id: int, job_type: str, task_params: Mapping[str, Any]) -> None:
        """Do nothing if the user may store this. Errors: InvalidInput that names the field."""
        ...


@dataclass(frozen=True, slots=True)
class UserLimits:
    """How many ad-hoc runs of one user may wait; 0 means any number."""

    pending_runs: int = 10_000


class SchedulesService:
    """Schedules as users see them."""

    def __init__(
        self,
        store: ScheduleStore,
        clock: MarketClock,
        defaults: ScheduleDefaults | None = None,
        *,
        types: JobTypes | None = None,
        calendars: CalendarSource | None = None,
        permission: StorePermission | None = None,
        seals: DocumentSeals | None = None,
    ) -> None:
        self._schedules = store
        self._clock = clock
        self._defaults = defaults or ScheduleDefaults()
        self._types = types or JobTypes(builtin_types())
        self._calendars = calendars
        self._permission = permission
        self._sensitive = SensitiveJobs(self._types, seals)

    @property
    def types(self) -> JobTypes:
        """The job types that schedules may have here."""
        return self._types

    async def create_schedule(self, user_id: int, schedule: ScheduleCreate) -> Schedule:
        """Store a schedule; it fires for the first time at the first instant after now.

        Errors: InvalidInput that names the field, Conflict if the user has too many; nothing is stored then.
        """
        self._sensitive.conceal(schedule.job_type, schedule.task_params)
        schedule = self.prepare(schedule)
        await self.require_allowed(user_id, schedule)
        now = await self._clock.now()
        upcoming = await self._next_run(schedule, now)
        schedule = await self._sensitive.sealed(user_id, schedule)
        made = await self._schedules.create_schedule(user_id, schedule, now=now, next_fire_at=upcoming)
        return self._sensitive.schedule(made)

    def prepare(self, schedule: ScheduleCreate) -> ScheduleCreate:
        """Return the schedule as it can be stored, with the defaults for what it leaves open.

        Errors: InvalidInput that names the field.
        """
        return self._defaults.fill(checked_schedule(schedule, self._types))

    async def require_allowed(self, user_id: int, job: ScheduleCreate | RunCreate) -> None:
        """Raise InvalidInput if the user may not store such a schedule or run."""
        if self._permission is not None:
            await self._permission.require_allowed(user_id, job.job_type, job.task_params)

    async def update_schedule(self, user_id: int, schedule_id: int, update: ScheduleUpdate) -> Schedule:
        """Change what is given; with other times it fires from now on, at those. A mask leaves a sensitive field.

        Errors: InvalidInput that names the field; Conflict if somebody else changed it first; nothing is changed
                then.
        """
        known = await self.stored_schedule(user_id, schedule_id)
        self._sensitive.conceal(known.job_type, update.task_params)
        before = await self._sensitive.opened(known)
        wanted = self.prepare(self._applied(self._sensitive.unmasked(update, before), before.opened))
        await self.require_allowed(user_id, wanted)
        if update.version not in (None, known.version):
            raise _changed_meanwhile(known.id)
        now = await self._clock.now()
        moves = (wanted.cron, wanted.timezone, wanted.calendar) != known.rhythm
        upcoming = await self._next_run(wanted, now) if moves else None
        wanted = await self._sensitive.sealed(user_id, wanted, before)
        changed = await self._schedules.update_schedule(known, wanted, now=now, next_fire_at=upcoming)
        if changed is None:
            raise _changed_meanwhile(known.id)
        return self._sensitive.schedule(changed)

    def _applied(self, update: ScheduleUpdate, known: Schedule) -> ScheduleCreate:
        """Another target says other things in ``task_params`` than the one before, if they were not given too."""
        if update.target is not UNCHANGED and update.task_params is UNCHANGED:
            definition = self._types.get(known.job_type)
            kept = definition.without_filled(known.target, known.task_params)
            update = replace(update, task_params=kept)
        return update.applied_to(known)

    async def get_schedule(self, user_id: int, schedule_id: int) -> Schedule:
        """Return a schedule, its sensitive fields masked. Errors: NotFound."""
        return self._sensitive.schedule(await self.stored_schedule(user_id, schedule_id))

    async def stored_schedule(self, user_id: int, schedule_id: int) -> Schedule:
        """Return a schedule as it is stored, for services alone. Errors: NotFound."""
        is_possible = 0 < schedule_id <= LARGEST_COUNT
        schedule = await self._schedules.get_schedule(user_id, schedule_id) if is_possible else None
        if schedule is None:
            raise NotFound(f"there is no schedule {schedule_id}")
        return schedule

    async def list_schedules(self, user_id: int, job_type: str | None = None) -> Sequence[Schedule]:
        """Return the user's schedules, oldest first, their sensitive fields masked."""
        return [self._sensitive.schedule(one) for one in await self._schedules.list_schedules(user_id, job_type)]

    async def pause_schedule(self, user_id: int, schedule_id: int) -> Schedule:
        """Stop a schedule from firing; harmless when it is paused already."""
        await self.get_schedule(user_id, schedule_id)
        await self._schedules.pause_schedule(schedule_id, now=await self._clock.now())
        return await self.get_schedule(user_id, schedule_id)

    async def resume_schedule(self, user_id: int, schedule_id: int) -> Schedule:
        """Let a paused schedule fire again; harmless when it is not paused."""
        schedule = await self.get_schedule(user_id, schedule_id)
        if not schedule.enabled:
            now = await self._clock.now()
            upcoming = await self._next_run(schedule, now)
            await self._schedules.resume_schedule(schedule_id, now=now, next_fire_at=upcoming)
        return await self.get_schedule(user_id, schedule_id)

    async def delete_schedule(self, user_id: int, schedule_id: int) -> bool:
        """Delete a schedule; its runs and triggers stay."""
        await self.get_schedule(user_id, schedule_id)
        await self._schedules.delete_schedule(schedule_id, now=await self._clock.now())
        return True

    async def _next_run(self, schedule: Schedule | ScheduleCreate, now: datetime) -> datetime:
        if schedule.calendar is None:
            return FireTimes(schedule.cron, schedule.timezone).next_after(now)
        if self._calendars is None:
            raise InvalidInput("no trading calendars are installed here", field="calendar")
        calendar = await self._calendars.load(schedule.calendar)
        return FireTimes(schedule.cron, schedule.timezone, calendar).next_after(now)


def _changed_meanwhile(schedule_id: int) -> Conflict:
    return Conflict(f"schedule {schedule_id} has been changed by somebody else meanwhile; look at it again")
