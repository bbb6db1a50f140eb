"""Provider ``yahoo``: bars and corporate actions of Yahoo Finance through the library yfinance (extra ``yahoo``).

The library waits for the network in threads of its own pool, so that an answer that does not come holds up
nobody else; it is imported with the first request, as that takes a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from atf.adapters.providers.yahoo_client import YahooClient
from atf.adapters.providers.yahoo_range import earliest, likely_span, opening, source_of
from atf.adapters.providers.yahoo_session import REFUSED
from atf.clock import Clock, SystemClock
from atf.errors import NotFound, TemporaryFailure
from atf.market.adjustment import CorporateAction
from atf.market.bars import Bars, Series, TimeArray, Timeframe
from atf.market.forming import FormingBar, newest_open_bar
from atf.market.provider import ProviderTraits
from atf.market.resampling import resampled
from atf.market.symbols import is_pair

_DAY: Final = timedelta(days=1)
_WIDER: Final = 4
_INTERVALS: Final = {Timeframe.H1: "1h", Timeframe.D1: "1d"}
_COLUMNS: Final = ("Open", "High", "Low", "Close", "Volume")


class YahooBarProvider:
    """All timeframes, as far back as Yahoo goes.

    That is 29 days for minutes, 7 of them at a time, 59 days for 5 to 30 minutes and what is made of them, two
    years for the hours of pairs.

    Units: prices adjusted for splits, not for dividends; a later split changes all older bars, so that stored
           ones of that symbol must be fetched anew. Volumes in shares, of coins in dollars as Yahoo has them.
    Time:  days at 00:00Z of the session's date, weeks on their Monday. Hours of stocks are half hours together,
           as Yahoo's own begin at 09:30, and so are 4 hours; those of pairs come from hours. Stocks trade in the
           regular session only.
    """

    name = "yahoo"
    traits = ProviderTraits(calls_at_once=4, calls_per_minute=60.0, settle=timedelta(seconds=60))

    def __init__(
        self,
        *,
        timeout: timedelta = timedelta(seconds=10),
        clock: Clock | None = None,
        cache_folder: Path | None = None,
    ) -> None:
        """``cache_folder``: where yfinance keeps time zones and cookies; its own place if not given."""
        self.client = YahooClient(timeout, self.traits.calls_at_once, cache_folder)
        self._clock = clock or SystemClock()

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        """Return the newest ``count`` bars that are closed at ``until`` and open at ``since`` or later.

        A bar is closed when Yahoo's clock, and its newest trade, say so as well. What lies further back than
        Yahoo reaches is not there.

        Errors: NotFound for a symbol that Yahoo does not have; TemporaryFailure; ConfigurationError without the
                extra.
        """
        return await self.client.in_thread(partial(self._bars, series, until, count, since))

    async def forming_bar(self, series: Series, now: datetime) -> FormingBar | None:
        """Return the bar that is forming, or the day whose session is over.

        Time:   ``seen_at`` is up to when Yahoo's newest trade is known: quotes of many exchanges come 15 minutes
                late.
        Errors: as ``closed_bars``.
        """
        return await self.client.in_thread(partial(self._forming, series, now))

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        """Tell whether Yahoo has the symbol and answers for this timeframe."""
        try:
            await self.client.in_thread(partial(self._require_known, Series(symbol, timeframe)))
        except NotFound:
            return False
        return True

    async def symbols(self) -> Sequence[str]:
        """Return nothing: Yahoo has no list of what it knows."""
        return ()

    async def actions(self, symbol: str, since: date) -> tuple[CorporateAction, ...]:
        """Return the splits and cash dividends of a stock with an ex date from ``since`` to today, oldest first.

        Units:  dividends for one share as it was then; Yahoo's own are for one share of today.
        Errors: as ``closed_bars``.
        """
        return await self.client.in_thread(partial(self._actions, symbol, since))

    async def aclose(self) -> None:
        """Close the client, also for others that ask through it."""
        await self.client.aclose()

    def _bars(self, series: Series, until: datetime, count: int, since: datetime | None) -> Bars:
        """Ask for a stretch in which so many bars should lie, and for a longer one as long as there are fewer."""
        now = self._clock.now()
        until = min(until, now)
        source = source_of(series.symbol, series.timeframe)
        oldest = earliest(source, until, now)
        oldest = oldest if since is None else max(oldest, since)
        span = likely_span(series.symbol, series.timeframe, count)
        while True:
            begin = max(oldest, until - span) if until - oldest > span else oldest
            if begin >= until:
                self._require_known(series)
                return Bars.empty()
            fetched = self._fetch(series, source, opening(begin, series.timeframe), until)
            bars = self._closed(fetched, series, source, until).since(since).last(count)
            first_trade_at = self.client.notes.last().first_trade_at
            if len(bars) >= count or begin == oldest or (first_trade_at is not None and begin <= first_trade_at):
                return bars
            span *= _WIDER

    def _forming(self, series: Series, now: datetime) -> FormingBar | None:
        now = min(now, self._clock.now())
        source = source_of(series.symbol, series.timeframe)
        fetched = self._fetch(series, source, opening(now, series.timeframe), now)
        seen_at = self.client.notes.last().reliable_until(now)
        return newest_open_bar(resampled(fetched, source, series.timeframe), series.timeframe, now, seen_at)

    def _closed(self, fetched: Bars, series: Series, source: Timeframe, until: datetime) -> Bars:
        reliable_until = self.client.notes.last().reliable_until(until)
        return resampled(fetched, source, series.timeframe).closed_at(reliable_until, series.timeframe)

    def _require_known(self, series: Series) -> None:
        source = source_of(series.symbol, series.timeframe)
        with self._asking(series.symbol) as ticker:
            self._history(ticker, source, is_pair(series.symbol), period="5d")

    def _fetch(self, series: Series, source: Timeframe, begin: datetime, until: datetime) -> Bars:
        """Return Yahoo's bars of a stretch; the dates of days may begin before their UTC day."""
        ahead = _DAY if source is Timeframe.D1 else timedelta(0)
        with self._asking(series.symbol) as ticker:
            frame = self._history(ticker, source, is_pair(series.symbol), start=begin - ahead, end=until)
            bars = Bars.empty() if frame is None else _bars_of(frame, source)
        return bars.since(begin)

    def _actions(self, symbol: str, since: date) -> tuple[CorporateAction, ...]:
        begin = datetime.combine(since, time(), UTC) - _DAY
        with self._asking(symbol) as ticker:
            frame = self._history(ticker, Timeframe.D1, False, start=begin, end=self._clock.now(), actions=True)
            rows = [] if frame is None else _actions_of(frame)
        return tuple(each for each in rows if each.ex_date >= since)

    def _history(self, ticker: Any, source: Timeframe, around_the_clock: bool, **wanted: Any) -> Any:
        """Return yfinance's table, None if there are no bars in the stretch.

        Pairs are asked for with the hours before and after the session, as yfinance cuts the last minute of a
        day off a market that never closes.
        """
        from yfinance.exceptions import YFPricesMissingError  # loaded with the ticker

        options = {"actions": False, **wanted}
        interval = _INTERVALS.get(source, str(source))
        try:
            frame = ticker.history(
                interval=interval,
                prepost=around_the_clock,
                auto_adjust=False,
                timeout=self.client.timeout,
                **options,
            )
        except YFPricesMissingError as exc:
            if self.client.notes.last() is REFUSED:
                raise TemporaryFailure("yahoo takes no request of ours for now") from exc
            return None
        return None if frame.empty else frame

    @contextmanager
    def _asking(self, symbol: str) -> Iterator[Any]:
        """Yield yfinance's object of a symbol; convert its errors."""
        with self.client.asking(symbol) as (library, session, name):
            yield library.Ticker(name, session=session)


def _bars_of(frame: Any, source: Timeframe) -> Bars:
    values = np.column_stack([frame[name].to_numpy(dtype=np.float64) for name in _COLUMNS])
    # yfinance writes 0 for a volume that Yahoo does not have.
    is_unknown = np.isnan(values[:, 3]) & (values[:, 4] == 0)
    values[is_unknown, 4] = np.nan
    times = _times(frame, source)
    order = np.argsort(times, kind="stable")
    is_last = np.append(np.diff(times[order]) > 0, True)
    kept = order[is_last & np.isfinite(values[order][:, :4]).any(axis=1)]
    return Bars.from_columns(times[kept], values[kept])


def _times(frame: Any, source: Timeframe) -> TimeArray:
    index = frame.index
    utc = index.tz_localize(None).normalize() if source is Timeframe.D1 else index.tz_convert("UTC")
    times: TimeArray = utc.as_unit("ns").asi8.copy()
    return times


def _actions_of(frame: Any) -> list[CorporateAction]:
    """Return the actions, newest first made: a dividend of then was paid for a share that was split since."""
    found: list[CorporateAction] = []
    shares = 1.0
    dates, dividends, splits = frame.index.date, frame["Dividends"].to_numpy(), frame["Stock Splits"].to_numpy()
    for row in reversed(np.flatnonzero((dividends != 0) | (splits != 0))):
        ratio = float(splits[row]) or 1.0
        shares *= ratio
        found.append(CorporateAction(dates[row], ratio, float(dividends[row]) * shares))
    return found[::-1]
