"""SensitiveJobs: seals the sensitive fields of what is stored, opens them for handlers, masks them for everybody.

Types without such fields, alerts above all, pass through untouched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from atf.errors import InvalidInput, InvariantViolation
from atf.jobs.job_type import JobTypes
from atf.jobs.run import ClaimedRun, RunRecord
from atf.jobs.run_request import RunCreate, RunUpdate
from atf.schedules.schedule import UNCHANGED, Schedule, ScheduleCreate, ScheduleUpdate
from atf.secrecy import MASK, conceal
from atf.security.document_seals import DocumentSeals, UserSeals
from atf.security.sealed_fields import (
    NOTHING,
    Marked,
    Place,
    changed,
    is_sealed,
    masked,
    path_of,
    unmasked,
    value_at,
)

PARAMS: Final = "task_params"
RESULT: Final = "result"

NewJob = TypeVar("NewJob", ScheduleCreate, RunCreate)


@dataclass(frozen=True, slots=True)
class KnownSchedule:
    """A schedule as it is stored, and as its handler would see it."""

    stored: Schedule
    opened: Schedule

    def seal_of(self, place: Place, value: object) -> Any:
        """Return a value as it is sealed already, None if it is another one or not sealed."""
        if value_at(self.opened.task_params, place) != value:
            return None
        stored = value_at(self.stored.task_params, place)
        return stored if is_sealed(stored) else None


class SensitiveJobs:
    """The sensitive fields of jobs; without ``seals`` types that have some cannot be stored."""

    def __init__(self, types: JobTypes, seals: DocumentSeals | None) -> None:
        self._types = types
        self._seals = seals

    def conceal(self, job_type: str, task_params: object) -> None:
        """Keep what a user gives in sensitive fields out of every text, before anything looks at it."""
        changed(task_params, self._marked(job_type, PARAMS), _concealed)

    async def sealed(self, user_id: int, job: NewJob, known: KnownSchedule | None = None) -> NewJob:
        """Return a checked job as it is stored; what is as it was in ``known`` keeps its seal.

        Errors: InvalidInput for a mask that stands for nothing.
        """
        marked = self._marked(job.job_type, PARAMS)
        if not marked:
            return job
        seals = await self._of_user(user_id)

        def seal(place: Place, value: Any) -> Any:
            if value == MASK:
                raise InvalidInput(
                    f"{MASK} stands for a stored value: give the value itself", field=path_of(PARAMS, place)
                )
            stored = None if known is None else known.seal_of(place, value)
            return stored or seals.seal(job.job_type, PARAMS, place, value)

        return replace(job, task_params=changed(job.task_params, marked, seal))

    async def opened(self, schedule: Schedule) -> KnownSchedule:
        """Return a stored schedule with its parameters opened, too."""
        params = await self.opened_params(schedule.user_id, schedule.job_type, schedule.task_params)
        return KnownSchedule(schedule, replace(schedule, task_params=params))

    async def opened_params(
        self, user_id: int | None, job_type: str, task_params: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return stored parameters for their handler. Errors: SealBroken."""
        marked = self._marked(job_type, PARAMS)
        if not marked:
            return task_params
        seals = await self._of_user(user_id)
        opened: Mapping[str, Any] = changed(
            task_params, marked, lambda place, value: seals.open(job_type, PARAMS, place, value)
        )
        return opened

    def unmasked(self, update: ScheduleUpdate, known: KnownSchedule) -> ScheduleUpdate:
        """Return a change in which masks stand for what the schedule has. Errors: InvalidInput."""
        if update.task_params is UNCHANGED:
            return update
        marked = self._marked(known.opened.job_type, PARAMS)
        params = unmasked(update.task_params, known.opened.task_params, marked, root=PARAMS)
        return replace(update, task_params=params)

    async def sealed_result(
        self, user_id: int | None, job_type: str, result: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Return a result as it is stored."""
        marked = self._marked(job_type, RESULT)
        if not marked:
            return result
        seals = await self._of_user(user_id)
        sealed: Mapping[str, Any] = changed(
            result, marked, lambda place, value: seals.seal(job_type, RESULT, place, value)
        )
        return sealed

    async def sealed_update(self, run: ClaimedRun, update: RunUpdate) -> RunUpdate:
        """Return what an outside program says of a run as it is stored."""
        if update.result is None:
            return update
        return replace(update, result=await self.sealed_result(run.user_id, run.job_type, update.result))

    def schedule(self, schedule: Schedule) -> Schedule:
        """Return a schedule fit to be shown."""
        if not self._hides(schedule.job_type):
            return schedule
        return replace(
            schedule, task_params=masked(schedule.task_params, self._marked(schedule.job_type, PARAMS))
        )

    def run(self, run: RunRecord) -> RunRecord:
        """Return a run fit to be shown."""
        if not self._hides(run.job_type):
            return run
        result = masked(run.result, self._marked(run.job_type, RESULT))
        return replace(run, snapshot=self.snapshot(run.job_type, run.snapshot), result=result)

    def claimed(self, run: ClaimedRun) -> ClaimedRun:
        """Return a run for a program outside of the workers, which gets no secrets."""
        return replace(run, snapshot=self.snapshot(run.job_type, run.snapshot) or {})

    def snapshot(self, job_type: str, snapshot: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """Return what a run was given, fit to be shown."""
        if not self._hides(job_type):
            return snapshot
        shown: Mapping[str, Any] | None = masked(
            snapshot, Marked(fields={PARAMS: self._marked(job_type, PARAMS)})
        )
        return shown

    def _hides(self, job_type: str) -> bool:
        """What a type that is not installed any more has marked is not known: what is sealed is masked then."""
        found = self._types.find(job_type)
        return found is None or found.has_sensitive_fields

    def _marked(self, job_type: object, kind: str) -> Marked:
        found = self._types.find(job_type) if isinstance(job_type, str) else None
        if found is None:
            return NOTHING
        return found.sensitive_params() if kind == PARAMS else found.sensitive_result()

    async def _of_user(self, user_id: int | None) -> UserSeals:
        if self._seals is None:
            raise InvariantViolation("nothing here can seal the sensitive fields of a job")
        return await self._seals.of_user(user_id)


def _concealed(_: Place, value: Any) -> Any:
    if isinstance(value, str) and value != MASK:
        conceal(value)
    return value
