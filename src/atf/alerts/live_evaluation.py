"""Alerts on bars that are still forming. Pure.

A copy of the state after the last closed bar goes through the evaluation itself, with the present instant as the
bar's close. Of what becomes of it only a trigger is kept; everything else is decided by the bar as it closes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from atf.alerts.evaluation import Evaluated, Sides, evaluate
from atf.alerts.machine import RearmColumns, fire_early
from atf.alerts.readings import WatchedBars
from atf.alerts.roster import Roster, roster_of
from atf.alerts.state import FIRST_FINAL, NEVER, IntArray
from atf.alerts.watched import Watched
from atf.indicators.indicator_service import IndicatorService
from atf.market.bars import Bars, to_nanoseconds


def with_forming(closed: WatchedBars, forming: Bars, now: datetime, indicators: IndicatorService) -> WatchedBars:
    """Return closed bars and behind them the one that is forming, as if it closed at ``now``."""
    bars = closed.bars.followed_by(forming)
    close_time = np.append(closed.close_time, to_nanoseconds(now))
    return WatchedBars(bars, close_time, indicators.session(bars))


def look_at_forming(
    roster: Roster,
    sides: Sequence[Sides],
    watched: Mapping[Watched, WatchedBars],
    now: datetime,
    result: Evaluated,
) -> None:
    """Let alerts fire on bars that are still forming, at most once a bar.

    ``result`` is what their closed bars made of them, and is changed: its states by what a trigger commits before
    the close, and its triggers.

    Shape: ``sides`` by the rows of the roster, as they were before the closed bars; ``watched`` as
           ``with_forming`` returns, for some of what is watched.
    """
    rows = _ready(roster, watched, result)
    if not len(rows):
        return
    alerts = [roster.alerts[row] for row in rows.tolist()]
    before = result.states.take(rows)
    own = roster_of(alerts)
    seen = evaluate(
        own, before.copy(), [result.sides.get(row, sides[row]) for row in rows.tolist()], watched, now
    )
    fired = np.array(sorted(seen.triggers), dtype=np.int64)
    for kind in {alerts[place].rearm.type for place in fired.tolist()}:
        places = fired[[alerts[place].rearm.type is kind for place in fired.tolist()]]
        chosen = [(alerts[place].rearm, alerts[place].limits) for place in places.tolist()]
        states = before.take(places)
        fire_early(
            states, RearmColumns.of(kind, chosen), to_nanoseconds(now), seen.states.last_trigger_bar[places]
        )
        result.states.put(rows[places], states)
    for place in fired.tolist():
        triggers = [replace(one, live_at=now) for one in seen.triggers[place]]
        result.triggers.setdefault(int(rows[place]), []).extend(triggers)


def _ready(roster: Roster, watched: Mapping[Watched, WatchedBars], result: Evaluated) -> IntArray:
    """Return the rows of the alerts whose next bar is the one that is forming.

    An alert whose indicators fail, or that has seen bars which are not here, is left to its closed bars.
    """
    before = np.array([_open_before(watched.get(one)) for one in roster.watched], dtype=np.int64)
    is_watched = np.array([one in watched for one in roster.watched], dtype=np.bool_)
    states, numbers = result.states, roster.watched_of
    is_ready = is_watched[numbers] & (states.last_bar == before[numbers]) & (states.status < FIRST_FINAL)
    is_ready[list(result.failed)] = False
    return np.flatnonzero(is_ready)


def _open_before(watched: WatchedBars | None) -> int:
    return int(watched.bars.open_time[-2]) if watched is not None and len(watched.bars) > 1 else NEVER
