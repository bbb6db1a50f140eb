"""JobsService: everything that users and programs do with schedules and runs, put together from its subjects."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from atf.jobs.claims_service import ClaimsService, ClaimStore
from atf.jobs.dead_letters import DeadLettersService, DeadLetterStore
from atf.jobs.job_type import JobTypes
from atf.jobs.overview import OverviewService, OverviewStore
from atf.jobs.runs_service import RunsService, RunStore
from atf.jobs.schedules_service import SchedulesService, ScheduleStore, StorePermission, UserLimits
from atf.market.market_clock import MarketClock
from atf.schedules.calendars import CalendarSource
from atf.schedules.schedule import ScheduleDefaults
from atf.security.document_seals import DocumentSeals


class JobsRepository(ScheduleStore, RunStore, ClaimStore, DeadLetterStore, OverviewStore, Protocol):
    """Schedules, runs and what belongs to them in the database."""


class JobsService(SchedulesService, RunsService, ClaimsService, DeadLettersService, OverviewService):
    """What users and programs do with jobs.

    ``handled``: the job types that some worker of this installation can run; None if that is not known here.
    """

    def __init__(
        self,
        repository: JobsRepository,
        clock: MarketClock,
        defaults: ScheduleDefaults | None = None,
        *,
        types: JobTypes | None = None,
        calendars: CalendarSource | None = None,
        limits: UserLimits | None = None,
        handled: Collection[str] | None = None,
        permission: StorePermission | None = None,
        seals: DocumentSeals | None = None,
    ) -> None:
        limits = limits or UserLimits()
        SchedulesService.__init__(
            self,
            repository,
            clock,
            defaults,
            types=types,
            calendars=calendars,
            permission=permission,
            seals=seals,
        )
        RunsService.__init__(self, repository, self, clock, self.types, limits, self._sensitive)
        ClaimsService.__init__(self, repository, self.types, self._sensitive)
        DeadLettersService.__init__(self, repository, clock, self.types, self._sensitive)
        OverviewService.__init__(self, repository)
        self._handled = handled

    def is_handled(self, job_type: str) -> bool:
        """Tell whether runs of a type will be done here, as far as that is known."""
        return self._handled is None or job_type in self._handled
