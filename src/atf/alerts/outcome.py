"""Alerts on their way through a batch: as stored, as loaded, and what their new bars made of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from atf.alerts.action_message import action_messages
from atf.alerts.action_permission import refusal_of
from atf.alerts.alert import Alert
from atf.alerts.alert_message import messages_of, rearmed_message
from atf.alerts.evaluation import Evaluated
from atf.alerts.state import DATA_STATUSES, STATUSES, IntArray, StateColumns
from atf.alerts.trigger import Trigger
from atf.alerts.watched import Watched
from atf.errors import UnstorableData
from atf.jobs.run import ClaimedRun, Completion
from atf.notifications.message import OutgoingMessage

Sides = Mapping[str, str]

_MOST_TOLD: Final = 1_000
"""A result lists so many triggers, the newest: those of a month of minutes would be longer than any may be."""
NO_STATE: Final = -1
"""In columns of versions: the state is lost."""


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """An alert's configuration as the database has it now; ``version`` counts its changes.

    ``config`` is JSON text: a hundred thousand documents as objects would take ten times the memory.
    """

    schedule_id: int
    user_id: int
    name: str
    config: str
    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StoredStates:
    """The states of alerts as the database has them, by the id of their schedules.

    Shape: (n,) each; ``ids`` ascend. ``versions`` count a state's commits, ``alert_versions`` the changes of the
           configuration. ``is_readable`` is false for a state that is lost or was spoilt. ``sides`` has those
           alerts that remember some, by row.
    Time:  ``muted_until`` in nanoseconds since 1970 UTC, NEVER for none.
    """

    ids: IntArray
    alert_versions: IntArray
    is_active: npt.NDArray[np.bool_]
    versions: IntArray
    is_readable: npt.NDArray[np.bool_]
    states: StateColumns
    rule_hashes: Sequence[str]
    muted_until: IntArray
    sides: Mapping[int, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class LoadedAlert:
    """A stored alert with its rule compiled."""

    stored: StoredAlert
    alert: Alert


@dataclass(frozen=True)
class LoadedAlerts:
    """Alerts to be evaluated, and the states from which they go on; all are rows of the same columns.

    ``versions`` are those of the stored states; ``is_renewed`` tells whose state begins anew, ``is_muted`` whose
    triggers are recorded and told to nobody.
    """

    alerts: Sequence[LoadedAlert]
    versions: IntArray
    is_renewed: npt.NDArray[np.bool_]
    is_muted: npt.NDArray[np.bool_]
    states: StateColumns
    sides: Sequence[Sides]

    def __len__(self) -> int:
        return len(self.alerts)

    @cached_property
    def compiled(self) -> list[Alert]:
        """The rules."""
        return [one.alert for one in self.alerts]

    @cached_property
    def watched(self) -> list[Watched]:
        """Return what the alerts watch, each once."""
        return list(dict.fromkeys(alert.watched for alert in self.compiled))

    def take(self, rows: Sequence[int]) -> LoadedAlerts:
        """Return some of the alerts."""
        places = np.array(rows, dtype=np.int64)
        return LoadedAlerts(
            [self.alerts[row] for row in rows],
            self.versions[places],
            self.is_renewed[places],
            self.is_muted[places],
            self.states.take(places),
            [self.sides[row] for row in rows],
        )


@dataclass(frozen=True)
class Outcomes:
    """What became of the alerts of a batch, to be committed; all are rows of the same columns.

    ``versions`` are those of the states that were loaded; ``is_renewed`` tells whose rule hash and history differ
    from the stored ones, ``is_muted`` whose triggers are told to nobody. ``runs`` are those that each alert's
    evaluation covers; those of ``awaiting`` alerts do not end with it, as the bar that is due is not there yet.
    """

    loaded: Sequence[LoadedAlert]
    versions: IntArray
    is_renewed: npt.NDArray[np.bool_]
    is_muted: npt.NDArray[np.bool_]
    evaluated: Evaluated
    runs: Sequence[tuple[ClaimedRun, ...]]
    awaiting: frozenset[int] = frozenset()

    @property
    def ids(self) -> IntArray:
        """The schedules' ids."""
        return np.array([one.stored.schedule_id for one in self.loaded], dtype=np.int64)

    def __len__(self) -> int:
        return len(self.loaded)

    def take(self, rows: Sequence[int], runs: Sequence[tuple[ClaimedRun, ...]] | None = None) -> Outcomes:
        """Return the outcomes of some of the alerts, for other runs if they are given."""
        places = np.array(rows, dtype=np.int64)
        return Outcomes(
            [self.loaded[row] for row in rows],
            self.versions[places],
            self.is_renewed[places],
            self.is_muted[places],
            self.evaluated.take(places),
            [self.runs[row] for row in rows] if runs is None else runs,
            self.awaiting,
        )

    def of_runs(self, held: frozenset[int]) -> Outcomes:
        """Return those alerts of which runs are held, with these runs: no other may tell the result."""
        if all(run.key.id in held for runs in self.runs for run in runs):
            return self
        kept = [tuple(run for run in runs if run.key.id in held) for runs in self.runs]
        rows = [row for row, runs in enumerate(kept) if runs]
        return self.take(rows, [kept[row] for row in rows])

    def triggers(self) -> list[tuple[int, Trigger]]:
        """Return each trigger with the row of its alert."""
        return [(row, trigger) for row, found in sorted(self.evaluated.triggers.items()) for trigger in found]

    def messages(self) -> list[OutgoingMessage]:
        """Return one message for each trigger, and for each time that an alert which tells so is ready again.

        Errors: UnstorableData if one cannot be written.
        """
        rows = sorted({*self.evaluated.triggers, *self.evaluated.rearmed})
        with _written():
            return [message for row in rows if not self.is_muted[row] for message in self._messages(row)]

    def _messages(self, row: int) -> list[OutgoingMessage]:
        stored, alert = self.loaded[row].stored, self.loaded[row].alert
        triggers = self.evaluated.triggers.get(row, [])
        return [
            *messages_of(stored.schedule_id, stored.user_id, stored.name, alert, triggers),
            *(
                rearmed_message(stored.schedule_id, stored.user_id, stored.name, alert, bar_time)
                for bar_time in self.evaluated.rearmed.get(row, [])
            ),
        ]

    def acting_users(self) -> set[int]:
        """Return whose alerts have triggered and have actions; a muted alert does nothing."""
        return {self.loaded[row].stored.user_id for row, _ in self._acting()}

    def actions(self, roles: Mapping[int, str]) -> list[OutgoingMessage]:
        """Return one message for each action of each trigger; ``roles`` are those of active users by id.

        Errors: UnstorableData if one cannot be written.
        """
        found: list[OutgoingMessage] = []
        with _written():
            for row, trigger in self._acting():
                stored, alert = self.loaded[row].stored, self.loaded[row].alert
                refusal = refusal_of(roles.get(stored.user_id))
                found += action_messages(stored.schedule_id, stored.user_id, stored.name, alert, trigger, refusal)
        return found

    def _acting(self) -> list[tuple[int, Trigger]]:
        triggers = self.triggers()
        return [one for one in triggers if self.loaded[one[0]].alert.actions and not self.is_muted[one[0]]]

    def newest_run(self, row: int) -> ClaimedRun:
        """Return the run that tells an alert's result; its other runs are covered by it."""
        runs = self.runs[row]
        return runs[0] if len(runs) == 1 else max(runs, key=lambda run: run.key.scheduled_for)

    def completions(self) -> list[Completion]:
        """Return the results of the runs: of each alert the newest tells, the others are covered by it."""
        states, bars = self.evaluated.states, self.evaluated.bars.tolist()
        told = zip(bars, states.status.tolist(), states.data_status.tolist(), strict=True)
        results: dict[tuple[int, int, int], Mapping[str, Any]] = {}
        found: list[Completion] = []
        for row, key in enumerate(told):
            if self.loaded[row].stored.schedule_id in self.awaiting:
                continue
            if row in self.evaluated.triggers:
                result: Mapping[str, Any] = _result(key, self.evaluated.triggers[row])
            else:  # most alerts of a batch end alike, and share what they tell
                result = results.get(key) or results.setdefault(key, _result(key, ()))
            newest = self.newest_run(row)
            found.append(Completion(newest, result, self._used(row, newest)))
            if len(self.runs[row]) > 1:
                covered = {"covered_by": str(newest.run_id)}
                found += [Completion(run, covered) for run in self.runs[row] if run is not newest]
        return found

    def _used(self, row: int, run: ClaimedRun) -> dict[str, Any] | None:
        """Return what was used in place of the run's snapshot: an alert runs as it is configured now."""
        stored = self.loaded[row].stored
        if run.version == str(stored.version):
            return None
        return {"version": stored.version, "task_params": json.loads(stored.config)}


@contextmanager
def _written() -> Iterator[None]:
    """Let what one alert cannot tell be found out by whoever commits, as what cannot be stored is."""
    try:
        yield
    except Exception as exc:
        raise UnstorableData(f"a message cannot be written: {type(exc).__name__} {exc}") from exc


def _result(told: tuple[int, int, int], triggers: Sequence[Trigger]) -> dict[str, Any]:
    bars, status, data_status = told
    newest = triggers[-_MOST_TOLD:]
    more = {"triggers_in_all": len(triggers)} if len(triggers) > len(newest) else {}
    return {
        "bars_evaluated": bars,
        "triggers": [trigger.bar_time.isoformat() for trigger in newest],
        **more,
        "status": STATUSES[status],
        "data_status": DATA_STATUSES[data_status],
    }
