"""``atf fundamentals fetch``, run as a user runs it, with a local Yahoo on the other side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from atf.testing.processes import Installation

pytest.importorskip("yfinance")
from atf.testing.yahoo import Fault, LocalYahoo, local_yahoo

# Python runs a module of this name before all others: so does the command with yfinance led to the local Yahoo.
LEADING = """
import os
from atf.testing.yahoo_redirection import redirected
kept = redirected(os.environ["LOCAL_YAHOO"])
kept.__enter__()
"""


@pytest.fixture
def yahoo() -> Iterator[LocalYahoo]:
    with local_yahoo(datetime.now(UTC)) as made:
        for symbol, cap in (("AAPL", 3e12), ("BRK-B", 1e12)):
            made.summaries[symbol] = {
                "price": {"longName": f"{symbol} Inc.", "currency": "USD", "marketCap": cap},
                "summaryDetail": {"dividendYield": 0.0057, "trailingPE": 26.5, "averageVolume": 58_000_000},
            }
        yield made


@pytest.fixture
def installation(tmp_path: Path, database_url: str, yahoo: LocalYahoo) -> Iterator[Installation]:
    leading = tmp_path / "leading"
    leading.mkdir()
    (leading / "sitecustomize.py").write_text(LEADING)
    environment = {
        "ATF_DATABASE_URL": database_url,
        "LOCAL_YAHOO": yahoo.url,
        "PYTHONPATH": str(leading),
        "PYTHONWARNINGS": "ignore",
    }
    with Installation(environment, tmp_path / "home") as made:
        yield made


def shown(installation: Installation, symbol: str) -> list[dict[str, object]]:
    found = installation.run("fundamentals", "show", symbol, "--json")
    assert found.returncode == 0, found.stderr
    rows: list[dict[str, object]] = json.loads(found.stdout)
    return rows


def test_symbols_are_stored_as_of_today_though_one_of_them_is_unknown(installation: Installation) -> None:
    before = datetime.now(UTC).date()
    done = installation.run("fundamentals", "fetch", "aapl", "NOSUCH", "brk-b", "--provider", "yahoo")
    today = {str(before), str(datetime.now(UTC).date())}
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "NOSUCH: yahoo does not know NOSUCH",
        "atf: 1 of 3 symbols could not be fetched",
    ]
    assert done.stdout in {f"2 of 3 symbols are stored as of {day}.\n" for day in today}
    (apple,) = shown(installation, "AAPL")
    assert apple["as_of"] in today
    assert (apple["name"], apple["market_cap"], apple["dividend_yield"]) == ("AAPL Inc.", 3e12, 0.0057)
    (berkshire,) = shown(installation, "BRK.B")
    assert berkshire["market_cap"] == 1e12


def test_a_universe_is_fetched_and_shown_with_what_was_fetched(installation: Installation) -> None:
    symbols = installation.home / "mine.txt"
    symbols.write_text("AAPL\nBRK-B\n")
    installation.run("universes", "load", "mine", str(symbols), "--on", "2024-01-31")
    done = installation.run("fundamentals", "fetch", "--universe", "mine", "--json")
    assert done.returncode == 0, done.stderr
    fetched = json.loads(done.stdout)
    assert [(one["symbol"], one["fundamentals"]["pe"], one["error"]) for one in fetched] == [
        ("AAPL", 26.5, None),
        ("BRK.B", 26.5, None),
    ]
    described = json.loads(installation.run("universes", "show", "mine", "--fundamentals", "--json").stdout)
    assert [one["fundamentals"]["market_cap"] for one in described] == [3e12, 1e12]


def test_an_answer_that_cannot_be_used_is_told_as_json_and_leaves_nothing(
    installation: Installation, yahoo: LocalYahoo
) -> None:
    yahoo.summary_fault = Fault.EMPTY
    done = installation.run("fundamentals", "fetch", "AAPL", "--json")
    assert (done.returncode, done.stderr) == (1, "atf: 1 of 1 symbols could not be fetched\n")
    assert json.loads(done.stdout) == [
        {"symbol": "AAPL", "fundamentals": None, "error": "yahoo has no fundamentals of AAPL"}
    ]
    assert installation.run("fundamentals", "show", "AAPL").returncode == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "atf: --universe: give either symbols or --universe"),
        (("AAPL", "--universe", "mine"), "atf: --universe: give either symbols or --universe"),
        (("--universe", "none"), 'atf: there is no universe "none"'),
        (("A B",), 'atf: symbol: "A B" is no symbol'),
        (("AAPL", "--provider", "binance"), 'atf: --provider: "binance" gives no fundamentals; yahoo does'),
        (("AAPL", "--user", "eve"), "atf: there is no user 'eve'"),
    ],
)
def test_a_mistake_is_one_sentence_and_nobody_is_asked(
    installation: Installation, yahoo: LocalYahoo, words: tuple[str, ...], sentence: str
) -> None:
    refused = installation.run("fundamentals", "fetch", *words)
    assert refused.returncode == 1
    assert refused.stderr.startswith(sentence)
    assert refused.stderr.count("\n") == 1
    assert yahoo.paths == []
