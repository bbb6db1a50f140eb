"""The alert's state machine, over many alerts at once: what one more bar does to gate, count and cooldown. Pure.

Times are those of bars, so that catching up after an outage decides as the live evaluation would have.

::

    ARMED ──true for N bars──▶ trigger ──▶ TRIGGERED (gate closed) ──rearm condition──▶ ARMED
      │                           └──▶ COOLDOWN while T < cooldown_until ──▶ ARMED or TRIGGERED
      └──true, count < N──▶ PENDING
    any ──▶ COMPLETED at max_triggers, EXPIRED past expires_at; both are final
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

import numpy as np

from atf.alerts.rearm import Limits, Rearm, RearmType
from atf.alerts.state import (
    DATA_STATUSES,
    FIRST_FINAL,
    NEVER,
    STATUSES,
    AlertStatus,
    DataStatus,
    IntArray,
    StateColumns,
)
from atf.market.bars import FloatArray, to_nanoseconds
from atf.rules.truth import BoolArray, TruthArray

_MICROSECOND: Final = timedelta(microseconds=1)
_ALWAYS: Final = np.iinfo(np.int64).max
_ARMED, _PENDING, _TRIGGERED, _COOLDOWN, _COMPLETED, _EXPIRED = (
    STATUSES.index(status)
    for status in (
        AlertStatus.ARMED,
        AlertStatus.PENDING,
        AlertStatus.TRIGGERED,
        AlertStatus.COOLDOWN,
        AlertStatus.COMPLETED,
        AlertStatus.EXPIRED,
    )
)
_OK, _NO_DATA = DATA_STATUSES.index(DataStatus.OK), DATA_STATUSES.index(DataStatus.NO_DATA)


@dataclass(frozen=True, slots=True)
class RearmColumns:
    """What users chose for alerts of one rearm type.

    Shape: (a,) each; ``cooldown`` and ``expires_at`` in nanoseconds, the largest integer for never.
    """

    type: RearmType
    bars: IntArray
    cooldown: IntArray
    threshold: FloatArray
    is_absolute: BoolArray
    expires_at: IntArray
    max_triggers: IntArray

    @classmethod
    def of(cls, kind: RearmType, chosen: Sequence[tuple[Rearm, Limits]]) -> Self:
        """Return the columns of alerts that all have this rearm type."""
        return cls(
            kind,
            bars=np.array([rearm.bars for rearm, _ in chosen], dtype=np.int64),
            cooldown=np.array([rearm.cooldown // _MICROSECOND * 1000 for rearm, _ in chosen], dtype=np.int64),
            threshold=np.array([rearm.threshold for rearm, _ in chosen], dtype=np.float64),
            is_absolute=np.array([rearm.is_absolute for rearm, _ in chosen], dtype=np.bool_),
            expires_at=np.array([_expiry(limits) for _, limits in chosen], dtype=np.int64),
            max_triggers=np.array([limits.max_triggers or _ALWAYS for _, limits in chosen], dtype=np.int64),
        )

    def take(self, places: IntArray) -> RearmColumns:
        """Return the columns of some of the alerts."""
        return RearmColumns(
            self.type,
            self.bars[places],
            self.cooldown[places],
            self.threshold[places],
            self.is_absolute[places],
            self.expires_at[places],
            self.max_triggers[places],
        )


@dataclass(frozen=True, slots=True)
class BarColumn:
    """One more bar of each alert: ``is_there`` tells which alerts have one.

    ``moved_away`` is the truth of the band (see ``rules.bands``), that of the rule itself where there is none.

    Shape: (a,) each.
    """

    is_there: BoolArray
    open_time: IntArray
    close_time: IntArray
    truth: TruthArray
    band: TruthArray


def advance(states: StateColumns, rearm: RearmColumns, bar: BarColumn) -> BoolArray:
    """Change the states by one more closed bar; return which alerts fire on it.

    Time: ``bar`` opens after each alert's ``last_bar``; the caller gives every such bar once, oldest first.
    """
    is_live = bar.is_there & (states.status < FIRST_FINAL)
    is_expired = is_live & (bar.close_time > rearm.expires_at)
    if is_expired.any():
        states.status[is_expired] = _EXPIRED
        is_live &= ~is_expired
    is_history = is_live & (bar.close_time <= states.history_until)
    is_judged = is_live & ~is_history
    if rearm.type is RearmType.CROSSING:
        _turn_gate_on_history(states, is_history, bar)
    fires = _track_and_fire(states, rearm, bar, is_judged)
    _set_status(states, rearm, is_live, bar.close_time)
    states.data_status[is_judged] = np.where(bar.truth[is_judged] == 0, _NO_DATA, _OK)
    states.last_bar[is_live] = bar.open_time[is_live]
    return fires


def fire_early(states: StateColumns, rearm: RearmColumns, now: int, bar_time: IntArray) -> None:
    """Change the states of alerts that fire on a bar which is still forming, at ``now`` (nanoseconds).

    Committed at once: the gate, the cooldown, the bar of the trigger and how manieth it was. The count, the sides
    and an opening of the gate wait for the close; ``last_bar`` does not move, so that the bar is judged then.
    """
    if not rearm.type.keeps_gate_open:
        states.is_open[:] = False
    states.trigger_count += 1
    states.cooldown_until = np.where(rearm.cooldown > 0, now + rearm.cooldown, NEVER)
    states.last_trigger_bar = bar_time.copy()
    _set_status(states, rearm, np.ones(len(states), dtype=np.bool_), np.full(len(states), now, dtype=np.int64))


def expire(states: StateColumns, rearm: RearmColumns, now: int) -> None:
    """End alerts that ``now`` (nanoseconds) is past the expiry of, also when no further bar comes."""
    states.status[(states.status < FIRST_FINAL) & (now > rearm.expires_at)] = _EXPIRED


def _expiry(limits: Limits) -> int:
    return _ALWAYS if limits.expires_at is None else to_nanoseconds(limits.expires_at)


def _turn_gate_on_history(states: StateColumns, is_history: BoolArray, bar: BarColumn) -> None:
    states.is_open |= is_history & (bar.truth < 0) & (bar.band < 0)
    states.is_open &= ~(is_history & (bar.truth > 0))


def _track_and_fire(states: StateColumns, rearm: RearmColumns, bar: BarColumn, is_judged: BoolArray) -> BoolArray:
    is_known = is_judged & (bar.truth != 0)
    keeps_open = rearm.type.keeps_gate_open
    states.is_open |= is_known if keeps_open else is_known & (bar.truth < 0) & (bar.band < 0)
    counts = is_known & (bar.truth > 0) & states.is_open
    states.count = np.where(is_known, np.where(counts, states.count + 1, 0), states.count)
    is_due: BoolArray = counts & (states.count >= rearm.bars) & (bar.close_time >= states.cooldown_until)
    # A bar that has triggered before it closed does not trigger again; only now does that trigger end its count.
    has_fired = bar.open_time == states.last_trigger_bar
    if has_fired.any():
        states.count[has_fired & is_judged] = 0
    if not is_due.any():
        return is_due
    states.count[is_due] = 0
    fires: BoolArray = is_due & ~has_fired
    if not keeps_open:
        states.is_open[fires] = False
    states.trigger_count[fires] += 1
    ends = np.where(rearm.cooldown > 0, bar.close_time + rearm.cooldown, NEVER)
    states.cooldown_until[fires] = ends[fires]
    states.last_trigger_bar[fires] = bar.open_time[fires]
    return fires


def _set_status(states: StateColumns, rearm: RearmColumns, is_live: BoolArray, now: IntArray) -> None:
    status = np.where(states.count > 0, _PENDING, _ARMED)
    status[~states.is_open & (states.trigger_count > 0)] = _TRIGGERED
    status[now < states.cooldown_until] = _COOLDOWN
    status[states.trigger_count >= rearm.max_triggers] = _COMPLETED
    states.status = np.where(is_live, status, states.status)
