"""What a tick does about instants that have come since the last one. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from atf.schedules.fire_times import FireTimes
from atf.schedules.group_store import CatchUp, DueGroup, Firing, GapOfGroup, GroupRules, Mark
from atf.schedules.misfire import CAP, DueInstants, Lateness, MisfirePolicy, Plan, plan

_MICROSECOND: Final = timedelta(microseconds=1)
_FEW: Final = 3
"""Of the newest instants so many are kept until rules ask for more: all that policies but run_all need."""


def firing_of(times: FireTimes, group: DueGroup, now: datetime) -> Firing:
    """Return what is due of a group, before anything is planned.

    Errors: InvalidCron.
    """
    return Firing(group, times, due_instants(times, group.next_fire_at, now), times.next_after(now))


def due_instants(times: FireTimes, first: datetime, now: datetime) -> DueInstants | None:
    """Return what is due from the stored instant of a group on.

    The stored instant itself is due even if the expression does not have it: the row may be older than a change
    of the zone's rules.
    """
    newest = times.newest(first, now, _FEW)
    if not newest:
        return DueInstants(1, first, (first,)) if times.is_open(first) else None
    if len(newest) < _FEW:
        return DueInstants(len(newest), newest[0], newest)
    return DueInstants(times.count(first, now), times.next_after(first - _MICROSECOND), newest)


def is_simple(firing: Firing, lateness: Lateness, punctual: timedelta) -> bool:
    """Whether every schedule fires what is due, whatever its rule says."""
    due = firing.due
    return due is not None and due.count == 1 and lateness(due.first) < punctual


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is due of a group, the rules of its schedules, and how late it is."""

    firing: Firing
    rules: GroupRules
    lateness: Lateness

    @classmethod
    def of(cls, firing: Firing, rules: GroupRules | None, lateness: Lateness) -> Outlook:
        """Put together what is known; without rules there is no schedule that counts.

        What an earlier tick began that got only part of the way is completed as of the newest instant for which
        that tick was in time; what has come since is for the next tick.
        """
        if rules is None:
            return cls(firing, GroupRules(()), lateness)
        if rules.begun_until is None:
            return cls(_with_enough_kept(firing, rules, lateness), rules, lateness)
        begun = firing.times.newest(firing.group.next_fire_at, rules.begun_until - _MICROSECOND, 1)
        firing = firing_of(firing.times, firing.group, begun[-1] if begun else firing.group.next_fire_at)
        begun_at = firing.until
        return cls.of(firing, replace(rules, begun_until=None), lambda instant: begun_at - instant)

    @property
    def gap(self) -> GapOfGroup | None:
        """Where in the gap schedules may begin whose share nobody has counted; None if there are none."""
        due = self.firing.due
        if due is None or not self.rules.has_younger or due.count == len(due.newest):
            return None
        return GapOfGroup(self.firing.group.group_id, due.first, due.newest[0])

    def planned(self, starts: Iterable[datetime]) -> Firing:
        """Return the firing with a plan for each rule; ``starts`` are where schedules begin inside the gap."""
        due = self.firing.due
        if due is None:
            return replace(self.firing, catch_up=CatchUp({rule: Plan((), None) for rule in self.rules.rules}, ()))
        plans = {rule: plan(rule, due, self.lateness) for rule in self.rules.rules}
        kept = _kept_marks(due) if self.rules.has_younger else ()
        marks = {Mark(due.first, 0), *kept, *_start_marks(self.firing, starts)}
        return replace(self.firing, catch_up=CatchUp(plans, tuple(sorted(marks))))


def _with_enough_kept(firing: Firing, rules: GroupRules, lateness: Lateness) -> Firing:
    """Keep as many of the newest instants as may fire."""
    due = firing.due
    if due is None or due.count == len(due.newest):
        return firing
    late = lateness(due.newest[0])
    if not any(rule.effective is MisfirePolicy.RUN_ALL and late <= rule.grace for rule in rules.rules):
        return firing
    newest = firing.times.newest(firing.group.next_fire_at, firing.until, CAP + 1)
    return replace(firing, due=replace(due, newest=newest))


def _kept_marks(due: DueInstants) -> Iterable[Mark]:
    before = due.count - len(due.newest)
    for position, instant in enumerate(due.newest):
        yield Mark(instant, before + position)


def _start_marks(firing: Firing, starts: Iterable[datetime]) -> Iterable[Mark]:
    first = firing.group.next_fire_at
    for start in starts:
        before = start - _MICROSECOND
        yield Mark(firing.times.next_after(before), firing.times.count(first, before))
