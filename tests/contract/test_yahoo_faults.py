"""What Yahoo may do wrong, done by a local one to the real library; and what its answers mean."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from atf.adapters.providers.bar_files import read_bars
from atf.adapters.providers.yahoo import YahooBarProvider
from atf.errors import ConfigurationError, NotFound, TemporaryFailure
from atf.market.adjustment import CorporateAction
from atf.market.bars import COLUMNS, Bars, Series, Timeframe
from atf.market.quality import sort_out
from atf.testing.clocks import FakeClock

pytest.importorskip("yfinance")
from atf.testing.yahoo import Fault, LocalYahoo, local_yahoo
from atf.testing.yahoo_payloads import STOCK, SymbolFacts

# yfinance uses what pandas calls outdated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")

PAYLOADS = Path(__file__).parents[1] / "data" / "payloads" / "yahoo"
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
COIN = SymbolFacts("BTC-USD")
FIRST = datetime(2024, 3, 4, tzinfo=UTC)  # a Monday
NOW = datetime(2024, 3, 8, 12, tzinfo=UTC)
COINS = Series("BTC/USD", Timeframe.H1)
DAYS = Series("AAPL", Timeframe.D1)
LONG_AFTER = datetime(2100, 1, 1, tzinfo=UTC)
QUICK = timedelta(seconds=1)


def bars_of(first: datetime, length: timedelta, count: int) -> Bars:
    rows = [(first + i * length, 100.0 + i, 102.0 + i, 99.0 + i, 101.0 + i, 10.0 + i) for i in range(count)]
    return Bars.from_rows(rows)


HOURS = bars_of(FIRST, timedelta(hours=1), 24 * 5)
CLOSED = HOURS.closed_at(NOW, Timeframe.H1)


@pytest.fixture
def yahoo() -> Iterator[LocalYahoo]:
    with local_yahoo(NOW) as made:
        made.hold(COIN, "1h", HOURS)
        made.hold(STOCK, "1d", bars_of(FIRST, DAY, 5))
        yield made


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def provider(yahoo: LocalYahoo, clock: FakeClock) -> YahooBarProvider:
    return YahooBarProvider(timeout=QUICK, clock=clock)


async def coins(provider: YahooBarProvider, count: int = 99) -> Bars:
    return await provider.closed_bars(COINS, LONG_AFTER, count)


def same(one: Bars, other: Bars) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("open_time", *COLUMNS))


# --- no answer ---


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (Fault.THROTTLED, "yahoo takes no more requests for now"),
        (Fault.BROKEN, r"yahoo is not available \(HTTP 500\)"),
        (Fault.BAD_GATEWAY, r"yahoo is not available \(HTTP 502\)"),
        (Fault.MAINTENANCE, r"yahoo is not available \(HTTP 503\)"),
        (Fault.SILENT, "yahoo did not answer in time"),
        (Fault.STALLED, "yahoo did not answer in time"),
        (Fault.CUT, "yahoo cannot be reached"),
        (Fault.TRUNCATED, "yahoo gave an answer that cannot be read"),
        (Fault.HTML, "yahoo gave an answer that cannot be read"),
        (Fault.WRONG_SHAPE, "yahoo gave an answer that cannot be read"),
        (Fault.WRONG_SYMBOL, "yahoo answered for MSFT when it was asked for BTC-USD"),
    ],
)
async def test_what_is_no_answer_is_a_temporary_failure_and_passes(
    provider: YahooBarProvider, yahoo: LocalYahoo, fault: Fault, sentence: str
) -> None:
    yahoo.fault = fault
    for ask in (coins(provider), provider.knows("BTC/USD", Timeframe.H1)):
        with pytest.raises(TemporaryFailure, match=rf"^{sentence}$") as caught:
            await ask
        assert caught.value.retry_after_seconds == (7 if fault is Fault.THROTTLED else None)
    yahoo.fault = None
    assert same(await coins(provider, 5), CLOSED.last(5)), "yfinance has kept the bad answer"


async def test_a_cookie_that_yahoo_does_not_take_is_a_temporary_failure(
    provider: YahooBarProvider, yahoo: LocalYahoo
) -> None:
    yahoo.fault = Fault.UNAUTHORIZED
    with pytest.raises(TemporaryFailure, match="yahoo takes no request of ours for now"):
        await coins(provider)


async def test_a_server_that_is_not_there_is_a_temporary_failure(
    yahoo: LocalYahoo, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    import yfinance

    for module in (yfinance.base, yfinance.scrapers.history):
        monkeypatch.setattr(module, "_BASE_URL_", "http://127.0.0.1:1")
    with pytest.raises(TemporaryFailure, match="yahoo cannot be reached"):
        await coins(YahooBarProvider(timeout=QUICK, clock=clock))


async def test_who_is_cancelled_does_not_wait_for_the_answer(yahoo: LocalYahoo, clock: FakeClock) -> None:
    provider = YahooBarProvider(timeout=timedelta(seconds=30), clock=clock)
    yahoo.fault = Fault.SILENT
    asking = asyncio.create_task(coins(provider))
    await asyncio.to_thread(yahoo.asked.wait, 10)
    asking.cancel()
    async with asyncio.timeout(1):
        with pytest.raises(asyncio.CancelledError):
            await asking
    yahoo.fault = None
    assert len(await coins(provider, 3)) == 3, "the thread that hangs holds up no other"


# --- answers with wrong bars ---


@pytest.mark.parametrize("fault", [Fault.DUPLICATES, Fault.DISORDER, Fault.FUTURE, Fault.NULLS])
async def test_wrong_rows_do_no_harm(provider: YahooBarProvider, yahoo: LocalYahoo, fault: Fault) -> None:
    yahoo.fault = fault
    bars = await coins(provider, 10)
    assert same(bars, CLOSED.last(10))


async def test_an_empty_answer_has_no_bars_if_the_symbol_is_known(
    provider: YahooBarProvider, yahoo: LocalYahoo
) -> None:
    yahoo.fault = Fault.EMPTY
    assert len(await coins(provider)) == 0
    with pytest.raises(NotFound, match="yahoo does not know NOSUCH"):
        await provider.closed_bars(Series("NOSUCH", Timeframe.H1), LONG_AFTER, 5)


async def test_a_stretch_without_bars_has_none(provider: YahooBarProvider) -> None:
    assert len(await provider.closed_bars(COINS, FIRST, 5)) == 0


async def test_the_forming_bar_is_not_given(
    provider: YahooBarProvider, yahoo: LocalYahoo, clock: FakeClock
) -> None:
    clock.at = yahoo.now = NOW + 59 * MINUTE
    assert (await coins(provider, 5)).time_at(-1) == NOW - timedelta(hours=1)
    clock.at = yahoo.now = NOW + 60 * MINUTE
    assert (await coins(provider, 5)).time_at(-1) == NOW


async def test_a_clock_of_ours_that_is_fast_closes_no_bar(
    provider: YahooBarProvider, yahoo: LocalYahoo, clock: FakeClock
) -> None:
    clock.at = NOW + timedelta(hours=3)
    assert (await coins(provider, 5)).time_at(-1) == NOW - timedelta(hours=1)


async def test_a_clock_of_ours_that_is_slow_gives_what_is_closed_by_it(
    provider: YahooBarProvider, clock: FakeClock
) -> None:
    clock.at = NOW - timedelta(hours=3)
    assert (await coins(provider, 5)).time_at(-1) == NOW - timedelta(hours=4)


async def test_delayed_quotes_close_no_bar_and_a_quiet_market_is_not_waited_for(
    provider: YahooBarProvider, yahoo: LocalYahoo, clock: FakeClock
) -> None:
    yahoo.traded_at = NOW - 15 * MINUTE
    assert (await coins(provider, 5)).time_at(-1) == NOW - timedelta(hours=2)
    clock.at = yahoo.now = NOW + 20 * MINUTE
    assert (await coins(provider, 5)).time_at(-1) == NOW - timedelta(hours=1)


async def test_the_trade_that_ends_a_session_closes_the_day(
    provider: YahooBarProvider, yahoo: LocalYahoo, clock: FakeClock
) -> None:
    thursdays_close = datetime(2024, 3, 7, 21, tzinfo=UTC)
    midnight = datetime(2024, 3, 8, tzinfo=UTC)
    clock.at = yahoo.now = midnight
    yahoo.traded_at = thursdays_close + timedelta(seconds=1)
    bars = await provider.closed_bars(DAYS, midnight, 9)
    assert bars.time_at(-1) == midnight - DAY
    yahoo.traded_at = thursdays_close - timedelta(hours=1)
    bars = await provider.closed_bars(DAYS, midnight, 9)
    assert bars.time_at(-1) == midnight - 2 * DAY


# --- which bars ---


async def test_days_are_at_midnight_of_their_session_in_any_zone(yahoo: LocalYahoo, clock: FakeClock) -> None:
    days = bars_of(FIRST, DAY, 4)
    tokyo = SymbolFacts("7203.T", "Asia/Tokyo", timedelta(hours=9), 6.0, "EQUITY")
    auckland = SymbolFacts("AIR.NZ", "Pacific/Auckland", timedelta(hours=10), 6.75, "EQUITY")
    for facts in (tokyo, auckland, replace(STOCK, symbol="BRK-B")):
        yahoo.hold(facts, "1d", days)
    for symbol in ("7203.T", "AIR.NZ", "BRK.B"):
        provider = YahooBarProvider(clock=clock)
        assert same(await provider.closed_bars(Series(symbol, Timeframe.D1), NOW, 99), days)
        from_tuesday = await provider.closed_bars(Series(symbol, Timeframe.D1), NOW, 99, since=FIRST + DAY)
        assert same(from_tuesday, days[1:])


async def test_weeks_are_made_of_days_and_open_on_monday(yahoo: LocalYahoo, clock: FakeClock) -> None:
    yahoo.hold(STOCK, "1d", bars_of(FIRST - 14 * DAY, DAY, 19))
    clock.at = yahoo.now = datetime(2024, 3, 9, tzinfo=UTC)
    provider = YahooBarProvider(clock=clock)
    weeks = await provider.closed_bars(Series("AAPL", Timeframe.W1), LONG_AFTER, 99)
    assert [weeks.time_at(i) for i in range(len(weeks))] == [FIRST - 14 * DAY, FIRST - 7 * DAY]
    assert (weeks.open[1], weeks.close[1], weeks.high[1]) == (107.0, 114.0, 115.0)


async def test_hours_of_a_stock_lie_on_the_clock(yahoo: LocalYahoo, clock: FakeClock) -> None:
    session = bars_of(datetime(2024, 3, 7, 14, 30, tzinfo=UTC), 15 * MINUTE, 26)
    yahoo.hold(STOCK, "15m", session)
    provider = YahooBarProvider(clock=clock)
    for timeframe, count in ((Timeframe.M15, 26), (Timeframe.M30, 13), (Timeframe.H1, 7), (Timeframe.H4, 3)):
        bars = await provider.closed_bars(Series("AAPL", timeframe), NOW, 99)
        assert len(bars) == count
        assert sort_out(bars, timeframe).reasons == ()
        assert bars.volume.sum() == session.volume.sum()
        assert (bars.open[0], bars.close[-1]) == (session.open[0], session.close[-1])


async def test_four_hours_of_a_coin_are_made_of_hours(provider: YahooBarProvider) -> None:
    bars = await provider.closed_bars(Series("BTC/USD", Timeframe.H4), LONG_AFTER, 3)
    assert [bars.time_at(i).hour for i in range(3)] == [0, 4, 8]
    assert bars.close[-1] == CLOSED.close[-1]


async def test_the_last_minute_of_a_coins_day_is_there(yahoo: LocalYahoo, clock: FakeClock) -> None:
    minutes = bars_of(datetime(2024, 3, 7, 23, 50, tzinfo=UTC), MINUTE, 20)
    yahoo.hold(COIN, "1m", minutes)
    provider = YahooBarProvider(clock=clock)
    assert same(await provider.closed_bars(Series("BTC/USD", Timeframe.M1), NOW, 99), minutes)


@pytest.mark.parametrize(
    ("timeframe", "interval", "days"),
    [(Timeframe.M1, "1m", 7), (Timeframe.M5, "5m", 59), (Timeframe.H1, "1h", 729)],
)
async def test_yahoo_is_asked_for_no_more_than_it_gives(
    yahoo: LocalYahoo, clock: FakeClock, timeframe: Timeframe, interval: str, days: int
) -> None:
    yahoo.hold(COIN, interval, HOURS.last(0))
    await YahooBarProvider(clock=clock).closed_bars(Series("BTC/USD", timeframe), NOW, 1_000_000)
    begin = min(int(each["period1"]) for each in yahoo.questions if "period1" in each)
    asked = NOW - datetime.fromtimestamp(begin, UTC)
    assert timedelta(days=days) <= asked <= timedelta(days=days, hours=1)


async def test_what_lies_before_all_that_yahoo_gives_is_not_asked_for(
    provider: YahooBarProvider, yahoo: LocalYahoo
) -> None:
    assert len(await provider.closed_bars(COINS, datetime(2015, 1, 1, tzinfo=UTC), 5)) == 0
    assert not [each for each in yahoo.questions if "period1" in each]


@pytest.mark.parametrize("symbol", ["../AAPL", "US0378331005", "", "a b"])
async def test_what_is_no_symbol_is_not_asked_for(
    provider: YahooBarProvider, yahoo: LocalYahoo, symbol: str
) -> None:
    assert not await provider.knows(symbol, Timeframe.D1)
    with pytest.raises(NotFound, match="yahoo does not know"):
        await provider.closed_bars(Series(symbol, Timeframe.D1), NOW, 5)
    assert yahoo.questions == []


async def test_of_a_thousand_days_no_more_than_one_question_is_asked(
    provider: YahooBarProvider, yahoo: LocalYahoo
) -> None:
    yahoo.hold(STOCK, "1d", bars_of(NOW - 1200 * DAY - timedelta(hours=12), DAY, 1200))
    assert len(await provider.closed_bars(DAYS, NOW, 700)) == 700
    assert len([each for each in yahoo.questions if "period1" in each]) == 1


# --- recorded answers ---


@pytest.mark.parametrize(
    ("file", "symbol", "closes"),
    [
        ("chart_AAPL_2020-01-02.json", "AAPL", {datetime(2020, 1, 2, tzinfo=UTC): 75.0875015258789}),
        (
            "chart_BTC-USD_2020-01-01_03.json",
            "BTC/USD",
            {datetime(2020, 1, day, tzinfo=UTC): close for day, close in
             ((1, 7200.17431640625), (2, 6985.47021484375), (3, 7344.88427734375))},
        ),
    ],
)  # fmt: skip
async def test_recorded_answers_are_read_alike_by_provider_and_file(
    tmp_path: Path, file: str, symbol: str, closes: dict[datetime, float]
) -> None:
    body = json.loads((PAYLOADS / file).read_text())["body"]
    recorded_at = datetime(2026, 10, 3, 12, tzinfo=UTC)
    with local_yahoo(recorded_at) as yahoo:
        yahoo.documents[body["chart"]["result"][0]["meta"]["symbol"]] = body
        provider = YahooBarProvider(clock=FakeClock(recorded_at))
        since = datetime(2020, 1, 1, tzinfo=UTC)
        until = datetime(2020, 1, 4, tzinfo=UTC)
        bars = await provider.closed_bars(Series(symbol, Timeframe.D1), until, 9, since=since)
    assert {bars.time_at(i): float(bars.close[i]) for i in range(len(bars))} == closes
    (tmp_path / "a.json").write_text(json.dumps(body))
    assert same(read_bars(tmp_path / "a.json", symbol), bars)


# --- corporate actions ---


async def test_actions_are_for_one_share_as_it_was_then(provider: YahooBarProvider, yahoo: LocalYahoo) -> None:
    def at(day: int) -> int:
        return int(STOCK.opens_at(datetime(2024, 3, day, tzinfo=UTC)).timestamp())

    yahoo.events["AAPL"] = {
        "dividends": {str(at(day)): {"amount": 0.25, "date": at(day)} for day in (5, 7)},
        "splits": {str(at(6)): {"date": at(6), "numerator": 4.0, "denominator": 1.0, "splitRatio": "4:1"}},
    }
    since = date(2024, 3, 5)
    assert await provider.actions("AAPL", since) == (
        CorporateAction(date(2024, 3, 5), cash_dividend=1.0),
        CorporateAction(date(2024, 3, 6), split_ratio=4.0),
        CorporateAction(date(2024, 3, 7), cash_dividend=0.25),
    )
    assert [each.ex_date.day for each in await provider.actions("AAPL", date(2024, 3, 7))] == [7]


async def test_a_stock_without_actions_has_none_and_an_unknown_one_is_not_found(
    provider: YahooBarProvider,
) -> None:
    assert await provider.actions("AAPL", date(2024, 3, 1)) == ()
    with pytest.raises(NotFound, match="yahoo does not know NOSUCH"):
        await provider.actions("NOSUCH", date(2024, 3, 1))


# --- the extra ---


async def test_without_the_extra_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    monkeypatch.setitem(sys.modules, "yfinance", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'atf\[yahoo\]'"):
        await coins(YahooBarProvider(clock=clock))


def test_neither_yfinance_nor_pandas_is_loaded_before_the_first_request() -> None:
    code = (
        "import sys, atf.adapters.providers.yahoo as y; y.YahooBarProvider();"
        " print(sorted({'yfinance', 'pandas', 'curl_cffi'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
