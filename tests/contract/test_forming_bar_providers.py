"""What the providers tell of a bar that is forming, each against its real library or store."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from atf.adapters.providers.binance_stream import BinanceBarStream
from atf.adapters.providers.ccxt_exchange import CcxtBarProvider
from atf.adapters.providers.files import FilesBarProvider
from atf.adapters.providers.replay import ReplayBarProvider
from atf.adapters.providers.simulated import SimulatedBarProvider
from atf.adapters.providers.streamed import StreamedBarProvider
from atf.adapters.providers.yahoo import YahooBarProvider
from atf.bootstrap.market import open_data_manager
from atf.bootstrap.providers import open_providers
from atf.errors import NotFound
from atf.market.bars import COLUMNS, Bars, Series, Timeframe
from atf.market.forming import FormingBar
from atf.market.provider import FormingBarProvider
from atf.market.resampling import resampled
from atf.market.stream import BarUpdate
from atf.settings import Settings
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.testing.clocks import FakeClock, FakeMarketClock

if TYPE_CHECKING:
    from atf.testing.exchange import LocalExchange

# yfinance uses what pandas calls outdated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")

NOW = datetime(2024, 1, 3, 14, 37, 20, tzinfo=UTC)  # a Wednesday
HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
BTC = Series("BTC/USDT", Timeframe.H1)


def run_of(first: datetime, step: timedelta, count: int) -> Bars:
    return Bars.from_rows(
        [(first + n * step, 100.0 + n, 102.0 + n, 99.0 + n, 101.0 + n, 10.0) for n in range(count)]
    )


def values(found: FormingBar | None) -> tuple[datetime, list[float]]:
    assert found is not None
    assert len(found.bar) == 1
    return found.bar.time_at(0), [float(found.bar.column(name)[0]) for name in COLUMNS]


def opening(hours: int) -> datetime:
    return datetime(2024, 1, 3, hours, tzinfo=UTC)


# --- an exchange ---


@pytest.fixture
async def exchange() -> AsyncIterator[LocalExchange]:
    pytest.importorskip("ccxt")
    pytest.importorskip("websockets")
    from atf.testing.exchange import local_exchange

    async with local_exchange(NOW) as opened:
        yield opened


@pytest.fixture
async def asked(exchange: LocalExchange) -> AsyncIterator[CcxtBarProvider]:
    made = CcxtBarProvider("binance", base_url=exchange.url, client_settings={"rateLimit": 1})
    yield made
    await made.aclose()


async def test_an_exchange_gives_its_last_bar(exchange: LocalExchange, asked: CcxtBarProvider) -> None:
    exchange.hold(BTC, run_of(opening(10), HOUR, 5))
    found = await asked.forming_bar(BTC, NOW)
    assert values(found) == (opening(14), [104.0, 106.0, 103.0, 105.0, 10.0])
    assert found is not None
    assert found.seen_at == NOW


async def test_a_bar_that_has_closed_by_the_exchanges_clock_is_not_forming(
    exchange: LocalExchange, asked: CcxtBarProvider
) -> None:
    """Nothing was traded since 14:00; and by our clock, which is slow, the bar of 14:00 has not begun yet."""
    exchange.hold(BTC, run_of(opening(10), HOUR, 4))
    assert await asked.forming_bar(BTC, NOW) is None
    exchange.hold(BTC, run_of(opening(10), HOUR, 5))
    assert values(await asked.forming_bar(BTC, NOW - HOUR))[0] == opening(13)


async def test_a_week_is_made_of_its_days(exchange: LocalExchange, asked: CcxtBarProvider) -> None:
    days = run_of(datetime(2023, 12, 30, tzinfo=UTC), DAY, 5)  # to the 3rd; Monday is the 1st
    exchange.hold(Series("BTC/USDT", Timeframe.D1), days)
    found = await asked.forming_bar(Series("BTC/USDT", Timeframe.W1), NOW)
    assert values(found) == (datetime(2024, 1, 1, tzinfo=UTC), [102.0, 106.0, 101.0, 105.0, 30.0])


async def test_an_exchange_does_not_tell_of_what_it_does_not_trade(
    exchange: LocalExchange, asked: CcxtBarProvider
) -> None:
    exchange.hold(BTC, run_of(opening(10), HOUR, 5))
    with pytest.raises(NotFound, match="does not trade"):
        await asked.forming_bar(Series("NO/USDT", Timeframe.H1), NOW)


class Noting(StreamedBarProvider):
    """Tells when a message was taken."""

    def __init__(self, asked: CcxtBarProvider, stream: BinanceBarStream) -> None:
        super().__init__(asked, stream)
        self.noted = asyncio.Event()

    def updated(self, update: BarUpdate) -> None:
        super().updated(update)
        self.noted.set()


async def test_a_stream_gives_what_it_has_seen_of_the_bar_and_asks_if_that_is_old(
    exchange: LocalExchange, asked: CcxtBarProvider
) -> None:
    from atf.testing.exchange import KLINES

    exchange.hold(BTC, run_of(opening(10), HOUR, 5))
    streamed = Noting(asked, BinanceBarStream(exchange.stream_url))
    try:
        assert values(await streamed.forming_bar(BTC, NOW))[1][3] == 105.0
        await exchange.until_followed(BTC)
        count = exchange.requests[KLINES]
        await exchange.send(BTC, opening(14), (104.0, 120.0, 103.0, 119.0, 11.0), is_closed=False)
        async with asyncio.timeout(20):
            await streamed.noted.wait()
        assert values(await streamed.forming_bar(BTC, NOW))[1][3] == 119.0
        assert exchange.requests[KLINES] == count
        assert values(await streamed.forming_bar(BTC, NOW + 2 * MINUTE))[1][3] == 105.0
        assert exchange.requests[KLINES] == count + 1
    finally:
        await streamed.aclose()


# --- Yahoo ---


async def test_yahoo_gives_the_day_up_to_its_newest_trade() -> None:
    pytest.importorskip("yfinance")
    from atf.testing.yahoo import local_yahoo
    from atf.testing.yahoo_payloads import STOCK

    daily = Series("AAPL", Timeframe.D1)
    close = datetime(2024, 1, 3, 21, tzinfo=UTC)
    for now, traded_at, seen_at in (
        (close - HOUR, close - HOUR - 15 * MINUTE, close - HOUR - 15 * MINUTE),
        (close + MINUTE, close - 14 * MINUTE, close - 14 * MINUTE),
        (close + MINUTE, close, close + MINUTE),
        (close + HOUR, close - 14 * MINUTE, close + HOUR - 20 * MINUTE),
    ):
        with local_yahoo(now) as yahoo:
            yahoo.traded_at = traded_at
            yahoo.hold(STOCK, "1d", run_of(datetime(2024, 1, 1, tzinfo=UTC), DAY, 3))
            provider = YahooBarProvider(clock=FakeClock(now))
            found = await provider.forming_bar(daily, now)
            week = await provider.forming_bar(daily._replace(timeframe=Timeframe.W1), now)
            await provider.aclose()
        assert values(found) == (datetime(2024, 1, 3, tzinfo=UTC), [102.0, 104.0, 101.0, 103.0, 10.0])
        assert values(week) == (datetime(2024, 1, 1, tzinfo=UTC), [100.0, 104.0, 99.0, 103.0, 30.0])
        assert found is not None
        assert found.seen_at == seen_at


# --- sources of closed bars, from finer ones ---


def write(folder: Path, series: Series, bars: Bars) -> None:
    path = folder / series.timeframe / f"{series.symbol.replace('/', '_')}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["timestamp", *COLUMNS])
        for n in range(len(bars)):
            rows.writerow([bars.time_at(n).isoformat(), *(float(bars.column(name)[n]) for name in COLUMNS)])


MINUTES = run_of(opening(13), MINUTE, 180)  # also those that have not closed yet
FORMED = (opening(14), [160.0, 198.0, 159.0, 197.0, 370.0])  # those of 14:00 to 14:36


async def test_files_make_the_forming_hour_of_the_minutes_that_have_closed(tmp_path: Path) -> None:
    write(tmp_path, BTC._replace(timeframe=Timeframe.M1), MINUTES)
    write(tmp_path, BTC._replace(timeframe=Timeframe.M30), run_of(opening(13), 30 * MINUTE, 2))
    found = await FilesBarProvider(tmp_path).forming_bar(BTC, NOW)
    assert values(found) == FORMED
    assert found is not None
    assert found.seen_at == opening(14) + 37 * MINUTE


async def test_files_take_coarser_bars_where_the_finest_have_ended(tmp_path: Path) -> None:
    write(tmp_path, BTC._replace(timeframe=Timeframe.M1), MINUTES[:30])
    write(tmp_path, BTC._replace(timeframe=Timeframe.M30), run_of(opening(13), 30 * MINUTE, 9))
    assert values(await FilesBarProvider(tmp_path).forming_bar(BTC, NOW)) == (
        opening(14),
        [102.0, 104.0, 101.0, 103.0, 10.0],
    )


async def test_files_without_finer_bars_cannot_tell(tmp_path: Path) -> None:
    write(tmp_path, BTC, run_of(opening(10), HOUR, 9))
    with pytest.raises(NotFound, match="no finer bars than 1h of BTC/USDT"):
        await FilesBarProvider(tmp_path).forming_bar(BTC, NOW)


async def test_a_replay_shows_of_the_running_bar_what_has_closed_by_its_time_alone(database: Database) -> None:
    store = PostgresBarStore(database)
    await store.store(BTC._replace(timeframe=Timeframe.M1), MINUTES)
    await store.store(BTC, run_of(opening(10), HOUR, 9))
    assert values(await ReplayBarProvider(store).forming_bar(BTC, NOW)) == FORMED


EURO = Series("EUR/USD", Timeframe.D1)
EURO_HOURS = run_of(datetime(2024, 1, 2, 12, tzinfo=UTC), HOUR, 48)
EURO_FORMED = (datetime(2024, 1, 3, tzinfo=UTC), [110.0, 127.0, 109.0, 126.0, 160.0])
"""Wednesday's session of currencies began on Tuesday at 22:00Z."""


async def test_files_make_the_forming_day_of_its_session(tmp_path: Path) -> None:
    write(tmp_path, EURO._replace(timeframe=Timeframe.H1), EURO_HOURS)
    async with open_providers(Settings(data_files=tmp_path)) as providers:
        found = await providers.lane("files").forming_bar(EURO, NOW)
    assert values(found) == EURO_FORMED


async def test_a_replay_makes_the_forming_day_of_its_session(database: Database) -> None:
    await PostgresBarStore(database).store(EURO._replace(timeframe=Timeframe.H1), EURO_HOURS)
    clock = FakeMarketClock(NOW, is_replay=True)
    async with (
        open_providers(Settings()) as providers,
        open_data_manager(database, Settings(), clock, providers) as data,
    ):
        found = await data.forming_bars_of([EURO], now=NOW)
    assert values(found.ready[EURO]) == EURO_FORMED


async def test_a_made_up_market_forms_its_bars_of_its_minutes() -> None:
    provider = SimulatedBarProvider(seed=3)
    minutes = await provider.closed_bars(BTC._replace(timeframe=Timeframe.M1), NOW, 10_000)
    for timeframe in (Timeframe.M5, Timeframe.H1, Timeframe.D1, Timeframe.W1):
        series = BTC._replace(timeframe=timeframe)
        whole = resampled(minutes, Timeframe.M1, timeframe)
        assert values(await provider.forming_bar(series, NOW)) == values(FormingBar(whole.last(1), NOW))
        assert (await provider.closed_bars(series, NOW, 1)).time_at(0) < whole.time_at(len(whole) - 1)
    with pytest.raises(NotFound, match="no finer bars than 1m"):
        await provider.forming_bar(BTC._replace(timeframe=Timeframe.M1), NOW)


@pytest.mark.parametrize(
    "kind",
    [
        CcxtBarProvider,
        StreamedBarProvider,
        YahooBarProvider,
        FilesBarProvider,
        ReplayBarProvider,
        SimulatedBarProvider,
    ],
)
def test_every_provider_can_be_asked_for_forming_bars(kind: type) -> None:
    assert issubclass(kind, FormingBarProvider)
