"""Golden cases on the production path: alerts, runs, claims and commits are real, bars and market time are given.

All of it happens in a scratch database; the user's own is only where the server is.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from atf.adapters.calendars.exchange_calendars import ExchangeCalendars
from atf.alerts.alert import parse_alert
from atf.alerts.alerts_service import AlertRecord, AlertsService, NewAlert
from atf.alerts.case_outcome import CaseOutcome, Refusal, Replayed
from atf.alerts.cases import MOST_WORKERS, Case, CaseFile, InvalidConfig
from atf.alerts.evaluator import AlertEvaluator
from atf.bootstrap.database import database_url
from atf.bootstrap.given_market import GivenBars, GivenClock
from atf.bootstrap.job_types import check_alert_job
from atf.errors import InvalidInput, NotFound
from atf.jobs.job_type import JobTypes
from atf.jobs.job_types_builtin import DEFAULT_LIMITS, builtin_types
from atf.jobs.jobs_service import JobsService
from atf.jobs.lease import Holder
from atf.jobs.queue import Wanted
from atf.jobs.run import ClaimedBatch, JobType, RunFilter, RunRecord, RunStatus, WorkerId
from atf.market.bars import Timeframe, to_instant
from atf.market.chains import Chains
from atf.market.data_manager import DataManager
from atf.market.due_bars import DueBars
from atf.market.provider_lane import ProviderLane
from atf.schedules.schedule import ScheduleUpdate
from atf.settings import Settings
from atf.storage.alerts_repository import PostgresAlerts
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.storage.run_queue import PostgresRunQueue
from atf.storage.schedules_repository import PostgresJobsRepository
from atf.storage.scratch_database import scratch_database
from atf.storage.users_repository import PostgresUsers
from atf.storage.workers_repository import PostgresLeases

_LEASE: Final = timedelta(days=1)
_PATIENCE: Final = timedelta(minutes=1)
_WANTED: Final = Wanted(JobType.ALERT, 1, DEFAULT_LIMITS[JobType.ALERT].max_runtime, is_batch=True)
_ALL: Final = 1_000_000
_COMPILING: Final = ("atf.alerts.", "atf.rules.")


def replay_cases(settings: Settings, cases: CaseFile) -> Replayed:
    """Play cases one after another in a scratch database on the configured server.

    Errors: ConfigurationError if no database may be made there; those of the database.
    """
    with database_url(settings) as url, scratch_database(url) as scratch:
        return asyncio.run(_replay(scratch, cases))


async def _replay(url: str, cases: CaseFile) -> Replayed:
    database = Database(url)
    queue = PostgresRunQueue(database)
    try:
        user_id = (await PostgresUsers(database).active("owner")).id
        bench = _Bench(database, queue, user_id, await _workers(database))
        return Replayed(
            tuple([await _CaseReplay(bench, case).play() for case in cases.cases]),
            tuple([await _refusal(bench, config) for config in cases.invalid_configs]),
        )
    finally:
        await queue.close()
        await database.close()


@dataclass(frozen=True, slots=True)
class _Bench:
    """What all cases share."""

    database: Database
    queue: PostgresRunQueue
    user_id: int
    workers: Sequence[WorkerId]

    def jobs(self, clock: GivenClock) -> JobsService:
        types = JobTypes(builtin_types(check_alert_job))
        return JobsService(PostgresJobsRepository(self.database), clock, types=types)

    def data(self, provider: GivenBars) -> DataManager:
        lane = ProviderLane(provider)
        return DataManager(Chains([lane]), PostgresBarStore(self.database), DueBars(ExchangeCalendars()))

    def alerts(self, clock: GivenClock, provider: GivenBars) -> AlertsService:
        alerts = PostgresAlerts(self.database)
        return AlertsService(alerts, self.jobs(clock), self.data(provider), clock)

    def evaluator(self, clock: GivenClock, provider: GivenBars) -> AlertEvaluator:
        alerts = PostgresAlerts(self.database)
        return AlertEvaluator(alerts, self.queue, self.data(provider), clock, patience=_PATIENCE)


async def _workers(database: Database) -> list[WorkerId]:
    """Register who claims; nobody renews the leases, so they are longer than any replay."""
    leases = PostgresLeases(database)
    workers = [WorkerId(f"replay-{number}") for number in range(1, MOST_WORKERS + 1)]
    for worker in workers:
        await leases.register(Holder(worker, socket.gethostname(), os.getpid(), (JobType.ALERT,)), _LEASE)
    return workers


class _CaseFailed(Exception):
    """A case cannot go on."""


class _CaseReplay:
    """One case on its way through the database."""

    def __init__(self, bench: _Bench, case: Case) -> None:
        self._bench = bench
        self._case = case
        self._clock = GivenClock(case.created_at)
        self._provider = GivenBars()
        self._jobs = bench.jobs(self._clock)
        self._alerts = bench.alerts(self._clock, self._provider)
        self._timeframe = Timeframe.M1
        self._restarts = set(case.restarts_at)
        self._changes = list(case.config_changes)
        self._evaluators: list[AlertEvaluator] = []

    async def play(self) -> CaseOutcome:
        """Add the alert, feed it, and return what the database has of it."""
        try:
            self._timeframe = parse_alert(self._case.config).series.timeframe
            added = await self._alerts.add(self._bench.user_id, NewAlert(self._case.config))
        except InvalidInput as exc:
            return CaseOutcome(self._case.name, error=f"the configuration is refused: {exc}")
        error = None
        try:
            self._restart()
            for count in self._case.feed:
                await self._feed(added.id, count)
        except _CaseFailed as exc:
            error = str(exc)
        outcome = await self._outcome(added.id, error)
        with suppress(NotFound):  # no run of this alert may get into the hands of the next case's workers
            await self._alerts.delete(self._bench.user_id, added.id)
        return outcome

    async def _feed(self, alert_id: int, count: int) -> None:
        self._provider.bars = self._case.fed(count)
        self._clock.at = self._now()
        await self._evaluate(alert_id, count)
        if any(index < count for index in self._restarts):
            self._restarts = {index for index in self._restarts if index >= count}
            self._restart()
        for change in [change for change in self._changes if change.after < count]:
            self._changes.remove(change)
            await self._edit(alert_id, change.config)

    def _now(self) -> datetime:
        """Return the close of the newest bar that was ever fed; time does not go back when bars do."""
        if self._case.now is not None:
            return self._case.now
        bars = self._provider.bars
        if not len(bars):
            return self._clock.at
        return max(self._clock.at, to_instant(int(bars.open_time[-1])) + self._timeframe.length)

    async def _evaluate(self, alert_id: int, count: int) -> None:
        """Let each worker do a run of the alert; the losers of a round do theirs again in the next one."""
        workers = self._bench.workers[: self._case.workers]
        for _ in workers:
            await self._jobs.trigger_schedule(self._bench.user_id, alert_id)
        for _ in workers:
            batches = [batch for worker in workers if (batch := await self._claim(worker)).runs]
            if not batches:
                break
            self._provider.barrier = asyncio.Barrier(len(batches))
            await _all(
                evaluator.handle(batch) for evaluator, batch in zip(self._evaluators, batches, strict=False)
            )
        await self._require_done(alert_id, count)

    async def _claim(self, worker: WorkerId) -> ClaimedBatch:
        runs = await self._bench.queue.claim_runs(worker, [_WANTED])
        return ClaimedBatch(worker, JobType.ALERT, tuple(runs))

    async def _require_done(self, alert_id: int, count: int) -> None:
        """Every run must have ended, and no two may have judged the same bars."""
        wanted = RunFilter(self._bench.user_id, job_id=alert_id, job_type=JobType.ALERT, limit=self._case.workers)
        runs = await self._jobs.list_runs(wanted)
        for run in runs:
            if run.status is not RunStatus.COMPLETED:
                raise _CaseFailed(
                    f"with {count} bars fed, a run is {run.status}: {run.error or 'it is put back'}"
                )
        judging = [run for run in runs if _bars_evaluated(run)]
        if len(judging) > 1:
            raise _CaseFailed(
                f"with {count} bars fed, {len(judging)} workers committed a judgement of the same bars"
            )

    def _restart(self) -> None:
        """Go on as another process would, with nothing but what is in the database."""
        _forget_compiled()
        self._evaluators = [self._bench.evaluator(self._clock, self._provider) for _ in range(self._case.workers)]

    async def _edit(self, alert_id: int, config: Any) -> None:
        try:
            series = parse_alert(config).series
            update = ScheduleUpdate(target=series.symbol, task_params=config)
            await self._jobs.update_schedule(self._bench.user_id, alert_id, update)
        except InvalidInput as exc:
            raise _CaseFailed(f"a changed configuration is refused: {exc}") from exc
        self._timeframe = series.timeframe

    async def _outcome(self, alert_id: int, error: str | None) -> CaseOutcome:
        user_id = self._bench.user_id
        alert = await self._alerts.get(user_id, alert_id)
        triggers = await self._alerts.triggers(user_id, alert_id, limit=_ALL)
        times = sorted(trigger.bar_time for trigger in triggers)
        return CaseOutcome(
            self._case.name, tuple(times), _state(alert, "status"), _state(alert, "data_status"), error
        )


async def _refusal(bench: _Bench, invalid: InvalidConfig) -> Refusal:
    """Try to add an alert with the configuration, and return what was said."""
    alerts = bench.alerts(GivenClock(datetime.fromisoformat("2026-01-01T00:00:00Z")), GivenBars())
    try:
        await alerts.add(bench.user_id, NewAlert(invalid.config))
    except InvalidInput as exc:
        paths = tuple(problem.field for problem in exc.problems)
        return Refusal(invalid.name, False, exc.field, str(exc), paths)
    return Refusal(invalid.name, True)


def _bars_evaluated(run: RunRecord) -> int:
    return int((run.result or {}).get("bars_evaluated", 0))


def _state(alert: AlertRecord, name: str) -> str | None:
    return None if alert.state_json is None else str(alert.state_json[name])


async def _all(works: Iterable[Any]) -> None:
    """Do all at once; if one fails the others end with it, as they may be waiting for it."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _forget_compiled() -> None:
    """Empty the caches of the rooms that compile rules: another process would begin without them."""
    for name, module in list(sys.modules.items()):
        if name.startswith(_COMPILING):
            for value in list(vars(module).values()):
                clear = getattr(value, "cache_clear", None)
                if callable(clear):
                    clear()
