"""What users do with runs: start, look, cancel, retry, count."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final, Protocol
from uuid import UUID

from atf.errors import Conflict, InvalidInput, NotFound, shown
from atf.jobs.field_checks import require_integer
from atf.jobs.job_type import JobTypes
from atf.jobs.run import RunFilter, RunId, RunRecord, RunStatus
from atf.jobs.run_request import NewRun, RunCreate, checked_request, run_again, run_of_request, run_of_schedule
from atf.jobs.run_statistics import RunCounts, summary
from atf.jobs.schedules_service import SchedulesService, UserLimits
from atf.jobs.sensitive_jobs import SensitiveJobs
from atf.jobs.target import symbols_in
from atf.market.market_clock import MarketClock

_MOST_DAYS: Final = 36_500
FEWEST_DIGITS: Final = 6
"""By so many characters of its id a run is found, as there are hardly ever two of a user's that share them."""
_ALL_DIGITS: Final = 32
_BEGINNING: Final = re.compile(f"[0-9a-f]{{{FEWEST_DIGITS},{_ALL_DIGITS}}}")


class RunStore(Protocol):
    """Runs in the database, and the sets of symbols that screeners name."""

    async def list_runs(self, wanted: RunFilter) -> Sequence[RunRecord]:
        """Return a user's runs."""
        ...

    async def get_run(self, user_id: int, run_id: RunId) -> RunRecord | None:
        """Return one run."""
        ...

    async def find_runs(self, user_id: int, first: UUID, last: UUID, limit: int) -> Sequence[RunRecord]:
        """Return a user's runs whose ids lie between two, both included."""
        ...

    async def add_run(self, new: NewRun) -> RunRecord:
        """Store a run and wake the workers."""
        ...

    async def count_waiting(self, user_id: int, most: int) -> int:
        """Return how many ad-hoc runs of a user are PENDING, counting no further than ``most``."""
        ...

    async def cancel_run(self, user_id: int, run_id: RunId) -> RunStatus | None:
        """Cancel a PENDING run, ask the worker of a RUNNING one to stop; return what it was, None if no run."""
        ...

    async def count_runs(self, user_id: int, job_type: str | None, days: int) -> RunCounts:
        """Add up the runs that ended within some days."""
        ...

    async def delete_old_runs(self, days: int) -> int:
        """Delete the runs of all users that have ended and are older; return how many they were."""
        ...

    async def symbols_of_set(self, name: str, day: date) -> Sequence[str]:
        """Return the symbols that belong to a set on a day, sorted; none if there is no such set."""
        ...

    async def set_names(self, day: date) -> Sequence[str]:
        """Return the names of the sets that have symbols on a day, sorted."""
        ...


class RunsService:
    """Runs as users see them."""

    def __init__(
        self,
        store: RunStore,
        schedules: SchedulesService,
        clock: MarketClock,
        types: JobTypes,
        limits: UserLimits,
        sensitive: SensitiveJobs,
    ) -> None:
        self._runs = store
        self._users_schedules = schedules
        self._clock = clock
        self._types = types
        self._limits = limits
        self._sensitive = sensitive

    async def trigger_schedule(self, user_id: int, schedule_id: int) -> RunRecord:
        """Run a schedule now, paused or not, as it is now. Errors: NotFound."""
        schedule = await self._users_schedules.stored_schedule(user_id, schedule_id)
        return await self._add(run_of_schedule(schedule, self._types))

    async def create_run(self, user_id: int, request: RunCreate) -> RunRecord:
        """Store a run that has no schedule.

        Errors: InvalidInput that names the field; Conflict if too many of the user's are waiting.
        """
        self._sensitive.conceal(request.job_type, request.task_params)
        request = checked_request(request, self._types)
        await self._users_schedules.require_allowed(user_id, request)
        await self._require_room(user_id)
        request = await self._sensitive.sealed(user_id, request)
        return await self._add(run_of_request(user_id, request, self._types))

    async def list_runs(self, wanted: RunFilter) -> Sequence[RunRecord]:
        """Return runs, newest first unless the filter sorts by something else."""
        return [self._sensitive.run(run) for run in await self._runs.list_runs(wanted)]

    async def get_run(self, user_id: int, run_id: RunId) -> RunRecord:
        """Return a run, its sensitive fields masked. Errors: NotFound."""
        return self._sensitive.run(await self._stored_run(user_id, run_id))

    async def find_run(self, user_id: int, beginning: str) -> RunRecord:
        """Return the run of a user whose id begins so, its sensitive fields masked.

        Errors: InvalidInput if that is no beginning of an id; NotFound; Conflict if several begin so.
        """
        digits = beginning.replace("-", "").lower()
        if not _BEGINNING.fullmatch(digits):
            raise InvalidInput(
                f"must be a run's id, or its first {FEWEST_DIGITS} characters or more, got {shown(beginning)}",
                field="run",
            )
        first, last = (UUID(digits.ljust(_ALL_DIGITS, filler)) for filler in "0f")
        found = await self._runs.find_runs(user_id, first, last, 2)
        if not found:
            raise NotFound(f"there is no run {beginning}")
        if len(found) > 1:
            raise Conflict(f"several runs begin with {beginning}: say more of the id")
        return self._sensitive.run(found[0])

    async def _stored_run(self, user_id: int, run_id: RunId) -> RunRecord:
        run = await self._runs.get_run(user_id, run_id)
        if run is None:
            raise _no_run(run_id)
        return run

    async def cancel_run(self, user_id: int, run_id: RunId) -> bool:
        """Cancel a run: True if it was waiting and is CANCELLED, False if its worker has been asked to stop.

        Errors: NotFound; Conflict if it has ended.
        """
        before = await self._runs.cancel_run(user_id, run_id)
        if before is None:
            raise _no_run(run_id)
        if before.is_final:
            raise Conflict(f"run {run_id} is {before} already and cannot be cancelled")
        return before is RunStatus.PENDING

    async def retry_run(self, user_id: int, run_id: RunId) -> RunRecord:
        """Store a new run that repeats one that has ended; that one stays as it is.

        Errors: NotFound; Conflict if it has not ended, or if too many of the user's runs are waiting.
        """
        run = await self._stored_run(user_id, run_id)
        if not run.status.is_final:
            raise Conflict(f"run {run_id} is {run.status}; only a run that has ended can be repeated")
        if run.job_id is None:
            await self._require_room(user_id)
        return await self._add(run_again(run, self._types))

    async def get_run_statistics(
        self, user_id: int, job_type: str | None = None, days: int = 7
    ) -> dict[str, Any]:
        """Return what became of the runs of some days, counted by whole hours; None counts all job types.

        Units: durations in seconds; ``success_rate`` is a fraction of those that completed or failed.
        """
        if job_type is not None:
            self._types.get(job_type)
        require_integer(days, "days", 1, _MOST_DAYS)
        return summary(await self._runs.count_runs(user_id, job_type, days), job_type, days)

    async def cleanup_old_runs(self, days_to_keep: int) -> int:
        """Delete the ended runs of all users that are older; return how many they were."""
        require_integer(days_to_keep, "days_to_keep", 0, _MOST_DAYS)
        return await self._runs.delete_old_runs(days_to_keep)

    async def expand_screener_target(self, target: str) -> tuple[str, ...]:
        """Return the symbols of a comma list, or those that belong to a set today.

        Errors: InvalidInput that names the sets there are.
        """
        listed = symbols_in(target)
        if listed is not None:
            return listed
        today = (await self._clock.now()).date()
        symbols = tuple(await self._runs.symbols_of_set(target, today))
        if not symbols:
            known = ", ".join(await self._runs.set_names(today)) or "none yet"
            raise InvalidInput(f"there is no set {shown(target)}; sets here: {known}", field="target")
        return symbols

    async def _add(self, new: NewRun) -> RunRecord:
        """In a replay a run belongs to the replay, at its time."""
        if self._clock.is_replay:
            new = replace(new, retention_class="replay", scheduled_for=await self._clock.now())
        return self._sensitive.run(await self._runs.add_run(new))

    async def _require_room(self, user_id: int) -> None:
        most = self._limits.pending_runs
        if most and await self._runs.count_waiting(user_id, most) >= most:
            raise Conflict(
                f"{most} runs are waiting already, as many as one user may have; "
                "wait for them or cancel some (ATF_USER_PENDING_RUNS_LIMIT)"
            )


def _no_run(run_id: RunId) -> NotFound:
    return NotFound(f"there is no run {run_id}")
