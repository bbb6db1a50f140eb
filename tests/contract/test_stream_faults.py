"""What an exchange may do wrong by its stream, done by a local one to the real websocket library."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from atf.adapters.providers.binance_stream import BinanceBarStream
from atf.adapters.providers.ccxt_exchange import CcxtBarProvider
from atf.adapters.providers.streamed import StreamedBarProvider
from atf.errors import ConfigurationError, NotFound, TemporaryFailure
from atf.jobs.retry import BackOff
from atf.market.bars import Bars, Series, Timeframe
from atf.market.stream import BarUpdate

pytest.importorskip("ccxt")
pytest.importorskip("websockets")
from atf.testing.exchange import KLINES, STREAM, LocalExchange, local_exchange
from atf.testing.exchange_faults import Fault

PAYLOADS = Path(__file__).parents[1] / "data" / "payloads" / "binance"
BTC = Series("BTC/USDT", Timeframe.M1)
ETH = Series("ETH/USDT", Timeframe.M1)
FIRST = datetime(2024, 1, 2, tzinfo=UTC)
HELD = 10
MINUTE = timedelta(minutes=1)
NOW = FIRST + HELD * MINUTE + timedelta(seconds=20)
QUICK = timedelta(seconds=1)
VALUES = (110.0, 112.0, 109.0, 111.0, 20.0)
OTHER_VALUES = (210.0, 212.0, 209.0, 211.0, 40.0)


def bars_of(count: int) -> Bars:
    return Bars.from_rows(
        [(FIRST + i * MINUTE, 100.0 + i, 102.0 + i, 99.0 + i, 101.0 + i, 10.0 + i) for i in range(count)]
    )


def opens(index: int) -> datetime:
    return FIRST + index * MINUTE


class Seen:
    """What reached a provider, to be waited for."""

    def __init__(self) -> None:
        self.updates: list[BarUpdate] = []
        self.interruptions = 0
        self._changed = asyncio.Condition()

    async def note(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(condition)


class Watched(StreamedBarProvider):
    """Tells what it was told."""

    seen: Seen

    def updated(self, update: BarUpdate) -> None:
        super().updated(update)
        self.seen.updates.append(update)
        self.telling = asyncio.create_task(self.seen.note())

    def interrupted(self) -> None:
        super().interrupted()
        self.seen.interruptions += 1
        self.telling = asyncio.create_task(self.seen.note())


@pytest.fixture
async def exchange() -> AsyncIterator[LocalExchange]:
    async with local_exchange(NOW) as made:
        for series in (BTC, ETH):
            made.hold(series, bars_of(HELD + 1))
        yield made


def stream_at(exchange: LocalExchange) -> BinanceBarStream:
    return BinanceBarStream(
        exchange.stream_url,
        silence=timedelta(seconds=30),
        patience=QUICK,
        back_off=BackOff(timedelta(milliseconds=10), cap=timedelta(milliseconds=50)),
    )


def provider_at(exchange: LocalExchange, stream: BinanceBarStream, most_series: int = 10) -> Watched:
    rest = CcxtBarProvider(
        "binance",
        base_url=exchange.url,
        timeout=QUICK,
        client_settings={"rateLimit": 1},
        monotonic=Seconds(exchange),
    )
    made = Watched(rest, stream, most_series=most_series)
    made.seen = Seen()
    return made


class Seconds:
    """A monotonic clock that goes with the exchange's."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange

    def __call__(self) -> float:
        return self._exchange.now.timestamp()


@pytest.fixture
async def provider(exchange: LocalExchange) -> AsyncIterator[Watched]:
    made = provider_at(exchange, stream_at(exchange))
    yield made
    await made.aclose()


async def followed(exchange: LocalExchange, provider: Watched, *several: Series) -> None:
    """Ask for series once, and wait until their stream flows."""
    for series in several or (BTC,):
        await provider.closed_bars(series, exchange.now, 5)
    await exchange.until_followed(*(several or (BTC,)))


async def close_minute(exchange: LocalExchange, provider: Watched, index: int) -> None:
    """Let a minute pass, and its bar be streamed as closed."""
    exchange.now = opens(index + 1) + timedelta(milliseconds=5)
    await send(exchange, provider, index, VALUES, is_closed=True)


async def send(
    exchange: LocalExchange,
    provider: Watched,
    index: int,
    values: tuple[float, ...],
    *,
    is_closed: bool,
    series: Series = BTC,
) -> None:
    count = len(provider.seen.updates)
    await exchange.send(series, opens(index), values, is_closed=is_closed)
    await provider.seen.until(lambda: len(provider.seen.updates) > count)


def same(one: Bars, other: Bars) -> bool:
    return np.array_equal(one.open_time, other.open_time) and np.array_equal(one.close, other.close)


async def test_a_streamed_bar_is_given_without_asking(exchange: LocalExchange, provider: Watched) -> None:
    await followed(exchange, provider)
    asked = exchange.requests[KLINES]
    await close_minute(exchange, provider, HELD)
    bars = await provider.closed_bars(BTC, exchange.now, 5)
    assert bars.time_at(-1) == opens(HELD)
    assert bars.close.tolist() == [107.0, 108.0, 109.0, 110.0, VALUES[3]]
    assert exchange.requests[KLINES] == asked


async def test_the_forming_bar_is_kept_apart(exchange: LocalExchange, provider: Watched) -> None:
    await followed(exchange, provider)
    assert provider.streamed_update(BTC) is None
    await send(exchange, provider, HELD, VALUES, is_closed=False)
    forming = provider.streamed_update(BTC)
    assert forming is not None
    assert (forming.open_time, forming.values, forming.is_closed) == (opens(HELD), VALUES, False)
    assert (await provider.closed_bars(BTC, NOW, 5)).time_at(-1) == opens(HELD - 1)
    await close_minute(exchange, provider, HELD)
    assert provider.streamed_update(BTC) is None


async def test_a_bar_flagged_closed_before_its_time_is_still_forming(
    exchange: LocalExchange, provider: Watched
) -> None:
    await followed(exchange, provider)
    await send(exchange, provider, HELD, OTHER_VALUES, is_closed=True)
    assert (await provider.closed_bars(BTC, opens(HELD + 1), 5)).time_at(-1) == opens(HELD - 1)
    forming = provider.streamed_update(BTC)
    assert forming is not None
    assert not forming.is_closed
    await close_minute(exchange, provider, HELD)
    assert (await provider.closed_bars(BTC, exchange.now, 1)).close.tolist() == [VALUES[3]]


async def test_a_streamed_bar_is_not_given_before_the_market_time_that_closes_it(
    exchange: LocalExchange, provider: Watched
) -> None:
    await followed(exchange, provider)
    await close_minute(exchange, provider, HELD)
    bars = await provider.closed_bars(BTC, opens(HELD + 1) - timedelta(microseconds=1), 3)
    assert bars.time_at(-1) == opens(HELD - 1)


async def test_bars_of_the_future_are_ignored(exchange: LocalExchange, provider: Watched) -> None:
    await followed(exchange, provider)
    await send(exchange, provider, HELD + 5, OTHER_VALUES, is_closed=False)
    assert provider.streamed_update(BTC) is None
    await close_minute(exchange, provider, HELD)
    assert (await provider.closed_bars(BTC, exchange.now, 1)).close.tolist() == [VALUES[3]]


async def test_duplicates_and_old_bars_are_ignored(exchange: LocalExchange, provider: Watched) -> None:
    await followed(exchange, provider)
    await close_minute(exchange, provider, HELD)
    before = await provider.closed_bars(BTC, exchange.now, 5)
    for index in (HELD, HELD - 3):
        await send(exchange, provider, index, OTHER_VALUES, is_closed=True)
        await send(exchange, provider, index, OTHER_VALUES, is_closed=False)
    assert same(await provider.closed_bars(BTC, exchange.now, 5), before)
    assert provider.streamed_update(BTC) is None


async def test_frames_of_a_wrong_symbol_are_ignored(exchange: LocalExchange, provider: Watched) -> None:
    await followed(exchange, provider)
    exchange.now = opens(HELD + 1) + timedelta(milliseconds=5)
    await exchange.send_as(BTC, ETH, opens(HELD), OTHER_VALUES, is_closed=True)
    half_wrong = {**exchange.frame(BTC, opens(HELD), OTHER_VALUES, is_closed=True), "s": "ETHUSDT"}
    await exchange.send_text(BTC, json.dumps(half_wrong))
    await send(exchange, provider, HELD, VALUES, is_closed=True)
    assert [update.values for update in provider.seen.updates] == [VALUES]
    assert (await provider.closed_bars(BTC, exchange.now, 1)).close.tolist() == [VALUES[3]]


async def test_a_skipped_bar_is_filled_by_asking(exchange: LocalExchange, provider: Watched) -> None:
    await followed(exchange, provider)
    asked = exchange.requests[KLINES]
    exchange.hold(BTC, bars_of(HELD + 2))
    await close_minute(exchange, provider, HELD + 1)
    bars = await provider.closed_bars(BTC, exchange.now, 5)
    assert same(bars, bars_of(HELD + 2).last(5))
    assert exchange.requests[KLINES] == asked + 1
    await close_minute(exchange, provider, HELD + 2)
    assert (await provider.closed_bars(BTC, exchange.now, 1)).time_at(-1) == opens(HELD + 2)
    assert exchange.requests[KLINES] == asked + 1


@pytest.mark.parametrize("politely", [False, True], ids=["dropped", "maintenance"])
async def test_after_a_broken_connection_the_gap_is_filled_and_the_stream_goes_on(
    exchange: LocalExchange, provider: Watched, politely: bool
) -> None:
    await followed(exchange, provider, BTC, ETH)
    await exchange.drop_connections(politely=politely)
    await provider.seen.until(lambda: provider.seen.interruptions == 1)
    exchange.now = opens(HELD + 3) + timedelta(seconds=1)
    exchange.hold(BTC, bars_of(HELD + 4))
    await exchange.until_followed(BTC, ETH)
    assert same(await provider.closed_bars(BTC, exchange.now, 6), bars_of(HELD + 3).last(6))
    asked = exchange.requests[KLINES]
    await close_minute(exchange, provider, HELD + 3)
    assert (await provider.closed_bars(BTC, exchange.now, 2)).close[-1] == VALUES[3]
    assert exchange.requests[KLINES] == asked


async def test_a_bar_that_was_revised_meanwhile_is_replaced(exchange: LocalExchange, provider: Watched) -> None:
    await followed(exchange, provider)
    await close_minute(exchange, provider, HELD)
    exchange.hold(BTC, Bars.from_rows([(opens(HELD), *OTHER_VALUES)]))
    assert (await provider.closed_bars(BTC, exchange.now, 1)).close.tolist() == [VALUES[3]]
    await exchange.drop_connections()
    await provider.seen.until(lambda: provider.seen.interruptions == 1)
    assert (await provider.closed_bars(BTC, exchange.now, 1)).close.tolist() == [OTHER_VALUES[3]]


class Slow(CcxtBarProvider):
    """Its answers lie ready, and are handed over when a test says so."""

    def __init__(self, exchange: LocalExchange) -> None:
        super().__init__("binance", base_url=exchange.url, client_settings={"rateLimit": 1})
        self.is_ready = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        bars = await super().closed_bars(series, until, count, since)
        self.is_ready.set()
        await self.may_answer.wait()
        return bars


async def test_an_answer_from_before_a_break_is_compared_again(exchange: LocalExchange) -> None:
    asked = Slow(exchange)
    provider = StreamedBarProvider(asked, stream_at(exchange))
    first = asyncio.create_task(provider.closed_bars(BTC, NOW, 2))
    await asked.is_ready.wait()
    provider.interrupted()
    exchange.hold(BTC, Bars.from_rows([(opens(HELD - 1), *OTHER_VALUES)]))
    asked.may_answer.set()
    await first
    assert (await provider.closed_bars(BTC, NOW, 1)).close.tolist() == [OTHER_VALUES[3]]
    await provider.aclose()


@pytest.mark.parametrize(
    "text", ['{"e": "kline", "E": 17045', "<html>busy</html>", "[]", '{"e": "kline", "k": {}}', "null"]
)
async def test_a_broken_frame_ends_the_connection_and_a_new_one_is_made(
    exchange: LocalExchange, provider: Watched, text: str
) -> None:
    await followed(exchange, provider)
    await exchange.send_text(BTC, text)
    await provider.seen.until(lambda: provider.seen.interruptions == 1)
    await exchange.until_requested(STREAM, 2)
    await exchange.until_followed(BTC)
    await provider.closed_bars(BTC, exchange.now, 5)
    await close_minute(exchange, provider, HELD)
    assert (await provider.closed_bars(BTC, exchange.now, 1)).close.tolist() == [VALUES[3]]


@pytest.mark.parametrize(
    "fault",
    [Fault.MAINTENANCE, Fault.BAD_GATEWAY, Fault.HTML, Fault.SILENT, Fault.THROTTLED],
    ids=lambda f: f.name,
)
async def test_bars_come_by_asking_while_the_stream_cannot_be_opened(
    exchange: LocalExchange, provider: Watched, fault: Fault
) -> None:
    exchange.misbehave(fault, path=STREAM)
    await provider.closed_bars(BTC, NOW, 5)
    await provider.seen.until(lambda: provider.seen.interruptions >= 2)
    assert same(await provider.closed_bars(BTC, NOW, 5), bars_of(HELD).last(5))
    exchange.behave()
    await exchange.until_followed(BTC)


async def test_a_stream_that_sends_nothing_makes_no_bar_late(exchange: LocalExchange, provider: Watched) -> None:
    await followed(exchange, provider)
    exchange.hold(BTC, bars_of(HELD + 2))
    exchange.now = opens(HELD + 1) + timedelta(seconds=1)
    assert same(await provider.closed_bars(BTC, exchange.now, 3), bars_of(HELD + 1).last(3))


async def test_a_stream_that_sends_nothing_for_long_is_opened_anew(exchange: LocalExchange) -> None:
    stream = BinanceBarStream(
        exchange.stream_url,
        silence=timedelta(seconds=0.05),
        back_off=BackOff(timedelta(milliseconds=10), cap=timedelta(milliseconds=20)),
    )
    provider = provider_at(exchange, stream)
    await provider.closed_bars(BTC, NOW, 5)
    await exchange.until_requested(STREAM, 3)
    await provider.aclose()
    assert exchange.requests[STREAM] >= 3


async def test_a_failure_of_asking_is_not_hidden_by_what_is_held(
    exchange: LocalExchange, provider: Watched
) -> None:
    await followed(exchange, provider)
    exchange.now = opens(HELD + 2)
    exchange.misbehave(Fault.BROKEN)
    with pytest.raises(TemporaryFailure):
        await provider.closed_bars(BTC, exchange.now, 5)


async def test_an_unknown_series_is_not_followed(exchange: LocalExchange, provider: Watched) -> None:
    with pytest.raises(NotFound):
        await provider.closed_bars(Series("NO/PE", Timeframe.M1), NOW, 5)
    await followed(exchange, provider)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await exchange.until_followed(Series("NO/PE", Timeframe.M1))


async def test_the_series_asked_for_longest_ago_is_dropped(exchange: LocalExchange) -> None:
    provider = provider_at(exchange, stream_at(exchange), most_series=1)
    await followed(exchange, provider, BTC)
    await followed(exchange, provider, ETH)
    await exchange.until_followed_no_more(BTC)
    assert provider.streamed_update(BTC) is None
    await provider.aclose()


async def test_more_bars_than_are_held_are_asked_for(exchange: LocalExchange, provider: Watched) -> None:
    await followed(exchange, provider)
    assert same(await provider.closed_bars(BTC, NOW, 8), bars_of(HELD).last(8))
    asked = exchange.requests[KLINES]
    assert same(await provider.closed_bars(BTC, NOW, 7, since=opens(4)), bars_of(HELD)[4:])
    assert exchange.requests[KLINES] == asked


async def test_nothing_is_left_when_it_is_closed(exchange: LocalExchange) -> None:
    before = asyncio.all_tasks()
    provider = provider_at(exchange, stream_at(exchange))
    await followed(exchange, provider)
    await provider.aclose()
    left = {task for task in asyncio.all_tasks() - before if "RequestHandler" not in repr(task)}
    assert left == set()


async def test_a_programming_error_of_the_stream_is_raised(exchange: LocalExchange) -> None:
    class Broken(BinanceBarStream):
        async def run(self, listener: object) -> None:
            raise ZeroDivisionError

    provider = provider_at(exchange, Broken(exchange.stream_url))
    await provider.closed_bars(BTC, NOW, 5)
    with pytest.raises(ZeroDivisionError):
        await provider.closed_bars(BTC, NOW, 5)
    with suppress(ZeroDivisionError):
        await provider.aclose()


async def test_frames_of_combined_streams_are_understood(exchange: LocalExchange, provider: Watched) -> None:
    await followed(exchange, provider)
    exchange.now = opens(HELD + 1) + timedelta(milliseconds=5)
    frame = exchange.frame(BTC, opens(HELD), VALUES, is_closed=True)
    await exchange.send_text(BTC, json.dumps({"stream": "btcusdt@kline_1m", "data": frame}))
    await provider.seen.until(lambda: len(provider.seen.updates) == 1)
    assert (await provider.closed_bars(BTC, exchange.now, 1)).close.tolist() == [VALUES[3]]


async def test_the_closed_bar_of_the_manual_is_not_believed_before_its_time(
    exchange: LocalExchange, provider: Watched
) -> None:
    text = (PAYLOADS / "ws_kline_closed_example.json").read_text()
    await followed(exchange, provider)
    await exchange.send_text(BTC, text)
    await provider.seen.until(lambda: len(provider.seen.updates) == 1)
    seen = provider.seen.updates[0]
    assert (seen.series, seen.open_time) == (BTC, datetime(2021, 12, 5, 23, 41, tzinfo=UTC))
    assert seen.values == (0.001, 0.0025, 0.001, 0.002, 1000.0)
    assert seen.is_closed
    assert seen.sent_at < seen.closes_at
    assert (await provider.closed_bars(BTC, NOW, 1)).time_at(-1) == opens(HELD - 1)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.asyncio.client", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'atf\[crypto\]'"):
        BinanceBarStream()
