"""When an alert would have fired on bars of the past: a trace, counted. Pure.

The trace is that of an alert made when the first of the bars opened, so it fires on what live evaluation would
have fired on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from atf.alerts.alert import Alert, fresh_state
from atf.alerts.state import BEGINNING, STATUSES, AlertStatus
from atf.alerts.trace import Trace, trace, watched_bars
from atf.alerts.trigger import Trigger
from atf.errors import NotFound
from atf.market.bars import Bars, TimeArray, to_instant
from atf.market.closing import Closing
from atf.rules.truth import UNKNOWN

MOST_BARS: Final = 100_000
"""So many bars are evaluated at most, the newest of the range: some ten seconds."""


@dataclass(frozen=True, slots=True)
class Silence:
    """A time without a trigger: from the bar of one to that of the next, or to an end of the bars.

    ``bars`` counts the evaluated bars on which nothing fired.
    """

    begins_at: datetime
    ends_at: datetime
    bars: int

    @property
    def length(self) -> timedelta:
        """How long it lasted."""
        return self.ends_at - self.begins_at


@dataclass(frozen=True, slots=True)
class Ended:
    """The alert would have ended by itself, on this bar."""

    status: AlertStatus
    bar_time: datetime


@dataclass(frozen=True, slots=True)
class Preview:
    """What an alert would have done.

    ``months`` counts triggers by the first day of each month that has evaluated bars, those without any too.
    ``unknown_bars`` are those on which a value was missing, as before an indicator's first one.
    ``is_cut``: older bars of the range were not evaluated, as there are too many.
    """

    bars: int
    unknown_bars: int
    first_bar: datetime
    last_bar: datetime
    triggers: Sequence[Trigger]
    months: Mapping[str, int]
    longest_silence: Silence
    ended: Ended | None
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Previewed:
    """A preview and the trace it counts, for charts."""

    preview: Preview
    trace: Trace


def preview_on(
    alert: Alert,
    bars: Bars,
    now: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    closing: Closing | None = None,
) -> Previewed:
    """Return what an alert would have done on the bars that open in a range, its ends included.

    Bars before the range feed indicators and sides. Bars that are not closed at ``now`` are left out: by
    ``closing``, which must be given for an alert with a calendar, else by the clock.

    Errors: NotFound if there are no bars in the range; TypeError without the sessions of a calendar.
    """
    if alert.watched.calendar is not None and closing is None:
        raise TypeError(f"the sessions of {alert.watched.calendar} end the alert's bars and must be given")
    closing = closing or Closing(alert.series.timeframe)
    closed = closing.closed_at(bars if until is None else bars[: bars.first_after(until)], now)
    wanted = len(closed.since(since))
    if not wanted:
        raise NotFound(_nothing(alert, bars))
    first = len(closed) - min(wanted, MOST_BARS)
    watched = watched_bars(closed, closing)
    begin = watched.closes_at(first - 1) if first else BEGINNING
    found = trace(alert, fresh_state(alert, begin), watched, now)
    return Previewed(preview_of(found, is_cut=wanted > MOST_BARS), found)


def preview_of(found: Trace, *, is_cut: bool = False) -> Preview:
    """Return a trace, counted. Errors: NotFound if nothing in it was evaluated."""
    is_evaluated = found.is_evaluated
    times = found.prices.open_time[is_evaluated]
    if not len(times):
        raise NotFound(f"the alert would have evaluated none of these bars of {found.alert.series}")
    fired = np.flatnonzero(found.record.fired[is_evaluated])
    return Preview(
        bars=len(times),
        unknown_bars=int(np.count_nonzero(found.record.truth[is_evaluated] == UNKNOWN)),
        first_bar=to_instant(int(times[0])),
        last_bar=to_instant(int(times[-1])),
        triggers=found.triggers,
        months=_months(times, found.triggers),
        longest_silence=max(_silences(times, fired), key=lambda silence: silence.length),
        ended=_ended(found),
        is_cut=is_cut,
    )


def _nothing(alert: Alert, bars: Bars) -> str:
    if not len(bars):
        return f"there are no bars of {alert.series}"
    first, last = bars.time_at(0), bars.time_at(len(bars) - 1)
    there = f"there are bars from {first:%Y-%m-%d} to {last:%Y-%m-%d}"
    return f"no closed bar of {alert.series} is in that range; {there}"


def _months(times: TimeArray, triggers: Sequence[Trigger]) -> dict[str, int]:
    counted = Counter(f"{trigger.bar_time:%Y-%m}" for trigger in triggers)
    months = np.unique(times.astype("datetime64[ns]").astype("datetime64[M]"))
    return {name: counted[name] for name in map(str, months)}


def _silences(times: TimeArray, fired: TimeArray) -> Iterator[Silence]:
    """Yield the times before, between and after the triggers, whose places among the bars are given."""
    last = len(times) - 1
    begins, ends = [-1, *fired.tolist()], [*fired.tolist(), last + 1]
    for begin, end in zip(begins, ends, strict=True):
        edges = to_instant(int(times[max(begin, 0)])), to_instant(int(times[min(end, last)]))
        yield Silence(*edges, bars=end - begin - 1)


def _ended(found: Trace) -> Ended | None:
    final = [place for place, status in enumerate(STATUSES) if status.is_final]
    places = np.flatnonzero(np.isin(found.record.states.status, final))
    if not len(places):
        return None
    place = int(places[0])
    return Ended(STATUSES[found.record.states.status[place]], found.prices.time_at(place))
