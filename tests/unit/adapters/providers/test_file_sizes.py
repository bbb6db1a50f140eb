"""How much of a file is read: a few kilobytes can be packed out of gigabytes."""

from __future__ import annotations

import gzip
import json
from datetime import date
from pathlib import Path

import pytest

from atf.adapters.providers import csv_bars, factor_files, json_bars, parquet_bars, table_files
from atf.adapters.providers.bar_files import read_bars
from atf.adapters.providers.factor_files import read_factors
from atf.adapters.providers.fundamental_files import read_fundamentals
from atf.adapters.providers.universe_files import read_symbols
from atf.errors import InvalidInput
from atf.security.limits import LONGEST_LINE

MIB = 1024**2
BARS = "timestamp,open,high,low,close,volume\n"
ROW = "2024-01-02T00:00:00Z,1,2,0.5,1.5,100\n"
REFUSED = "has more than 1 MiB of text, the most that is read"


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_bars, "LARGEST_BAR_FILE", MIB)
    monkeypatch.setattr(json_bars, "LARGEST_BAR_FILE", MIB)
    monkeypatch.setattr(table_files, "LARGEST_TABLE", MIB)
    monkeypatch.setattr(factor_files, "LARGEST_TABLE", MIB)
    monkeypatch.setattr(parquet_bars, "MOST_BAR_ROWS", 10)
    monkeypatch.setattr(table_files, "MOST_TABLE_ROWS", 10)


def written(path: Path, text: str) -> Path:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_rows_of_bars_without_end_are_refused_on_the_way(tmp_path: Path, name: str) -> None:
    rows = (MIB - len(BARS)) // len(ROW)
    assert len(read_bars(written(tmp_path / name, BARS + ROW * rows))) == 1
    with pytest.raises(InvalidInput, match=REFUSED):
        read_bars(written(tmp_path / name, BARS + ROW * (rows + 1)))


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_a_document_of_bars_without_end_is_refused(tmp_path: Path, name: str) -> None:
    assert len(read_bars(written(tmp_path / name, "[]" + " " * (MIB - 2)))) == 0
    with pytest.raises(InvalidInput, match=REFUSED):
        read_bars(written(tmp_path / name, "[" + " " * MIB + "]"))


def test_a_line_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_bars, "LARGEST_BAR_FILE", 64 * MIB)
    with pytest.raises(InvalidInput, match=f"has a line of more than {LONGEST_LINE} characters"):
        read_bars(written(tmp_path / "a.csv.gz", BARS + "," * (LONGEST_LINE + 1)))


@pytest.mark.parametrize("name", ["a.csv", "a.txt.gz", "a.csv.gz"])
def test_a_list_of_symbols_without_end_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match=REFUSED):
        read_symbols(written(tmp_path / name, "AAPL\n" * (MIB // 4)))


def test_a_document_of_symbols_without_end_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=REFUSED):
        read_symbols(written(tmp_path / "a.json.gz", json.dumps(["A" * 50] * (MIB // 50))))


def test_fundamentals_and_factors_without_end_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=REFUSED):
        read_fundamentals(
            written(tmp_path / "a.csv.gz", "symbol,pe\n" + "AAPL,1\n" * (MIB // 6)), date(2024, 1, 1)
        )
    with pytest.raises(InvalidInput, match=REFUSED):
        read_factors(written(tmp_path / "f.csv", "date,price_factor,split_factor\n" + "\n" * MIB))


@pytest.mark.parametrize("rows", [10, 11])
def test_parquet_is_refused_by_its_number_of_rows_before_it_is_unpacked(tmp_path: Path, rows: int) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    columns = {name: [1.0] * rows for name in ("open", "high", "low", "close", "volume")}
    parquet.write_table(arrow.table({"time": list(range(rows)), **columns}), tmp_path / "bars.parquet")
    parquet.write_table(arrow.table({"symbol": [f"S{n}" for n in range(rows)]}), tmp_path / "symbols.parquet")
    if rows == 10:
        assert len(read_bars(tmp_path / "bars.parquet")) == len(read_symbols(tmp_path / "symbols.parquet")) == 10
        return
    for read, name in ((read_bars, "bars"), (read_symbols, "symbols")):
        with pytest.raises(InvalidInput, match="has 11 rows; at most 10 are read"):
            read(tmp_path / f"{name}.parquet")
