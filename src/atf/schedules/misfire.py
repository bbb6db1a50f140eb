"""Misfires: what becomes of instants at which nobody looked. Pure.

The fires of a plan are always the newest of the due instants, so what is missed is one gap before them, and a
gap of months is a count with its two ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

CAP: Final = 100
"""The most instants that a schedule fires at once."""

Lateness = Callable[[datetime], timedelta]
"""How late an instant is fired now; an older one is never less late."""


class MisfirePolicy(StrEnum):
    """What a schedule does about instants at which nobody looked.

    ``skip``: the newest one runs if it is within the grace time, the others never. ``run_once``: the newest one
    runs, however late. ``run_all``: each that is within the grace time runs.
    """

    SKIP = "skip"
    RUN_ONCE = "run_once"
    RUN_ALL = "run_all"


class MissedReason(StrEnum):
    """Why instants of a gap did not fire; where there are several reasons, the first of these."""

    LATE = "late"
    CAPPED = "capped"
    COALESCED = "coalesced"


@dataclass(frozen=True, slots=True)
class MisfireRule:
    """What a schedule says about misfires. Alerts catch up by bars, so they fire once, whatever they say."""

    is_alert: bool
    policy: MisfirePolicy
    grace: timedelta
    coalesce: bool

    @property
    def effective(self) -> MisfirePolicy:
        """The policy that counts."""
        return MisfirePolicy.RUN_ONCE if self.is_alert else self.policy


@dataclass(frozen=True, slots=True)
class DueInstants:
    """What is due: counted whole, of which the oldest and the newest are kept, the latter increasing."""

    count: int
    first: datetime
    newest: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class Missed:
    """The gap before the fires."""

    count: int
    first: datetime
    last: datetime
    reason: MissedReason


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of due instants under one rule."""

    fires: tuple[datetime, ...]
    missed: Missed | None


def plan(rule: MisfireRule, due: DueInstants, lateness: Lateness, cap: int = CAP) -> Plan:
    """Return which of the due instants fire, and the gap of those that do not.

    Shape: ``due.newest`` has at least ``cap`` + 1 instants, or all, or an oldest one past the grace time.
    """
    punctual = tuple(instant for instant in due.newest if lateness(instant) <= rule.grace)
    fires = _fires(rule, due, punctual, cap)
    return Plan(fires, _missed(rule, due, lateness, fires, is_capped=len(fires) == cap < len(punctual)))


def _fires(rule: MisfireRule, due: DueInstants, punctual: tuple[datetime, ...], cap: int) -> tuple[datetime, ...]:
    match rule.effective:
        case MisfirePolicy.RUN_ONCE:
            return due.newest[-1:]
        case MisfirePolicy.RUN_ALL if not rule.coalesce:
            return punctual[-cap:]
        case _:
            return punctual[-1:]


def _missed(
    rule: MisfireRule, due: DueInstants, lateness: Lateness, fires: tuple[datetime, ...], *, is_capped: bool
) -> Missed | None:
    count = due.count - len(fires)
    if not count:
        return None
    last = due.newest[-len(fires) - 1]
    return Missed(count, due.first, last, _reason(rule, lateness(due.first), is_capped=is_capped))


def _reason(rule: MisfireRule, oldest: timedelta, *, is_capped: bool) -> MissedReason:
    """Lateness is no reason where the newest would have fired however late it was."""
    if rule.effective is not MisfirePolicy.RUN_ONCE and oldest > rule.grace:
        return MissedReason.LATE
    return MissedReason.CAPPED if is_capped else MissedReason.COALESCED
