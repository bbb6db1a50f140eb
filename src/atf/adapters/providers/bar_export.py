"""Writes bars to a file that ``bar_files.read_bars`` gives back exactly; a file is there whole or not at all."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Literal, cast
from uuid import uuid4

import numpy as np

from atf.adapters.providers.parquet_bars import import_arrow
from atf.errors import InvalidInput
from atf.market.bars import COLUMNS, Bars

_NAMES: Final = ("timestamp", "symbol", *COLUMNS)
_SECOND: Final = 10**9
_MICROSECOND: Final = 1000


def write_bars(path: Path, bars: Bars, symbol: str) -> None:
    """Write the bars of a symbol as .csv, .csv.gz, .parquet, .json or .json.gz; a file that is there is replaced.

    The bytes go to a temporary name in the same folder, which is made if need be, and the whole file is renamed:
    whoever is killed meanwhile leaves the old file as it was.

    Time:   ISO 8601 in UTC, in Parquet a timestamp with nanoseconds.
    Units:  as in the bars; a missing value is an empty cell or null.
    Errors: InvalidInput for another ending, a folder that cannot be written to, or a time that ISO 8601 text
            cannot hold; ConfigurationError for Parquet without the extra.
    """
    write = next((write for ending, write in _WRITERS.items() if path.name.endswith(ending)), None)
    if write is None:
        raise InvalidInput(f"{path} cannot be written: a file of bars ends in {', '.join(_WRITERS)}")
    try:
        with _replacing(path) as file:
            write(file, bars, symbol)
    except OSError as exc:
        raise InvalidInput(f"{path} cannot be written: {exc.strerror or exc}") from exc


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file that takes the path's place when all went well, and is gone when not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _write_csv(file: IO[bytes], bars: Bars, symbol: str) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_NAMES)
    columns = (
        ["" if value != value else repr(value) for value in bars.column(name).tolist()] for name in COLUMNS
    )
    writer.writerows(zip(_texts(bars), [symbol] * len(bars), *columns, strict=True))
    text.flush()
    text.detach()


def _write_json(file: IO[bytes], bars: Bars, symbol: str) -> None:
    columns = ([None if value != value else value for value in bars.column(name).tolist()] for name in COLUMNS)
    rows = zip(_texts(bars), [symbol] * len(bars), *columns, strict=True)
    text = ",\n".join(json.dumps(dict(zip(_NAMES, row, strict=True)), allow_nan=False) for row in rows)
    file.write(f"[\n{text}\n]\n".encode() if text else b"[]\n")


def _write_parquet(file: IO[bytes], bars: Bars, symbol: str) -> None:
    arrow, parquet = import_arrow()
    times = arrow.array(bars.open_time, type=arrow.int64()).cast(arrow.timestamp("ns", tz="UTC"))
    columns: dict[str, Any] = {"timestamp": times, "symbol": arrow.array([symbol] * len(bars), arrow.string())}
    columns |= {name: arrow.array(bars.column(name), type=arrow.float64(), from_pandas=True) for name in COLUMNS}
    parquet.write_table(arrow.table(columns), file)


def _gzipped(write: Callable[[IO[bytes], Bars, str], None]) -> Callable[[IO[bytes], Bars, str], None]:
    def write_gzipped(file: IO[bytes], bars: Bars, symbol: str) -> None:
        # Without a time and a name inside, the same bars are the same bytes.
        with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as packed:
            write(cast("IO[bytes]", packed), bars, symbol)

    return write_gzipped


def _texts(bars: Bars) -> list[str]:
    if (bars.open_time % _MICROSECOND).any():
        raise InvalidInput("bars that open between two microseconds can only be written as .parquet")
    unit: Literal["us", "s"] = "us" if (bars.open_time % _SECOND).any() else "s"
    times = bars.open_time.astype("datetime64[ns]")
    texts: list[str] = np.datetime_as_string(times, unit=unit, timezone="UTC").tolist()
    return texts


_WRITERS: Final[Mapping[str, Callable[[IO[bytes], Bars, str], None]]] = {
    ".csv": _write_csv,
    ".csv.gz": _gzipped(_write_csv),
    ".parquet": _write_parquet,
    ".json": _write_json,
    ".json.gz": _gzipped(_write_json),
}
