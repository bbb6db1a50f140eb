"""Groups of schedules that fire together, and what their store does for a tick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from atf.schedules.fire_times import FireTimes
from atf.schedules.misfire import DueInstants, MisfireRule, Plan


@dataclass(frozen=True, slots=True)
class DueGroup:
    """Schedules with the same cron, time zone and calendar whose time has come."""

    group_id: int
    cron: str
    timezone: str
    next_fire_at: datetime
    calendar: str | None = None


class Mark(NamedTuple):
    """A due instant, and how many are due before it."""

    at: datetime
    ordinal: int


@dataclass(frozen=True, slots=True)
class CatchUp:
    """What becomes of the due instants under each rule of a group's schedules.

    ``marks`` increase, and hold the first due instant at or after each instant from which on a schedule counts.
    """

    plans: Mapping[MisfireRule, Plan]
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Firing:
    """What is due of a group, and the instant to wait for afterwards.

    ``due`` is None if the group's time has come on a day that is no session. Without a ``catch_up`` there is one
    due instant at most, and it fires for every schedule.
    """

    group: DueGroup
    times: FireTimes
    due: DueInstants | None
    next_fire_at: datetime
    catch_up: CatchUp | None = None

    @property
    def until(self) -> datetime:
        """The newest due instant; all up to it are dealt with."""
        return self.due.newest[-1] if self.due else self.group.next_fire_at

    @property
    def runs_a_schedule(self) -> int:
        """The most runs that one schedule gets."""
        if self.catch_up is None:
            return 1
        return max((len(plan.fires) for plan in self.catch_up.plans.values()), default=1) or 1


class Cursor(NamedTuple):
    """The last schedule that has been dealt with, groups in the order of their ids."""

    group_id: int
    schedule_id: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """How far a firing has come: None as ``resume`` means that all runs are stored and the groups advanced."""

    runs_created: int
    resume: Cursor | None
    missed: int = 0


@dataclass(frozen=True, slots=True)
class GroupRules:
    """The different rules of a group's schedules.

    ``begun_until``: where an earlier tick dealt with some of the schedules, the instant that it left them to
    wait for. ``has_younger``: whether a schedule counts from later on only than the group's time.
    """

    rules: tuple[MisfireRule, ...]
    begun_until: datetime | None = None
    has_younger: bool = False


@dataclass(frozen=True, slots=True)
class GapOfGroup:
    """The due instants of a group that are not kept: after ``first``, up to ``last``."""

    group_id: int
    first: datetime
    last: datetime


class GroupStore(Protocol):
    """Schedule groups and the runs made from them."""

    async def due_groups(self, now: datetime, *, after: DueGroup | None = None) -> list[DueGroup]:
        """Return some of the groups whose time has come, earliest first, from one of them on."""
        ...

    async def rules(self, groups: Sequence[DueGroup]) -> Mapping[int, GroupRules]:
        """Return the rules by group id."""
        ...

    async def starts(self, gaps: Sequence[GapOfGroup]) -> Mapping[int, Sequence[datetime]]:
        """Return by group id the different instants inside its gap from which on schedules count."""
        ...

    async def fire(self, firings: Sequence[Firing], *, after: Cursor, limit: int) -> Chunk:
        """Deal with up to ``limit`` schedules in one transaction; advance the groups that are done with it.

        Groups that another scheduler is at work on or has finished are left out. ``firings`` are in the order
        of their group ids.

        Errors: TransactionConflict if a schedule has a rule for which there is no plan.
        """
        ...

    async def count_active(self) -> int:
        """Return how many schedules are enabled."""
        ...

    async def park(self, group: DueGroup) -> None:
        """Let a group that cannot be computed any more sleep until one of its schedules is changed."""
        ...

    async def next_fire_at(self, *, without: Sequence[int] = ()) -> datetime | None:
        """Return the earliest instant at which any group but these is due; None if nothing is scheduled."""
        ...
