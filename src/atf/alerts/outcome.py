"""An alert on its way through a batch: as stored, as loaded, and what its new bars made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from atf.alerts.alert import Alert
from atf.alerts.alert_message import compose
from atf.alerts.evaluation import Evaluation
from atf.alerts.rearm import AlertState
from atf.jobs.run import ClaimedRun, Completion
from atf.notifications.message import OutgoingMessage


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """An alert as the database has it now: ``state`` is None if it was lost or cannot be read."""

    schedule_id: int
    user_id: int
    name: str
    config: Mapping[str, Any]
    version: int
    is_active: bool
    created_at: datetime
    state: AlertState | None


@dataclass(frozen=True, slots=True)
class LoadedAlert:
    """A stored alert with its rule compiled and the state from which it goes on."""

    stored: StoredAlert
    alert: Alert
    state: AlertState
    history_until: datetime


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of one alert's runs: an evaluation to commit."""

    loaded: LoadedAlert
    evaluation: Evaluation
    runs: tuple[ClaimedRun, ...]

    @property
    def schedule_id(self) -> int:
        """The alert this is about."""
        return self.loaded.stored.schedule_id

    @property
    def newest_run(self) -> ClaimedRun:
        """The run that tells the result; the alert's other runs are covered by it."""
        return max(self.runs, key=lambda run: run.key.scheduled_for)

    def of_runs(self, ids: frozenset[int]) -> Outcome:
        """Return this outcome for those of its runs that have these ids: no other may tell the result."""
        return replace(self, runs=tuple(run for run in self.runs if run.key.id in ids))

    def messages(self) -> list[OutgoingMessage]:
        """Return one message for each trigger."""
        stored = self.loaded.stored
        return [
            compose(stored.schedule_id, stored.user_id, stored.name, self.loaded.alert, trigger)
            for trigger in self.evaluation.triggers
        ]

    def completions(self) -> list[Completion]:
        """Return the results of the runs: the newest tells, the others are covered by it."""
        newest = self.newest_run
        told = Completion(newest, self._result(), self._used_snapshot(newest))
        covered = {"covered_by": str(newest.run_id)}
        return [told, *(Completion(run, covered) for run in self.runs if run is not newest)]

    def _result(self) -> dict[str, Any]:
        state = self.evaluation.state
        return {
            "bars_evaluated": self.evaluation.bars_evaluated,
            "triggers": [trigger.bar_time.isoformat() for trigger in self.evaluation.triggers],
            "status": state.status,
            "data_status": state.data_status,
        }

    def _used_snapshot(self, run: ClaimedRun) -> dict[str, Any] | None:
        stored = self.loaded.stored
        if run.snapshot.get("version") == stored.version:
            return None
        return {**run.snapshot, "version": stored.version, "task_params": stored.config}
