"""``atf data``, run as a user runs it, on bars in the database."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from atf.market.adjustment import AdjustmentFactor
from atf.market.bars import Bars, Series, Timeframe
from atf.storage.adjustments_repository import PostgresAdjustments
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.testing.processes import Installation

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
COIN = Series("BTC/USDT", Timeframe.H1)
STOCK = Series("AAPL", Timeframe.D1)


@pytest.fixture
async def stored(database: Database) -> None:
    """Ten hours of a coin without two of them, and a stock's Thanksgiving week with a split."""
    store = PostgresBarStore(database)
    hours = [FIRST + n * HOUR for n in range(10) if n not in (4, 5)]
    await store.store(COIN, Bars.from_rows([(at, 100, 102, 99, 101, 7) for at in hours]))
    days = [datetime(2024, 11, day, tzinfo=UTC) for day in (25, 26, 27, 29)]
    prices = (200, 201, 100, float("nan"))
    await store.store(
        STOCK, Bars.from_rows([(day, p, p, p, p, 5.0) for day, p in zip(days, prices, strict=True)])
    )
    factor = AdjustmentFactor(date(2024, 11, 26), 1.0, 0.5)
    await PostgresAdjustments(database).replace("AAPL", [factor], source="test")


@pytest.fixture
def installation(tmp_path: Path, database_url: str, stored: None) -> Iterator[Installation]:
    del stored
    with Installation({"ATF_DATABASE_URL": database_url, "PYTHONUTF8": "1"}, tmp_path / "home") as made:
        yield made


def told(installation: Installation, *words: str) -> str:
    done = installation.run("data", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_stored_series_are_listed(installation: Installation) -> None:
    listed = json.loads(told(installation, "list", "--json"))
    assert [list(one.values()) for one in listed] == [
        ["AAPL", "1d", 4, "2024-11-25T00:00:00Z", "2024-11-29T00:00:00Z"],
        ["BTC/USDT", "1h", 8, "2024-01-01T00:00:00Z", "2024-01-01T09:00:00Z"],
    ]
    assert "BTC/USDT" in told(installation, "list")


def test_the_newest_bars_are_shown_raw_and_adjusted_in_any_spelling_of_the_symbol(
    installation: Installation,
) -> None:
    assert json.loads(told(installation, "show", "btcusdt", "1h", "--last", "1", "--json")) == [
        {"bar": "2024-01-01T09:00:00Z", "open": 100, "high": 102, "low": 99, "close": 101, "volume": 7}
    ]
    raw = json.loads(told(installation, "show", "aapl", "1d", "--json"))
    assert [bar["close"] for bar in raw] == [200, 201, 100, None]
    adjusted = json.loads(told(installation, "show", "AAPL", "1d", "--adjusted", "--json"))
    assert [bar["close"] for bar in adjusted] == [100, 100.5, 100, None]
    assert adjusted[0]["volume"] == 10
    assert "2024-11-27 00:00:00Z" in told(installation, "show", "AAPL", "1d")


def test_bars_are_drawn_into_a_file_or_the_terminal(installation: Installation, tmp_path: Path) -> None:
    picture = tmp_path / "aapl.png"
    told(installation, "show", "AAPL", "1d", "--chart", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert told(installation, "show", "AAPL", "1d", "--chart", "-").strip("\n") == "██▁ "


def test_without_the_extra_the_chart_is_drawn_in_the_terminal_and_the_command_fails(
    installation: Installation, tmp_path: Path
) -> None:
    hidden = tmp_path / "hidden"
    (hidden / "matplotlib").mkdir(parents=True)
    (hidden / "matplotlib" / "__init__.py").write_text("raise ImportError('hidden')")
    installation.environment["PYTHONPATH"] = str(hidden)
    refused = installation.run("data", "show", "AAPL", "1d", "--chart", str(tmp_path / "a.png"))
    assert refused.returncode == 1
    assert refused.stderr == "atf: charts need an extra: pip install 'atf[charts]'\n"
    assert refused.stdout.strip("\n") == "██▁ "


def test_a_check_says_what_is_missing_and_ends_with_a_verdict(installation: Installation) -> None:
    lines = told(installation, "check", "BTC/USDT", "1h").splitlines()
    assert lines[0] == "8 bars from 2024-01-01 to 2024-01-01 09:00Z; the calendar 24/7 expects 10."
    assert lines[1] == "2 bars are missing from 2024-01-01 04:00Z to 2024-01-01 05:00Z."
    assert lines[2].startswith("Stale: bars up to ")
    assert lines[3] == "BTC/USDT 1h: 2 findings."
    part = told(
        installation, "check", "BTC/USDT", "1h", "--since", "2024-01-01T06:00", "--until", "2024-01-01T10:00"
    )
    assert part.splitlines()[-1] == "BTC/USDT 1h is complete and nothing in it looks wrong."


def test_a_check_knows_holidays_half_days_and_splits_that_have_a_factor(installation: Installation) -> None:
    found = json.loads(told(installation, "check", "AAPL", "1d", "--until", "2024-12-01", "--json"))
    assert found["coverage"] == {"expected": 4, "missing": 0, "gap_count": 0, "gaps": []}
    assert (found["calendar"], found["jumps"]["count"], found["outside"]) == ("XNYS", 0, 0)


def test_gaps_are_listed(installation: Installation) -> None:
    assert told(installation, "gaps", "BTC/USDT", "1h").splitlines() == [
        "2 bars are missing from 2024-01-01 04:00Z to 2024-01-01 05:00Z.",
        "BTC/USDT 1h: 2 of 10 bars are missing.",
    ]
    assert json.loads(told(installation, "gaps", "BTC/USDT", "1h", "--since", "2024-01-01T06:00", "--json")) == []


def test_bars_are_exported_as_they_are_or_adjusted(installation: Installation, tmp_path: Path) -> None:
    file = tmp_path / "aapl.csv"
    said = told(
        installation, *("export", "AAPL", "1d", str(file), "--adjusted", "--since", "2024-11-26"),
        *("--until", "2024-11-28"),
    )  # fmt: skip
    assert said == f"2 bars of AAPL 1d are in {file}.\n"
    with file.open(newline="") as opened:
        assert [row["close"] for row in csv.DictReader(opened)] == ["100.5", "100.0"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("show", "NOPE", "1d"), "atf: no bars of NOPE 1d are stored; see: atf data list"),
        (("check", "AAPL", "1d", "--since", "2030-01-01"), "atf: no bars of AAPL 1d are stored since 2030-01-01"),
        (("show", "A B", "1d"), 'atf: symbol: "A B" is no symbol; write one such as'),
        (("gaps", "AAPL", "1d", "--since", "x"), "atf: --since: must be a time such as"),
        (
            ("check", "AAPL", "1d", "--since", "2024-02-01", "--until", "2024-01-01"),
            "atf: --since: must be earlier than --until",
        ),
        (("show", "AAPL", "1d", "--chart", "a.gif"), "atf: chart: must end in .png, got a.gif"),
        (("check", "AAPL", "1d", "--since", "0001-01-01"), "atf: --since: must be in the years 1678 to 2261"),
        (("gaps", "AAPL", "1d", "--since", "9999-12-31"), "atf: --since: must be in the years 1678 to 2261"),
        (
            ("fetch", "AAPL", "--from", "simulated", "--since", "2024-02-01", "--until", "2024-01-01"),
            "atf: --since: must be earlier than --until",
        ),
    ],
)
def test_a_mistake_about_data_is_one_sentence(
    installation: Installation, words: tuple[str, ...], sentence: str
) -> None:
    refused = installation.run("data", *words)
    assert refused.returncode == 1
    assert refused.stderr.startswith(sentence)
    assert refused.stderr.count("\n") == 1


def test_prices_without_factors_are_said_to_be_raw(installation: Installation) -> None:
    done = installation.run("data", "show", "BTC/USDT", "1h", "--adjusted", "--json")
    assert done.stderr == "No adjustment factors of BTC/USDT are stored: prices are raw.\n"
    assert json.loads(done.stdout)[-1]["close"] == 101


def bar_file(folder: Path, name: str, *days: str, head: str = "timestamp,open,high,low,close,volume") -> Path:
    path = folder / name
    path.write_text("\n".join([head, *(f"{day},10,12,9,11,5" for day in days)]) + "\n")
    return path


def test_a_file_that_is_refused_after_others_leaves_these_stored_and_told(
    installation: Installation, tmp_path: Path
) -> None:
    good = bar_file(tmp_path, "MSFT.csv", "2024-01-02", "2024-01-03")
    bad = bar_file(tmp_path, "GOOG.csv", "2024-01-02", "soon")
    done = installation.run("data", "import", str(good), str(bad), "--timeframe", "1d")
    assert done.returncode == 1
    assert done.stdout == "MSFT 1d: 2 bars stored, 2024-01-02 00:00Z to 2024-01-03 00:00Z\n"
    assert done.stderr.startswith(f"atf: {bad}, line 3, column 'timestamp': 'soon' is not a time")


def test_a_file_without_a_symbol_is_that_of_its_name(installation: Installation, tmp_path: Path) -> None:
    for name in ("BRK-B.csv", "VOD.L.csv", "ETHUSDT_1d.csv"):
        told(installation, "import", str(bar_file(tmp_path, name, "2024-01-02", "2024-01-03")))
    listed = json.loads(told(installation, "list", "--json"))
    assert [one["symbol"] for one in listed] == ["AAPL", "BRK.B", "BTC/USDT", "ETH/USDT", "VOD.L"]


@pytest.mark.parametrize(
    "days",
    [
        ("2024-01-02T00:00:00+11:00", "2024-01-03T00:00:00+11:00"),
        ("2024-01-02 16:00", "2024-01-03 16:00"),
        ("2024-01-01T23:00:00Z", "2024-01-02T23:00:00Z"),
    ],
    ids=["midnight", "close by its clock", "opening"],
)
def test_daily_bars_with_a_time_of_day_get_their_sessions_date(
    installation: Installation, tmp_path: Path, days: tuple[str, ...]
) -> None:
    file = bar_file(tmp_path, "bhp.csv", *days)
    said = told(installation, "import", str(file), "--symbol", "BHP.AX", "--timeframe", "1d")
    assert said == "BHP.AX 1d: 2 bars stored, 2024-01-02 00:00Z to 2024-01-03 00:00Z\n"


def test_weeks_that_are_dated_sunday_need_a_word(installation: Installation, tmp_path: Path) -> None:
    words = "import", str(bar_file(tmp_path, "MSFT.csv", "2024-01-07", "2024-01-14")), "--timeframe", "1w"
    refused = installation.run("data", *words)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "atf: --weekend-date: is needed for weeks that are dated Sunday: opens if it is the day before their "
        "Monday, ends if it is their last day\n"
    )
    said = told(installation, *words, "--weekend-date", "ends")
    assert said == "MSFT 1w: 2 bars stored, 2024-01-01 00:00Z to 2024-01-08 00:00Z\n"


def test_a_file_with_what_is_no_symbol_is_refused(installation: Installation, tmp_path: Path) -> None:
    head = "symbol,timestamp,open,high,low,close,volume"
    file = bar_file(tmp_path, "many.csv", "MSFT,2024-01-02", "; DROP,2024-01-02", head=head)
    done = installation.run("data", "import", str(file), "--timeframe", "1d")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith('atf: symbol: "; DROP" is no symbol; write one such as')
    assert "MSFT" not in told(installation, "list")


def test_a_file_of_several_symbols_of_which_one_is_refused_leaves_nothing_stored(
    installation: Installation, tmp_path: Path
) -> None:
    rows = ["MSFT,2024-01-02", "MSFT,2024-01-03", "GOOG,2024-01-02T00:00", "GOOG,2024-01-02T00:07"]
    head = "symbol,timestamp,open,high,low,close,volume"
    file = bar_file(tmp_path, "many.csv", *rows, head=head)
    done = installation.run("data", "import", str(file), "--timeframe", "1d")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("atf: timeframe: the bars are 0:07:00 apart, not 1d")
    assert "MSFT" not in told(installation, "list")


def test_a_file_of_which_no_bar_can_be_used_is_a_failure(installation: Installation, tmp_path: Path) -> None:
    done = installation.run("data", "import", str(bar_file(tmp_path, "MSFT.csv")), "--timeframe", "1d")
    assert (done.returncode, done.stdout) == (1, "MSFT 1d: no bar can be used\n")
    assert done.stderr == "atf: 1 of 1 series have no bar that can be used\n"
