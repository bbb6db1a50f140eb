"""When an alert is looked at again whose bars are not there yet. No I/O and no clock: times are given.

The longer something is late, the longer the next pause: nobody asks in a busy loop for what does not come, and
what does come is late by a part more and not by a fixed time.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final

from atf.market.bars import Series, Timeframe

_SHORTEST: Final = timedelta(seconds=1)
_LONGEST_FOR_SERIES: Final = timedelta(seconds=30)
_FORGOTTEN_AFTER: Final = timedelta(minutes=5)


def pause_for_bar(late: timedelta, timeframe: Timeframe) -> timedelta | None:
    """Return when to look again for a bar that closed so long ago and is not published; None to give it up.

    After half as long as it is late already; for the last time at half of its timeframe, as it is not known
    whether it will come at all: nothing may have been traded. So an alert sees a bar that is published two
    seconds after its close or later before twice as much time has passed, though its run enters the queue up to a
    second late, or though the bars it is shown were asked for earlier by somebody else (see ``RemoteBars``).
    """
    left = timeframe.length / 2 - late
    if left <= timedelta(0):
        return None
    pause = max(late / 2, _SHORTEST)
    # One that would come shortly before the last is left out: providers are not asked again so soon.
    return left if left < 1.5 * pause else pause


class LateSeries:
    """Since when series have been late, as far as this process knows."""

    def __init__(self) -> None:
        self._seen: dict[Series, tuple[datetime, datetime]] = {}

    def pauses(
        self, late: Iterable[Series], others: Collection[Series], now: datetime
    ) -> dict[Series, timedelta]:
        """Return after how long to look again at each late series; ``others`` are late no more.

        After a quarter as long as it has been late, at most half a minute: its download goes on meanwhile.
        """
        known = {series: times for series, times in self._seen.items() if self._is_still_late(times, now)}
        found = {series: (known[series][0] if series in known else now, now) for series in late}
        self._seen = {series: times for series, times in (known | found).items() if series not in others}
        waited = {series: now - since for series, (since, _) in found.items()}
        return {series: min(max(each / 4, _SHORTEST), _LONGEST_FOR_SERIES) for series, each in waited.items()}

    def _is_still_late(self, times: tuple[datetime, datetime], now: datetime) -> bool:
        """Whether the series was late a short while ago: nobody may have wanted it since."""
        return now - times[1] < _FORGOTTEN_AFTER
