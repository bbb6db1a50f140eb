"""AlertEvaluator: a batch of alert runs from closed bars to committed state, results and messages.

provider → DataManager → IndicatorService → rule → rearm → {state, run result, outbox} in one commit.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final, Protocol

from atf.alerts.alert import Alert, parse_alert
from atf.alerts.alert_log import log_committed
from atf.alerts.evaluation import Evaluation, bars_needed, evaluate_new_bars
from atf.alerts.outcome import LoadedAlert, Outcome, StoredAlert
from atf.alerts.rearm import AlertState, renewed
from atf.errors import TransactionConflict, UnstorableData
from atf.indicators.indicator_service import IndicatorService, IndicatorSession
from atf.jobs.run import ClaimedBatch, ClaimedRun, Completion, Failure, JobType, WorkerId
from atf.market.bars import Bars, Series
from atf.market.data_manager import DataManager
from atf.market.market_clock import MarketClock
from atf.notifications.message import OutgoingMessage
from atf.pause_points import pause_point

_LOGGER = logging.getLogger(__name__)
_LATE_DELAY: Final = timedelta(seconds=2)
_CONFLICT_TRIES: Final = 5


class AlertCommit(Protocol):
    """One transaction in which runs, states, triggers and messages stand or fall together."""

    async def held(self, worker_id: WorkerId, runs: Sequence[ClaimedRun]) -> frozenset[int]:
        """Lock the runs in key order and return the ids of those that the worker still holds."""
        ...

    async def unchanged(self, loaded: Sequence[LoadedAlert]) -> frozenset[int]:
        """Lock the states in id order; return the schedules whose version is still the loaded one."""
        ...

    async def states(self, outcomes: Sequence[Outcome]) -> None:
        """Store the new states."""
        ...

    async def triggers(self, outcomes: Sequence[Outcome]) -> None:
        """Record each trigger."""
        ...

    async def outbox(self, messages: Sequence[OutgoingMessage]) -> None:
        """Store messages and their deliveries; a key that is stored already is left alone."""
        ...

    async def runs(self, completions: Sequence[Completion]) -> None:
        """Complete the runs."""
        ...


class AlertStore(Protocol):
    """Alerts in the database."""

    async def load(self, schedule_ids: Sequence[int]) -> Sequence[StoredAlert]:
        """Return the alerts with their current configuration and state."""
        ...

    def commit(self) -> AbstractAsyncContextManager[AlertCommit]:
        """Open a commit. Errors: UnstorableData, TransactionConflict, DatabaseUnavailable."""
        ...


class RunReturns(Protocol):
    """Where runs go that do not complete; every write is fenced by worker and attempt."""

    async def put_back(self, worker_id: WorkerId, runs: Sequence[ClaimedRun], delay: timedelta) -> None:
        """Return runs to PENDING without costing an attempt."""
        ...

    async def fail(self, worker_id: WorkerId, failures: Sequence[Failure]) -> None:
        """End runs as FAILED, or return them to PENDING with one more attempt if that may help."""
        ...


class AlertEvaluator:
    """Handles batches of alert runs. Nothing is fetched while a transaction is open."""

    job_type: str = JobType.ALERT

    def __init__(
        self,
        store: AlertStore,
        runs: RunReturns,
        data: DataManager,
        clock: MarketClock,
        *,
        patience: timedelta = timedelta(seconds=2),
    ) -> None:
        self._store = store
        self._runs = runs
        self._data = data
        self._clock = clock
        self._patience = patience
        self._indicators = IndicatorService()

    async def handle(self, batch: ClaimedBatch) -> None:
        """Evaluate each alert of the batch once and bring all of its runs to an end, or put them back."""
        began = time.monotonic()
        now = await self._clock.now()
        work = await self._load(batch, now)
        wanted = _wanted(work.alerts, now)
        fetched = await self._data.closed_bars_of(wanted, until=now, within=self._patience)
        for sentence in fetched.stale.values():
            _LOGGER.warning("%s", sentence)
        work.fail_series(fetched.unknown)
        work.set_aside(fetched.late)
        outcomes = await self._evaluate(work, fetched.ready, now)
        await pause_point("alerts.before_commit")
        committed = await self._commit(batch.worker_id, outcomes)
        await self._finish(batch.worker_id, work)
        log_committed(committed, time.monotonic() - began)

    async def _load(self, batch: ClaimedBatch, now: datetime) -> _Work:
        work = _Work(batch)
        ids = sorted({run.job_id for run in batch.runs if run.job_id is not None})
        found = {stored.schedule_id: stored for stored in await self._store.load(ids)}
        for schedule_id in ids:
            stored = found.get(schedule_id)
            if stored is None or not stored.is_active:
                work.skip(schedule_id, "paused" if stored else "deleted")
                continue
            try:
                work.add(_compiled(stored, now))
            except Exception as exc:  # noqa: BLE001 - a configuration changed by hand in the database fails alone
                work.fail(schedule_id, exc)
        return work

    async def _evaluate(self, work: _Work, ready: Mapping[Series, Bars], now: datetime) -> list[Outcome]:
        """Judge the alerts one by one; the loop gets its turn between them, as the lease must be renewed."""
        indicators = {series: self._indicators.session(bars) for series, bars in ready.items()}
        outcomes = []
        for loaded in work.alerts:
            series = loaded.alert.series
            if series not in ready:
                continue
            await asyncio.sleep(0)
            try:
                evaluation = _evaluated(loaded, ready[series], indicators[series], now)
            except Exception as exc:  # noqa: BLE001 - one alert's mistake costs only itself
                work.fail(loaded.stored.schedule_id, exc)
                continue
            outcomes.append(Outcome(loaded, evaluation, work.runs_of(loaded.stored.schedule_id)))
        return outcomes

    async def _commit(self, worker_id: WorkerId, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Commit all, or halve until the one that the database refuses stands alone and fails alone."""
        if not outcomes:
            return []
        try:
            return await self._commit_repeatedly(worker_id, outcomes)
        except UnstorableData as exc:
            if len(outcomes) == 1:
                failures = [Failure(run, exc, is_permanent=True) for run in outcomes[0].runs]
                await self._runs.fail(worker_id, failures)
                return []
            middle = len(outcomes) // 2
            first = await self._commit(worker_id, outcomes[:middle])
            return first + await self._commit(worker_id, outcomes[middle:])

    async def _commit_repeatedly(self, worker_id: WorkerId, outcomes: Sequence[Outcome]) -> list[Outcome]:
        for _ in range(_CONFLICT_TRIES - 1):
            try:
                return await self._commit_once(worker_id, outcomes)
            except TransactionConflict:
                continue
        return await self._commit_once(worker_id, outcomes)

    async def _commit_once(self, worker_id: WorkerId, outcomes: Sequence[Outcome]) -> list[Outcome]:
        async with self._store.commit() as commit:
            held = await commit.held(worker_id, [run for outcome in outcomes for run in outcome.runs])
            ours = [mine for o in outcomes if (mine := o.of_runs(held)).runs]
            unchanged = await commit.unchanged([o.loaded for o in ours])
            valid = [o for o in ours if o.schedule_id in unchanged]
            await commit.states(valid)
            await commit.triggers(valid)
            await commit.outbox([message for o in valid for message in o.messages()])
            await commit.runs([completion for o in valid for completion in o.completions()])
        overtaken = [run for o in ours if o.schedule_id not in unchanged for run in o.runs]
        if overtaken:  # somebody else moved these alerts on; look again with what they left
            await self._runs.put_back(worker_id, overtaken, timedelta(0))
        return valid

    async def _finish(self, worker_id: WorkerId, work: _Work) -> None:
        if work.failures:
            await self._runs.fail(worker_id, work.failures)
        if work.late:
            await self._runs.put_back(worker_id, work.late, _LATE_DELAY)
        if work.skipped:
            async with self._store.commit() as commit:
                held = await commit.held(worker_id, [c.run for c in work.skipped])
                await commit.runs([c for c in work.skipped if c.run.key.id in held])


class _Work:
    """A batch on its way: which alerts are still to be evaluated and what became of the other runs."""

    def __init__(self, batch: ClaimedBatch) -> None:
        self._runs: dict[int, list[ClaimedRun]] = {}
        for run in batch.runs:
            if run.job_id is not None:
                self._runs.setdefault(run.job_id, []).append(run)
        orphans = [run for run in batch.runs if run.job_id is None]
        self.alerts: list[LoadedAlert] = []
        self.failures = [Failure(run, ValueError("an alert run names no alert"), True) for run in orphans]
        self.late: list[ClaimedRun] = []
        self.skipped: list[Completion] = []

    def runs_of(self, schedule_id: int) -> tuple[ClaimedRun, ...]:
        return tuple(self._runs[schedule_id])

    def add(self, loaded: LoadedAlert) -> None:
        if loaded.state.status.is_final:
            self.skip(loaded.stored.schedule_id, str(loaded.state.status))
        else:
            self.alerts.append(loaded)

    def skip(self, schedule_id: int, reason: str) -> None:
        self.skipped += [Completion(run, {"skipped": reason}) for run in self._runs[schedule_id]]

    def fail(self, schedule_id: int, error: Exception) -> None:
        _LOGGER.error("Job alert_%d failed: %s", schedule_id, error, extra={"job_id": schedule_id})
        self.failures += [Failure(run, error, is_permanent=True) for run in self._runs[schedule_id]]

    def fail_series(self, unknown: Mapping[Series, str]) -> None:
        for loaded in self.alerts:
            if loaded.alert.series in unknown:
                self.fail(loaded.stored.schedule_id, LookupError(unknown[loaded.alert.series]))

    def set_aside(self, late: frozenset[Series]) -> None:
        for loaded in self.alerts:
            if loaded.alert.series in late:
                _LOGGER.warning("Market data unavailable for %s, trying again", loaded.alert.series)
                self.late += self._runs[loaded.stored.schedule_id]


def _compiled(stored: StoredAlert, now: datetime) -> LoadedAlert:
    alert = _alert_of(json.dumps(stored.config, sort_keys=True))
    state = stored.state
    if state is None:
        _LOGGER.warning("alert_%d has no readable state: bars closed by now are history", stored.schedule_id)
        newest_closed = now - alert.series.timeframe.length  # kept in the state, as the next run has another now
        return LoadedAlert(stored, alert, AlertState(alert.rule_hash, last_bar=newest_closed), stored.created_at)
    if state.rule_hash != alert.rule_hash:
        state = renewed(state, alert.rule_hash)
    return LoadedAlert(stored, alert, state, stored.created_at)


@lru_cache(maxsize=200_000)
def _alert_of(config: str) -> Alert:
    """Parse a configuration once, however often its alert is evaluated."""
    return parse_alert(json.loads(config))


def _wanted(alerts: Sequence[LoadedAlert], now: datetime) -> dict[Series, int]:
    """How many bars of which series the alerts read: each series is fetched once, as far as any needs it."""
    wanted: dict[Series, int] = {}
    for loaded in alerts:
        count = bars_needed(loaded.alert, loaded.state, loaded.history_until, now)
        wanted[loaded.alert.series] = max(count, wanted.get(loaded.alert.series, 0))
    return wanted


def _evaluated(loaded: LoadedAlert, bars: Bars, indicators: IndicatorSession, now: datetime) -> Evaluation:
    return evaluate_new_bars(
        loaded.alert, loaded.state, bars, indicators, history_until=loaded.history_until, now=now
    )
