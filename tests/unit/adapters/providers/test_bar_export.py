"""What is written is what is read: exactly, whole, or not at all."""

from __future__ import annotations

import gzip
import sys
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atf.adapters.providers import bar_export
from atf.adapters.providers.bar_export import write_bars
from atf.adapters.providers.bar_files import UNNAMED, read_bars, read_file
from atf.errors import ConfigurationError, InvalidInput
from atf.market.bars import COLUMNS, Bars

ENDINGS = [".csv", ".csv.gz", ".json", ".json.gz", ".parquet"]
FIRST = datetime(2024, 1, 2, tzinfo=UTC)
SOME = Bars.from_rows(
    [(FIRST, 1.0, 2.0, 0.5, 1.5, float("nan")), (FIRST.replace(day=3), 1.0, 2.0, 1.0, 1.1, 7.0)]
)

values = st.floats(allow_infinity=False, allow_subnormal=True)
microseconds = st.integers(-8_000_000_000_000_000, 8_000_000_000_000_000)


@st.composite
def runs_of_bars(draw: st.DrawFn) -> Bars:
    times = sorted(draw(st.sets(microseconds, max_size=12)))
    rows = draw(st.lists(st.tuples(*[values] * 5), min_size=len(times), max_size=len(times)))
    return Bars.from_columns(
        np.array(times, dtype=np.int64) * 1000, np.array(rows, dtype=np.float64).reshape(-1, 5)
    )


def same(one: Bars, other: Bars) -> bool:
    return np.array_equal(one.open_time, other.open_time) and all(
        np.array_equal(one.column(name), other.column(name), equal_nan=True) for name in COLUMNS
    )


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=60, deadline=None)
@given(bars=runs_of_bars(), symbol=st.sampled_from(["AAPL", "BTC/USDT", "BRK.B", "EUR/USD", "^GSPC", "7203.T"]))
def test_what_was_written_is_read_exactly(ending: str, bars: Bars, symbol: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"a{ending}"
        write_bars(path, bars, symbol)
        assert same(read_bars(path), bars)
        assert read_file(path).keys() - {UNNAMED} == ({symbol} if len(bars) else set())


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_same_bars_are_the_same_bytes(tmp_path: Path, ending: str) -> None:
    one, other = tmp_path / f"one{ending}", tmp_path / f"other{ending}"
    write_bars(one, SOME, "AAPL")
    write_bars(other, SOME, "AAPL")
    assert one.read_bytes() == other.read_bytes()


def test_a_csv_file_is_what_a_person_expects(tmp_path: Path) -> None:
    write_bars(tmp_path / "new" / "a.csv.gz", SOME, "AAPL")
    assert gzip.decompress((tmp_path / "new" / "a.csv.gz").read_bytes()).decode().splitlines() == [
        "timestamp,symbol,open,high,low,close,volume",
        "2024-01-02T00:00:00Z,AAPL,1.0,2.0,0.5,1.5,",
        "2024-01-03T00:00:00Z,AAPL,1.0,2.0,1.0,1.1,7.0",
    ]


def test_what_breaks_off_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    write_bars(path, SOME, "AAPL")
    before = path.read_bytes()

    def half(bars: Bars) -> list[str]:
        assert [each.name for each in tmp_path.iterdir() if each.suffix == ".csv"] == ["a.csv"]
        raise KeyboardInterrupt

    monkeypatch.setattr(bar_export, "_texts", half)
    with pytest.raises(KeyboardInterrupt):
        write_bars(path, SOME.last(1), "AAPL")
    assert [each.name for each in tmp_path.iterdir()] == ["a.csv"]
    assert path.read_bytes() == before


def test_times_finer_than_text_can_say_are_refused_and_parquet_holds_them(tmp_path: Path) -> None:
    bars = Bars.from_columns(np.array([1, 2001], dtype=np.int64), np.ones((2, 5)))
    with pytest.raises(InvalidInput, match="between two microseconds"):
        write_bars(tmp_path / "a.csv", bars, "A")
    write_bars(tmp_path / "a.parquet", bars, "A")
    assert same(read_bars(tmp_path / "a.parquet"), bars)


def test_other_endings_and_places_are_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"a\.xlsx cannot be written: a file of bars ends in \.csv, "):
        write_bars(tmp_path / "a.xlsx", SOME, "A")
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match=r"a\.csv cannot be written: "):
        write_bars(tmp_path / "file" / "a.csv", SOME, "A")


def test_parquet_without_its_extra_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'atf\[parquet\]'"):
        write_bars(tmp_path / "a.parquet", SOME, "A")
    assert list(tmp_path.iterdir()) == []
