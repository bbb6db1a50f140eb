"""The alert's state machine: what one more closed bar does to its gate, count and cooldown.

Pure. Times are those of bars, so that catching up after an outage decides as the live evaluation would have.

::

    ARMED ──true for N bars──▶ trigger ──▶ TRIGGERED (gate closed) ──rearm condition──▶ ARMED
      │                           └──▶ COOLDOWN while T < cooldown_until ──▶ ARMED or TRIGGERED
      └──true, count < N──▶ PENDING
    any ──▶ COMPLETED at max_triggers, EXPIRED past expires_at; both are final
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from atf.rules.rule import Verdict


class RearmType(StrEnum):
    """What opens the gate again after a trigger."""

    SIMPLE = "simple"
    EDGE = "edge"
    COOLDOWN = "cooldown"
    PERSISTENCE = "persistence"


class AlertStatus(StrEnum):
    """What a person sees of an alert's state."""

    ARMED = "ARMED"
    PENDING = "PENDING"
    TRIGGERED = "TRIGGERED"
    COOLDOWN = "COOLDOWN"
    COMPLETED = "COMPLETED"
    EXPIRED = "EXPIRED"

    @property
    def is_final(self) -> bool:
        """Whether nothing is evaluated any more until the alert is edited or enabled again."""
        return self in (AlertStatus.COMPLETED, AlertStatus.EXPIRED)


class DataStatus(StrEnum):
    """Whether the last bar could be judged."""

    OK = "ok"
    NO_DATA = "no_data"


class Gate(StrEnum):
    """A closed gate keeps a true rule from triggering again."""

    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Rearm:
    """How an alert becomes ready again: ``bars`` true bars in a row trigger, ``cooldown`` between triggers."""

    type: RearmType
    bars: int = 1
    cooldown: timedelta = timedelta(0)

    @property
    def keeps_gate_open(self) -> bool:
        """Whether a trigger leaves the gate open."""
        return self.type in (RearmType.SIMPLE, RearmType.COOLDOWN)

    def opens_gate(self, verdict: Verdict) -> bool:
        """Return whether the rearm condition holds on a bar with this verdict."""
        return self.keeps_gate_open or verdict is Verdict.FALSE


@dataclass(frozen=True, slots=True)
class Limits:
    """When an alert ends by itself."""

    expires_at: datetime | None = None
    max_triggers: int | None = None

    def expired(self, instant: datetime) -> bool:
        """Return whether ``instant`` is past the expiry; the expiry itself is not."""
        return self.expires_at is not None and instant > self.expires_at

    def exhausted(self, trigger_count: int) -> bool:
        """Return whether this many triggers are all there may be."""
        return self.max_triggers is not None and trigger_count >= self.max_triggers


@dataclass(frozen=True, slots=True)
class AlertState:
    """All that an alert remembers; ``version`` counts its commits."""

    rule_hash: str
    gate: Gate = Gate.OPEN
    count: int = 0
    cooldown_until: datetime | None = None
    last_bar: datetime | None = None
    last_trigger_bar: datetime | None = None
    trigger_count: int = 0
    sides: Mapping[str, Any] = field(default_factory=dict)
    status: AlertStatus = AlertStatus.ARMED
    data_status: DataStatus = DataStatus.OK
    version: int = 0


@dataclass(frozen=True, slots=True)
class JudgedBar:
    """A closed bar and the rule's verdict on it."""

    open_time: datetime
    close_time: datetime
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Step:
    """The state after a bar and whether the bar triggered."""

    state: AlertState
    is_triggered: bool


def advance(state: AlertState, rearm: Rearm, limits: Limits, bar: JudgedBar) -> Step:
    """Return the state after one more closed bar, and whether the alert fires on it.

    Time: ``bar`` opens after ``state.last_bar``; the caller gives every such bar once, oldest first.
    """
    if state.status.is_final:
        return Step(state, False)
    if limits.expired(bar.close_time):
        return Step(replace(state, status=AlertStatus.EXPIRED), False)
    if bar.verdict is Verdict.UNKNOWN:
        return Step(_after(state, limits, bar, DataStatus.NO_DATA), False)
    tracked = _track(state, rearm, bar.verdict)
    if bar.verdict is Verdict.TRUE and tracked.count >= rearm.bars and not _cooling(tracked, bar.close_time):
        return Step(_after(_trigger(tracked, rearm, bar), limits, bar, DataStatus.OK), True)
    return Step(_after(tracked, limits, bar, DataStatus.OK), False)


def expire(state: AlertState, limits: Limits, now: datetime) -> AlertState:
    """Return the state as EXPIRED if ``now`` is past the expiry, also when no further bar comes."""
    if not state.status.is_final and limits.expired(now):
        return replace(state, status=AlertStatus.EXPIRED)
    return state


def renewed(old: AlertState, rule_hash: str) -> AlertState:
    """Return a fresh state for an edited rule: bars that were evaluated stay history."""
    return AlertState(rule_hash=rule_hash, last_bar=old.last_bar, version=old.version)


def _track(state: AlertState, rearm: Rearm, verdict: Verdict) -> AlertState:
    gate = Gate.OPEN if rearm.opens_gate(verdict) else state.gate
    counts = verdict is Verdict.TRUE and gate is Gate.OPEN
    return replace(state, gate=gate, count=state.count + 1 if counts else 0)


def _trigger(state: AlertState, rearm: Rearm, bar: JudgedBar) -> AlertState:
    return replace(
        state,
        gate=Gate.OPEN if rearm.keeps_gate_open else Gate.CLOSED,
        count=0,
        trigger_count=state.trigger_count + 1,
        cooldown_until=bar.close_time + rearm.cooldown if rearm.cooldown else None,
        last_trigger_bar=bar.open_time,
    )


def _cooling(state: AlertState, instant: datetime) -> bool:
    return state.cooldown_until is not None and instant < state.cooldown_until


def _after(state: AlertState, limits: Limits, bar: JudgedBar, data_status: DataStatus) -> AlertState:
    status = _status(state, limits, bar.close_time)
    return replace(state, last_bar=bar.open_time, data_status=data_status, status=status)


def _status(state: AlertState, limits: Limits, instant: datetime) -> AlertStatus:
    if limits.exhausted(state.trigger_count):
        return AlertStatus.COMPLETED
    if _cooling(state, instant):
        return AlertStatus.COOLDOWN
    if state.gate is Gate.CLOSED and state.trigger_count:
        return AlertStatus.TRIGGERED
    return AlertStatus.PENDING if state.count else AlertStatus.ARMED
