"""Bars of an exchange, asked through the library ccxt; pages and closed bars are decided here."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from atf.adapters.providers.ccxt_client import open_client, own_errors
from atf.adapters.providers.venue_clock import VenueClock
from atf.clock import Clock, SystemClock
from atf.errors import NotFound, TemporaryFailure
from atf.market.bars import Bars, Series, Timeframe, to_instant, to_nanoseconds
from atf.market.forming import FormingBar, newest_open_bar
from atf.market.provider import ProviderTraits
from atf.market.resampling import opening_time, opening_times, resampled

_MARKETS_GOOD_FOR: Final = timedelta(minutes=10)
"""How long a symbol that is not listed is believed not to be."""
_USUAL_PAGE: Final = 500
_SHORTEST_REACH: Final = 60
"""A page reaches over at least so many bars, as an exchange may leave out those without trades."""
_EMPTY_PAGES: Final = 2
"""So many pages without a bar are the beginning of history."""
_DAYS_A_WEEK: Final = 7
_LAST_BARS: Final = 2
"""Asked for to see the one that is forming: if it has closed meanwhile, the next one comes with it."""
_LAST_MILLISECOND: Final = 2**63 / 1_000_000 - 1
"""What counts in microseconds would wrap round to any other time."""


class CcxtBarProvider:
    """Bars of one exchange by its REST interface; ``binance``, ``kraken`` and about a hundred more.

    A bar is given if it is closed at ``until`` and by the exchange's own clock, too. Pages are asked for by
    their first bar and a number alone, as all exchanges understand that. ccxt keeps the exchange's limits.

    A week opens on Monday: where an exchange has other weeks or none, they are made of its days. The newest of
    these is given once its Sunday, or a later day, is there.

    ``client_settings`` are those of ccxt, such as ``rateLimit`` or ``httpsProxy``.
    """

    def __init__(
        self,
        exchange_id: str,
        *,
        base_url: str | None = None,
        timeout: timedelta = timedelta(seconds=10),
        client_settings: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._id = exchange_id
        self._base_url = base_url
        self._timeout = timeout
        self._settings = dict(client_settings or {})
        self._wall = clock or SystemClock()
        self._monotonic = monotonic
        self._venue_clock = VenueClock(self._ask_time, monotonic)
        self._client: Any = None
        self._opening = asyncio.Lock()
        self._markets_at = 0.0
        self._loading: asyncio.Task[None] | None = None
        self._makes_weeks = False

    @property
    def name(self) -> str:
        """The exchange's name in ccxt."""
        return self._id

    @property
    def traits(self) -> ProviderTraits:
        """As of an exchange: ccxt itself spreads the calls over time."""
        return ProviderTraits(calls_at_once=8, timeout=2 * self._timeout)

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        """Return the newest ``count`` bars that are closed at ``until`` and open at ``since`` or later.

        Errors: NotFound for a symbol or timeframe that the exchange does not have; TemporaryFailure as of the
                Protocol, also for answers that are broken; ConfigurationError without the extra or for an
                exchange that ccxt does not have.
        """
        await self._require(series)
        cut = min(until, await self._now(until))
        if count < 1:
            return Bars.empty()
        if series.timeframe is Timeframe.W1:
            return await self._weeks(series, cut, count, since)
        return await self._history(series, cut, count, since)

    async def forming_bar(self, series: Series, now: datetime) -> FormingBar | None:
        """Return the exchange's last bar, if it is forming by its own clock, too.

        A week is made of its days, as closed ones may be.

        Errors: as ``closed_bars``.
        """
        await self._require(series)
        cut = min(now, await self._now(now))
        if series.timeframe is Timeframe.W1:
            bars = await self._days_of_week(series, cut)
        else:
            bars = await self._page(series, opening_time(cut, series.timeframe), _LAST_BARS)
        return newest_open_bar(bars, series.timeframe, cut, cut)

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        """Tell whether the exchange has the symbol and bars of the timeframe."""
        try:
            await self._require(Series(symbol, timeframe))
        except NotFound:
            return False
        return True

    async def symbols(self) -> list[str]:
        """Return the pairs that are traded now, sorted."""
        client = await self._with_markets()
        return sorted(name for name, market in client.markets.items() if market.get("active") is not False)

    async def aclose(self) -> None:
        """Close the connections; no call may follow."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        async with self._opening:
            client, self._client = self._client, None
        if client is not None:
            session, client.session = client.session, None
            await session.close()

    # --- what the exchange has ---

    async def _open(self) -> Any:
        async with self._opening:
            if self._client is None:
                self._client = await open_client(
                    self._id, base_url=self._base_url, patience=self._timeout, settings=self._settings
                )
            return self._client

    async def _require(self, series: Series) -> None:
        """Raise NotFound unless the exchange has the series; look again if its list of symbols is old."""
        client = await self._with_markets()
        if series.symbol not in client.markets:
            age = timedelta(seconds=self._monotonic() - self._markets_at)
            if age >= _MARKETS_GOOD_FOR:
                await self._load_markets(client)
        if series.symbol not in client.markets:
            raise NotFound(f"{self._id} does not trade {series.symbol}")
        if not self._has(client, series.timeframe):
            raise NotFound(f"{self._id} has no bars of {series}")

    def _has(self, client: Any, timeframe: Timeframe) -> bool:
        offered = client.timeframes or {}
        is_made = timeframe is Timeframe.W1 and Timeframe.D1 in offered
        return client.has.get("fetchOHLCV") is True and (timeframe in offered or is_made)

    async def _with_markets(self) -> Any:
        client = await self._open()
        if not client.markets:
            await self._load_markets(client)
        return client

    async def _load_markets(self, client: Any) -> None:
        """Load the list of symbols, once for all who wait; one who gives up does not stop it for the others."""
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._fetch_markets(client), name=f"markets of {self._id}")
            self._loading.add_done_callback(_taken_note_of)
        await asyncio.shield(self._loading)

    async def _fetch_markets(self, client: Any) -> None:
        known = client.markets
        with own_errors(self._id):
            await client.load_markets(True)
        if not client.markets:
            client.markets = known
            raise TemporaryFailure(f"{self._id} names no symbols at all")
        self._markets_at = self._monotonic()

    # --- its clock ---

    async def _now(self, wanted: datetime) -> datetime:
        client = await self._open()
        if client.has.get("fetchTime") is not True:
            return self._wall.now()
        return await self._venue_clock.now(wanted)

    async def _ask_time(self) -> datetime:
        client = await self._open()
        with own_errors(self._id):
            return datetime.fromtimestamp(float(await client.fetch_time()) / 1000, UTC)

    # --- its bars ---

    async def _weeks(self, series: Series, cut: datetime, count: int, since: datetime | None) -> Bars:
        offered = (await self._open()).timeframes
        if not self._makes_weeks and series.timeframe in offered:
            bars = await self._history(series, cut, count, since)
            if (opening_times(bars.open_time, series.timeframe) == bars.open_time).all():
                return bars
            self._makes_weeks = True
        return await self._weeks_of_days(series, cut, count, since)

    async def _weeks_of_days(self, series: Series, cut: datetime, count: int, since: datetime | None) -> Bars:
        this_week = opening_time(cut, series.timeframe)
        first = this_week - count * series.timeframe.length
        if since is not None:
            first = max(first, opening_time(since, series.timeframe))
        daily = Series(series.symbol, Timeframe.D1)
        days = (await self._history(daily, cut, (count + 1) * _DAYS_A_WEEK, first)).since(first)
        last_week_is_whole = len(days) and days.time_at(-1) >= this_week - daily.timeframe.length
        whole = days.before(this_week if last_week_is_whole else this_week - series.timeframe.length)
        return resampled(whole, daily.timeframe, series.timeframe).since(since).last(count)

    async def _days_of_week(self, series: Series, cut: datetime) -> Bars:
        this_week = opening_time(cut, series.timeframe)
        if Timeframe.D1 not in (await self._open()).timeframes:
            return await self._page(series, this_week, _LAST_BARS)
        days = await self._page(Series(series.symbol, Timeframe.D1), this_week, _DAYS_A_WEEK)
        own = days.since(this_week)
        return resampled(own[: own.first_after(cut)], Timeframe.D1, series.timeframe)

    async def _history(self, series: Series, cut: datetime, count: int, since: datetime | None) -> Bars:
        """Return the newest bars that are closed at ``cut``, page by page backwards."""
        page = await self._page_length(series)
        floor = since or to_instant(0)
        end = opening_time(cut, series.timeframe)
        found, empty = Bars.empty(), 0
        for _ in range(2 * (count // page) + 4):
            if len(found) >= count or end <= floor or empty >= _EMPTY_PAGES:
                break
            reach = page if empty else min(page, max(count - len(found), _SHORTEST_REACH))
            start = max(end - min(reach, _bars_between(floor, end, series)) * series.timeframe.length, floor)
            bars = (await self._whole_page(series, start, reach, end)).closed_at(cut, series.timeframe)
            if not len(bars) and not len(found) and not empty:
                # It may have stopped trading long ago: its very last bars tell where to go on.
                bars = (await self._page(series, None, reach)).closed_at(cut, series.timeframe)
            older = bars.before(found.time_at(0)) if len(found) else bars
            empty = 0 if len(older) else empty + 1
            found = older.followed_by(found)
            end = min(start, found.time_at(0)) if len(found) else start
        return found.since(since).last(count)

    async def _whole_page(self, series: Series, start: datetime, count: int, end: datetime) -> Bars:
        """Return the bars of a page, also if the exchange gives fewer at once than ccxt knows it to.

        Else what lies between the last of them and the page that was fetched before would be missing for good.
        """
        bars = await self._page(series, start, count)
        while _SHORTEST_REACH <= len(bars) < count and bars.time_at(-1) + series.timeframe.length < end:
            more = await self._page(series, bars.time_at(-1) + series.timeframe.length, count)
            newer = more[more.first_after(bars.time_at(-1)) :].before(end)
            if not len(newer):
                break
            bars = bars.followed_by(newer)
        return bars

    async def _page_length(self, series: Series) -> int:
        client = await self._open()
        limit = client.feature_value(series.symbol, "fetchOHLCV", "limit", _USUAL_PAGE)
        return int(limit or _USUAL_PAGE)

    async def _page(self, series: Series, start: datetime | None, count: int) -> Bars:
        client = await self._open()
        since = None if start is None else to_nanoseconds(start) // 1_000_000
        with own_errors(self._id, series):
            rows = await client.fetch_ohlcv(series.symbol, str(series.timeframe), since, count)
            return _bars(rows)


def _bars(rows: list[list[Any]]) -> Bars:
    """Return ccxt's rows (ms, open, high, low, close, volume) as bars; of equal times the last one counts."""
    table = np.array([row[:6] for row in rows], dtype=np.float64).reshape(-1, 6)
    if (np.abs(table[:, 0]) > _LAST_MILLISECOND).any():
        raise ValueError("a time beyond the year 2261")
    times = table[:, 0].astype(np.int64) * 1_000_000
    order = np.argsort(times, kind="stable")
    times = times[order]
    is_last = np.append(times[1:] != times[:-1], True)[: len(times)]
    return Bars.from_columns(times[is_last], table[order][is_last][:, 1:])


def _bars_between(first: datetime, end: datetime, series: Series) -> int:
    return -((first - end) // series.timeframe.length)


def _taken_note_of(task: asyncio.Task[None]) -> None:
    """Take the error out of a task that nobody may be waiting for any more."""
    if not task.cancelled():
        task.exception()
