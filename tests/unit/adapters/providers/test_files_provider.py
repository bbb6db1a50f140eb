import gzip
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atf.adapters.providers import bar_files, files
from atf.adapters.providers.bar_files import UNNAMED, read_bars, read_content, read_file
from atf.adapters.providers.file_times import parse_time
from atf.adapters.providers.files import FilesBarProvider, file_stem
from atf.errors import ConfigurationError, InvalidInput, NotFound, TemporaryFailure
from atf.market.bars import COLUMNS, Bars, Series, Timeframe, to_nanoseconds

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


def test_a_number_of_more_digits_than_python_reads_is_told_as_any_other_time() -> None:
    with pytest.raises(ValueError, match=r"^9{40}\.\.\. is outside the years 1678 to 2261$"):
        parse_time("9" * 5000)


# --- layouts of others ---


def test_yahoos_download_is_read_unadjusted(tmp_path: Path) -> None:
    lines = ["Date,Open,High,Low,Close,Adj Close,Volume", "2024-01-02,1,2,0.5,1.5,1.2,100"]
    assert read_bars(write(tmp_path / "a.csv", *lines)).close.tolist() == [1.5]


KLINE = '1637971200000,"0.1","0.4","0.05","0.2","36304.2",1637971259999,"1.03",79,"19523.0","0.5","0"'


@pytest.mark.parametrize("stamp", ["1637971200000", "1637971200000000"])
def test_binances_public_files_need_no_header(tmp_path: Path, stamp: str) -> None:
    bars = read_bars(write(tmp_path / "a.csv", KLINE.replace("1637971200000", stamp)))
    assert len(bars) == 1
    assert bars.time_at(0) == datetime(2021, 11, 27, tzinfo=UTC)
    assert [float(bars.column(name)[0]) for name in COLUMNS] == [0.1, 0.4, 0.05, 0.2, 36304.2]


def test_of_bids_and_asks_the_middle_counts_and_there_is_no_volume(tmp_path: Path) -> None:
    names = [f"{side}_{name}" for side in ("bid", "ask") for name in COLUMNS[:4]]
    path = write(tmp_path / "a.csv", ",".join(["timestamp", *names]), "2024-01-02,1,3,0.5,2,2,5,1,")
    bars = read_bars(path)
    assert [float(bars.column(name)[0]) for name in COLUMNS[:3]] == [1.5, 4, 0.75]
    assert np.isnan([bars.close[0], bars.volume[0]]).all(), "an ask alone has no middle"


def test_parquet_files_may_have_bids_and_asks_as_well(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    names = [f"{side}_{name}" for side in ("bid", "ask") for name in COLUMNS[:4]]
    columns = {name: [float(n)] for n, name in enumerate(names)}
    parquet.write_table(arrow.table({"time": ["2024-01-02"], **columns}), tmp_path / "a.parquet")
    bars = read_bars(tmp_path / "a.parquet")
    assert [float(bars.column(name)[0]) for name in COLUMNS[:4]] == [2, 3, 4, 5]


OBJECTS = [
    {"Date": "2024-01-03", "open": "1", "high": 2, "low": 0.5, "close": None, "volume": 100, "note": []},
    {"Date": "2024-01-02", "open": 1, "high": 2, "low": 0.5, "close": "1.5", "volume": 100.0, "note": {}},
]
ARRAYS: list[list[Any]] = [
    [1704240000000, 1, 2, 0.5, None, "100"],
    [1704153600000.0, "1", 2, 0.5, 1.5, 100, "more"],
]
TABLE = {
    "timestamp": ["2024-01-03T00:00:00Z", 1704153600],
    "open": [1, 1],
    "high": [2, 2],
    "low": [0.5, 0.5],
    "close": [float("nan"), 1.5],
    "volume": [100, 100],
    "source": "somewhere",
}
CHART_META = {"symbol": "BRK-B", "dataGranularity": "1d", "exchangeTimezoneName": "America/New_York"}
CHART: dict[str, Any] = {
    "chart": {
        "error": None,
        "result": [
            {
                "meta": CHART_META,
                "timestamp": [1704205800, 1704292200, 1704378600],
                "indicators": {
                    "quote": [
                        {
                            "open": [1, 1, None],
                            "high": [2, 2, None],
                            "low": [0.5, 0.5, None],
                            "close": [1.5, None, None],
                            "volume": [100, 100, None],
                        }
                    ]
                },
            }
        ],
    }
}


def write_json(path: Path, document: object) -> Path:
    text = json.dumps(document)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
@pytest.mark.parametrize("document", [OBJECTS, ARRAYS, TABLE, CHART], ids=["objects", "arrays", "table", "chart"])
def test_json_of_every_shape_is_read(tmp_path: Path, name: str, document: object) -> None:
    bars = read_bars(write_json(tmp_path / name, document))
    assert [bars.time_at(i).day for i in range(len(bars))] == [2, 3]
    assert bars.time_at(0) == datetime(2024, 1, 2, tzinfo=UTC)
    assert [float(bars.column(name)[0]) for name in COLUMNS] == [1, 2, 0.5, 1.5, 100]
    assert np.isnan(bars.close[1])


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
@pytest.mark.parametrize(
    ("written", "lacks_offset"),
    [
        ("2024-01-02 16:00", True),
        ("2024-01-02", True),
        ("2024-01-02T16:00:00+11:00", False),
        ("2024-01-02T16:00:00Z", False),
        (1704211200, False),
        (datetime(2024, 1, 2, 16, tzinfo=UTC), False),
        (datetime(2024, 1, 2, 16), True),  # noqa: DTZ001 - that is the case
    ],
    ids=str,
)
def test_a_file_tells_whether_its_times_have_an_offset(
    tmp_path: Path, ending: str, written: str | int | datetime, lacks_offset: bool
) -> None:
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        arrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        table = {"time": [written], **{name: [1.0] for name in COLUMNS}}
        parquet.write_table(arrow.table(table), path)
    elif isinstance(written, datetime):
        pytest.skip("only Parquet has times that are no text")
    elif ending == "json":
        write_json(path, [{"time": written, **dict.fromkeys(COLUMNS, 1.0)}])
    else:
        path.write_text(f"time,{','.join(COLUMNS)}\n{written},1,1,1,1,1\n")
    assert read_content(path).lacks_offset is lacks_offset


def test_a_chart_of_yahoo_says_whose_it_is(tmp_path: Path) -> None:
    path = write_json(tmp_path / "a.json", CHART)
    assert list(read_file(path)) == ["BRK.B"]
    assert len(read_bars(path, "BRK-B")) == 2
    with pytest.raises(InvalidInput, match=r"no bars of AAPL; it has BRK\.B"):
        read_bars(path, "AAPL")


def test_weeks_of_a_chart_open_on_monday(tmp_path: Path) -> None:
    weekly = json.loads(json.dumps(CHART))
    weekly["chart"]["result"][0]["meta"]["dataGranularity"] = "1wk"
    bars = read_bars(write_json(tmp_path / "a.json", weekly))
    assert [bars.time_at(i) for i in range(len(bars))] == [datetime(2024, 1, 1, tzinfo=UTC)]


def test_an_empty_list_has_no_bars(tmp_path: Path) -> None:
    assert len(read_bars(write_json(tmp_path / "a.json", []))) == 0


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        (17, "not bars: allowed are a list of objects or arrays"),
        ({"timestamp": [1]}, "no column open, high, low, close, volume; found: timestamp"),
        ({**TABLE, "low": [1]}, "column 'low': 1 values, but the time column has 2"),
        ([OBJECTS[0], {"Date": "2024-01-02"}], "item 1, column 'open': is not there"),
        ([OBJECTS[0], 5], "item 1: not an object as the first item is"),
        ([5], "item 0: no time column"),
        ([{**OBJECTS[0], "high": "x"}], "item 0, column 'high': 'x' is not a number"),
        ([{**OBJECTS[0], "high": True}], "item 0, column 'high': True is not a number"),
        ([{**OBJECTS[0], "Date": None}], "item 0, column 'Date': 'None' is not a time"),
        ([{**OBJECTS[0], "Date": 1704153600.5}], "item 0, column 'Date': '1704153600.5' is not a time"),
        ([ARRAYS[0], [1, 2]], "item 1: not an array of 6 cells: time, open, high, low, close, volume"),
        ([[*ARRAYS[0][:5], []]], "item 0, column 'volume': [] is not a number"),
        ({"chart": {"result": None, "error": {"description": "No data found"}}}, "Yahoo answered: No data found"),
        ({"chart": {"result": []}}, "not a whole answer of Yahoo's charts"),
        ({"chart": None}, "not a whole answer of Yahoo's charts"),
    ],
)
def test_broken_json_is_named_with_item_and_column(tmp_path: Path, document: object, complaint: str) -> None:
    path = write_json(tmp_path / "a.json", document)
    with pytest.raises(InvalidInput) as caught:
        read_bars(path)
    assert str(caught.value).startswith(str(path))
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[[1704153600, 1, 2", "", "nothing", "[" * 100_000, f"[[{'9' * 5000},1,1,1,1,1]]"]
)
def test_what_is_not_json_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=r"a\.json"):
        read_bars(path)


MANY = ["symbol," + HEADER, "btcusdt," + row("2024-01-02", 1), "AAPL," + row("2024-01-02", 2)]
MANY += ["BTC/USDT," + row("2024-01-03", 3), "AAPL," + row("2024-01-01", 4), "AAPL," + row("2024-01-02", 5)]


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_of_several_symbols_the_wanted_ones_bars_are_taken(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    cells = [line.split(",") for line in MANY]
    if kind == "csv":
        write(path, *MANY)
    elif kind == "json":
        write_json(path, [dict(zip(cells[0], each, strict=True)) for each in cells[1:]])
    else:
        arrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        columns = dict(zip(cells[0], zip(*cells[1:], strict=True), strict=True))
        numbers = {name: [float(each) for each in columns[name]] for name in COLUMNS}
        names = arrow.array(columns["symbol"]).dictionary_encode()
        table = {"symbol": names, "timestamp": list(columns["timestamp"]), **numbers}
        parquet.write_table(arrow.table(table), path)
    assert sorted(read_file(path)) == ["AAPL", "BTC/USDT"]
    assert read_bars(path, "AAPL").close.tolist() == [4, 5]
    for spelled in ("BTC/USDT", "BTCUSDT", "btc-usdt"):
        assert read_bars(path, spelled).close.tolist() == [1, 3]
    with pytest.raises(InvalidInput, match=r"no bars of MSFT; it has AAPL, BTC/USDT"):
        read_bars(path, "MSFT")
    with pytest.raises(InvalidInput, match=r"several symbols in one file \(AAPL, BTC/USDT\)"):
        read_bars(path)


def test_a_row_without_its_symbol_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="a row without its symbol"):
        read_bars(write(tmp_path / "a.csv", *MANY, "," + row("2024-01-02")))


def test_a_file_without_symbols_is_whoevers_it_is_said_to_be(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", HEADER, row("2024-01-02"))
    assert len(read_bars(path, "MSFT")) == 1
    assert list(read_file(path)) == [UNNAMED]


def test_another_ending_is_refused_with_those_that_are_allowed(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"a\.xlsx: not a kind .* \.csv, \.csv\.gz, \.parquet, \.json, "):
        read_bars(tmp_path / "a.xlsx")


# --- broken files ---


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ([HEADER, row("2024-01-02"), "2024-01-03,1,2,0,x,1"], "line 3, column 'close': 'x' is not a number"),
        ([HEADER, row("yesterday")], "line 2, column 'timestamp': 'yesterday' is not a time"),
        ([HEADER, row("20240102")], "line 2, column 'timestamp': '20240102' may be a date or seconds"),
        ([HEADER, "2024-01-02,1,2"], "line 2: 3 cells, but the header has 6"),
        (["timestamp,open,high,low", "2024-01-02,1,2,0.5"], "line 1: no column close, volume; found: time"),
        (["when,open,high,low,close,volume"], "line 1: no time column (timestamp, open_time, time, date, "),
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


async def test_a_link_that_leads_out_of_the_folder_is_not_read(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside" / "AAPL.csv", HEADER, row("2024-01-02"))
    folder = tmp_path / "bars"
    (folder / "1d").mkdir(parents=True)
    provider = FilesBarProvider(folder)
    (folder / "1d" / "AAPL.csv").symlink_to(outside)
    with pytest.raises(InvalidInput, match="leads out of"):
        await provider.closed_bars(DAILY, LATER, 1)
    (folder / "1d" / "AAPL.csv").unlink()
    (folder / "1d").rmdir()
    (folder / "1d").symlink_to(outside.parent)
    with pytest.raises(InvalidInput, match="leads out of"):
        await provider.closed_bars(DAILY, LATER, 1)


async def test_the_folder_itself_and_links_within_it_may_be_links(tmp_path: Path) -> None:
    write(tmp_path / "real" / "daily" / "AAPL.csv", HEADER, row("2024-01-02", 4))
    (tmp_path / "real" / "1d").symlink_to("daily")
    (tmp_path / "bars").symlink_to("real")
    assert await closes(FilesBarProvider(tmp_path / "bars")) == [4]


async def test_what_is_no_ordinary_file_is_no_file_of_bars(tmp_path: Path) -> None:
    (tmp_path / "1d").mkdir()
    os.mkfifo(tmp_path / "1d" / "AAPL.csv")
    with pytest.raises(NotFound):
        await FilesBarProvider(tmp_path).closed_bars(DAILY, LATER, 1)


async def test_symbols_are_those_of_bar_files_only_each_once_and_sorted(tmp_path: Path) -> None:
    for name in ("1d/MSFT.csv", "1h/MSFT.csv", "1h/BTC_USDT.csv", "IBM_1w.csv", "README.csv", "1d/notes.txt"):
        write(tmp_path / name, HEADER)
    assert await FilesBarProvider(tmp_path).symbols() == ["BTC/USDT", "IBM", "MSFT"]


async def test_a_folder_that_is_not_there_knows_nothing(tmp_path: Path) -> None:
    provider = FilesBarProvider(tmp_path / "none")
    assert await provider.symbols() == []
    with pytest.raises(NotFound, match="no file of AAPL 1d in "):
        await provider.closed_bars(DAILY, LATER, 1)


@pytest.mark.parametrize("name", ["BTC_USDT", "BTCUSDT", "BTC-USDT", "btc_usdt"])
async def test_a_pairs_file_is_found_however_it_is_spelled(tmp_path: Path, name: str) -> None:
    write(tmp_path / "1d" / f"{name}.csv", HEADER, row("2024-01-02", 7))
    provider = FilesBarProvider(tmp_path)
    assert await closes(provider, Series("BTC/USDT", Timeframe.D1)) == [7]
    assert await provider.symbols() == ["BTC/USDT"]


async def test_of_several_spellings_the_one_with_an_underscore_counts(tmp_path: Path) -> None:
    for close, name in enumerate(["BTCUSDT", "BTC_USDT", "BTC-USDT"]):
        write(tmp_path / "1d" / f"{name}.csv", HEADER, row("2024-01-02", close))
    assert await closes(FilesBarProvider(tmp_path), Series("BTC/USDT", Timeframe.D1)) == [1]


async def test_a_file_of_many_symbols_serves_each_of_them(tmp_path: Path) -> None:
    write(tmp_path / "1d.csv", *MANY)
    write(tmp_path / "1d/IBM.csv", HEADER, row("2024-01-02", 9))
    provider = FilesBarProvider(tmp_path)
    assert await provider.symbols() == ["AAPL", "BTC/USDT", "IBM"]
    assert await closes(provider) == [4, 5]
    assert await closes(provider, Series("BTCUSDT", Timeframe.D1)) == [1, 3]
    assert await closes(provider, Series("IBM", Timeframe.D1)) == [9]
    for unknown in (Series("MSFT", Timeframe.D1), Series("AAPL", Timeframe.H1), Series("../x", Timeframe.D1)):
        assert not await provider.knows(unknown.symbol, unknown.timeframe)
        with pytest.raises(NotFound):
            await closes(provider, unknown)


async def test_a_symbols_own_file_comes_before_that_of_many(tmp_path: Path) -> None:
    write(tmp_path / "1d.csv", *MANY)
    write(tmp_path / "1d/AAPL.csv", HEADER, row("2024-01-02", 9))
    assert await closes(FilesBarProvider(tmp_path)) == [9]


async def test_a_file_of_many_symbols_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "1d.csv", *MANY)
    provider = FilesBarProvider(tmp_path)
    await closes(provider)
    monkeypatch.setattr(files, "read_file", lambda path: pytest.fail("read again"))
    assert await closes(provider, Series("BTC/USDT", Timeframe.D1)) == [1, 3]


async def test_a_file_of_a_timeframe_without_symbols_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "1d.csv", HEADER, row("2024-01-02"))
    with pytest.raises(InvalidInput, match=r"1d\.csv: a file of a whole timeframe needs a column symbol"):
        await closes(FilesBarProvider(tmp_path))


async def test_a_file_of_another_symbol_than_its_name_says_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "1d/AAPL.csv", "symbol," + HEADER, "MSFT," + row("2024-01-02"))
    with pytest.raises(InvalidInput, match="no bars of AAPL; it has MSFT"):
        await closes(FilesBarProvider(tmp_path))


# --- files that change ---


async def test_an_unchanged_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "1d/AAPL.csv", HEADER, row("2024-01-02"))
    provider = FilesBarProvider(tmp_path)
    first = await closes(provider)
    monkeypatch.setattr(files, "read_file", lambda path: pytest.fail("read again"))
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

    def read_while_somebody_writes(path: Path) -> dict[str, Bars]:
        try:
            return bar_files.read_file(path)
        finally:
            write(path, HEADER, row("2024-01-02", 1), row("2024-01-03", 2))

    provider = FilesBarProvider(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(files, "read_file", read_while_somebody_writes)
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
    def fail(path: Path) -> dict[str, Bars]:
        raise error

    write(tmp_path / "1d/AAPL.csv", HEADER)
    monkeypatch.setattr(files, "read_file", fail)
    with pytest.raises(ours, match=r"a\.csv cannot be read"):
        await closes(FilesBarProvider(tmp_path))


async def test_the_memory_of_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_REMEMBERED_BARS", 3)
    read: list[str] = []

    def noting(path: Path) -> dict[str, Bars]:
        read.append(path.name)
        return bar_files.read_file(path)

    monkeypatch.setattr(files, "read_file", noting)
    for symbol in "ABC":
        write(tmp_path / f"1d/{symbol}.csv", HEADER, row("2024-01-02"), row("2024-01-03"))
    provider = FilesBarProvider(tmp_path)
    for symbol in "ABBA":
        await closes(provider, Series(symbol, Timeframe.D1))
    assert read == ["A.csv", "B.csv", "A.csv"]


async def test_a_broken_file_costs_only_its_own_series(tmp_path: Path) -> None:
    write(tmp_path / "1d/AAPL.csv", HEADER, row("2024-01-02", 7))
    broken = write(tmp_path / "1d/IBM.csv", HEADER, row("yesterday"))
    provider = FilesBarProvider(tmp_path)
    with pytest.raises(InvalidInput) as caught:
        await closes(provider, Series("IBM", Timeframe.D1))
    assert str(caught.value).startswith(f"{broken}, line 2, column 'timestamp'")
    assert await closes(provider) == [7]


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
