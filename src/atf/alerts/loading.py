"""Alerts out of the database: states for each batch, configurations and compiled rules only when they changed."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

import numpy as np

from atf.alerts.alert import compile_alert, fresh_state, renewed_state
from atf.alerts.batch_work import BatchWork
from atf.alerts.outcome import LoadedAlert, LoadedAlerts, StoredAlert, StoredStates
from atf.alerts.state import FIRST_FINAL, STATUSES, AlertState
from atf.market.bars import to_nanoseconds

_LOGGER = logging.getLogger(__name__)


class StoredAlerts(Protocol):
    """What is read of alerts in the database."""

    async def states(self, schedule_ids: Sequence[int]) -> StoredStates:
        """Return the states of those of the alerts that there are."""
        ...

    async def configurations(self, schedule_ids: Sequence[int]) -> Sequence[StoredAlert]:
        """Return the current configurations of those of the alerts that there are."""
        ...


class CompiledRules:
    """Alerts with their compiled rules, by schedule and version; ``most`` that were used last are remembered."""

    def __init__(self, most: int = 200_000) -> None:
        self._most = most
        self._alerts: OrderedDict[int, tuple[int, LoadedAlert | Exception]] = OrderedDict()

    def known(self, versions: Mapping[int, int]) -> dict[int, LoadedAlert | Exception]:
        """Return those of the alerts that are known as they are now, by schedule; or what is wrong with them."""
        found: dict[int, LoadedAlert | Exception] = {}
        for schedule_id, version in versions.items():
            known = self._alerts.get(schedule_id)
            if known is not None and known[0] == version:
                self._alerts.move_to_end(schedule_id)
                found[schedule_id] = known[1]
        return found

    def add(self, stored: StoredAlert) -> LoadedAlert | Exception:
        """Compile an alert, remember and return it, or what is wrong with it."""
        compiled = _compiled(stored)
        self._alerts[stored.schedule_id] = stored.version, compiled
        self._alerts.move_to_end(stored.schedule_id)
        if len(self._alerts) > self._most:
            self._alerts.popitem(last=False)
        return compiled


class AlertLoader:
    """Loads the alerts of batches; a rule is compiled once, until its configuration changes."""

    def __init__(self, store: StoredAlerts, rules: CompiledRules | None = None) -> None:
        self._store = store
        self._rules = rules or CompiledRules()

    async def load(self, work: BatchWork, now: datetime) -> LoadedAlerts:
        """Return the alerts that are to be evaluated; runs of the others are brought to an end in ``work``."""
        stored = await self._store.states(work.schedule_ids)
        usable = self._usable(stored, await self._compiled(stored), work)
        rows, alerts = list(usable), list(usable.values())
        places = np.array(rows, dtype=np.int64)
        states, sides = stored.states.take(places), [stored.sides.get(row, {}) for row in rows]
        is_renewed = np.zeros(len(rows), dtype=np.bool_)
        for place, (row, one) in enumerate(zip(rows, alerts, strict=True)):
            is_readable, old_hash = stored.is_readable[row], stored.rule_hashes[row]
            if is_readable and old_hash == one.alert.rule_hash:
                continue
            old = states.state(place, AlertState(old_hash), {}) if is_readable else None
            states.begin(place, _begun(one, old, now))
            sides[place] = {}
            is_renewed[place] = True
        is_muted = stored.muted_until[places] > to_nanoseconds(now)
        found = LoadedAlerts(alerts, stored.versions[places], is_renewed, is_muted, states, sides)
        return self._unfinished(found, work)

    async def _compiled(self, stored: StoredStates) -> dict[int, LoadedAlert | Exception]:
        versions = dict(zip(stored.ids.tolist(), stored.alert_versions.tolist(), strict=True))
        found = self._rules.known(versions)
        changed = [schedule_id for schedule_id in versions if schedule_id not in found]
        for each in await self._store.configurations(changed) if changed else ():
            found[each.schedule_id] = self._rules.add(each)
        return found

    def _usable(
        self, stored: StoredStates, compiled: Mapping[int, LoadedAlert | Exception], work: BatchWork
    ) -> dict[int, LoadedAlert]:
        """Return the alerts that can be evaluated, by row; one whose configuration is broken fails alone."""
        ids = stored.ids.tolist()
        for missing in set(work.schedule_ids).difference(ids):
            work.skip(missing, "deleted")
        usable: dict[int, LoadedAlert] = {}
        for row, (schedule_id, is_active) in enumerate(zip(ids, stored.is_active.tolist(), strict=True)):
            found = compiled.get(schedule_id) if is_active else None
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
        return LoadedAlert(stored, compile_alert(json.loads(stored.config)))
    except Exception as exc:  # noqa: BLE001 - a configuration changed by hand in the database fails alone
        return exc


def _begun(loaded: LoadedAlert, old: AlertState | None, now: datetime) -> AlertState:
    if old is None:
        number = loaded.stored.schedule_id
        _LOGGER.warning("alert_%d has no readable state: bars closed by now are history", number)
        return fresh_state(loaded.alert, now)
    return renewed_state(loaded.alert, old)
