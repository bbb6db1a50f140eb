"""The ``files`` provider: bars from a folder of CSV, JSON and Parquet files, one file a series or a timeframe.

Finds files, reads them away from the event loop and remembers them until they change; what is in a file is
the business of ``bar_files.py``.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from atf.adapters.providers.bar_columns import broken
from atf.adapters.providers.bar_files import ENDINGS, UNNAMED, bars_of, read_file
from atf.adapters.providers.finer_bars import forming_of_finer
from atf.errors import InvalidInput, NotFound, TemporaryFailure
from atf.market.bars import Bars, Series, Timeframe
from atf.market.due_bars import DueBars
from atf.market.forming import FormingBar
from atf.market.provider import ProviderTraits
from atf.market.symbols import canonical, file_spellings, yahoo_symbol
from atf.security.inner_path import require_inside
from atf.security.limits import LONGEST_SYMBOL

_PART: Final = r"[A-Za-z0-9^$][A-Za-z0-9^$=+&._-]*"
_SYMBOL: Final = re.compile(rf"{_PART}(/{_PART})?(:{_PART})?")
_REMEMBERED_BARS: Final = 2_000_000  # about 100 MB

_Version = tuple[int, int]


class FilesBarProvider:
    """Bars in ``<folder>/<timeframe>/<SYMBOL>.csv``, or ``<folder>/<SYMBOL>_<timeframe>.csv``.

    Else in ``<folder>/<timeframe>.csv``, a file of many symbols with a column ``symbol``. Also with the endings
    .csv.gz, .parquet, .json and .json.gz; if several files fit, the first in the order of this text counts.
    ``/`` and ``:`` of a symbol are ``_`` in the file's name: BTC/USDT is BTC_USDT.csv; BTC-USDT.csv and
    BTCUSDT.csv are found as well. A file is read again when its time or size changes.
    """

    name = "files"
    traits = ProviderTraits(is_local=True, settle=timedelta(0))

    def __init__(self, folder: Path, due: DueBars | None = None) -> None:
        """``due`` knows the sessions that forming days are made of; without it they are UTC days."""
        self._folder = folder
        self._due = due
        self._cache = _Cache(_REMEMBERED_BARS)

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        """Return the newest ``count`` bars that are closed at ``until`` and open at ``since`` or later.

        Errors: NotFound without a file; InvalidInput naming file, line and column if it is broken;
                TemporaryFailure if it changes while it is read; ConfigurationError for Parquet without
                the extra.
        """
        bars = await asyncio.to_thread(self._load, series)
        return bars.since(since).closed_at(until, series.timeframe).last(count)

    async def forming_bar(self, series: Series, now: datetime) -> FormingBar | None:
        """Return the bar that is forming, made of the files of finer ones that have closed.

        Errors: as ``forming_of_finer``.
        """
        return await forming_of_finer(self, series, now, self._due)

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        """Tell whether there is a file of the series, which is not opened, or one of many symbols has it."""
        return await asyncio.to_thread(self._is_there, Series(symbol, timeframe))

    async def symbols(self) -> list[str]:
        """Return the symbols of all files, canonical as far as a file's name tells, sorted."""
        return await asyncio.to_thread(self._all_symbols)

    def _load(self, series: Series) -> Bars:
        with _own_errors():
            path = self._find(series)
            if path is not None:
                return bars_of(path, self._read(path), series.symbol)
            bars = self._of_many(series)
        if bars is None:
            raise NotFound(f"no file of {series} in {self._folder}")
        return bars

    def _is_there(self, series: Series) -> bool:
        with _own_errors():
            return self._find(series) is not None or self._of_many(series) is not None

    def _all_symbols(self) -> list[str]:
        with _own_errors():
            return sorted({*map(_canonical_or_stem, self._stems()), *self._many_symbols()})

    def _read(self, path: Path) -> Mapping[str, Bars]:
        version = _version(path)
        remembered = self._cache.get(path, version)
        if remembered is not None:
            return remembered
        require_inside(self._folder, path)
        try:
            bars = read_file(path)
        except InvalidInput:
            _refuse_if_changed(path, version)
            raise
        _refuse_if_changed(path, version)
        self._cache.put(path, version, bars)
        return bars

    def _find(self, series: Series) -> Path | None:
        for stem in file_stems(series.symbol):
            places = (self._folder / series.timeframe / stem, self._folder / f"{stem}_{series.timeframe}")
            # Endings are appended as text: with_suffix would cut the symbol BRK.B to BRK.
            candidates = (Path(f"{place}{ending}") for place in places for ending in ENDINGS)
            found = next((path for path in candidates if path.is_file()), None)
            if found is not None:
                return found
        return None

    def _of_many(self, series: Series) -> Bars | None:
        """Return the bars of a series from the timeframe's file of many symbols, None if it has none."""
        found = self._many(series.timeframe) if file_stem(series.symbol) is not None else {}
        return found.get(_canonical_or_stem(series.symbol))

    def _many(self, timeframe: Timeframe) -> Mapping[str, Bars]:
        places = (self._folder / f"{timeframe}{ending}" for ending in ENDINGS)
        path = next((each for each in places if each.is_file()), None)
        found = self._read(path) if path is not None else {}
        if path is not None and UNNAMED in found:
            raise broken(path, "a file of a whole timeframe needs a column symbol")
        return found

    def _many_symbols(self) -> Iterator[str]:
        for timeframe in Timeframe:
            yield from self._many(timeframe)

    def _stems(self) -> Iterator[str]:
        for timeframe in Timeframe:
            yield from _stems(self._folder / timeframe)
        flat = tuple(f"_{timeframe}" for timeframe in Timeframe)
        for stem in _stems(self._folder):
            if stem.endswith(flat):
                yield stem.rpartition("_")[0]


@contextmanager
def _own_errors() -> Iterator[None]:
    """Convert the system's errors: what a person must mend is InvalidInput, the rest may pass by itself."""
    try:
        yield
    except (PermissionError, IsADirectoryError) as exc:
        raise InvalidInput(f"{exc.filename} cannot be read: {exc.strerror}") from exc
    except OSError as exc:
        raise TemporaryFailure(f"{exc.filename} cannot be read now: {exc.strerror}") from exc


def file_stem(symbol: str) -> str | None:
    """Return the file name of a symbol without its ending, None if the symbol cannot be one.

    A symbol comes from users: nothing that could leave the folder gets past this.
    """
    if len(symbol) > LONGEST_SYMBOL or ".." in symbol or not _SYMBOL.fullmatch(symbol):
        return None
    return symbol.replace("/", "_").replace(":", "_")


def file_stems(symbol: str) -> list[str]:
    """Return the names without ending that a symbol's file may have, as given first; none if it cannot be one."""
    stem = file_stem(symbol)
    if stem is None:
        return []
    spelled = _canonical_or_stem(symbol)
    return list(dict.fromkeys([stem, *file_spellings(spelled), yahoo_symbol(spelled)]))


def _canonical_or_stem(symbol: str) -> str:
    """Return the canonical spelling; a name that cannot be a symbol stays as it is."""
    try:
        return canonical(symbol)
    except InvalidInput:
        return symbol


def _stems(folder: Path) -> Iterator[str]:
    """Yield the names without ending of the files of bars in a folder; none if there is no such folder."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        for ending in ENDINGS:
            if path.name.endswith(ending):
                yield path.name.removesuffix(ending)


def _version(path: Path) -> _Version:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _refuse_if_changed(path: Path, version: _Version) -> None:
    """Raise TemporaryFailure if the file is another one by now: what was read may be half of it."""
    if _version(path) != version:
        raise TemporaryFailure(f"{path} is being written")


class _Cache:
    """Bars by file and version, the least recently used dropped first; safe for threads."""

    def __init__(self, most_bars: int) -> None:
        self._most = most_bars
        self._held = 0
        self._entries: OrderedDict[Path, tuple[_Version, Mapping[str, Bars]]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path, version: _Version) -> Mapping[str, Bars] | None:
        """Return the bars if that very version of the file is remembered."""
        with self._lock:
            entry = self._entries.get(path)
            if entry is None or entry[0] != version:
                return None
            self._entries.move_to_end(path)
            return entry[1]

    def put(self, path: Path, version: _Version, bars: Mapping[str, Bars]) -> None:
        """Remember the bars in place of the file's older version."""
        with self._lock:
            self._drop(path)
            self._entries[path] = (version, bars)
            self._held += _count(bars)
            while self._held > self._most and len(self._entries) > 1:
                self._drop(next(iter(self._entries)))

    def _drop(self, path: Path) -> None:
        entry = self._entries.pop(path, None)
        self._held -= 0 if entry is None else _count(entry[1])


def _count(found: Mapping[str, Bars]) -> int:
    return sum(len(bars) for bars in found.values())
