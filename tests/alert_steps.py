"""One alert, step by step, as tests like to see it; the code under test always works on many."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from atf.alerts.alert import Alert
from atf.alerts.evaluation import bars_needed, evaluate
from atf.alerts.live_evaluation import look_at_forming, with_forming
from atf.alerts.machine import BarColumn, RearmColumns, advance, expire
from atf.alerts.readings import WatchedBars
from atf.alerts.rearm import Limits, Rearm
from atf.alerts.roster import roster_of
from atf.alerts.state import AlertState, StateColumns
from atf.alerts.trigger import Trigger
from atf.alerts.watched import close_times
from atf.indicators.indicator_service import IndicatorService
from atf.market.bars import Bars, to_nanoseconds

TRUE, UNKNOWN, FALSE = 1, 0, -1


@dataclass(frozen=True)
class Step:
    """The state after a bar and whether the bar triggered."""

    state: AlertState
    is_triggered: bool


def step(
    state: AlertState,
    rearm: Rearm,
    limits: Limits,
    opens: datetime,
    closes: datetime,
    truth: int,
    band: int | None = None,
) -> Step:
    """Return what one bar makes of one alert's state; without a band it is the rule itself."""
    columns = StateColumns.of([state])
    bar = BarColumn(
        np.array([True]),
        np.array([to_nanoseconds(opens)]),
        np.array([to_nanoseconds(closes)]),
        np.array([truth], dtype=np.int8),
        np.array([truth if band is None else band], dtype=np.int8),
    )
    fires = advance(columns, RearmColumns.of(rearm.type, [(rearm, limits)]), bar)
    return Step(columns.state(0, state, state.sides), bool(fires[0]))


def expired(state: AlertState, rearm: Rearm, limits: Limits, now: datetime) -> AlertState:
    """Return the state when no further bar comes."""
    columns = StateColumns.of([state])
    expire(columns, RearmColumns.of(rearm.type, [(rearm, limits)]), to_nanoseconds(now))
    return columns.state(0, state, state.sides)


@dataclass(frozen=True)
class Evaluation:
    """What the new bars made of an alert."""

    state: AlertState
    triggers: tuple[Trigger, ...]
    bars_evaluated: int
    kept: bytes | None = None


def evaluated(alert: Alert, state: AlertState, bars: Bars, now: datetime) -> Evaluation:
    """Return what closed bars make of one alert."""
    columns = StateColumns.of([state])
    watched = WatchedBars(bars, close_times(bars, alert.series.timeframe), IndicatorService().session(bars))
    found = evaluate(roster_of([alert]), columns, [state.sides], {alert.watched: watched}, now)
    for failure in found.failed.values():
        raise failure
    after = columns.state(0, state, found.sides.get(0, state.sides))
    return Evaluation(after, tuple(found.triggers.get(0, ())), int(found.bars[0]), found.seen[0])


def needed(alert: Alert, state: AlertState, now: datetime) -> int:
    """Return how many bars an evaluation of one alert reads."""
    return int(bars_needed([alert], StateColumns.of([state]), now)[0])


def looked_at(alert: Alert, state: AlertState, bars: Bars, forming: Bars, now: datetime) -> Evaluation:
    """Return what closed bars and then the one that is forming make of one alert."""
    columns, service = StateColumns.of([state]), IndicatorService()
    closed = WatchedBars(bars, close_times(bars, alert.series.timeframe), service.session(bars))
    roster = roster_of([alert])
    found = evaluate(roster, columns, [state.sides], {alert.watched: closed}, now)
    seen = {alert.watched: with_forming(closed, forming, now, service)}
    look_at_forming(roster, [state.sides], seen, now, found)
    after = columns.state(0, state, found.sides.get(0, state.sides))
    return Evaluation(after, tuple(found.triggers.get(0, ())), int(found.bars[0]))
