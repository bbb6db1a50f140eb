"""Fundamentals of a local Yahoo, asked by the real library with its cookies and crumbs, and what may go wrong."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from atf.adapters.providers.yahoo import YahooBarProvider
from atf.adapters.providers.yahoo_client import YahooClient
from atf.adapters.providers.yahoo_fundamentals import YahooFundamentals
from atf.errors import ConfigurationError, NotFound, TemporaryFailure
from atf.market.bars import Bars, Series, Timeframe
from atf.market.fundamentals import Fundamentals
from atf.market.provider import FundamentalsProvider
from atf.testing.clocks import FakeClock

pytest.importorskip("yfinance")
from atf.testing.yahoo import COOKIE, CRUMB, SUMMARY, Fault, LocalYahoo, local_yahoo
from atf.testing.yahoo_payloads import STOCK

# yfinance uses what pandas calls outdated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:yfinance")

NOW = datetime(2024, 3, 8, 23, 30, tzinfo=UTC)
QUICK = timedelta(seconds=1)
APPLE: dict[str, dict[str, Any]] = {
    "price": {
        "longName": "Apple\xa0Inc.",
        "shortName": "Apple",
        "currency": "USD",
        "marketCap": 2_640_000_000_000,
    },
    "assetProfile": {"sector": "Technology", "industry": "Consumer Electronics"},
    "summaryDetail": {
        "currency": "USD",
        "marketCap": 2_640_000_000_000,
        "trailingPE": 26.5,
        "dividendYield": 0.0057,
        "trailingAnnualDividendYield": 0.0055,
        "averageVolume": 58_000_000,
    },
    "defaultKeyStatistics": {"trailingEps": 6.43},
}
KNOWN = Fundamentals(
    "AAPL",
    date(2024, 3, 8),
    name="Apple Inc.",
    sector="Technology",
    industry="Consumer Electronics",
    currency="USD",
    market_cap=2.64e12,
    pe=26.5,
    eps=6.43,
    dividend_yield=0.0057,
    average_volume=58e6,
)


@pytest.fixture
def yahoo() -> Iterator[LocalYahoo]:
    with local_yahoo(NOW) as made:
        made.summaries["AAPL"] = APPLE
        yield made


@pytest.fixture
async def provider(yahoo: LocalYahoo) -> FundamentalsProvider:
    return YahooFundamentals(YahooClient(QUICK, 4), FakeClock(NOW))


def asked(yahoo: LocalYahoo, path: str) -> int:
    return sum(each.startswith(path) for each in yahoo.paths)


# --- what is read ---


async def test_all_fields_are_read_from_one_document_as_of_the_day_of_the_clock(
    provider: FundamentalsProvider, yahoo: LocalYahoo
) -> None:
    assert await provider.fundamentals("AAPL") == KNOWN
    assert asked(yahoo, SUMMARY) == 1


async def test_a_share_class_an_index_and_a_pair_are_asked_for_in_yahoos_spelling(
    provider: FundamentalsProvider, yahoo: LocalYahoo
) -> None:
    for name in ("BRK-B", "^GSPC", "EURUSD=X", "BTC-USD"):
        yahoo.summaries[name] = {"price": {"longName": name, "currency": "USD"}}
    for symbol, name in (("BRK.B", "BRK-B"), ("^GSPC", "^GSPC"), ("EUR/USD", "EURUSD=X"), ("BTC/USD", "BTC-USD")):
        found = await provider.fundamentals(symbol)
        assert (found.symbol, found.name) == (symbol, name)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"dividendYield": 0.035, "trailingAnnualDividendYield": 0.03, "yield": 0.02}, 0.035),
        ({"yield": 0.034, "trailingAnnualDividendYield": 0.0}, 0.034),
        ({"trailingAnnualDividendYield": 0.0}, 0.0),
        ({"dividendYield": "NaN", "trailingAnnualDividendYield": "Infinity"}, None),
        ({}, None),
    ],
)
async def test_the_yield_is_the_first_fraction_that_is_there(
    provider: FundamentalsProvider, yahoo: LocalYahoo, fields: dict[str, object], wanted: float | None
) -> None:
    yahoo.summaries["AAPL"] = {**APPLE, "summaryDetail": fields}
    found = await provider.fundamentals("AAPL")
    assert found.dividend_yield == wanted


async def test_values_that_yahoo_wraps_are_read_and_empty_wrappings_are_unknown(
    provider: FundamentalsProvider, yahoo: LocalYahoo
) -> None:
    wrapped = {"trailingPE": {"raw": 26.5, "fmt": "26.50"}, "averageVolume": {}, "dividendYield": {}}
    yahoo.summaries["AAPL"] = {**APPLE, "summaryDetail": wrapped}
    found = await provider.fundamentals("AAPL")
    assert (found.pe, found.average_volume, found.dividend_yield) == (26.5, None, None)


async def test_words_for_no_number_and_fields_that_are_missing_are_unknown(
    provider: FundamentalsProvider, yahoo: LocalYahoo
) -> None:
    yahoo.summaries["AAPL"] = {
        "price": {"shortName": "Apple", "marketCap": None},
        "summaryDetail": {"trailingPE": "Infinity"},
        "defaultKeyStatistics": {"trailingEps": -0.5},
    }
    assert await provider.fundamentals("AAPL") == Fundamentals("AAPL", NOW.date(), name="Apple", eps=-0.5)


async def test_an_impossible_number_costs_itself_only(
    provider: FundamentalsProvider, yahoo: LocalYahoo, caplog: pytest.LogCaptureFixture
) -> None:
    detail = {**APPLE["summaryDetail"], "dividendYield": 3.5, "averageVolume": -1}
    yahoo.summaries["AAPL"] = {**APPLE, "summaryDetail": detail}
    found = await provider.fundamentals("AAPL")
    assert (found.dividend_yield, found.average_volume, found.market_cap) == (None, None, 2.64e12)
    assert "AAPL is left out: dividend_yield: must be a fraction from 0 to 1, got 3.5" in caplog.text


@pytest.mark.parametrize(("quoted", "stored"), [("GBp", "GBP"), ("ZAc", "ZAR"), ("ILA", "ILS"), ("GBP", "GBP")])
async def test_the_currency_is_the_one_of_the_market_cap_where_prices_come_in_hundredths(
    provider: FundamentalsProvider, yahoo: LocalYahoo, quoted: str, stored: str
) -> None:
    yahoo.summaries["VOD.L"] = {"price": {"currency": quoted, "marketCap": 18e9}}
    found = await provider.fundamentals("VOD.L")
    assert (found.currency, found.market_cap) == (stored, 18e9)


async def test_the_volume_of_a_pair_is_unknown_as_it_is_money(
    provider: FundamentalsProvider, yahoo: LocalYahoo
) -> None:
    yahoo.summaries["BTC-USD"] = {"summaryDetail": {"marketCap": 1e12, "averageVolume": 30e9}}
    found = await provider.fundamentals("BTC/USD")
    assert (found.market_cap, found.average_volume) == (1e12, None)


# --- cookie and crumb ---


async def test_one_cookie_and_one_crumb_serve_all_symbols(
    provider: FundamentalsProvider, yahoo: LocalYahoo
) -> None:
    yahoo.summaries["MSFT"] = APPLE
    for symbol in ("AAPL", "MSFT", "AAPL"):
        await provider.fundamentals(symbol)
    assert (asked(yahoo, COOKIE), asked(yahoo, CRUMB), asked(yahoo, SUMMARY)) == (1, 1, 3)


async def test_a_cookie_that_yahoo_takes_no_more_is_replaced_though_it_is_kept_in_a_file(
    provider: FundamentalsProvider, yahoo: LocalYahoo
) -> None:
    for _ in range(3):
        assert await provider.fundamentals("AAPL") == KNOWN
        yahoo.forget_cookies()


async def test_an_unknown_symbol_does_not_cost_the_cookie(
    provider: FundamentalsProvider, yahoo: LocalYahoo
) -> None:
    await provider.fundamentals("AAPL")
    with pytest.raises(NotFound, match=r"^yahoo does not know NOSUCH$"):
        await provider.fundamentals("NOSUCH")
    assert await provider.fundamentals("AAPL") == KNOWN
    assert (asked(yahoo, COOKIE), asked(yahoo, CRUMB)) == (1, 1)


@pytest.mark.parametrize(
    ("fault", "sentence", "wait"),
    [
        (Fault.THROTTLED, "yahoo takes no more requests for now", 7),
        (Fault.BROKEN, r"yahoo is not available \(HTTP 500\)", None),
        (Fault.HTML, "yahoo takes no request of ours for now", None),
        (Fault.UNAUTHORIZED, "yahoo takes no request of ours for now", None),
    ],
)
async def test_who_gets_no_crumb_hears_why_and_may_ask_again(
    provider: FundamentalsProvider, yahoo: LocalYahoo, fault: Fault, sentence: str, wait: float | None
) -> None:
    yahoo.crumb_fault = fault
    with pytest.raises(TemporaryFailure, match=rf"^{sentence}$") as caught:
        await provider.fundamentals("AAPL")
    assert caught.value.retry_after_seconds == wait
    yahoo.crumb_fault = None
    assert await provider.fundamentals("AAPL") == KNOWN


async def test_bars_need_no_crumb(yahoo: LocalYahoo) -> None:
    yahoo.hold(STOCK, "1d", Bars.from_rows([(datetime(2024, 3, 7, tzinfo=UTC), 1.0, 1.0, 1.0, 1.0, 1.0)]))
    yahoo.crumb_fault = Fault.THROTTLED
    bars = YahooBarProvider(timeout=QUICK, clock=FakeClock(NOW))
    assert len(await bars.closed_bars(Series("AAPL", Timeframe.D1), NOW, 1)) == 1


async def test_bars_and_fundamentals_share_the_cookie(yahoo: LocalYahoo) -> None:
    yahoo.hold(STOCK, "1d", Bars.from_rows([(datetime(2024, 3, 7, tzinfo=UTC), 1.0, 1.0, 1.0, 1.0, 1.0)]))
    bars = YahooBarProvider(timeout=QUICK, clock=FakeClock(NOW))
    await bars.closed_bars(Series("AAPL", Timeframe.D1), NOW, 1)
    await YahooFundamentals(bars.client, FakeClock(NOW)).fundamentals("AAPL")
    assert (asked(yahoo, COOKIE), asked(yahoo, CRUMB)) == (1, 1)


async def test_the_cookie_is_kept_where_it_is_told_to_be_and_used_by_the_next_process(
    yahoo: LocalYahoo, tmp_path: Path
) -> None:
    code = (
        "import asyncio, sys; from datetime import timedelta; from pathlib import Path;"
        "from atf.adapters.providers.yahoo_client import YahooClient;"
        "from atf.adapters.providers.yahoo_fundamentals import YahooFundamentals;"
        "from atf.testing.yahoo_redirection import redirected;"
        "client = YahooClient(timedelta(seconds=5), 1, Path(sys.argv[2]));\n"
        "with redirected(sys.argv[1], in_memory=False):"
        "  print(asyncio.run(YahooFundamentals(client).fundamentals('AAPL')).name)"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    words = [sys.executable, "-W", "ignore", "-c", code, yahoo.url, str(tmp_path / "kept")]
    for _ in range(2):
        done = await asyncio.to_thread(
            subprocess.run, words, env=environment, capture_output=True, text=True, check=False
        )
        assert done.stdout == "Apple Inc.\n", done.stderr
    assert asked(yahoo, COOKIE) == 1
    assert (tmp_path / "kept" / "cookies.db").exists()
    assert list(home.rglob("*")) == []


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
        (Fault.UNAUTHORIZED, "yahoo takes no request of ours for now"),
        (Fault.WRONG_SYMBOL, "yahoo answered for MSFT when it was asked for AAPL"),
    ],
)
async def test_what_is_no_answer_is_a_temporary_failure_and_passes(
    provider: FundamentalsProvider, yahoo: LocalYahoo, fault: Fault, sentence: str
) -> None:
    yahoo.summary_fault = fault
    with pytest.raises(TemporaryFailure, match=rf"^{sentence}$") as caught:
        await provider.fundamentals("AAPL")
    assert caught.value.retry_after_seconds == (7 if fault is Fault.THROTTLED else None)
    yahoo.summary_fault = None
    assert await provider.fundamentals("AAPL") == KNOWN


@pytest.mark.parametrize(
    "modules",
    [
        {"summaryDetail": {"trailingPE": "cheap"}},
        {"summaryDetail": {"trailingPE": True}},
        {"assetProfile": {"sector": 7}},
        {"summaryDetail": {"trailingPE": [26.5]}},
    ],
)
async def test_values_of_another_kind_are_an_answer_that_cannot_be_read(
    provider: FundamentalsProvider, yahoo: LocalYahoo, modules: dict[str, dict[str, object]]
) -> None:
    yahoo.summaries["AAPL"] = modules
    with pytest.raises(TemporaryFailure, match="yahoo gave an answer that cannot be read"):
        await provider.fundamentals("AAPL")


async def test_an_empty_answer_and_one_that_says_nothing_are_not_found(
    provider: FundamentalsProvider, yahoo: LocalYahoo
) -> None:
    yahoo.summaries["AAPL"] = {}
    with pytest.raises(NotFound, match=r"^yahoo has no fundamentals of AAPL$"):
        await provider.fundamentals("AAPL")
    yahoo.summaries["AAPL"] = APPLE
    yahoo.summary_fault = Fault.EMPTY
    with pytest.raises(NotFound, match=r"^yahoo has no fundamentals of AAPL$"):
        await provider.fundamentals("AAPL")


@pytest.mark.parametrize("symbol", ["../AAPL", "US0378331005", "", "a b"])
async def test_what_is_no_symbol_is_not_asked_for(
    provider: FundamentalsProvider, yahoo: LocalYahoo, symbol: str
) -> None:
    with pytest.raises(NotFound, match="yahoo does not know"):
        await provider.fundamentals(symbol)
    assert yahoo.paths == []


async def test_who_is_cancelled_does_not_wait_for_the_answer(yahoo: LocalYahoo) -> None:
    provider = YahooFundamentals(YahooClient(timedelta(seconds=30), 2), FakeClock(NOW))
    yahoo.summary_fault = Fault.SILENT
    asking = asyncio.create_task(provider.fundamentals("AAPL"))
    await asyncio.to_thread(yahoo.asked.wait, 10)
    asking.cancel()
    async with asyncio.timeout(1):
        with pytest.raises(asyncio.CancelledError):
            await asking
    yahoo.summary_fault = None
    assert await provider.fundamentals("AAPL") == KNOWN, "the thread that hangs holds up no other"


async def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yfinance", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'atf\[yahoo\]'"):
        await YahooFundamentals(YahooClient(QUICK, 1)).fundamentals("AAPL")
