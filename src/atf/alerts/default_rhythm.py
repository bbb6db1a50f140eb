"""When an alert is looked at if its user does not say: as bars close, a live one also while they form. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from atf.market.bars import Timeframe
from atf.market.closing import Closing
from atf.market.trading_calendar import TradingCalendar

# Right after a bar of each timeframe has closed; daily and weekly bars close at midnight UTC.
DEFAULT_CRON: Final[Mapping[Timeframe, str]] = {
    Timeframe.M1: "* * * * *",
    Timeframe.M5: "*/5 * * * *",
    Timeframe.M15: "*/15 * * * *",
    Timeframe.M30: "*/30 * * * *",
    Timeframe.H1: "0 * * * *",
    Timeframe.H4: "0 */4 * * *",
    Timeframe.D1: "0 0 * * *",
    Timeframe.W1: "0 0 * * *",
}
LIVE_CRON: Final = "* * * * *"
LIVE_CRON_OF_MINUTES: Final = "*/15 * * * * *"
"""Once a minute a bar of a minute would be seen as it opens, and never again."""
_ONE_YEAR: Final = timedelta(days=365)


def default_rhythm(closing: Closing, is_live: bool, now: datetime) -> tuple[str, str | None]:
    """Return a cron expression, and its time zone if it must be a certain one.

    Days and weeks of a calendar are looked at when its sessions end, in the exchange's own zone: at every hour
    and minute at which one of the last year did, so that half days are not seen late.
    """
    if is_live:
        return (LIVE_CRON_OF_MINUTES if closing.timeframe is Timeframe.M1 else LIVE_CRON), None
    if closing.calendar is not None and closing.follows_sessions:
        found = _session_ends(closing.calendar, now)
        if found is not None:
            return found, closing.calendar.zone.key
    return DEFAULT_CRON[closing.timeframe], None


def _session_ends(calendar: TradingCalendar, now: datetime) -> str | None:
    """Return the times of day at which sessions end, every day: on holidays there is nothing to look at."""
    sessions = calendar.sessions_between((now - _ONE_YEAR).date(), now.date())
    ends = [session.closes_at.astimezone(calendar.zone) for session in sessions]
    if not ends:
        return None
    minutes, hours = ({getattr(end, name) for end in ends} for name in ("minute", "hour"))
    return f"{_listed(minutes)} {_listed(hours)} * * *"


def _listed(numbers: set[int]) -> str:
    return ",".join(map(str, sorted(numbers)))
