"""Settings that choose by symbol."""

from __future__ import annotations

import pytest

from atf.errors import InvalidInput
from atf.market.patterns import Patterns
from atf.market.symbols import canonical


def parsed(text: str) -> Patterns:
    return Patterns.parse(text, field="symbol_providers", spelled=canonical)


def test_the_first_pattern_that_fits_counts() -> None:
    patterns = parsed("*/USDT=binance, kraken ; BTC/*=coinbase;; *=yahoo")
    found = [patterns.find(symbol) for symbol in ("BTC/USDT", "BTC/USD", "AAPL")]
    assert found == [("binance", "kraken"), ("coinbase",), ("yahoo",)]
    assert patterns.values() == {"binance", "kraken", "coinbase", "yahoo"}


def test_without_a_fitting_pattern_nothing_is_chosen() -> None:
    assert parsed("AAPL=yahoo").find("MSFT") == ()
    assert parsed("  ").find("MSFT") == ()


def test_a_symbol_in_a_pattern_may_be_written_in_any_spelling() -> None:
    patterns = parsed("btcusdt=binance; EURUSD=X=yahoo; *.l=yahoo")
    assert [bool(patterns.find(symbol)) for symbol in ("BTC/USDT", "EUR/USD", "VOD.L")] == [True] * 3


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("AAPL", 'symbol_providers: "AAPL" is not PATTERN=VALUE,VALUE, such as'),
        ("=yahoo", "is not PATTERN=VALUE,VALUE"),
        ("AAPL=", "is not PATTERN=VALUE,VALUE"),
        ("AAPL=yahoo,,x", "is not PATTERN=VALUE,VALUE"),
        ("A B=yahoo", '"A B=yahoo": "A B" is no symbol'),
        ("aapl=yahoo; AAPL=files", 'has "AAPL" twice'),
    ],
)
def test_a_mistake_is_one_sentence_with_the_settings_name(text: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence) as refused:
        parsed(text)
    assert refused.value.field == "symbol_providers"
