"""What the loading commands need: files and providers on one side, the store on the other."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from atf.adapters.providers.bar_files import ENDINGS, UNNAMED, FileContent, bars_of, read_content
from atf.adapters.providers.factor_files import read_factors
from atf.bootstrap import rights
from atf.bootstrap.client import known_caller
from atf.bootstrap.database import open_database
from atf.bootstrap.market import build_market_clock
from atf.bootstrap.providers import OpenProviders, named_in, open_providers
from atf.errors import InvalidInput, shown
from atf.market.bar_store import PutAside
from atf.market.bars import Bars, Series, Timeframe
from atf.market.download import Download, Downloader, OnPiece
from atf.market.due_bars import DueBars
from atf.market.importing import importable, usual_timeframe
from atf.market.market_clock import MarketClock
from atf.market.provider_lane import LaneState, ProviderLane
from atf.market.session_dates import WeekendDate
from atf.market.symbols import canonical
from atf.security.audit import AuditEvent, AuditLog, AuditOutcome
from atf.security.caller import Origin
from atf.security.gate import gated
from atf.settings import Settings
from atf.storage.adjustments_repository import PostgresAdjustments
from atf.storage.audit_repository import PostgresAuditLog
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.storage.users_repository import PostgresUsers

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of the bars of one series in a file; ``put_aside`` counts by reason."""

    series: Series
    bars: int
    put_aside: dict[str, int]
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True, slots=True)
class MarketLoader:
    """Brings bars and factors into the store; what it did is recorded as the caller's."""

    settings: Settings
    database: Database
    clock: MarketClock
    store: PostgresBarStore
    due: DueBars
    open_providers: OpenProviders
    log: AuditLog

    async def import_file(
        self,
        path: Path,
        symbol: str | None,
        timeframe: Timeframe | None,
        *,
        weekend: WeekendDate | None = None,
    ) -> Sequence[Imported]:
        """Store the bars of a file, each series in one transaction; bad bars go into the quarantine.

        Without a symbol those of the file's symbol column, or its name, count; without a timeframe the usual
        distance of the bars does. ``weekend``: what weeks mean that are dated Saturday or Sunday.

        Errors: InvalidInput naming what is wrong, with nothing stored of the file.
        """
        content = await _read(path, read_content)
        chosen = _chosen(path, content.bars, symbol)
        series = {Series(name, timeframe or _usual(path, bars)): bars for name, bars in chosen.items()}
        parted = [await self._parted(each, bars, content, weekend) for each, bars in series.items()]
        return [await self._store(path, *each) for each in parted]

    async def _parted(
        self, series: Series, bars: Bars, content: FileContent, weekend: WeekendDate | None
    ) -> tuple[Series, Bars, PutAside]:
        good, aside = importable(
            bars,
            series.timeframe,
            await self.due.calendar_of(series.symbol),
            await self.clock.now(),
            may_be_local=content.lacks_offset,
            weekend=weekend,
        )
        return series, good, aside

    async def _store(self, path: Path, series: Series, good: Bars, aside: PutAside) -> Imported:
        await self.store.store(series, good, aside, source=path.name)
        await self._record("bars.import", str(series), f"{len(good)} bars of {path.name}")
        ends = (good.time_at(0), good.time_at(len(good) - 1)) if len(good) else (None, None)
        reasons = Counter(str(reason) for reason in aside.reasons)
        return Imported(series, len(good), dict(reasons), *ends)

    async def fetch(
        self,
        source: str | None,
        series: Series,
        since: datetime | None,
        until: datetime | None,
        *,
        again: bool = False,
        on_piece: OnPiece = lambda _: None,
    ) -> Download:
        """Fetch history from a provider, or from the first one of the symbol's chain.

        Errors: those of the provider; ConfigurationError if there is none of that name.
        """
        now = await self.clock.now()
        end = now if until is None else min(until, now)
        lane = self._lane(source, series)
        downloader = Downloader(lane, self.store)
        # Before the first of many commits: what is killed half-way has stored some bars.
        await self._record("bars.fetch", str(series), f"from {lane.name}")
        return await downloader.download(series, since, end, again=again, on_piece=on_piece)

    def _lane(self, source: str | None, series: Series) -> ProviderLane:
        if source is not None:
            return self.open_providers.lane(source)
        chain = self.open_providers.chains().of(series.symbol)
        if not chain:
            raise InvalidInput("no provider is configured; name one, such as --from yahoo", field="--from")
        return chain[0]

    async def providers(self) -> Sequence[tuple[LaneState, Sequence[str]]]:
        """Return the providers of the settings, and which patterns of symbols choose each."""
        chains = self.open_providers.chains()
        default = named_in(self.settings.providers)
        return [
            (lane.state, [*(["*"] if lane.name in default else []), *chains.patterns_of(lane.name)])
            for lane in chains.lanes
        ]

    async def import_factors(self, path: Path, symbol: str) -> int:
        """Store the adjustment factors of a file in place of those that are there; return how many."""
        factors = await _read(path, read_factors)
        await PostgresAdjustments(self.database).replace(canonical(symbol), factors, source=path.name)
        await self._record("factors.import", canonical(symbol), f"{len(factors)} factors of {path.name}")
        return len(factors)

    async def _record(self, action: str, series: str, detail: str) -> None:
        await self.log.record(AuditEvent(action, AuditOutcome.DONE, "series", series, detail=detail))


@asynccontextmanager
async def open_market_loader(settings: Settings, user: str = "owner") -> AsyncIterator[MarketLoader]:
    """Open what brings market data into the configured database, as a user. Errors: NotFound if there is none."""
    async with open_database(settings) as database, open_providers(settings) as providers:
        caller, log = await known_caller(PostgresUsers(database), user, Origin.CLI), PostgresAuditLog(database)
        clock, store = await build_market_clock(database), PostgresBarStore(database)
        loader = MarketLoader(settings, database, clock, store, providers.due, providers, log)
        yield gated(loader, caller, rights.MARKET_DATA, log)


async def _read(path: Path, read: Callable[[Path], T]) -> T:
    try:
        return await asyncio.to_thread(read, path)
    except OSError as exc:
        raise InvalidInput(f"{path} cannot be read: {exc.strerror}", field="FILE") from exc


def _chosen(path: Path, found: dict[str, Bars], symbol: str | None) -> dict[str, Bars]:
    """Return the bars to store, by symbol; a file that names no symbol is that of its name, if none is given."""
    if symbol is not None:
        return {canonical(symbol): bars_of(path, found, symbol)}
    return {canonical(_stem(path) if name == UNNAMED else name): bars for name, bars in found.items()}


def _stem(path: Path) -> str:
    """Return the symbol that a file's name has: VOD.L of VOD.L.csv, BTCUSDT of BTCUSDT_1h.csv.gz."""
    ending = next((each for each in ENDINGS if path.name.endswith(each)), "")
    stem = path.name.removesuffix(ending)
    timeframe = next((f"_{each}" for each in Timeframe if stem.endswith(f"_{each}")), "")
    return stem.removesuffix(timeframe)


def _usual(path: Path, bars: Bars) -> Timeframe:
    found = usual_timeframe(bars)
    if found is None:
        allowed = ", ".join(Timeframe)
        raise InvalidInput(f"cannot be told from {shown(path.name)}; give one of {allowed}", field="--timeframe")
    return found
