"""Alerts out of the database: states for each batch, configurations and compiled rules only when they changed."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol

import numpy as np

from atf.alerts.alert import compile_alert, fresh_state, renewed_state
from atf.alerts.batch_work import BatchWork
from atf.alerts.outcome import NO_STATE, LoadedAlert, LoadedAlerts, StoredAlert, StoredStates
from atf.alerts.state import FIRST_FINAL, STATUSES, AlertState
from atf.market.bars import to_nanoseconds

_LOGGER = logging.getLogger(__name__)
_MOST_COMPILED: Final = 200_000
"""Some kilobyte each."""


class StoredAlerts(Protocol):
    """What is read of alerts in the database."""

    async def states(self, schedule_ids: Sequence[int]) -> StoredStates:
        """Return the states of those of the alerts that there are."""
        ...

    async def configurations(self, schedule_ids: Sequence[int]) -> Sequence[StoredAlert]:
        """Return the current configurations of those of the alerts that there are."""
        ...


class CompiledRules:
    """Alerts with their compiled rules, by schedule and version; what was not used for long is forgotten."""

    def __init__(self) -> None:
        self._alerts: OrderedDict[int, tuple[int, LoadedAlert | Exception]] = OrderedDict()

    def has(self, schedule_id: int, version: int) -> bool:
        """Tell whether the alert is known as it is now."""
        known = self._alerts.get(schedule_id)
        return known is not None and known[0] == version

    def put(self, stored: StoredAlert) -> None:
        """Compile an alert; what is wrong with it is kept in its place."""
        self._alerts[stored.schedule_id] = stored.version, _compiled(stored)
        while len(self._alerts) > _MOST_COMPILED:
            self._alerts.popitem(last=False)

    def get(self, schedule_id: int) -> LoadedAlert | Exception | None:
        """Return the alert, or what is wrong with it; None if it is not known."""
        known = self._alerts.get(schedule_id)
        return None if known is None else known[1]


class AlertLoader:
    """Loads the alerts of batches; a rule is compiled once, until its configuration changes."""

    def __init__(self, store: StoredAlerts) -> None:
        self._store = store
        self.rules = CompiledRules()

    async def load(self, work: BatchWork, now: datetime) -> LoadedAlerts:
        """Return the alerts that are to be evaluated; runs of the others are brought to an end in ``work``."""
        stored = await self._store.states(work.schedule_ids)
        await self._compile(stored)
        usable = self._usable(stored, work)
        rows, alerts = list(usable), list(usable.values())
        places = np.array(rows, dtype=np.int64)
        states, sides = stored.states.take(places), [stored.sides.get(row, {}) for row in rows]
        is_renewed = np.zeros(len(rows), dtype=np.bool_)
        for place, (row, one) in enumerate(zip(rows, alerts, strict=True)):
            version = int(stored.versions[row])
            if version != NO_STATE and stored.rule_hashes[row] == one.alert.rule_hash:
                continue
            old = None if version == NO_STATE else states.state(place, AlertState(stored.rule_hashes[row]), {})
            states.begin(place, _begun(one, old, now))
            sides[place] = {}
            is_renewed[place] = True
        is_muted = stored.muted_until[places] > to_nanoseconds(now)
        found = LoadedAlerts(alerts, stored.versions[places], is_renewed, is_muted, states, sides)
        return self._unfinished(found, work)

    async def _compile(self, stored: StoredStates) -> None:
        versions = zip(stored.ids.tolist(), stored.alert_versions.tolist(), strict=True)
        changed = [one for one, version in versions if not self.rules.has(one, version)]
        for each in await self._store.configurations(changed) if changed else ():
            self.rules.put(each)

    def _usable(self, stored: StoredStates, work: BatchWork) -> dict[int, LoadedAlert]:
        """Return the alerts that can be evaluated, by row; one whose configuration is broken fails alone."""
        ids = stored.ids.tolist()
        for missing in set(work.schedule_ids).difference(ids):
            work.skip(missing, "deleted")
        usable: dict[int, LoadedAlert] = {}
        for row, (schedule_id, is_active) in enumerate(zip(ids, stored.is_active.tolist(), strict=True)):
            found = self.rules.get(schedule_id) if is_active else None
            if isinstance(found, LoadedAlert):
                usable[row] = found
            elif isinstance(found, Exception):
                work.fail(schedule_id, found)
            else:
                work.skip(schedule_id, "deleted" if is_active else "paused")
        return usable

    def _unfinished(self, found: LoadedAlerts, work: BatchWork) -> LoadedAlerts:
        is_final = found.states.status >= FIRST_FINAL
        if not is_final.any():
            return found
        for row in np.flatnonzero(is_final).tolist():
            work.skip(found.alerts[row].stored.schedule_id, str(STATUSES[found.states.status[row]]))
        return found.take(np.flatnonzero(~is_final).tolist())


def _compiled(stored: StoredAlert) -> LoadedAlert | Exception:
    try:
        return LoadedAlert(stored, compile_alert(stored.config))
    except Exception as exc:  # noqa: BLE001 - a configuration changed by hand in the database fails alone
        return exc


def _begun(loaded: LoadedAlert, old: AlertState | None, now: datetime) -> AlertState:
    if old is None:
        number = loaded.stored.schedule_id
        _LOGGER.warning("alert_%d has no readable state: bars closed by now are history", number)
        return fresh_state(loaded.alert, now)
    return renewed_state(loaded.alert, old)
