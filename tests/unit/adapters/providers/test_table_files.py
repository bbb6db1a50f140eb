"""Files of symbols and of fundamentals."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from atf.adapters.providers.fundamental_files import read_fundamentals
from atf.adapters.providers.universe_files import read_symbols
from atf.errors import InvalidInput
from atf.market.fundamentals import Fundamentals

DAY = date(2024, 1, 31)
COMPANIES = Path(__file__).parents[3] / "data" / "fundamentals" / "companies.csv"
REAL = Path(__file__).parents[4] / "../shared/data/fundamentals"


def written(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "name,Ticker\nx,brk-b\ny,AAPL\ny,AAPL\n"),
        ("a.txt", "# mine\nAAPL\n\nBRK-B\n"),
        ("a.csv", "Symbol\nAAPL\nBRK.B\n"),
        ("a.json", '["AAPL", "BRK.B"]'),
        ("a.json", '[{"ticker": "AAPL"}, {"ticker": "BRK-B", "x": 1}]'),
    ],
)
def test_symbols_come_from_a_column_or_lines(tmp_path: Path, name: str, text: str) -> None:
    assert read_symbols(written(tmp_path, name, text)) == ("AAPL", "BRK.B")


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.csv", "symbol\nAAPL\nA B\n", "line 3, column 'symbol': \"A B\" is no symbol"),
        ("a.csv", "name,isin\nx,y\n", "line 1: no column symbol or ticker; found: name, isin"),
        ("a.csv", "symbol,x\nA\n", "line 2: 1 cells, but the first line has 2"),
        ("a.csv", "", "has no symbols"),
        ("a.csv", "symbol\n", "has no symbols"),
        ("a.json", "[1]", "item 0: not an object"),
        ("a.json", '{"a": 1}', "not a list"),
        ("a.json", "[", "line 1: not JSON"),
        ("a.xls", "", "allowed are .csv, .csv.gz, .txt"),
        ("a.parquet", "PAR1", "not a Parquet file"),
    ],
)
def test_a_broken_file_of_symbols_is_one_sentence(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    path = written(tmp_path, name, text)
    with pytest.raises(InvalidInput) as refused:
        read_symbols(path)
    assert str(path) in str(refused.value)
    assert sentence in str(refused.value)


def test_columns_have_their_usual_names_and_units() -> None:
    found = read_fundamentals(COMPANIES, DAY)
    assert found.repeated == 1
    assert found.rows == (
        Fundamentals(
            *("AAA", DAY, "Alpha & Sons", "Industrials", "Machinery", None, 92.4e9, 31.8, 5.63, 0.0175, 1.2e6)
        ),
        Fundamentals(
            "BRK.B", DAY, "Beta Holdings", "Financials", market_cap=1e12, eps=-2.5, average_volume=3.5e6
        ),
        Fundamentals("CCC", DAY, "Gamma", "Utilities", "Water", None, 250e6, None, 0.0, 0.004),
    )


def test_json_and_parquet_say_the_same_as_csv(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [
        {"symbol": "A", "date": "2024-01-30", "pe": 3.5, "yield_pct": 2},
        {"symbol": "B", "date": "2024-01-31"},
    ]
    path = written(tmp_path, "a.json", json.dumps(rows))
    expected = (
        Fundamentals("A", date(2024, 1, 30), pe=3.5, dividend_yield=0.02),
        Fundamentals("B", DAY),
    )
    assert read_fundamentals(path, date(2000, 1, 1)).rows == expected
    table = arrow.table(
        {"symbol": ["A", "B"], "date": [date(2024, 1, 30), DAY], "pe": [3.5, None], "yield_pct": [2.0, None]}
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    assert read_fundamentals(tmp_path / "a.parquet", date(2000, 1, 1)).rows == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "symbol,dividend_yield\nA,0.01\nB,1.75\n",
            "line 3, column 'dividend_yield': a yield of 1.75 is above 1",
        ),
        ("symbol,Yield %\nA,250\n", "line 2, column 'Yield %': must be a fraction from 0 to 1"),
        ("symbol,Market Cap\nA,lots\n", "line 2, column 'Market Cap': \"lots\" is not a number"),
        ("symbol,market_cap\nA,-1\n", "line 2, column 'market_cap': must be 0 or more"),
        ("symbol,pe\n,1\n", "line 2, column 'symbol': \"\" is no symbol"),
        ("symbol,date,pe\nA,20240131x,1\n", "line 2, column 'date': '20240131x' is not a day"),
        ("symbol,price\nA,1\n", "no column of fundamentals (name, sector"),
        ("name,pe\nA,1\n", "no column symbol or ticker; found: name, pe"),
        ("symbol,pe,PE\nA,1,2\n", "column 'pe': there is more than one column of pe"),
        ("", "line 1: is empty"),
    ],
)
def test_a_broken_file_of_fundamentals_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = written(tmp_path, "a.csv", text)
    with pytest.raises(InvalidInput) as refused:
        read_fundamentals(path, DAY)
    assert str(refused.value).startswith(str(path))
    assert sentence in str(refused.value)


def test_a_day_for_a_file_that_has_days_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "symbol,as_of,pe\nA,2024-01-01,1\n")
    with pytest.raises(InvalidInput, match="leave out --as-of"):
        read_fundamentals(path, DAY, as_of=DAY)


@pytest.mark.skipif(not REAL.exists(), reason="the real files are not here")
def test_real_files_are_read_whole() -> None:
    companies = read_fundamentals(next(REAL.glob("sp500_*.csv")), DAY)
    assert (len(companies.rows), companies.repeated) == (503, 0)
    assert sum(row.market_cap is None for row in companies.rows) == 34
    market = next(REAL.glob("us_coarse_*.csv"))
    assert read_fundamentals(market, DAY).repeated == 7
    assert len(read_symbols(market)) == len(read_fundamentals(market, DAY).rows)
