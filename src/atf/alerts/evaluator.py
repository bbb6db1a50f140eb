"""AlertEvaluator: a batch of alert runs from closed bars to committed state, results and messages.

provider → DataManager → IndicatorService → rule → rearm → {state, run result, outbox} in one commit.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Final, Protocol

from atf.alerts.alert_log import log_committed
from atf.alerts.batch_work import BatchWork, Judged
from atf.alerts.evaluation import bars_needed, evaluate
from atf.alerts.live_evaluation import look_at_forming, with_forming
from atf.alerts.loading import AlertLoader, CompiledRules, StoredAlerts
from atf.alerts.looking_again import LateSeries
from atf.alerts.market_view import MarketView, look_at
from atf.alerts.outcome import LoadedAlerts, Outcomes
from atf.alerts.readings import WatchedBars
from atf.alerts.roster import roster_of
from atf.alerts.watched import Watched
from atf.errors import TransactionConflict, UnstorableData
from atf.indicators.indicator_service import IndicatorService
from atf.indicators.session_memory import SessionMemory
from atf.jobs.run import ClaimedBatch, ClaimedRun, Completion, Failure, JobType, WorkerId
from atf.market.bars import Bars, Series
from atf.market.data_manager import DataManager
from atf.market.market_clock import MarketClock
from atf.notifications.message import OutgoingMessage
from atf.pause_points import pause_point

_LOGGER = logging.getLogger(__name__)
_CONFLICT_TRIES: Final = 5
_LONGEST_REACH: Final = 1_000
"""More bars than these are read by whoever catches up, and by nobody after that."""


class AlertCommit(Protocol):
    """One transaction in which runs, states, triggers and messages stand or fall together."""

    async def held(self, worker_id: WorkerId, runs: Sequence[ClaimedRun]) -> frozenset[int]:
        """Lock the runs in key order and return the ids of those that the worker still holds."""
        ...

    async def unchanged(self, outcomes: Outcomes) -> Sequence[int]:
        """Lock the states in id order; return the rows whose version is still the loaded one."""
        ...

    async def states(self, outcomes: Outcomes) -> None:
        """Store the new states."""
        ...

    async def triggers(self, outcomes: Outcomes) -> None:
        """Record each trigger."""
        ...

    async def roles(self, user_ids: Collection[int]) -> Mapping[int, str]:
        """Return the roles of those of the users that are active."""
        ...

    async def outbox(self, messages: Sequence[OutgoingMessage]) -> None:
        """Store messages and their deliveries; a key that is stored already is left alone."""
        ...

    async def runs(self, worker_id: WorkerId, completions: Sequence[Completion]) -> frozenset[int]:
        """Complete the runs that the worker still holds; return their ids."""
        ...


class _NotOurs(Exception):
    """Some runs were taken away, or some alerts moved on meanwhile."""


class AlertStore(StoredAlerts, Protocol):
    """Alerts in the database."""

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
        rules: CompiledRules | None = None,
    ) -> None:
        self._store = store
        self._runs = runs
        self._data = data
        self._clock = clock
        self._patience = patience
        self._loader = AlertLoader(store, rules)
        self._late = LateSeries()
        self._indicators = IndicatorService()
        self._sessions = SessionMemory(self._indicators)

    @property
    def calculations(self) -> int:
        """How often an indicator was computed. For measurements."""
        return self._indicators.calculations

    async def handle(self, batch: ClaimedBatch) -> None:
        """Evaluate each alert of the batch once and bring all of its runs to an end, or put them back."""
        began = time.monotonic()
        work = BatchWork(batch)
        outcomes = await self.outcomes(work)
        await pause_point("alerts.before_commit")
        committed = await self._commit(batch.worker_id, outcomes)
        await self._finish(batch.worker_id, work)
        for each in committed:
            for delay, runs in work.waiting_runs(each).items():
                await self._runs.put_back(batch.worker_id, runs, delay)
            log_committed(each, time.monotonic() - began)

    async def outcomes(self, work: BatchWork) -> Outcomes:
        """Return what the alerts' new bars make of them; what cannot be judged now is left in the work."""
        now = await self._clock.now()
        loaded = await self._loader.load(work, now)
        wanted = self._wanted(loaded, now)
        view = await look_at(self._data, wanted, loaded.watched, now, self._patience)
        for sentence in view.closed.stale.values():
            _LOGGER.warning("%s", sentence)
        pauses = self._late.pauses(view.closed.late, view.closed.ready, now)
        ready = work.sorted_out(loaded, view, pauses)
        watched = {one: self._watched(one, view) for one in ready.watched}
        forming = {one: self._with_forming(watched[one], view.forming[one], now) for one in view.forming}
        # In a thread: the loop must go on renewing the lease.
        judged = await asyncio.to_thread(_judged, ready, watched, forming, now)
        return work.judged(judged)

    def _wanted(self, loaded: LoadedAlerts, now: datetime) -> dict[Series, int]:
        """How many bars of which series the alerts read: each series is fetched once, as far as any needs it.

        And as far as an earlier batch did, so that what that one computed can be used.
        """
        wanted: dict[Series, int] = {}
        counts = bars_needed(loaded.compiled, loaded.states, now).tolist()
        for alert, count in zip(loaded.compiled, counts, strict=True):
            if count > wanted.get(alert.series, 0):
                wanted[alert.series] = count
        for watched in loaded.watched:
            reach = min(self._sessions.reach(watched), _LONGEST_REACH)
            wanted[watched.series] = max(wanted[watched.series], reach)
        return wanted

    def _watched(self, watched: Watched, view: MarketView) -> WatchedBars:
        session = self._sessions.session(watched, view.bars(watched))
        return WatchedBars(session.bars, view.closing(watched).times(session.bars.open_time), session)

    def _with_forming(self, closed: WatchedBars, forming: Bars, now: datetime) -> WatchedBars:
        return with_forming(closed, forming, now, self._indicators)

    async def _commit(self, worker_id: WorkerId, outcomes: Outcomes) -> list[Outcomes]:
        """Commit all, or halve until the one that the database refuses stands alone and fails alone."""
        if not len(outcomes):
            return []
        try:
            return [await self._commit_repeatedly(worker_id, outcomes)]
        except UnstorableData as exc:
            if len(outcomes) == 1:
                await self._runs.fail(
                    worker_id, [Failure(run, exc, is_permanent=True) for run in outcomes.runs[0]]
                )
                return []
            middle = len(outcomes) // 2
            first = await self._commit(worker_id, outcomes.take(range(middle)))
            return first + await self._commit(worker_id, outcomes.take(range(middle, len(outcomes))))

    async def _commit_repeatedly(self, worker_id: WorkerId, outcomes: Outcomes) -> Outcomes:
        for _ in range(_CONFLICT_TRIES - 1):
            try:
                return await self._commit_once(worker_id, outcomes)
            except TransactionConflict:
                continue
        return await self._commit_once(worker_id, outcomes)

    async def _commit_once(self, worker_id: WorkerId, outcomes: Outcomes) -> Outcomes:
        try:
            return await self._commit_all(worker_id, outcomes)
        except _NotOurs:
            return await self._commit_what_is_ours(worker_id, outcomes)

    async def _commit_all(self, worker_id: WorkerId, outcomes: Outcomes) -> Outcomes:
        """Commit all or nothing: that nothing was taken away shows as the runs end, without locking them first.

        Errors: _NotOurs.
        """
        completions = outcomes.completions()
        if outcomes.awaiting:  # whose runs do not end with this
            raise _NotOurs
        async with self._store.commit() as commit:
            if len(await commit.unchanged(outcomes)) < len(outcomes):
                raise _NotOurs
            await commit.states(outcomes)
            await commit.triggers(outcomes)
            await commit.outbox([*outcomes.messages(), *await _actions(commit, outcomes)])
            if len(await commit.runs(worker_id, completions)) < len(completions):
                raise _NotOurs
        return outcomes

    async def _commit_what_is_ours(self, worker_id: WorkerId, outcomes: Outcomes) -> Outcomes:
        """Commit what this worker still holds and nobody else moved on; the rest is looked at again."""
        async with self._store.commit() as commit:
            held = await commit.held(worker_id, [run for runs in outcomes.runs for run in runs])
            ours = outcomes.of_runs(held)
            rows = await commit.unchanged(ours)
            valid = ours if len(rows) == len(ours) else ours.take(rows)
            await commit.states(valid)
            await commit.triggers(valid)
            await commit.outbox([*valid.messages(), *await _actions(commit, valid)])
            await commit.runs(worker_id, valid.completions())
        if len(valid) < len(ours):  # somebody else moved these alerts on; look again with what they left
            kept = set(rows)
            overtaken = [run for row, runs in enumerate(ours.runs) if row not in kept for run in runs]
            await self._runs.put_back(worker_id, overtaken, timedelta(0))
        return valid

    async def _finish(self, worker_id: WorkerId, work: BatchWork) -> None:
        if work.failures:
            await self._runs.fail(worker_id, work.failures)
        for delay, late in work.late.items():
            await self._runs.put_back(worker_id, late, delay)
        if work.skipped:
            async with self._store.commit() as commit:
                await commit.runs(worker_id, work.skipped)


async def _actions(commit: AlertCommit, outcomes: Outcomes) -> list[OutgoingMessage]:
    """Return what the triggers make happen; roles are asked for once a batch, and only if there is an action."""
    users = outcomes.acting_users()
    return outcomes.actions(await commit.roles(users)) if users else []


def _judged(
    loaded: LoadedAlerts,
    watched: Mapping[Watched, WatchedBars],
    forming: Mapping[Watched, WatchedBars],
    now: datetime,
) -> list[Judged]:
    """Judge all together, or halve until the one that cannot be judged stands alone and fails alone."""
    try:
        roster = roster_of(loaded.compiled)
        found = evaluate(roster, loaded.states.copy(), loaded.sides, watched, now)
        if forming:
            look_at_forming(roster, loaded.sides, forming, now, found)
    except Exception as exc:  # noqa: BLE001 - one alert's mistake costs only itself
        if len(loaded) == 1:
            return [Judged(loaded, exc)]
        middle = len(loaded) // 2
        return [
            *_judged(loaded.take(range(middle)), watched, forming, now),
            *_judged(loaded.take(range(middle, len(loaded))), watched, forming, now),
        ]
    return [Judged(loaded, found)]
