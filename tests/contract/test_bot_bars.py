"""A strategy sees bars as Backtrader shows them: warmed up by history, acting on what is live, series in step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import nan
from pathlib import Path

import pytest
import pytest_asyncio
from tests.bots import T0, Strategies, Talk, all_noted, candle, feed, forked_bots, noted, spawned

from atf.adapters.bot_processes.forked_bots import ForkedBots
from atf.market.bars import Timeframe
from atf.trading.base_trading_bot import BaseTradingBot
from atf.trading.bot_messages import Failed, Feed, FromBot, Past, Start, ToBot
from atf.trading.bot_process import BotProcess, Exited
from atf.trading.order import BotId

pytestmark = pytest.mark.asyncio(loop_scope="module")

WATCHING = """
    def __init__(self):
        super().__init__()
        self.sma = bt.indicators.SMA(self.data.close, period=3)
        self.add_timer(when=dt.time(0, 0))
    def start(self):
        self.note("start")
    def prenext(self):
        self.note("prenext", self.data.close[0])
    def nextstart(self):
        self.note("nextstart", self.data.close[0])
        super().nextstart()
    def next(self):
        self.note("next", self.data.close[0], self.sma[0])
    def notify_data(self, data, status, *args, **kwargs):
        self.note("data", data._name, data._getstatusname(status))
    def notify_cashvalue(self, cash, value):
        self.note("cash", cash, value)
    def notify_timer(self, timer, when, *args, **kwargs):
        self.note("timer", when.isoformat())
    def stop(self):
        print("stopped at", self.data.close[0])
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bots() -> AsyncIterator[ForkedBots]:
    async with forked_bots() as bots:
        yield bots


@pytest_asyncio.fixture(loop_scope="module")
async def talk(bots: ForkedBots) -> AsyncIterator[Talk]:
    talk = await spawned(bots)
    yield talk
    await talk.process.kill()


@pytest.fixture
def strategy(tmp_path: Path) -> Strategies:
    return Strategies(tmp_path)


async def test_history_warms_up_and_calls_nothing(talk: Talk, strategy: Strategies) -> None:
    ready = await talk.ready(strategy(WATCHING), feed([1, 2, 3, 4, 5]))
    assert (ready.minimum_period, ready.warm_at, ready.has_state) == (3, T0 + timedelta(minutes=4), True)
    first = noted(await talk.bar(6, cash=Decimal("99.5"), value=Decimal("100.25")))
    assert first == [
        ["start"],
        ["data", "BTC", "LIVE"],
        ["cash", 99.5, 100.25],
        ["nextstart", 6.0],
        ["next", 6.0, 5.0],
    ]
    assert noted(await talk.bar(7)) == [["cash", 10000.0, 10000.0], ["next", 7.0, 6.0]]


async def test_live_is_told_once_a_series(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy(WATCHING), feed([1, 2, 3]), feed([1, 2, 3], symbol="ETH"))
    answers = [await talk.bar(4, 4), await talk.bar(5, 5, is_history=True), await talk.bar(6, 6)]
    assert [one[1:] for one in all_noted(answers) if one[0] == "data"] == [["BTC", "LIVE"], ["ETH", "LIVE"]]


async def test_without_history_a_strategy_lives_through_its_warm_up(talk: Talk, strategy: Strategies) -> None:
    ready = await talk.ready(strategy(WATCHING))
    assert ready.warm_at is None
    answers = [await talk.bar(close) for close in (1, 2, 3, 4)]
    calls = [one[:2] for one in all_noted(answers) if one[0] in ("prenext", "nextstart", "next")]
    assert calls == [["prenext", 1.0], ["prenext", 2.0], ["nextstart", 3.0], ["next", 3.0], ["next", 4.0]]


async def test_a_bar_that_came_late_moves_indicators_and_calls_nothing(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy(WATCHING), feed([1, 2, 3]))
    await talk.bar(4)
    assert noted(await talk.bar(5, is_history=True)) == []
    assert noted(await talk.bar(6))[-1] == ["next", 6.0, 5.0]


async def test_if_all_bars_so_far_came_late_the_first_live_one_begins(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy(WATCHING))
    for close in (1, 2, 3, 4):
        await talk.bar(close, is_history=True)
    assert [one[0] for one in noted(await talk.bar(5))] == ["cash", "nextstart", "next"]


async def test_stop_calls_stop_and_tells_what_was_printed(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy(WATCHING), feed([1, 2, 3]))
    await talk.bar(4)
    stopped = await talk.stop()
    assert talk.said == ["stopped at 4.0"]
    assert set(stopped.analysis) == {"tradeanalyzer", "drawdown", "returns"}


async def test_stop_before_any_live_bar_is_clean(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy(WATCHING), feed([1, 2, 3]))
    stopped = await talk.stop()
    assert "returns" not in stopped.analysis  # Backtrader divides by the number of bars


async def test_a_series_without_a_bar_stays_where_it_is(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            self.note(len(self.data0), self.data0.close[0], len(self.data1), self.data1.close[0])
    """
    await talk.ready(strategy(body), feed([1, 2]), feed([1, 2], symbol="ETH"))
    assert noted(await talk.bar(3, 30)) == [[3, 3.0, 3, 30.0]]
    assert noted(await talk.bar(4, None)) == [[4, 4.0, 3, 30.0]]
    assert noted(await talk.bar(None, 50)) == [[4, 4.0, 4, 50.0]]


async def test_histories_of_different_series_are_in_step(talk: Talk, strategy: Strategies) -> None:
    body = """
        def __init__(self):
            super().__init__()
            self.ratio = self.data0.close / self.data1.close
            self.past = bt.indicators.SMA(self.ratio, period=2)
        def next(self):
            self.note(self.ratio[0], self.past[0], len(self.data0), len(self.data1), len(self))
    """
    hour = feed([10], symbol="BTC", timeframe=Timeframe.H1)
    await talk.ready(strategy(body), feed(range(1, 61)), hour)
    assert noted(await talk.bar(90, None)) == [[9.0, pytest.approx((9 + 6) / 2), 61, 1, 61]]


async def test_resampled_bars_come_when_they_are_complete(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            five = self.data1
            self.note(len(five), five.open[0], five.high[0], five.close[0], five.datetime.datetime(0).isoformat())
    """
    await talk.ready(strategy(body), feed(range(1, 9), resampled=(Timeframe.M5,)))
    first = [1, 1.0, 6.0, 5.0, "2026-03-02T10:05:00"]
    assert noted(await talk.bar(9)) == [first]
    assert noted(await talk.bar(10)) == [[2, 6.0, 11.0, 10.0, "2026-03-02T10:10:00"]]
    await talk.bar(11)
    gap = await talk.bar(20, at=T0 + timedelta(minutes=17))
    assert noted(gap) == [[3, 11.0, 12.0, 11.0, "2026-03-02T10:15:00"]]


async def test_time_that_passes_completes_no_bar(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            self.note(len(self.data1))
    """
    await talk.ready(strategy(body), feed(range(1, 9), resampled=(Timeframe.M5,)))
    await talk.bar()
    assert noted(await talk.bar(9, at=T0 + timedelta(minutes=8))) == [[1]]
    assert noted(await talk.bar(10)) == [[2]]


@pytest.mark.parametrize("hours", [24, 48])
async def test_a_day_is_complete_with_its_last_hour(talk: Talk, strategy: Strategies, hours: int) -> None:
    body = """
        def next(self):
            self.note(len(self.data1), self.data1.close[0], self.data1.datetime.date(0).isoformat())
    """
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    history = tuple((midnight + timedelta(hours=n), candle(n + 1)) for n in range(hours - 1))
    await talk.ready(strategy(body), Feed("BTC", Timeframe.H1, history, (Timeframe.D1,)))
    answer = await talk.bars({0: candle(hours)}, at=midnight + timedelta(hours=hours - 1))
    day = midnight + timedelta(hours=hours - 24)
    assert noted(answer) == [[hours // 24, float(hours), day.date().isoformat()]]


async def test_a_daily_bar_has_its_own_day(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            self.note(self.data.datetime.date(0).isoformat(), self.data.datetime.date(-1).isoformat())
    """
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    history = tuple((midnight + timedelta(days=n), candle(n + 1)) for n in range(2))
    await talk.ready(strategy(body), Feed("AAPL", Timeframe.D1, history))
    answer = await talk.bars({0: candle(3)}, at=midnight + timedelta(days=2))
    assert noted(answer) == [["2026-03-04", "2026-03-03"]]


async def test_a_timer_rings_on_live_days_only(talk: Talk, strategy: Strategies) -> None:
    body = """
        def __init__(self):
            super().__init__()
            self.add_timer(when=dt.time(10, 2))
            self.add_timer(when=dt.time(0, 0), monthdays=[1], monthcarry=True)
        def notify_timer(self, timer, when, *args, **kwargs):
            self.note(when.isoformat())
    """
    await talk.ready(strategy(body), feed([1, 2, 3, 4]))
    day = timedelta(days=1)
    answers = [await talk.bar(5), await talk.bars({0: candle(6)}, at=T0 + day)]
    assert all_noted(answers) == []
    answers = [await talk.bars({0: candle(7)}, at=T0 + day + timedelta(minutes=n)) for n in (1, 2)]
    assert all_noted(answers) == [["2026-03-03T10:02:00"]]


async def test_a_missing_price_is_nan(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            self.note(self.data.volume[0] != self.data.volume[0])
    """
    await talk.ready(strategy(body), feed([1]))
    assert noted(await talk.bars({0: (1.0, 1.0, 1.0, 1.0, nan)})) == [[True]]


async def test_a_message_without_bars_is_answered(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy(WATCHING), feed([1, 2, 3]))
    assert [one[0] for one in noted(await talk.bar())] == ["start", "data"]


@pytest.mark.parametrize("index", [1, 9])
async def test_a_bar_of_an_unknown_series_ends_the_bot(talk: Talk, strategy: Strategies, index: int) -> None:
    await talk.ready(strategy(WATCHING), feed([1, 2, 3]))
    await talk.send_bars({index: candle(1)})
    assert (await talk.failure()).error == f"bars of the series [{index}], where 1 are known"


async def test_a_bar_from_the_past_ends_the_bot(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy(WATCHING), feed([1, 2, 3]))
    await talk.send_bars({0: candle(1)}, at=T0)
    assert (await talk.failure()).error == "a bar of BTC is not newer than the one before it"


@pytest.mark.parametrize("missing", [{3, 4}, {5, 6, 7, 8, 9, 10, 11}, {0, 14}, set(range(1, 29, 2))])
async def test_series_out_of_step_resample_to_what_they_hold(
    talk: Talk, strategy: Strategies, missing: set[int]
) -> None:
    """One series has gaps, so that Backtrader takes bars of the other back time and again."""
    body = """
        def next(self):
            for data in self.datas[2:]:
                self.note(data._name, data.datetime.datetime(0).minute, data.open[0], data.close[0])
    """
    whole, gappy = range(30), [n for n in range(30) if n not in missing]
    minute = Timeframe.M1.length
    feeds = []
    for symbol, numbers in (("WHOLE", whole), ("GAPPY", gappy)):
        history = tuple((T0 + n * minute, candle(n + 1)) for n in numbers if n < 20)
        feeds.append(Feed(symbol, Timeframe.M1, history, (Timeframe.M5,)))
    await talk.ready(strategy(body), *feeds)
    answers = []
    for number in range(20, 30):
        bars = {0: candle(number + 1)} | ({1: candle(number + 1)} if number in gappy else {})
        answers.append(await talk.bars(bars, at=T0 + number * minute))
    seen = {(name, end): (first, last) for name, end, first, last in all_noted(answers)}
    for name, numbers in (("WHOLE 5m", whole), ("GAPPY 5m", gappy)):
        for end in (20, 25):
            held = [n + 1 for n in numbers if end - 5 <= n < end]
            assert seen[name, end] == (held[0], held[-1]), (name, end)


async def test_bars_cannot_be_resampled_to_shorter_ones(talk: Talk, strategy: Strategies) -> None:
    message = await talk.begin(strategy(WATCHING), feed(timeframe=Timeframe.H1, resampled=(Timeframe.M5,)))
    assert isinstance(message, Failed)
    assert message.error == "BTC 1h cannot be resampled to 5m: it is not longer"


async def test_a_beat_tells_how_far_it_is(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy(WATCHING), feed([1, 2, 3]))
    while not talk.beats:
        message = await talk.process.receive()
        if type(message).__name__ == "Heartbeat":
            talk.beats.append(message)  # type: ignore[arg-type]
    beat = talk.beats[0]
    assert beat.bar_at == T0 + timedelta(minutes=2)
    assert beat.memory_bytes > 2**20
    assert beat.cpu_seconds > 0


class _Overheard:
    """A process whose messages are counted on their way."""

    def __init__(self, process: BotProcess) -> None:
        self.pid = process.pid
        self.sent: list[ToBot] = []
        self._process = process

    async def send(self, message: ToBot) -> None:
        self.sent.append(message)
        await self._process.send(message)

    async def receive(self) -> FromBot | Exited:
        return await self._process.receive()

    async def kill(self) -> None:
        await self._process.kill()


async def test_a_long_history_comes_in_pieces_and_is_one(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            print(len(self.data0), sum(self.data0.close.array), len(self.data1), self.data1.close[-6])
    """
    process, said = _Overheard(talk.process), list[str]()
    bot = BaseTradingBot(process, _take_nothing, lambda line: said.append(line.text), timedelta(seconds=10))
    feeds = (feed(range(1, 1001)), feed([1, 2, 3, 4, 5, 6], symbol="ETH"))
    await bot.begin(Start(BotId(1), "probe", strategy(body), {}, feeds, Decimal(10_000)))
    await bot.until_ready(timedelta(seconds=20))
    listening = asyncio.create_task(bot.listen())
    await bot.bar(
        T0 + timedelta(minutes=1000), {0: candle(0), 1: candle(7)}, Decimal(1), Decimal(1), is_history=False
    )
    listening.cancel()
    assert said == ["1001 500500.0 7 1.0"]
    longest = max(len(one.bars) for one in process.sent if isinstance(one, Past))
    (start,) = (one for one in process.sent if isinstance(one, Start))
    assert longest <= 100
    assert [len(one.history) for one in start.feeds] == [100, 6]


async def _take_nothing(*_: object) -> None:
    return
