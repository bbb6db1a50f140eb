"""A trigger: the decision to tell somebody, with what was read on the bar. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from atf.alerts.alert import Alert
from atf.alerts.readings import WatchedBars
from atf.alerts.traced_bar import TracedBar
from atf.rules.operands import Constant


@dataclass(frozen=True, slots=True)
class Trigger:
    """A decision to tell somebody: the bar, what was read on it, and how manieth it is.

    After ``late_at`` it is late; ``is_late`` tells whether it was when it was decided. ``seen`` is the bar as the
    evaluation saw it, from which it can be explained whatever becomes of bars and rule.
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
    seen: TracedBar
    live_at: datetime | None = None


def trigger_of(alert: Alert, watched: WatchedBars, from_end: int, seen: TracedBar, now: datetime) -> Trigger:
    """Return the trigger of an alert on a bar, the newest if ``from_end`` is 1."""
    readings = {
        str(operand): value
        for operand, value in zip(alert.operands, seen.values, strict=True)
        if not isinstance(operand, Constant)
    }
    late_at = seen.close_time + 2 * alert.series.timeframe.length
    return Trigger(
        bar_time=seen.open_time,
        number=seen.after.trigger_count,
        bar=watched.bars.row(len(watched.bars) - from_end),
        readings=readings,
        value=seen.values[0],
        threshold=seen.values[1],
        is_late=now > late_at,
        late_at=late_at,
        seen=seen,
    )
