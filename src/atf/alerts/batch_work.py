"""A batch of alert runs on its way: which alerts are still to be evaluated, and what became of the other runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from atf.alerts.evaluation import Evaluated
from atf.alerts.looking_again import pause_for_bar
from atf.alerts.market_view import MarketView
from atf.alerts.outcome import LoadedAlert, LoadedAlerts, Outcomes
from atf.jobs.run import ClaimedBatch, ClaimedRun, Completion, Failure
from atf.market.bars import Series, to_nanoseconds

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Judged:
    """Alerts that were judged together, and what came of them: the error if they could not be."""

    loaded: LoadedAlerts
    found: Evaluated | Exception


class BatchWork:
    """The runs of a batch; those that do not end with an evaluation are noted with what becomes of them.

    ``waiting`` tells for alerts whose due bar is not published yet how long to wait before looking again;
    ``late`` has the runs whose whole series is late, by how long they wait.
    """

    def __init__(self, batch: ClaimedBatch) -> None:
        self._runs: dict[int, tuple[ClaimedRun, ...]] = {}
        for run in batch.runs:
            if run.job_id is not None:
                self._runs[run.job_id] = (*self._runs.get(run.job_id, ()), run)
        orphans = [run for run in batch.runs if run.job_id is None]
        self.failures = [Failure(run, ValueError("an alert run names no alert"), True) for run in orphans]
        self.late: dict[timedelta, list[ClaimedRun]] = {}
        self.waiting: dict[int, timedelta] = {}
        self.skipped: list[Completion] = []

    @property
    def schedule_ids(self) -> list[int]:
        """The alerts that the runs are of, in ascending order."""
        return sorted(self._runs)

    def skip(self, schedule_id: int, reason: str) -> None:
        """Let an alert's runs end without an evaluation."""
        self.skipped += [Completion(run, {"skipped": reason}) for run in self._runs[schedule_id]]

    def fail(self, schedule_id: int, error: Exception) -> None:
        """Let an alert's runs fail for good."""
        _LOGGER.error("Job alert_%d failed: %s", schedule_id, error, extra={"job_id": schedule_id})
        self.failures += [Failure(run, error, is_permanent=True) for run in self._runs[schedule_id]]

    def sorted_out(
        self, loaded: LoadedAlerts, view: MarketView, pauses: Mapping[Series, timedelta]
    ) -> LoadedAlerts:
        """Return the alerts whose bars are there; those of unknown series fail.

        Those of late series wait as long as ``pauses`` says.
        """
        ready, closed = [], view.closed
        for row, one in enumerate(loaded.alerts):
            series = one.alert.series
            if view.refused and one.alert.watched in view.refused:
                self.fail(one.stored.schedule_id, view.refused[one.alert.watched])
            elif series in closed.ready:
                ready.append(row)
            elif series in closed.unknown:
                self.fail(one.stored.schedule_id, LookupError(closed.unknown[series]))
            else:
                self.late.setdefault(pauses[series], []).extend(self._runs[one.stored.schedule_id])
        _tell_late(pauses)
        found = loaded if len(ready) == len(loaded) else loaded.take(ready)
        if view.awaited:
            for one, last_bar in zip(found.alerts, found.states.last_bar.tolist(), strict=True):
                due = view.awaited.get(one.alert.watched)
                # The bar of a session may have been judged before the clock has closed it.
                if due is not None and last_bar < to_nanoseconds(due.opens_at):
                    self._wait(one, view.now - due.closed_at)
        return found

    def _wait(self, loaded: LoadedAlert, late: timedelta) -> None:
        pause = pause_for_bar(late, loaded.alert.series.timeframe)
        if pause is not None:
            self.waiting[loaded.stored.schedule_id] = pause

    def waiting_runs(self, outcomes: Outcomes) -> dict[timedelta, list[ClaimedRun]]:
        """Return the runs that go on waiting after this was committed, by how long."""
        found: dict[timedelta, list[ClaimedRun]] = {}
        for loaded, runs in zip(outcomes.loaded, outcomes.runs, strict=True):
            delay = self.waiting.get(loaded.stored.schedule_id)
            if delay is not None:
                found.setdefault(delay, []).extend(runs)
        return found

    def judged(self, parts: Sequence[Judged]) -> Outcomes:
        """Return what is to be committed; alerts that could not be judged fail."""
        outcomes = [self._outcomes(one.loaded, one.found) for one in parts if isinstance(one.found, Evaluated)]
        for one in parts:
            if isinstance(one.found, Exception):
                for each in one.loaded.alerts:
                    self.fail(each.stored.schedule_id, one.found)
        return outcomes[0] if len(outcomes) == 1 else _joined(outcomes)

    def _outcomes(self, loaded: LoadedAlerts, found: Evaluated) -> Outcomes:
        outcomes = Outcomes(
            loaded.alerts,
            loaded.versions,
            loaded.is_renewed,
            loaded.is_muted,
            found,
            [self._runs[one.stored.schedule_id] for one in loaded.alerts],
            frozenset(self.waiting),
        )
        for row, error in found.failed.items():
            self.fail(loaded.alerts[row].stored.schedule_id, error)
        if not found.failed:
            return outcomes
        return outcomes.take([row for row in range(len(outcomes)) if row not in found.failed])


def _tell_late(pauses: Mapping[Series, timedelta]) -> None:
    for series, pause in sorted(pauses.items(), key=str):
        _LOGGER.warning("Market data unavailable for %s, trying again in %.1f s", series, pause.total_seconds())


def _joined(parts: Sequence[Outcomes]) -> Outcomes:
    """Return outcomes that were judged apart as one."""
    return Outcomes(
        [one for part in parts for one in part.loaded],
        np.concatenate([part.versions for part in parts] or [np.zeros(0, dtype=np.int64)]),
        np.concatenate([part.is_renewed for part in parts] or [np.zeros(0, dtype=np.bool_)]),
        np.concatenate([part.is_muted for part in parts] or [np.zeros(0, dtype=np.bool_)]),
        Evaluated.joined([part.evaluated for part in parts]),
        [runs for part in parts for runs in part.runs],
        frozenset().union(*(part.awaiting for part in parts)),
    )
