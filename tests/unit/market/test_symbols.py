"""Symbols: the one spelling inside, and those of people and providers."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.errors import InvalidInput
from atf.market.patterns import Patterns
from atf.market.symbols import (
    calendar_name,
    canonical,
    file_spellings,
    is_fiat_pair,
    is_pair,
    joined,
    yahoo_symbol,
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("BTCUSDT", "BTC/USDT"),
        ("BTC-USD", "BTC/USD"),
        ("BTC_USDT", "BTC/USDT"),
        ("btc/usdt", "BTC/USDT"),
        (" ethbtc ", "ETH/BTC"),
        ("XBTUSD", "BTC/USD"),
        ("1000SATSUSDT", "1000SATS/USDT"),
        ("UNITTEST_BTC", "UNITTEST/BTC"),
        ("BTC/USDT:USDT", "BTC/USDT:USDT"),
        ("EURUSD", "EUR/USD"),
        ("EURUSD=X", "EUR/USD"),
        ("JPY=X", "USD/JPY"),
        ("EUR.USD", "EUR/USD"),
        ("xauusd", "XAU/USD"),
        ("aapl", "AAPL"),
        ("BRK-B", "BRK.B"),
        ("BRK/B", "BRK.B"),
        ("BRK.B", "BRK.B"),
        ("^GSPC", "^GSPC"),
        ("7203.T", "7203.T"),
        ("vod.l", "VOD.L"),
        ("VOLV-B.ST", "VOLV-B.ST"),
        ("ES=F", "ES=F"),
        ("USDT", "USDT"),
    ],
)
def test_what_people_and_providers_write_has_one_spelling_inside(written: str, meant: str) -> None:
    assert canonical(written) == meant


@pytest.mark.parametrize(
    ("written", "meant"), [("DOTUSD", "DOT/USD"), ("ARBUSD", "ARB/USD"), ("BTCTUSD", "BTC/TUSD")]
)
def test_a_coin_that_is_known_decides_where_a_pair_in_one_word_is_parted(written: str, meant: str) -> None:
    assert canonical(written) == meant


@pytest.mark.parametrize("symbol", ["GOOGL", "MUSD", "ABCUSD", "HYUNDAI", "NETH", "SPY", "A_XYZ"])
def test_letters_that_may_be_a_stock_are_left_alone(symbol: str) -> None:
    assert canonical(symbol) == symbol


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "BTC/",
        "/USDT",
        "BTC/BTC",
        "A B",
        "../AAPL",
        "A..B",
        "AAPL.",
        "ÄÖ",
        "ß",
        "A/B/C",
        "X\0",
        "A" * 65,
    ],
)
def test_what_is_no_symbol_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidInput, match="write one such as AAPL, BTC/USDT or EUR/USD") as refused:
        canonical(text)
    assert refused.value.field == "symbol"


@given(st.text(alphabet="ABCUSDTEXRP01=^$.-_/:+& lv", max_size=14))
def test_the_spelling_inside_stays_as_it_is_however_it_is_written(text: str) -> None:
    with suppress(InvalidInput):
        inside = canonical(text)
        assert canonical(inside) == inside


WORD = st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=2, max_size=6)


@given(WORD, st.sampled_from(["USD", "USDT", "EUR", "BTC"]))
def test_yahoo_and_files_spell_a_pair_so_that_it_is_the_same_inside(base: str, quote: str) -> None:
    if base in {quote, "XBT"}:
        return
    pair = f"{base}/{quote}"
    assert canonical(yahoo_symbol(pair)) == pair
    assert canonical(file_spellings(pair)[0]) == pair


@pytest.mark.parametrize(
    ("symbol", "at_yahoo"),
    [
        ("BTC/USD", "BTC-USD"),
        ("EUR/USD", "EURUSD=X"),
        ("BRK.B", "BRK-B"),
        ("VOD.L", "VOD.L"),
        ("SHOP.V", "SHOP.V"),
        ("^GSPC", "^GSPC"),
        ("AAPL", "AAPL"),
    ],
)
def test_yahoo_has_spellings_of_its_own(symbol: str, at_yahoo: str) -> None:
    assert yahoo_symbol(symbol) == at_yahoo
    assert canonical(at_yahoo) == symbol


def test_exchanges_write_a_pair_in_one_word() -> None:
    assert [joined(symbol) for symbol in ("BTC/USDT", "BTC/USDT:USDT", "AAPL")] == ["BTCUSDT", "BTCUSDT", "AAPL"]


def test_files_of_a_symbol_may_have_several_names() -> None:
    assert file_spellings("BTC/USDT")[:3] == ("BTC_USDT", "BTC-USDT", "BTCUSDT")
    assert file_spellings("BRK.B")[:2] == ("BRK.B", "BRK-B")
    assert file_spellings("AAPL") == ("AAPL", "aapl")


def test_pairs_are_told_from_stocks_and_currencies_from_coins() -> None:
    assert [is_pair(symbol) for symbol in ("BTC/USDT", "EUR/USD", "AAPL")] == [True, True, False]
    assert [is_fiat_pair(symbol) for symbol in ("BTC/USD", "EUR/USD", "AAPL")] == [False, True, False]


@pytest.mark.parametrize(
    ("symbol", "calendar"),
    [
        ("BTC/USDT", "24/7"),
        ("BTC/USD", "24/7"),
        ("EUR/USD", "24/5"),
        ("XAU/USD", "24/5"),
        ("AAPL", "XNYS"),
        ("BRK.B", "XNYS"),
        ("^GSPC", "XNYS"),
        ("^N225", "XTKS"),
        ("VOD.L", "XLON"),
        ("SAP.DE", "XETR"),
        ("MC.PA", "XPAR"),
        ("7203.T", "XTKS"),
        ("RY.TO", "XTSE"),
        ("0700.HK", "XHKG"),
        ("ASML.AS", "XAMS"),
        ("ENI.MI", "XMIL"),
        ("SAN.MC", "XMAD"),
        ("NESN.SW", "XSWX"),
        ("BHP.AX", "XASX"),
        ("ES=F", "CMES"),
        ("ODD.ZZ", "24/5"),
    ],
)
def test_a_symbol_says_on_which_calendar_it_trades(symbol: str, calendar: str) -> None:
    assert calendar_name(symbol) == calendar


def test_the_users_choice_of_a_calendar_comes_first() -> None:
    chosen = Patterns.parse("*.ZZ=XJSE; btcusdt=24/5", field="symbol_calendars", spelled=canonical)
    symbols = ("ODD.ZZ", "BTC/USDT", "AAPL")
    assert [calendar_name(symbol, chosen) for symbol in symbols] == ["XJSE", "24/5", "XNYS"]
