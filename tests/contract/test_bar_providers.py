"""What every BarProvider promises, checked against each of them.

To add a provider: write a factory that makes it hold ``HELD`` and register it in ``FACTORIES``.
"""

import csv
import gzip
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from atf.adapters.providers.binance_stream import BinanceBarStream
from atf.adapters.providers.ccxt_exchange import CcxtBarProvider
from atf.adapters.providers.files import FilesBarProvider
from atf.adapters.providers.replay import ReplayBarProvider
from atf.adapters.providers.simulated import SimulatedBarProvider
from atf.adapters.providers.streamed import StreamedBarProvider
from atf.adapters.providers.yahoo import YahooBarProvider
from atf.errors import NotFound
from atf.market.bars import COLUMNS, Bars, Series, Timeframe
from atf.market.provider import BarProvider
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.testing.clocks import FakeClock

# yfinance uses what pandas calls outdated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")

HOURLY = Series("BTC/USDT", Timeframe.H1)
DAILY = Series("AAPL", Timeframe.D1)
FIRST = datetime(2024, 1, 2, tzinfo=UTC)
NEVER_AGAIN = datetime(2100, 1, 1, tzinfo=UTC)
GAP = 5  # the hour without a close and a volume


def held(series: Series, count: int, missing: int | None) -> Bars:
    rows = []
    for i in range(count):
        close, volume = (math.nan, math.nan) if i == missing else (100.25 + i, 1_000.0 + i)
        rows.append((FIRST + i * series.timeframe.length, 100.0 + i, 101.0 + i, 99.5 + i, close, volume))
    return Bars.from_rows(rows)


HELD = {HOURLY: held(HOURLY, 24, missing=GAP), DAILY: held(DAILY, 7, missing=None)}

Factory = Callable[[pytest.FixtureRequest], AbstractAsyncContextManager[BarProvider]]


def folder_of(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.getfixturevalue("tmp_path")
    return folder


def texts(bars: Bars) -> list[list[str]]:
    """The bars as the rows of a file, a missing value as an empty cell."""
    rows = [["timestamp", *COLUMNS]]
    for i in range(len(bars)):
        numbers = [float(bars.column(name)[i]) for name in COLUMNS]
        rows.append([bars.time_at(i).isoformat(), *("" if math.isnan(n) else repr(n) for n in numbers)])
    return rows


def place(folder: Path, series: Series, ending: str) -> Path:
    path = folder / series.timeframe / f"{series.symbol.replace('/', '_')}{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@asynccontextmanager
async def csv_files(request: pytest.FixtureRequest) -> AsyncIterator[BarProvider]:
    folder = folder_of(request)
    for series, bars in HELD.items():
        with place(folder, series, ".csv").open("w", newline="") as file:
            csv.writer(file).writerows(texts(bars))
    yield FilesBarProvider(folder)


@asynccontextmanager
async def gzip_files(request: pytest.FixtureRequest) -> AsyncIterator[BarProvider]:
    folder = folder_of(request)
    for series, bars in HELD.items():
        with gzip.open(place(folder, series, ".csv.gz"), "wt", newline="") as file:
            csv.writer(file).writerows(texts(bars))
    yield FilesBarProvider(folder)


@asynccontextmanager
async def parquet_files(request: pytest.FixtureRequest) -> AsyncIterator[BarProvider]:
    folder = folder_of(request)
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    for series, bars in HELD.items():
        times = arrow.array(bars.open_time).cast(arrow.timestamp("ns", tz="UTC"))
        columns = {name: arrow.array(bars.column(name), from_pandas=True) for name in COLUMNS}
        parquet.write_table(arrow.table({"timestamp": times, **columns}), place(folder, series, ".parquet"))
    yield FilesBarProvider(folder)


@asynccontextmanager
async def json_files(request: pytest.FixtureRequest) -> AsyncIterator[BarProvider]:
    folder = folder_of(request)
    for series, bars in HELD.items():
        names, *rows = texts(bars)
        items = [dict(zip(names, [row[0], *(each or None for each in row[1:])], strict=True)) for row in rows]
        place(folder, series, ".json").write_text(json.dumps(items))
    yield FilesBarProvider(folder)


@asynccontextmanager
async def files_of_many_symbols(request: pytest.FixtureRequest) -> AsyncIterator[BarProvider]:
    """Each timeframe in one file, beside another symbol's bars of the same times."""
    folder = folder_of(request)
    for series, bars in HELD.items():
        names, *rows = texts(bars)
        with (folder / f"{series.timeframe}.csv").open("w", newline="") as file:
            csv.writer(file).writerow(["symbol", *names])
            for row in rows:
                csv.writer(file).writerows([[series.symbol, *row], ["OTHER", row[0], 1, 1, 1, 1, 1]])
    yield FilesBarProvider(folder)


@asynccontextmanager
async def replayed_bars(request: pytest.FixtureRequest) -> AsyncIterator[BarProvider]:
    database = Database(request.getfixturevalue("database_url"))
    store = PostgresBarStore(database)
    for series, bars in HELD.items():
        await store.store(series, bars)
    yield ReplayBarProvider(store)
    await database.close()


class OfAnExchange:
    """An exchange trades pairs alone: what the suite calls AAPL is AAPL/USDT there, and only its days."""

    def __init__(self, provider: BarProvider) -> None:
        self._provider = provider
        self.name = provider.name
        self.traits = provider.traits

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        return await self._provider.closed_bars(EXCHANGE_NAMES.get(series, series), until, count, since)

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        series = Series(symbol, timeframe)
        return await self._provider.knows(EXCHANGE_NAMES.get(series, series).symbol, timeframe)

    async def symbols(self) -> list[str]:
        return [symbol.replace("AAPL/USDT", "AAPL") for symbol in await self._provider.symbols()]


EXCHANGE_NAMES = {DAILY: Series("AAPL/USDT", Timeframe.D1)}


@asynccontextmanager
async def by_rest(request: pytest.FixtureRequest) -> AsyncIterator[BarProvider]:
    pytest.importorskip("ccxt")
    from atf.testing.exchange import local_exchange

    async with local_exchange(FIRST + timedelta(days=30)) as exchange:
        for series, bars in HELD.items():
            exchange.hold(EXCHANGE_NAMES.get(series, series), bars)
        made = CcxtBarProvider("binance", base_url=exchange.url, client_settings={"rateLimit": 1})
        yield OfAnExchange(made)
        await made.aclose()


@asynccontextmanager
async def by_stream(request: pytest.FixtureRequest) -> AsyncIterator[BarProvider]:
    pytest.importorskip("ccxt")
    pytest.importorskip("websockets")
    from atf.testing.exchange import local_exchange

    async with local_exchange(FIRST + timedelta(days=30)) as exchange:
        for series, bars in HELD.items():
            exchange.hold(EXCHANGE_NAMES.get(series, series), bars)
        asked = CcxtBarProvider("binance", base_url=exchange.url, client_settings={"rateLimit": 1})
        made = StreamedBarProvider(asked, BinanceBarStream(exchange.stream_url))
        yield OfAnExchange(made)
        await made.aclose()


@asynccontextmanager
async def by_yahoo(request: pytest.FixtureRequest) -> AsyncIterator[BarProvider]:
    pytest.importorskip("yfinance")
    from atf.testing.yahoo import local_yahoo
    from atf.testing.yahoo_payloads import STOCK, SymbolFacts

    now = FIRST + timedelta(days=30)
    with local_yahoo(now) as yahoo:
        yahoo.hold(STOCK, "1d", HELD[DAILY])
        yahoo.hold(SymbolFacts("BTC-USDT"), "1h", HELD[HOURLY])
        yield YahooBarProvider(clock=FakeClock(now))


FACTORIES: dict[str, Factory] = {
    "files-csv": csv_files,
    "files-csv.gz": gzip_files,
    "files-parquet": parquet_files,
    "files-json": json_files,
    "files-of-many-symbols": files_of_many_symbols,
    "replay": replayed_bars,
    "binance": by_rest,
    "binance-stream": by_stream,
    "yahoo": by_yahoo,
}
CANNOT_LIST = {"yahoo"}


@pytest.fixture(params=list(FACTORIES))
async def provider(request: pytest.FixtureRequest) -> AsyncIterator[BarProvider]:
    async with FACTORIES[request.param](request) as made:
        yield made


def close_of(series: Series, index: int) -> datetime:
    """The instant at which a held bar closes."""
    return HELD[series].time_at(index) + series.timeframe.length


def same(one: Bars, other: Bars) -> bool:
    return np.array_equal(one.open_time, other.open_time) and all(
        np.array_equal(one.column(name), other.column(name), equal_nan=True) for name in COLUMNS
    )


async def test_all_bars_come_back_as_they_were_stored(provider: BarProvider) -> None:
    for series, bars in HELD.items():
        assert same(await provider.closed_bars(series, NEVER_AGAIN, len(bars)), bars)


async def test_the_newest_bars_come_oldest_first(provider: BarProvider) -> None:
    bars = await provider.closed_bars(HOURLY, NEVER_AGAIN, 4)
    assert same(bars, HELD[HOURLY].last(4))
    assert (np.diff(bars.open_time) > 0).all()


async def test_the_newest_are_counted_from_until_and_not_from_the_end(provider: BarProvider) -> None:
    bars = await provider.closed_bars(HOURLY, close_of(HOURLY, 9), 3)
    assert same(bars, HELD[HOURLY][7:10])


@pytest.mark.parametrize("series", [HOURLY, DAILY], ids=str)
async def test_a_bar_is_given_from_the_instant_it_closes(provider: BarProvider, series: Series) -> None:
    closes_at = close_of(series, 3)
    assert len(await provider.closed_bars(series, closes_at, 99)) == 4
    assert len(await provider.closed_bars(series, closes_at - timedelta(microseconds=1), 99)) == 3


async def test_a_count_above_the_history_gives_all_of_it(provider: BarProvider) -> None:
    assert same(await provider.closed_bars(DAILY, NEVER_AGAIN, 10_000), HELD[DAILY])


async def test_until_before_the_history_gives_no_bars(provider: BarProvider) -> None:
    for until in (FIRST - timedelta(days=3650), FIRST):
        assert len(await provider.closed_bars(HOURLY, until, 5)) == 0


async def test_missing_values_are_nan_and_disturb_no_other(provider: BarProvider) -> None:
    bars = await provider.closed_bars(HOURLY, NEVER_AGAIN, 24)
    for name, gaps in {"close": [GAP], "volume": [GAP], "open": [], "high": [], "low": []}.items():
        assert np.flatnonzero(np.isnan(bars.column(name))).tolist() == gaps


@pytest.mark.parametrize(
    "series",
    [Series("NONE", Timeframe.H1), Series("AAPL", Timeframe.H1), Series("../AAPL", Timeframe.D1)],
    ids=["no such symbol", "no such timeframe", "not a symbol"],
)
async def test_an_unknown_series_is_not_found(provider: BarProvider, series: Series) -> None:
    assert not await provider.knows(series.symbol, series.timeframe)
    with pytest.raises(NotFound, match=series.symbol.replace(".", r"\.")):
        await provider.closed_bars(series, NEVER_AGAIN, 5)


async def test_knows_what_it_has(provider: BarProvider) -> None:
    assert [await provider.knows(series.symbol, series.timeframe) for series in HELD] == [True, True]


async def test_symbols_name_what_it_has(provider: BarProvider) -> None:
    expected = set() if provider.name in CANNOT_LIST else {"AAPL", "BTC/USDT"}
    assert set(await provider.symbols()) - {"OTHER"} == expected


async def test_it_has_a_name(provider: BarProvider) -> None:
    assert provider.name


async def test_since_leaves_out_what_opens_before_it(provider: BarProvider) -> None:
    since = HELD[HOURLY].time_at(20)
    assert same(await provider.closed_bars(HOURLY, NEVER_AGAIN, 99, since=since), HELD[HOURLY][20:])
    later = since + timedelta(microseconds=1)
    assert same(await provider.closed_bars(HOURLY, NEVER_AGAIN, 99, since=later), HELD[HOURLY][21:])
    assert same(await provider.closed_bars(HOURLY, NEVER_AGAIN, 2, since=since), HELD[HOURLY].last(2))
    assert same(await provider.closed_bars(HOURLY, close_of(HOURLY, 21), 99, since=since), HELD[HOURLY][20:22])


async def test_since_after_the_history_gives_no_bars(provider: BarProvider) -> None:
    assert (
        len(await provider.closed_bars(DAILY, FIRST + timedelta(days=20), 5, since=FIRST + timedelta(days=9)))
        == 0
    )


# --- what holds for a provider that makes its bars up ---

MADE_UP = SimulatedBarProvider(seed=3)
NOW = datetime(2024, 6, 5, 14, 37, 20, tzinfo=UTC)


@pytest.mark.parametrize("timeframe", list(Timeframe))
async def test_made_up_bars_keep_the_same_promises(timeframe: Timeframe) -> None:
    series = Series("BTC/USDT", timeframe)
    bars = await MADE_UP.closed_bars(series, NOW, 40)
    assert len(bars) == 40
    assert (np.diff(bars.open_time) > 0).all()
    closes_at = bars.time_at(-1) + timeframe.length
    assert closes_at <= NOW
    assert same(await MADE_UP.closed_bars(series, closes_at, 3), bars.last(3))
    before = await MADE_UP.closed_bars(series, closes_at - timedelta(microseconds=1), 3)
    assert before.time_at(-1) == bars.time_at(-2)
    since = bars.time_at(30)
    assert same(await MADE_UP.closed_bars(series, NOW, 99, since=since), bars[30:])
    assert len(await MADE_UP.closed_bars(series, NOW, 99, since=NOW)) == 0
    assert len(await MADE_UP.closed_bars(series, datetime(1990, 1, 1, tzinfo=UTC), 5)) == 0


async def test_what_cannot_be_a_symbol_is_not_made_up() -> None:
    assert await MADE_UP.knows("BTC/USDT", Timeframe.H1)
    assert not await MADE_UP.knows("../AAPL", Timeframe.D1)
    with pytest.raises(NotFound, match=r"\.\./AAPL"):
        await MADE_UP.closed_bars(Series("../AAPL", Timeframe.D1), NOW, 5)
    assert await MADE_UP.symbols()
    assert MADE_UP.name
