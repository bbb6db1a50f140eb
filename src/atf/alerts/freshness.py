"""Whether an alert still gets bars. ``stale`` is shown in place of its stored data status, and is never stored.

It is worked out when somebody looks, from the newest bar and the market's calendar: silence writes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from atf.alerts.alert import rule_hash
from atf.alerts.alerts_service import AlertRecord
from atf.alerts.legacy import upgraded
from atf.alerts.state import AlertStatus
from atf.errors import InvalidInput
from atf.market.bars import Series, Timeframe
from atf.market.data_manager import in_one_spelling
from atf.market.due_bars import DueBars
from atf.market.market_clock import MarketClock
from atf.market.trading_calendar import TradingCalendar
from atf.market.trading_time import STALE_AFTER, is_stale, newest_expected
from atf.schedules.calendars import CalendarSource
from atf.schedules.fire_times import FireTimes

STALE: Final = "stale"


@dataclass(frozen=True, slots=True)
class _Watch:
    """What an alert waits for: bars after the newest judged one, and after those that are history."""

    series: Series
    calendar: str | None
    last_bar: datetime | None
    history_until: datetime

    @property
    def timeframe(self) -> Timeframe:
        return self.series.timeframe

    def newest(self, calendar: TradingCalendar) -> datetime:
        """Return when the newest bar opens that is known to have come, or was not waited for."""
        if self.last_bar is not None and self.last_bar + self.timeframe.length >= self.history_until:
            return self.last_bar
        history = newest_expected(self.timeframe, self.history_until, calendar)
        return history if self.last_bar is None else max(history, self.last_bar)

    def is_recent(self, now: datetime) -> bool:
        """Whether too little time has passed for any market to be stale."""
        newest = self.history_until - self.timeframe.length
        newest = newest if self.last_bar is None else max(newest, self.last_bar)
        return now - newest <= (STALE_AFTER + 1) * self.timeframe.length


@dataclass(frozen=True, slots=True)
class _Wait:
    """A wait for the bar after the newest one; alerts of one market that look together share it."""

    timeframe: Timeframe
    market: str
    newest: datetime
    cron: str
    timezone: str
    holidays: str | None


class Freshness:
    """Knows by their markets' calendars which alerts should have had a bar."""

    def __init__(self, due: DueBars, holidays: CalendarSource, clock: MarketClock) -> None:
        self._due = due
        self._holidays = holidays
        self._clock = clock

    async def shown(self, alerts: Sequence[AlertRecord]) -> list[AlertRecord]:
        """Return alerts as people are shown them: ``data_status`` is ``stale`` where no new bar arrives.

        That is for more than three timeframes of trading time; nights, weekends and holidays of the market do not
        count. One that is paused, completed or expired waits for no bar.

        Source: alert_semantics section 4.
        """
        now = await self._clock.now()
        known: dict[_Wait, bool] = {}
        return [_as_stale(alert) if await self._is_stale(alert, now, known) else alert for alert in alerts]

    async def _is_stale(self, alert: AlertRecord, now: datetime, known: dict[_Wait, bool]) -> bool:
        """Return False also for one that cannot be read, or whose calendar there is not: nobody can tell."""
        try:
            watch = _watch_of(alert)
            if watch is None or watch.is_recent(now):
                return False
            market = await self._market(watch)
            newest = watch.newest(market)
            wait = _Wait(watch.timeframe, market.name, newest, alert.cron, alert.timezone, alert.calendar)
            if wait not in known:
                known[wait] = is_stale(newest, watch.timeframe, now, market) and await self._is_missed(
                    wait, market, now
                )
            return known[wait]
        except (InvalidInput, KeyError, TypeError, ValueError):
            return False

    async def _market(self, watch: _Watch) -> TradingCalendar:
        if watch.calendar is None:
            return await self._due.calendar_of(watch.series.symbol)
        return await self._due.calendar_named(watch.calendar)

    async def _is_missed(self, wait: _Wait, market: TradingCalendar, now: datetime) -> bool:
        """Whether somebody has looked when a newer bar should have been there.

        An alert that looks at hours once a day is not stale all afternoon. A look may take half a timeframe, as a
        bar that is not published yet is waited for.
        """
        holidays = None if wait.holidays is None else await self._holidays.load(wait.holidays)
        length = wait.timeframe.length
        looks = FireTimes(wait.cron, wait.timezone, holidays).newest(wait.newest + length, now - length / 2, 1)
        return bool(looks) and newest_expected(wait.timeframe, looks[-1], market) > wait.newest


def _watch_of(alert: AlertRecord) -> _Watch | None:
    """Return what an alert waits for, None if for nothing."""
    state = alert.state_json
    if not alert.enabled or state is None or AlertStatus(state["status"]).is_final:
        return None
    document = upgraded(alert.task_params)
    series = in_one_spelling(Series(document["ticker"], Timeframe(document["timeframe"])))
    calendar, history_until = document.get("calendar"), datetime.fromisoformat(state["history_until"])
    if state["rule_hash"] != rule_hash(document):  # edited and not looked at since: the state is that of before
        return _Watch(series, calendar, None, max(history_until, alert.updated_at or history_until))
    last_bar = None if state["last_bar"] is None else datetime.fromisoformat(state["last_bar"])
    return _Watch(series, calendar, last_bar, history_until)


def _as_stale(alert: AlertRecord) -> AlertRecord:
    return replace(alert, state_json={**(alert.state_json or {}), "data_status": STALE})
