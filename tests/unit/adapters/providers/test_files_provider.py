import gzip
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from atf.adapters.providers import bar_files, files
from atf.adapters.providers.bar_files import parse_time, read_bars
from atf.adapters.providers.files import FilesBarProvider, file_stem
from atf.errors import ConfigurationError, InvalidInput, NotFound, TemporaryFailure
from atf.market.bars import COLUMNS, Bars, Series, Timeframe, to_nanoseconds
from atf.market.data_manager import DataManager

HEADER = "timestamp,open,high,low,close,volume"
LATER = datetime(2100, 1, 1, tzinfo=UTC)
DAILY = Series("AAPL", Timeframe.D1)
SHARED = Path(__file__).parents[4] / "../shared/data/ohlcv"


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def row(time: str, close: float = 1.5) -> str:
    return f"{time},1,2,0.5,{close},100"


async def closes(provider: FilesBarProvider, series: Series = DAILY) -> list[float]:
    return [float(each) for each in (await provider.closed_bars(series, LATER, 99)).close]


# --- what a file may look like ---


@pytest.mark.parametrize("name", ["timestamp", "time", "date", "open_time", "Timestamp", " DATE "])
def test_header_names_are_matched_in_any_case(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.csv", f"{name},Open,HIGH,low,Close,Volume", row("2024-01-02"))
    assert read_bars(path).close.tolist() == [1.5]


def test_columns_may_come_in_any_order_among_others(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "close,note,volume,low,high,open,date", "4,hello,5,3,2,1,2024-01-02")
    bars = read_bars(path)
    assert [float(bars.column(name)[0]) for name in COLUMNS] == [1, 2, 3, 4, 5]


def test_a_byte_order_mark_and_empty_lines_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"\ufeff{HEADER}\r\n\r\n{row('2024-01-02')}\r\n\r\n", encoding="utf-8")
    assert len(read_bars(path)) == 1


def test_a_file_of_a_header_alone_has_no_bars(tmp_path: Path) -> None:
    assert len(read_bars(write(tmp_path / "a.csv", HEADER))) == 0


def test_rows_are_sorted_and_of_equal_times_the_last_one_counts(tmp_path: Path) -> None:
    times = ["2024-01-03", "2024-01-02", "2024-01-03T00:00:00Z", "2024-01-01", "2024-01-02"]
    path = write(tmp_path / "a.csv", HEADER, *(row(time, close=i) for i, time in enumerate(times)))
    bars = read_bars(path)
    assert bars.close.tolist() == [3, 4, 2]
    assert (np.diff(bars.open_time) > 0).all()


@pytest.mark.parametrize("cell", ["", " ", "nan", "NaN", "null", "None", "N/A", "inf", "-inf"])
def test_a_missing_or_infinite_value_is_nan(tmp_path: Path, cell: str) -> None:
    path = write(tmp_path / "a.csv", HEADER, f"2024-01-02,1,2,0.5,{cell},100")
    bars = read_bars(path)
    assert np.isnan(bars.close[0])
    assert bars.volume[0] == 100


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-02T03:04:05Z",
        "2024-01-02T03:04:05",
        "2024-01-02 03:04:05",
        "2024-01-02T03:04:05.000Z",
        "2024-01-01T22:04:05-05:00",
        "1704164645",
        "1704164645000",
        "1704164645000000",
        "1704164645000000000",
    ],
)
def test_every_spelling_of_an_instant_is_that_instant(text: str) -> None:
    assert parse_time(text) == to_nanoseconds(datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2024-01-02", datetime(2024, 1, 2, tzinfo=UTC)),
        ("0", datetime(1970, 1, 1, tzinfo=UTC)),
        ("-86400", datetime(1969, 12, 31, tzinfo=UTC)),
        ("1929-10-29", datetime(1929, 10, 29, tzinfo=UTC)),
        ("99999999999", None),
        ("9999-12-31", None),
        ("9" * 5000, None),
        ("20240102", None),
        ("09:30", None),
        ("01/02/2024", None),
        ("1704164645.5", None),
        ("", None),
        ("nan", None),
    ],
)
def test_other_times_are_understood_or_refused(text: str, instant: datetime | None) -> None:
    if instant is None:
        with pytest.raises(ValueError, match=r"."):
            parse_time(text)
    else:
        assert parse_time(text) == to_nanoseconds(instant)


# --- broken files ---


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([HEADER, row("2024-01-02"), "2024-01-03,1,2,0,x,1"], "line 3, column 'close': 'x' is not a number"),
        ([HEADER, row("yesterday")], "line 2, column 'timestamp': 'yesterday' is not a time"),
        ([HEADER, row("20240102")], "line 2, column 'timestamp': '20240102' may be a date or seconds"),
        ([HEADER, "2024-01-02,1,2"], "line 2: 3 cells, but the header has 6"),
        (["timestamp,open,high,low", "2024-01-02,1,2,0.5"], "line 1: no column close, volume; found: time"),
        (["when,open,high,low,close,volume"], "line 1: no time column (timestamp, open_time, time, date)"),
        ([HEADER, '"2024-01-02'], "not a CSV file"),
        (["symbol," + HEADER, "A," + row("1"), "B," + row("1")], "several symbols in one file (A, B)"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named_with_line_and_column(tmp_path: Path, lines: list[str], complaint: str) -> None:
    path = write(tmp_path / "a.csv", *lines)
    with pytest.raises(InvalidInput) as caught:
        read_bars(path)
    assert str(caught.value).startswith(str(path))
    assert complaint in str(caught.value)


def test_a_symbol_column_of_one_symbol_is_fine(tmp_path: Path) -> None:
    lines = ["symbol," + HEADER, "A," + row("2024-01-02"), "A," + row("2024-01-03")]
    assert len(read_bars(write(tmp_path / "a.csv", *lines))) == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("latin.csv", f"{HEADER}\n".encode() + b"\xff\xfe\xfa"),
        ("plain.csv.gz", f"{HEADER}\n".encode()),
        ("half.csv.gz", gzip.compress(f"{HEADER}\n{row('2024-01-02')}\n".encode())[:-12]),
        ("empty.csv.gz", b""),
        ("text.parquet", f"{HEADER}\n".encode()),
        ("empty.parquet", b""),
    ],
    # Names only: gzip puts the present time into its bytes, and parallel tests must agree on their ids.
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_file_that_is_not_what_it_is_called_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=name):
        read_bars(path)


# --- Parquet ---


@pytest.mark.parametrize("kind", ["ns", "us", "ms", "s", "naive", "date32", "date64", "int64", "text"])
def test_parquet_times_of_any_kind_are_read(tmp_path: Path, kind: str) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    seconds = 1_704_153_600  # 2024-01-02T00:00Z
    types = {"naive": arrow.timestamp("us"), "date32": arrow.date32(), "date64": arrow.date64()}
    stamps = arrow.array([seconds]).cast(arrow.timestamp("s"))
    if kind in {"int64", "text"}:
        times = arrow.array([seconds * 1000] if kind == "int64" else ["2024-01-02"])
    else:
        times = stamps.cast(types.get(kind, arrow.timestamp(kind if len(kind) < 3 else "ns", tz="UTC")))
    columns = {"Open": [1], "high": [2.0], "low": [0.5], "close": [None], "volume": [2**60]}
    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.table({"Date": times, **columns}), path)
    bars = read_bars(path)
    assert bars.time_at(0) == datetime(2024, 1, 2, tzinfo=UTC)
    assert (bars.open[0], bars.volume[0]) == (1.0, 2.0**60)
    assert np.isnan(bars.close[0])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"close": ["1x5"]}, "column 'close': not numbers"),
        ({"timestamp": [None]}, "column 'timestamp': "),
        ({"timestamp": ["yesterday"]}, "column 'timestamp': not times: 'yesterday'"),
        ({"timestamp": [1.5]}, "column 'timestamp': not times"),
        ({"symbol": ["A"]}, None),
    ],
)
def test_a_broken_parquet_column_is_named(
    tmp_path: Path, change: dict[str, list[object]], complaint: str | None
) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns: dict[str, list[object]] = {"timestamp": ["2024-01-02"], **{name: [1.0] for name in COLUMNS}}
    path = tmp_path / "a.parquet"
    parquet.write_table(arrow.table(columns | change), path)
    if complaint is None:
        assert len(read_bars(path)) == 1
        return
    with pytest.raises(InvalidInput) as caught:
        read_bars(path)
    assert f"{path}, {complaint}" in str(caught.value)


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.parquet"
    columns = {name: np.random.default_rng(1).random(2000) for name in COLUMNS}
    parquet.write_table(arrow.table({"timestamp": np.arange(2000), **columns}), path)
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"a\.parquet"):
        read_bars(path)


def test_parquet_without_its_extra_names_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").touch()
    with pytest.raises(ConfigurationError, match=r"pip install 'atf\[parquet\]'"):
        read_bars(tmp_path / "a.parquet")


def test_neither_pyarrow_nor_pandas_is_loaded_before_the_first_parquet_file() -> None:
    code = "import sys, atf.adapters.providers.files; print(sorted({'pyarrow', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- which file ---


@pytest.mark.parametrize(
    "symbol",
    [
        "../AAPL", "..", ".", "", "/etc/passwd", "a/../b", "a/b/c", "a\\b", "C:\\x", "a\x00b", "a b", "-x",
        ".hidden", "a\n", "~", "A" * 65, "A/", "/A", "A//B", "A*", "..%2fx", "Ä",
    ],
)  # fmt: skip
async def test_what_is_not_a_symbol_reaches_no_file(tmp_path: Path, symbol: str) -> None:
    outside = write(tmp_path / "AAPL.csv", HEADER, row("2024-01-02"))
    provider = FilesBarProvider(outside.parent / "bars")
    assert file_stem(symbol) is None
    assert not await provider.knows(symbol, Timeframe.D1)
    with pytest.raises(NotFound):
        await provider.closed_bars(Series(symbol, Timeframe.D1), LATER, 1)


@pytest.mark.parametrize(
    ("symbol", "stem"),
    [
        ("AAPL", "AAPL"),
        ("BRK.B", "BRK.B"),
        ("^GSPC", "^GSPC"),
        ("EURUSD=X", "EURUSD=X"),
        ("BTC/USDT", "BTC_USDT"),
        ("BTC/USDT:USDT", "BTC_USDT_USDT"),
        ("BTC_USDT", "BTC_USDT"),
        ("0700.HK", "0700.HK"),
    ],
)
async def test_a_symbol_has_a_file_name(tmp_path: Path, symbol: str, stem: str) -> None:
    write(tmp_path / "1d" / f"{stem}.csv", HEADER, row("2024-01-02"))
    assert file_stem(symbol) == stem
    assert await FilesBarProvider(tmp_path).knows(symbol, Timeframe.D1)


@pytest.mark.parametrize("name", ["1d/AAPL.csv", "1d/AAPL.csv.gz", "AAPL_1d.csv", "AAPL_1d.csv.gz"])
async def test_both_layouts_are_found_and_listed(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, HEADER, row("2024-01-02", 7))
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    provider = FilesBarProvider(tmp_path)
    assert await closes(provider) == [7]
    assert await provider.symbols() == ["AAPL"]
    assert not await provider.knows("AAPL", Timeframe.H1)


async def test_of_two_files_the_folder_of_the_timeframe_counts(tmp_path: Path) -> None:
    write(tmp_path / "AAPL_1d.csv", HEADER, row("2024-01-02", 1))
    write(tmp_path / "1d/AAPL.csv", HEADER, row("2024-01-02", 2))
    assert await closes(FilesBarProvider(tmp_path)) == [2]


async def test_symbols_are_those_of_bar_files_only_each_once_and_sorted(tmp_path: Path) -> None:
    for name in ("1d/MSFT.csv", "1h/MSFT.csv", "1h/BTC_USDT.csv", "IBM_1w.csv", "README.csv", "1d/notes.txt"):
        write(tmp_path / name, HEADER)
    assert await FilesBarProvider(tmp_path).symbols() == ["BTC_USDT", "IBM", "MSFT"]


async def test_a_folder_that_is_not_there_knows_nothing(tmp_path: Path) -> None:
    provider = FilesBarProvider(tmp_path / "none")
    assert await provider.symbols() == []
    with pytest.raises(NotFound, match="no file of AAPL 1d in "):
        await provider.closed_bars(DAILY, LATER, 1)


# --- files that change ---


async def test_an_unchanged_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "1d/AAPL.csv", HEADER, row("2024-01-02"))
    provider = FilesBarProvider(tmp_path)
    first = await closes(provider)
    monkeypatch.setattr(files, "read_bars", lambda path: pytest.fail("read again"))
    assert await closes(provider) == first


async def test_a_replaced_file_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "1d/AAPL.csv", HEADER, row("2024-01-02", 1))
    provider = FilesBarProvider(tmp_path)
    assert await closes(provider) == [1]
    other = write(tmp_path / "new", HEADER, row("2024-01-02", 2))
    os.utime(other, ns=(1, path.stat().st_mtime_ns + 1))
    other.replace(path)
    assert await closes(provider) == [2]


async def test_a_removed_file_is_forgotten(tmp_path: Path) -> None:
    path = write(tmp_path / "1d/AAPL.csv", HEADER, row("2024-01-02", 1))
    provider = FilesBarProvider(tmp_path)
    await closes(provider)
    path.unlink()
    with pytest.raises(NotFound):
        await closes(provider)


@pytest.mark.parametrize("is_broken", [False, True])
async def test_a_file_that_grows_while_it_is_read_is_a_temporary_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_broken: bool
) -> None:
    path = write(tmp_path / "1d/AAPL.csv", HEADER, "2024-01-02,1,2" if is_broken else row("2024-01-02"))

    def read_while_somebody_writes(path: Path) -> Bars:
        try:
            return bar_files.read_bars(path)
        finally:
            write(path, HEADER, row("2024-01-02", 1), row("2024-01-03", 2))

    provider = FilesBarProvider(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(files, "read_bars", read_while_somebody_writes)
        with pytest.raises(TemporaryFailure, match="is being written"):
            await closes(provider)
    assert path.exists()
    assert await closes(provider) == [1, 2]


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (PermissionError(13, "Permission denied", "a.csv"), InvalidInput),
        (FileNotFoundError(2, "No such file", "a.csv"), TemporaryFailure),
        (OSError(5, "Input/output error", "a.csv"), TemporaryFailure),
    ],
)
async def test_errors_of_the_system_become_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, ours: type[Exception]
) -> None:
    def fail(path: Path) -> Bars:
        raise error

    write(tmp_path / "1d/AAPL.csv", HEADER)
    monkeypatch.setattr(files, "read_bars", fail)
    with pytest.raises(ours, match=r"a\.csv cannot be read"):
        await closes(FilesBarProvider(tmp_path))


async def test_the_memory_of_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_REMEMBERED_BARS", 3)
    read: list[str] = []

    def noting(path: Path) -> Bars:
        read.append(path.name)
        return bar_files.read_bars(path)

    monkeypatch.setattr(files, "read_bars", noting)
    for symbol in "ABC":
        write(tmp_path / f"1d/{symbol}.csv", HEADER, row("2024-01-02"), row("2024-01-03"))
    provider = FilesBarProvider(tmp_path)
    for symbol in "ABBA":
        await closes(provider, Series(symbol, Timeframe.D1))
    assert read == ["A.csv", "B.csv", "A.csv"]


async def test_a_broken_file_costs_only_its_own_series(tmp_path: Path) -> None:
    write(tmp_path / "1d/AAPL.csv", HEADER, row("2024-01-02", 7))
    broken = write(tmp_path / "1d/IBM.csv", HEADER, row("yesterday"))
    data = DataManager([FilesBarProvider(tmp_path)])
    ibm = Series("IBM", Timeframe.D1)
    fetched = await data.closed_bars({DAILY: 5, ibm: 5}, until=LATER, within=timedelta(seconds=30))
    assert fetched.ready[DAILY].close.tolist() == [7]
    assert fetched.unknown[ibm].startswith(f"{broken}, line 2, column 'timestamp'")


# --- real files, where the machine has them ---


def fits(path: Path) -> bool:
    """Whether a shared file is bars of one symbol: no bid and ask, no adjustment factors."""
    if path.suffix == ".parquet":
        return "sample" not in path.name
    with path.open() as file:
        return file.readline().strip() == HEADER


SHARED_FILES = sorted(path for path in SHARED.glob("**/*.*") if path.suffix in {".csv", ".parquet"})


@pytest.mark.skipif(not SHARED_FILES, reason="no shared market data beside the project")
@pytest.mark.parametrize("path", [path for path in SHARED_FILES if fits(path)], ids=lambda path: path.name)
def test_real_files_are_read_whole(path: Path) -> None:
    if path.suffix == ".parquet":
        pytest.importorskip("pyarrow")
    bars = read_bars(path)
    assert len(bars) > 100
    if path.suffix == ".csv":
        assert len(bars) == len(path.read_text().splitlines()) - 1
    assert (np.diff(bars.open_time) > 0).all()
    assert (bars.low <= bars.high).all()
    assert datetime(1998, 1, 1, tzinfo=UTC) <= bars.time_at(0) < bars.time_at(-1) < LATER


@pytest.mark.skipif(not SHARED_FILES, reason="no shared market data beside the project")
@pytest.mark.parametrize("path", [path for path in SHARED_FILES if "sample" in path.name], ids=lambda p: p.name)
def test_a_real_file_of_many_symbols_is_refused(path: Path) -> None:
    pytest.importorskip("pyarrow")
    with pytest.raises(InvalidInput, match="several symbols in one file"):
        read_bars(path)
