"""What a data-processing job does with one symbol: its operations in order, and what came of each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from math import isfinite
from typing import Any, Final, Protocol

from atf.data_jobs.request import DataRequest, Operation
from atf.errors import NotFound
from atf.indicators.indicator import IndicatorRequest
from atf.indicators.indicator_service import IndicatorService
from atf.market.adjustment import (
    AdjustmentFactor,
    CorporateAction,
    adjusted,
    dividends_after_splits,
    factors_from,
)
from atf.market.bar_store import NOTHING, PutAside
from atf.market.bars import Bars, Series, Timeframe
from atf.market.data_report import report
from atf.market.download import Downloader
from atf.market.due_bars import DueBars
from atf.market.quality import sort_out
from atf.market.report_sentences import verdict
from atf.market.resampling import resampled
from atf.market.session_times import sessions_of
from atf.market.whole_bars import without_cut_ends

_NORMALIZED: Final = "normalize"


class BarArchive(Protocol):
    """Stored bars."""

    async def between(self, series: Series, since: datetime | None = None, until: datetime | None = None) -> Bars:
        """Return all stored bars of a stretch."""
        ...

    async def store(self, series: Series, bars: Bars, put_aside: PutAside = NOTHING, *, source: str = "") -> None:
        """Store bars in one transaction."""
        ...

    async def put_aside(self, series: Series, bad: PutAside, *, source: str) -> None:
        """Move stored bars into the quarantine, in one transaction."""
        ...


class AdjustmentStore(Protocol):
    """Stored factors for splits and dividends."""

    async def load(self, symbol: str) -> Sequence[AdjustmentFactor]:
        """Return the factors of a symbol, oldest first."""
        ...

    async def replace(self, symbol: str, factors: Sequence[AdjustmentFactor], *, source: str) -> None:
        """Store the factors of a symbol in place of those that are there."""
        ...


class ActionSource(Protocol):
    """A provider that knows splits and dividends; its prices are adjusted for splits already."""

    async def actions(self, symbol: str, since: date) -> Sequence[CorporateAction]:
        """Return all corporate actions from a day to today, oldest first; dividends per share as it was then."""
        ...


class BarExporter(Protocol):
    """Writes files of bars."""

    async def export(self, series: Series, bars: Bars, file_format: str) -> str:
        """Write a whole file in place of an older one and return where it is."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What the work on a symbol needs; ``downloader`` and ``actions`` only if the source has them."""

    archive: BarArchive
    adjustments: AdjustmentStore
    exporter: BarExporter
    due: DueBars
    indicators: IndicatorService
    downloader: Downloader | None = None
    actions: ActionSource | None = None


class SymbolWork:
    """Does the operations of a job with one symbol after the other."""

    def __init__(self, request: DataRequest, tools: Tools, now: datetime) -> None:
        self._request = request
        self._tools = tools
        self._now = now

    async def do(self, symbol: str) -> dict[str, Any]:
        """Return what came of the symbol, as JSON.

        Errors: NotFound for one that nobody knows; TemporaryFailure if the source cannot answer now.
        """
        series = Series(symbol, self._request.timeframe)
        outcome: dict[str, Any] = {"status": "ok"}
        if Operation.FETCH in self._request.operations:
            outcome |= await self._fetch(series)
        if Operation.NORMALIZE in self._request.operations:
            outcome |= await self._normalize(series)
        if Operation.ADJUST in self._request.operations:
            outcome |= await self._adjust(series)
        if self._reads_bars:
            outcome |= await self._with_stored(series)
        return outcome

    @property
    def _reads_bars(self) -> bool:
        reading = {Operation.RESAMPLE, Operation.CHECK, Operation.INDICATORS, Operation.EXPORT}
        return not reading.isdisjoint(self._request.operations)

    async def _fetch(self, series: Series) -> dict[str, Any]:
        if self._tools.downloader is None:
            raise NotFound("there is no data source to fetch from")
        keep = Operation.CACHE in self._request.operations
        done = await self._tools.downloader.download(series, self._request.since, self._now, keep=keep)
        return {"fetched": done.bars, "stored": done.bars if keep else 0, "put_aside": done.put_aside}

    async def _normalize(self, series: Series) -> dict[str, Any]:
        """Look through what is stored, as somebody may have written it by other means."""
        bars = await self._tools.archive.between(series, self._request.since)
        found = await asyncio.to_thread(sort_out, bars, series.timeframe)
        bad = PutAside(found.bad, found.reasons)
        if len(bad):
            await self._tools.archive.put_aside(series, bad, source=_NORMALIZED)
        return {"normalized": len(found.good), "moved_to_quarantine": len(bad)}

    async def _adjust(self, series: Series) -> dict[str, Any]:
        """Renew the factors of the symbol; only dividends, as the source's prices know splits already."""
        if self._tools.actions is None:
            return {"adjustments": len(await self._tools.adjustments.load(series.symbol))}
        bars = await self._tools.archive.between(series)
        if not len(bars):
            raise NotFound(f"no bars of {series} are stored; add fetch and cache to the operations")
        actions = await self._tools.actions.actions(series.symbol, bars.time_at(0).date())
        factors = factors_from(dividends_after_splits(actions), bars)
        source = self._request.data_source or ""
        await self._tools.adjustments.replace(series.symbol, factors, source=source)
        return {"adjustments": len(factors)}

    async def _with_stored(self, series: Series) -> dict[str, Any]:
        bars = await self._tools.archive.between(series)
        if not len(bars):
            raise NotFound(f"no bars of {series} are stored; add fetch and cache to the operations")
        outcome: dict[str, Any] = {}
        operations = self._request.operations
        if Operation.RESAMPLE in operations:
            outcome["resampled"] = {
                str(to): await self._resample(series, bars, to) for to in self._request.resample_to
            }
        if Operation.CHECK in operations:
            calendar = await self._tools.due.calendar_of(series.symbol)
            found = await asyncio.to_thread(report, series, bars, calendar, self._now)
            outcome["check"] = verdict(found)
        if Operation.ADJUST in operations:
            bars = adjusted(bars, await self._tools.adjustments.load(series.symbol))
        if Operation.INDICATORS in operations:
            outcome["indicators"] = {label_of(one): self._newest(bars, one) for one in self._request.indicators}
        if Operation.EXPORT in operations:
            outcome["exported"] = await self._tools.exporter.export(series, bars, self._request.export_format)
        return outcome

    async def _resample(self, series: Series, bars: Bars, target: Timeframe) -> int:
        """Store the closed coarser bars that are whole; the newest one, which is still forming, is not kept."""
        calendar = await self._tools.due.calendar_of(series.symbol)
        sessions = sessions_of(bars, series.timeframe, target, calendar)
        coarse = await asyncio.to_thread(resampled, bars, series.timeframe, target, sessions)
        whole = without_cut_ends(
            coarse.closed_at(self._now, target),
            bars,
            series.timeframe,
            target,
            calendar,
            complete_until=self._now if Operation.FETCH in self._request.operations else None,
        )
        source = f"resampled from {series.timeframe}"
        await self._tools.archive.store(Series(series.symbol, target), whole, source=source)
        return len(whole)

    def _newest(self, bars: Bars, request: IndicatorRequest) -> float | None:
        value = float(self._tools.indicators.values(bars, request, len(bars) - 1)[-1])
        return value if isfinite(value) else None  # JSON has neither NaN nor infinity


def label_of(request: IndicatorRequest) -> str:
    """Return an indicator with its parameters and output, such as ``macd(12, 26, 9, close).signal``."""
    params = ", ".join(str(value) for _, value in request.params)
    return f"{request.name}({params}).{request.output}"
