"""BarFeed: no bot waits for the bars of another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from atf.errors import TemporaryFailure
from atf.market.bars import Bars, Series, Timeframe
from atf.market.fetched_bars import FetchedBars
from atf.market.forming import FormingBar
from atf.market.forming_bars import FetchedForming
from atf.trading.bar_feed import BarFeed, ClosedBars, NoBars, SeenTime, Subscription
from atf.trading.order import BotId
from atf.trading.paper.live import Look

BEGIN = datetime(2026, 1, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Market:
    """Bars of each minute since the beginning; one in ``slow`` keeps who asks waiting, then is late."""

    def __init__(self) -> None:
        self.at = BEGIN + 10 * MINUTE
        self.slow: set[str] = set()
        self.away: set[str] = set()
        self.gone: dict[str, str] = {}
        self.asked: list[set[str]] = []
        self.waiting = asyncio.Event()
        self.go_on = asyncio.Event()
        self.is_replay = False
        self.live_symbols: frozenset[str] = frozenset()
        self.looks: asyncio.Queue[Look] = asyncio.Queue()
        self.formless: dict[Series, str] = {}
        self.failures: list[Exception] = []

    async def now(self) -> datetime:
        return self.at

    def _bars(self, until: datetime, count: int) -> Bars:
        last = (until - BEGIN) // MINUTE
        times = [BEGIN + number * MINUTE for number in range(last)][-count:]
        return Bars.from_rows([(at, 1.0, 2.0, 0.5, 1.5, 10.0) for at in times])

    async def closed_bars(self, symbol: str, timeframe: Timeframe, until: datetime, n: int) -> Bars:
        if symbol in self.away:
            raise TemporaryFailure("nobody has them now")
        await self._wait({symbol})
        return self._bars(until, n)

    async def closed_bars_of(self, wanted: Mapping[Series, int], *, until: datetime) -> FetchedBars:
        symbols = {series.symbol for series in wanted}
        self.asked.append(symbols)
        await self._wait(symbols)
        late = frozenset(series for series in wanted if series.symbol in self.slow)
        gone = {series: self.gone[series.symbol] for series in wanted if series.symbol in self.gone}
        ready = {s: self._bars(until, n) for s, n in wanted.items() if s not in late and s not in gone}
        return FetchedBars(ready, late, gone)

    async def _wait(self, symbols: set[str]) -> None:
        if symbols & self.slow:
            self.waiting.set()
            await self.go_on.wait()

    async def on_bars(self, bars: Any) -> None:
        """Match nothing."""

    async def forming_bars_of(self, wanted: Iterable[Series], *, now: datetime) -> FetchedForming:
        bar = self._bars(now + MINUTE, 1)
        ready = {series: FormingBar(bar, now) for series in wanted if series not in self.formless}
        return FetchedForming(ready, self.formless)

    async def on_looks(self, looks: Sequence[Look]) -> None:
        if self.failures:
            raise self.failures.pop()
        for one in looks:
            self.looks.put_nowait(one)


@pytest.fixture
def market() -> Market:
    return Market()


@asynccontextmanager
async def feeding(market: Market) -> AsyncIterator[BarFeed]:
    feed = BarFeed(cast("Any", market), cast("Any", market), market, SeenTime(BEGIN), poll=timedelta(hours=1))
    task = asyncio.create_task(feed.run(lambda: None))
    yield feed
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def subscribed(feed: BarFeed, bot: int, symbol: str) -> Subscription:
    return await feed.subscribe(BotId(bot), [symbol], Timeframe.M1, 5, None)


async def next_told(one: Subscription) -> ClosedBars | NoBars:
    async with asyncio.timeout(5):
        return await one.queue.get()


async def next_bar(one: Subscription) -> ClosedBars:
    told = await next_told(one)
    assert isinstance(told, ClosedBars)
    return told


async def pass_minute(market: Market, feed: BarFeed) -> None:
    market.at += MINUTE
    feed.wake()


async def test_history_and_queue_have_no_gap(market: Market) -> None:
    async with feeding(market) as feed:
        one = await subscribed(feed, 1, "AAPL")
        assert [at for at, _ in one.history["AAPL"]] == [BEGIN + n * MINUTE for n in range(5, 10)]
        await pass_minute(market, feed)
        assert (await next_bar(one)).open_time == BEGIN + 10 * MINUTE
        market.at += 2 * MINUTE
        await pass_minute(market, feed)
        assert [(await next_bar(one)).open_time for _ in range(3)] == [BEGIN + n * MINUTE for n in (11, 12, 13)]


async def test_a_series_that_was_late_once_keeps_nobody_else_waiting(market: Market) -> None:
    async with feeding(market) as feed:
        quick, slow = await subscribed(feed, 1, "AAPL"), await subscribed(feed, 2, "MSFT")
        market.slow = {"MSFT"}
        await pass_minute(market, feed)
        await market.waiting.wait()
        assert quick.queue.empty(), "the first time nobody knows yet who is slow"
        market.go_on.set()
        assert (await next_bar(quick)).open_time == BEGIN + 10 * MINUTE
        market.go_on.clear()
        market.waiting.clear()
        for minute in (11, 12):
            await pass_minute(market, feed)
            assert (await next_bar(quick)).open_time == BEGIN + minute * MINUTE
        assert market.waiting.is_set(), "it is asked for all the same"
        assert market.asked[-1] == {"AAPL"}
        market.slow = set()
        market.go_on.set()
        await asyncio.sleep(0)
        feed.wake()
        assert [(await next_bar(slow)).open_time for _ in range(3)] == [BEGIN + n * MINUTE for n in (10, 11, 12)]
        await pass_minute(market, feed)
        assert (await next_bar(slow)).open_time == (await next_bar(quick)).open_time
        assert market.asked[-1] == {"AAPL", "MSFT"}, "it came in time, and is one of them again"


async def test_a_bot_that_waits_for_its_history_keeps_nobody_else_waiting(market: Market) -> None:
    async with feeding(market) as feed:
        quick = await subscribed(feed, 1, "AAPL")
        market.slow = {"MSFT"}
        coming = asyncio.create_task(subscribed(feed, 2, "MSFT"))
        await market.waiting.wait()
        await pass_minute(market, feed)
        assert (await next_bar(quick)).open_time == BEGIN + 10 * MINUTE
        market.slow = set()
        market.go_on.set()
        slow = await coming
        assert slow.history["MSFT"][-1][0] == BEGIN + 9 * MINUTE
        assert (await next_bar(slow)).open_time == BEGIN + 10 * MINUTE, "it has closed meanwhile, and comes"


async def test_data_that_is_away_is_said(market: Market) -> None:
    market.away = {"AAPL"}
    async with feeding(market) as feed:
        with pytest.raises(TemporaryFailure, match="nobody has them now"):
            await subscribed(feed, 1, "AAPL")


async def test_a_long_history_lets_others_have_their_turn(market: Market) -> None:
    market.at = BEGIN + 20_000 * MINUTE
    feed, turns = BarFeed(cast("Any", market), cast("Any", market), market, SeenTime(BEGIN)), 0
    coming = asyncio.create_task(feed.subscribe(BotId(1), ["AAPL"], Timeframe.M1, 15_000, None))
    while not coming.done():
        await asyncio.sleep(0)
        turns += 1
    history = (await coming).history["AAPL"]
    assert [at for at, _ in history] == [BEGIN + n * MINUTE for n in range(5_000, 20_000)]
    assert turns > 15


async def test_a_venue_sees_how_the_bars_form_that_it_wants_to_see(market: Market) -> None:
    async with feeding(market) as feed:
        await subscribed(feed, 1, "AAPL")
        await feed.subscribe(BotId(2), ["AAPL", "MSFT"], Timeframe.H1, 1, None)
        market.live_symbols = frozenset({"AAPL"})
        market.at += timedelta(seconds=20)
        feed.wake()
        async with asyncio.timeout(5):
            one = await market.looks.get()
        assert one == Look(
            Series("AAPL", Timeframe.M1), BEGIN + 10 * MINUTE, market.at, (1.0, 2.0, 0.5, 1.5, 10.0)
        )
        assert market.looks.empty(), "of each symbol the finest that a bot has"


async def test_looking_goes_on_when_it_was_not_possible_once(
    market: Market, caplog: pytest.LogCaptureFixture
) -> None:
    formless = Series("MSFT", Timeframe.M1)
    market.formless = {formless: "nobody tells of it"}
    async with feeding(market) as feed:
        await subscribed(feed, 1, "AAPL")
        await subscribed(feed, 2, "MSFT")
        market.failures = [TemporaryFailure("the database is away")]
        market.live_symbols = frozenset({"AAPL", "MSFT"})
        async with asyncio.timeout(5):
            for _ in range(3):
                while market.looks.empty():
                    feed.wake()
                    await asyncio.sleep(0)
                assert (await market.looks.get()).series.symbol == "AAPL"
    assert caplog.text.count("fill nothing now: the database is away") == 1
    assert (
        caplog.text.count("cannot be seen while it forms, and fills when it has closed: nobody tells of it") == 1
    )


async def test_that_a_symbol_has_no_bars_any_more_is_told_once_until_it_has_some_again(market: Market) -> None:
    async with feeding(market) as feed:
        one, other = await subscribed(feed, 1, "AAPL"), await subscribed(feed, 2, "MSFT")
        for _ in range(2):
            market.gone = {"MSFT": "nobody knows it"}
            for _ in range(3):
                await pass_minute(market, feed)
                await next_bar(one)
            assert await next_told(other) == NoBars("MSFT", "nobody knows it")
            assert other.queue.empty()
            market.gone = {}
            await pass_minute(market, feed)
            await next_bar(one)
            assert [(await next_bar(other)).is_late for _ in range(4)] == [True, True, False, False]
