"""A trigger: the decision to tell somebody, with what was read on the bar. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from atf.alerts.alert import Alert
from atf.alerts.readings import WatchedBars
from atf.market.bars import COLUMNS
from atf.rules.operands import Constant


@dataclass(frozen=True, slots=True)
class Trigger:
    """A decision to tell somebody: the bar, what was read on it, and how manieth it is.

    After ``late_at`` it is late; ``is_late`` tells whether it was when it was decided.
    ``live_at``: the instant at which the bar was looked at while it was forming; None if it had closed.
    """

    bar_time: datetime
    number: int
    bar: Mapping[str, float]
    readings: Mapping[str, float]
    value: float
    threshold: float
    is_late: bool
    late_at: datetime
    live_at: datetime | None = None


def trigger_of(
    alert: Alert, watched: WatchedBars, index: int, values: Sequence[float], number: int, now: datetime
) -> Trigger:
    """Return the trigger of an alert on the bar at ``index``; ``values`` are those of its operands."""
    readings = {
        str(operand): value
        for operand, value in zip(alert.operands, values, strict=True)
        if not isinstance(operand, Constant)
    }
    late_at = watched.closes_at(index) + 2 * alert.series.timeframe.length
    return Trigger(
        bar_time=watched.bars.time_at(index),
        number=number,
        bar={name: float(watched.bars.column(name)[index]) for name in COLUMNS},
        readings=readings,
        value=values[0],
        threshold=values[1],
        is_late=now > late_at,
        late_at=late_at,
    )
