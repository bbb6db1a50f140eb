"""What an exchange may do wrong by REST, done by a local one to the real client library."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from atf.adapters.providers.ccxt_exchange import CcxtBarProvider
from atf.errors import ConfigurationError, NotFound, TemporaryFailure
from atf.market.bars import COLUMNS, Bars, Series, Timeframe

pytest.importorskip("ccxt")
from atf.testing.exchange import EXCHANGE_INFO, KLINES, TIME, LocalExchange, local_exchange
from atf.testing.exchange_faults import Fault

PAYLOADS = Path(__file__).parents[1] / "data" / "payloads" / "binance"
MINUTES = Series("BTC/USDT", Timeframe.M1)
DAYS = Series("BTC/USDT", Timeframe.D1)
WEEKS = Series("BTC/USDT", Timeframe.W1)
FIRST = datetime(2024, 1, 2, tzinfo=UTC)
HELD = 30
NOW = FIRST + HELD * MINUTES.timeframe.length + timedelta(seconds=20)
LONG_AFTER = datetime(2100, 1, 1, tzinfo=UTC)
QUICK = timedelta(seconds=1)

REFUSALS = [Fault.THROTTLED, Fault.BANNED]
UNREACHABLE = [Fault.BROKEN, Fault.BAD_GATEWAY, Fault.MAINTENANCE, Fault.SILENT, Fault.STALLED, Fault.CUT]
UNREADABLE = [Fault.TRUNCATED, Fault.HTML, Fault.WRONG_SHAPE]


def bars_of(series: Series, first: datetime, count: int) -> Bars:
    return Bars.from_rows(
        [
            (first + i * series.timeframe.length, 100.0 + i, 102.0 + i, 99.0 + i, 101.0 + i, 10.0 + i)
            for i in range(count)
        ]
    )


ALL = bars_of(MINUTES, FIRST, HELD + 1)
CLOSED = ALL[:HELD]


@pytest.fixture
async def exchange() -> AsyncIterator[LocalExchange]:
    async with local_exchange(NOW) as made:
        made.hold(MINUTES, ALL)
        yield made


class Monotonic:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def monotonic() -> Monotonic:
    return Monotonic()


def provider_at(exchange: LocalExchange, monotonic: Monotonic, exchange_id: str = "binance") -> CcxtBarProvider:
    return CcxtBarProvider(
        exchange_id,
        base_url=exchange.url,
        timeout=QUICK,
        client_settings={"rateLimit": 1},
        monotonic=monotonic,
    )


@pytest.fixture
async def provider(exchange: LocalExchange, monotonic: Monotonic) -> AsyncIterator[CcxtBarProvider]:
    made = provider_at(exchange, monotonic)
    yield made
    await made.aclose()


def same(one: Bars, other: Bars) -> bool:
    return np.array_equal(one.open_time, other.open_time) and np.array_equal(one.close, other.close)


@pytest.mark.parametrize("path", [TIME, EXCHANGE_INFO, KLINES])
@pytest.mark.parametrize("fault", [*REFUSALS, *UNREACHABLE, *UNREADABLE], ids=lambda fault: fault.name)
async def test_a_failure_is_temporary_and_passes(
    exchange: LocalExchange, provider: CcxtBarProvider, fault: Fault, path: str
) -> None:
    exchange.misbehave(fault, path=path)
    with pytest.raises(TemporaryFailure, match="binance") as caught:
        await provider.closed_bars(MINUTES, NOW, 5)
    assert "<" not in str(caught.value)
    exchange.behave()
    assert same(await provider.closed_bars(MINUTES, NOW, 5), CLOSED.last(5))


@pytest.mark.parametrize("fault", REFUSALS, ids=lambda fault: fault.name)
async def test_what_a_refusal_asks_for_is_handed_on(
    exchange: LocalExchange, provider: CcxtBarProvider, fault: Fault
) -> None:
    exchange.misbehave(fault)
    with pytest.raises(TemporaryFailure, match="takes no more requests") as caught:
        await provider.closed_bars(MINUTES, NOW, 5)
    assert caught.value.retry_after_seconds == 7
    assert exchange.requests[KLINES] == 1


async def test_retry_after_may_be_a_date(exchange: LocalExchange, provider: CcxtBarProvider) -> None:
    exchange.retry_after = (datetime.now(UTC) + timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    exchange.misbehave(Fault.THROTTLED)
    with pytest.raises(TemporaryFailure) as caught:
        await provider.closed_bars(MINUTES, NOW, 5)
    assert caught.value.retry_after_seconds == pytest.approx(3600, abs=60)


async def test_maintenance_is_called_by_its_name(exchange: LocalExchange, provider: CcxtBarProvider) -> None:
    exchange.misbehave(Fault.MAINTENANCE)
    with pytest.raises(TemporaryFailure, match="under maintenance"):
        await provider.closed_bars(MINUTES, NOW, 5)


async def test_half_an_answer_and_a_refusal_are_told_apart(
    exchange: LocalExchange, provider: CcxtBarProvider
) -> None:
    exchange.misbehave(Fault.CUT, times=1)
    with pytest.raises(TemporaryFailure, match="cannot be read"):
        await provider.closed_bars(MINUTES, NOW, 5)
    exchange.documents[KLINES] = {"code": -9999, "msg": "not today"}
    with pytest.raises(TemporaryFailure, match="reports an error"):
        await provider.closed_bars(MINUTES, NOW, 5)


async def test_a_document_of_another_shape_is_not_taken_for_no_bars(
    exchange: LocalExchange, provider: CcxtBarProvider
) -> None:
    exchange.misbehave(Fault.WRONG_SHAPE)
    with pytest.raises(TemporaryFailure):
        await provider.closed_bars(MINUTES, NOW, 5)
    assert exchange.requests[KLINES] == 1


async def test_a_page_that_fails_gives_no_part_of_the_answer(
    exchange: LocalExchange, provider: CcxtBarProvider
) -> None:
    exchange.hold(MINUTES, bars_of(MINUTES, FIRST - timedelta(minutes=1500), 1500))
    await provider.closed_bars(MINUTES, NOW, 5)
    task = asyncio.create_task(provider.closed_bars(MINUTES, NOW, 1500))
    await exchange.until_requested(KLINES, 2)
    exchange.misbehave(Fault.BROKEN)
    with pytest.raises(TemporaryFailure):
        await task


async def test_an_exchange_that_is_not_there_is_a_temporary_failure(monotonic: Monotonic) -> None:
    async with local_exchange(NOW) as gone:
        pass
    provider = provider_at(gone, monotonic)
    with pytest.raises(TemporaryFailure, match="binance"):
        await provider.closed_bars(MINUTES, NOW, 5)
    await provider.aclose()


async def test_a_cancelled_call_ends_at_once_and_spoils_no_other(
    exchange: LocalExchange, provider: CcxtBarProvider
) -> None:
    exchange.misbehave(Fault.SILENT, path=EXCHANGE_INFO)
    impatient = asyncio.create_task(provider.closed_bars(MINUTES, NOW, 5))
    patient = asyncio.create_task(provider.closed_bars(MINUTES, NOW, 5))
    await exchange.until_requested(EXCHANGE_INFO, 1)
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    with pytest.raises(TemporaryFailure, match="did not answer in time"):
        await patient
    assert exchange.requests[EXCHANGE_INFO] == 1


# --- what was recorded ---


async def test_recorded_answers_are_read(exchange: LocalExchange, provider: CcxtBarProvider) -> None:
    rows = json.loads((PAYLOADS / "rest_spot_klines.json").read_text())
    exchange.documents[KLINES] = rows
    exchange.documents[EXCHANGE_INFO] = json.loads((PAYLOADS / "rest_spot_exchange_info.json").read_text())
    exchange.now = datetime.fromtimestamp(rows[-1][0] / 1000, UTC) + timedelta(seconds=59)
    assert await provider.symbols() == ["BTC/USDT", "ETH/USDT"]
    bars = await provider.closed_bars(MINUTES, exchange.now, 99)
    assert (bars.open_time // 1_000_000).tolist() == [row[0] for row in rows[:-1]]
    for at, name in enumerate(COLUMNS, start=1):
        assert bars.column(name).tolist() == [float(row[at]) for row in rows[:-1]]


# --- wrong bars ---


async def test_the_forming_bar_is_not_given_and_a_closed_one_at_once(
    exchange: LocalExchange, provider: CcxtBarProvider
) -> None:
    assert same(await provider.closed_bars(MINUTES, LONG_AFTER, 999), CLOSED)
    assert same(await provider.closed_bars(MINUTES, FIRST + timedelta(minutes=3), 999), ALL[:3])


@pytest.mark.parametrize("fault", [Fault.DUPLICATES, Fault.DISORDER, Fault.FUTURE], ids=lambda fault: fault.name)
async def test_wrong_rows_are_put_right(exchange: LocalExchange, provider: CcxtBarProvider, fault: Fault) -> None:
    exchange.misbehave(fault)
    assert same(await provider.closed_bars(MINUTES, LONG_AFTER, HELD), CLOSED)


async def test_no_bars_of_a_known_symbol_are_no_bars(exchange: LocalExchange, provider: CcxtBarProvider) -> None:
    exchange.misbehave(Fault.EMPTY)
    assert len(await provider.closed_bars(MINUTES, NOW, 5)) == 0
    assert exchange.requests[KLINES] <= 3


async def test_a_symbol_that_the_exchange_itself_denies_is_not_found(
    exchange: LocalExchange, provider: CcxtBarProvider
) -> None:
    exchange.misbehave(Fault.UNKNOWN_SYMBOL)
    with pytest.raises(NotFound, match="BTC/USDT"):
        await provider.closed_bars(MINUTES, NOW, 5)


async def test_a_revised_bar_is_given_as_it_is_now(exchange: LocalExchange, provider: CcxtBarProvider) -> None:
    await provider.closed_bars(MINUTES, NOW, 5)
    revised = Bars.from_rows([(ALL.time_at(HELD - 1), 1.0, 2.0, 1.0, 1.5, 1.0)])
    exchange.hold(MINUTES, revised)
    assert (await provider.closed_bars(MINUTES, NOW, 1)).close.tolist() == [1.5]


# --- clocks ---


async def test_a_clock_behind_ours_keeps_a_bar_back(exchange: LocalExchange, provider: CcxtBarProvider) -> None:
    exchange.now = NOW - timedelta(seconds=30)
    assert same(await provider.closed_bars(MINUTES, NOW, 99), CLOSED[:-1])


async def test_a_clock_ahead_of_ours_gives_no_bar_early(
    exchange: LocalExchange, provider: CcxtBarProvider
) -> None:
    exchange.now = NOW + timedelta(hours=1)
    exchange.hold(MINUTES, bars_of(MINUTES, FIRST, HELD + 60))
    assert same(await provider.closed_bars(MINUTES, NOW, 99), CLOSED)


async def test_the_clock_is_asked_once_and_again_after_minutes(
    exchange: LocalExchange, provider: CcxtBarProvider, monotonic: Monotonic
) -> None:
    until = NOW - timedelta(minutes=1)
    for _ in range(3):
        await provider.closed_bars(MINUTES, until, 5)
    assert exchange.requests[TIME] == 1
    monotonic.seconds += 301
    await provider.closed_bars(MINUTES, until, 5)
    assert exchange.requests[TIME] == 2


async def test_a_clock_that_seems_late_is_asked_again_soon(
    exchange: LocalExchange, provider: CcxtBarProvider, monotonic: Monotonic
) -> None:
    await provider.closed_bars(MINUTES, NOW, 5)
    exchange.now = NOW + timedelta(minutes=1)  # and no monotonic second passed: the machine slept
    exchange.hold(MINUTES, bars_of(MINUTES, FIRST, HELD + 2))
    assert len(await provider.closed_bars(MINUTES, exchange.now, 99)) == HELD
    monotonic.seconds += 10
    assert len(await provider.closed_bars(MINUTES, exchange.now, 99)) == HELD + 1


# --- pages ---


async def test_a_count_above_a_page_is_fetched_page_by_page(
    exchange: LocalExchange, provider: CcxtBarProvider
) -> None:
    long = bars_of(MINUTES, NOW - timedelta(minutes=2400, seconds=20), 2401)
    exchange.hold(MINUTES, long)
    assert same(await provider.closed_bars(MINUTES, NOW, 2100), long[:-1].last(2100))
    assert exchange.requests[KLINES] == 3
    assert max(int(question["limit"]) for question in exchange.questions) == 1000


async def test_an_exchange_that_gives_fewer_bars_than_asked_for_leaves_no_hole(
    exchange: LocalExchange, provider: CcxtBarProvider
) -> None:
    long = bars_of(MINUTES, NOW - timedelta(minutes=2400, seconds=20), 2401)
    exchange.hold(MINUTES, long)
    exchange.longest_page = 300
    assert same(await provider.closed_bars(MINUTES, NOW, 2100), long[:-1].last(2100))


@pytest.mark.parametrize("milliseconds", [1704153600000000, 10**18])
async def test_times_in_another_unit_are_no_answer(
    exchange: LocalExchange, provider: CcxtBarProvider, milliseconds: int
) -> None:
    exchange.documents[KLINES] = [[milliseconds, "1", "2", "1", "2", "5"]]
    with pytest.raises(TemporaryFailure, match="cannot be read"):
        await provider.closed_bars(MINUTES, NOW, 5)


async def test_since_bounds_what_is_fetched(exchange: LocalExchange, provider: CcxtBarProvider) -> None:
    since = ALL.time_at(20)
    assert same(await provider.closed_bars(MINUTES, NOW, 99_999, since=since), CLOSED[20:])
    assert [question["startTime"] for question in exchange.questions] == [str(int(since.timestamp() * 1000))]


async def test_since_inside_a_bar_does_not_give_that_bar(
    exchange: LocalExchange, provider: CcxtBarProvider
) -> None:
    bars = await provider.closed_bars(MINUTES, NOW, 99, since=ALL.time_at(20) + timedelta(seconds=1))
    assert same(bars, CLOSED[21:])


async def test_a_hole_in_history_is_crossed(exchange: LocalExchange, provider: CcxtBarProvider) -> None:
    old = bars_of(MINUTES, FIRST - timedelta(minutes=1000), 100)
    exchange.hold(MINUTES, old)
    assert same(await provider.closed_bars(MINUTES, NOW, HELD + 100), old.followed_by(CLOSED))


async def test_bars_of_a_pair_that_trades_no_more_are_found(
    exchange: LocalExchange, provider: CcxtBarProvider
) -> None:
    exchange.now = NOW + timedelta(days=900)
    assert same(await provider.closed_bars(MINUTES, exchange.now, 5), ALL.last(5))


async def test_asking_before_the_first_bar_ends_after_few_requests(
    exchange: LocalExchange, provider: CcxtBarProvider
) -> None:
    assert len(await provider.closed_bars(MINUTES, FIRST, 5_000)) == 0
    assert exchange.requests[KLINES] <= 4


async def test_no_bars_wanted_is_no_request(exchange: LocalExchange, provider: CcxtBarProvider) -> None:
    assert len(await provider.closed_bars(MINUTES, NOW, 0)) == 0
    assert exchange.requests[KLINES] == 0


# --- weeks ---


async def test_weeks_that_open_on_monday_are_taken_as_they_are(
    exchange: LocalExchange, provider: CcxtBarProvider
) -> None:
    monday = datetime(2023, 11, 6, tzinfo=UTC)
    weeks = bars_of(WEEKS, monday, 9)
    exchange.hold(WEEKS, weeks)
    assert same(await provider.closed_bars(WEEKS, NOW, 5), weeks[:8].last(5))


async def test_weeks_of_another_day_are_made_of_days(exchange: LocalExchange, provider: CcxtBarProvider) -> None:
    thursday, monday = datetime(2023, 11, 2, tzinfo=UTC), datetime(2023, 11, 6, tzinfo=UTC)
    exchange.hold(WEEKS, bars_of(WEEKS, thursday, 9))
    exchange.hold(DAYS, bars_of(DAYS, monday, 58))
    weeks = await provider.closed_bars(WEEKS, NOW, 3)
    assert [weeks.time_at(i) for i in range(3)] == [monday + timedelta(weeks=i) for i in (5, 6, 7)]
    assert weeks.open.tolist() == [100.0 + 7 * i for i in (5, 6, 7)]
    assert weeks.close.tolist() == [107.0 + 7 * i for i in (5, 6, 7)]


async def test_a_week_without_its_sunday_is_not_given_yet(
    exchange: LocalExchange, provider: CcxtBarProvider
) -> None:
    monday = datetime(2023, 11, 6, tzinfo=UTC)
    exchange.hold(WEEKS, bars_of(WEEKS, datetime(2023, 11, 2, tzinfo=UTC), 9))
    exchange.hold(DAYS, bars_of(DAYS, monday, 55))
    exchange.now = monday + timedelta(weeks=8, seconds=1)
    weeks = await provider.closed_bars(WEEKS, exchange.now, 3)
    assert weeks.time_at(-1) == monday + timedelta(weeks=6)


# --- symbols, other exchanges, the library ---


async def test_a_new_symbol_is_looked_for_again_after_a_while(
    exchange: LocalExchange, provider: CcxtBarProvider, monotonic: Monotonic
) -> None:
    assert not await provider.knows("NEW/USDT", Timeframe.M1)
    exchange.list_symbol("NEW/USDT")
    assert not await provider.knows("NEW/USDT", Timeframe.M1)
    assert exchange.requests[EXCHANGE_INFO] == 1
    monotonic.seconds += 601
    assert await provider.knows("NEW/USDT", Timeframe.M1)
    assert not await provider.knows("NEW/EUR", Timeframe.M1)
    assert exchange.requests[EXCHANGE_INFO] == 2


async def test_only_the_canonical_spelling_is_known(provider: CcxtBarProvider) -> None:
    assert not await provider.knows("BTCUSDT", Timeframe.M1)


async def test_a_timeframe_that_an_exchange_lacks_is_not_found(monotonic: Monotonic) -> None:
    provider = CcxtBarProvider("coinbase", monotonic=monotonic)
    client = await provider._open()
    client.set_markets([{"id": "BTC-USD", "symbol": "BTC/USD", "base": "BTC", "quote": "USD", "spot": True}])
    provider._markets_at = monotonic.seconds
    with pytest.raises(NotFound, match="coinbase has no bars of BTC/USD 4h"):
        await provider.closed_bars(Series("BTC/USD", Timeframe.H4), NOW, 5)
    assert await provider.knows("BTC/USD", Timeframe.W1)
    await provider.aclose()


async def test_an_exchange_that_nobody_has_is_told_with_a_near_one() -> None:
    with pytest.raises(ConfigurationError, match="'binanse' in ccxt \\(did you mean 'binance'\\?\\)"):
        await CcxtBarProvider("binanse").closed_bars(MINUTES, NOW, 5)


async def test_addresses_of_other_exchanges_lead_to_the_local_one_too(
    exchange: LocalExchange, monotonic: Monotonic
) -> None:
    provider = provider_at(exchange, monotonic, "kraken")
    with pytest.raises(TemporaryFailure, match="kraken"):
        await provider.symbols()
    assert sum(exchange.requests.values()) >= 1
    await provider.aclose()


async def test_nothing_is_left_when_it_is_closed(exchange: LocalExchange, monotonic: Monotonic) -> None:
    provider = provider_at(exchange, monotonic)
    before = asyncio.all_tasks()
    exchange.misbehave(Fault.SILENT, path=EXCHANGE_INFO)
    waiting = asyncio.create_task(provider.symbols())
    await exchange.until_requested(EXCHANGE_INFO, 1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await provider.aclose()
    ours = {task for task in asyncio.all_tasks() - before if "RequestHandler" not in repr(task)}
    assert ours == set()


async def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ccxt.async_support", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'atf\[crypto\]'"):
        await CcxtBarProvider("binance").closed_bars(MINUTES, NOW, 5)


def test_ccxt_is_not_loaded_before_it_is_needed() -> None:
    code = (
        "import sys, atf.adapters.providers.ccxt_exchange, atf.adapters.providers.streamed,"
        " atf.adapters.providers.binance_stream;"
        " from atf.adapters.providers.ccxt_exchange import CcxtBarProvider; CcxtBarProvider('binance');"
        " assert not {'ccxt', 'aiohttp', 'websockets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
