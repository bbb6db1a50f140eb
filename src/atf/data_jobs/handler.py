"""DataProcessingHandler: the runs of data-processing jobs, a few symbols at a time.

Each symbol is a step of the run: when a run is taken up again after its worker was killed, finished symbols are
not done twice. One bad symbol costs only itself; only if none at all could be done is the run tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final, Protocol

from atf.data_jobs.request import DataRequest
from atf.data_jobs.symbol_work import SymbolWork, Tools
from atf.errors import AtfError, PermanentFailure, TemporaryFailure
from atf.jobs.handler import Job
from atf.jobs.run import JobType
from atf.jobs.run_steps import RunSteps
from atf.market.market_clock import MarketClock
from atf.pause_points import pause_point

_LOGGER = logging.getLogger(__name__)
_SYMBOLS_AT_ONCE: Final = 4

Outcome = Mapping[str, Any]


class UniverseMembers(Protocol):
    """Which symbols belong to a universe."""

    async def members(self, user_id: int | None, name: str, on: date) -> Sequence[str]:
        """Return the symbols of a day, the user's own universe before everybody's. Errors: NotFound."""
        ...


class Toolbox(Protocol):
    """Has the tools of a run."""

    def tools(self, data_source: str | None) -> Tools:
        """Return the tools with a provider, or for stored bars alone."""
        ...


class DataProcessingHandler:
    """Does runs of the type ``data_processing``."""

    job_type: str = JobType.DATA_PROCESSING

    def __init__(self, toolbox: Toolbox, universes: UniverseMembers, steps: RunSteps, clock: MarketClock) -> None:
        self._toolbox = toolbox
        self._universes = universes
        self._steps = steps
        self._clock = clock

    async def handle(self, job: Job) -> Mapping[str, Any]:
        """Do all symbols and return what came of each.

        Errors: InvalidInput and NotFound for a job that cannot be done at all; TemporaryFailure if no symbol
                could be done now; PermanentFailure if none can be done ever.
        """
        request = DataRequest.parse(job.task_params)
        now = await self._clock.now()
        symbols = await self._symbols(request, job.user_id, now.date())
        done = dict(await self._steps.begin(job.run_id, symbols))
        work = SymbolWork(request, self._toolbox.tools(request.data_source), now)
        rest = [symbol for symbol in symbols if symbol not in done]
        outcomes = done | await self._do_all(job, work, rest)
        return _result({symbol: outcomes[symbol] for symbol in symbols})

    async def _symbols(self, request: DataRequest, user_id: int | None, today: date) -> Sequence[str]:
        if request.universe is None:
            return request.symbols
        return await self._universes.members(user_id, request.universe, today)

    async def _do_all(self, job: Job, work: SymbolWork, symbols: Sequence[str]) -> dict[str, Outcome]:
        outcomes: dict[str, Outcome] = {}
        waiting = iter(symbols)

        async def do_some() -> None:
            for symbol in waiting:
                outcomes[symbol] = await self._do_one(job, work, symbol)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_SYMBOLS_AT_ONCE):
                    group.create_task(do_some())
        except ExceptionGroup as several:
            raise several.exceptions[0] from several  # the run's error is what went wrong, not that something did
        return outcomes

    async def _do_one(self, job: Job, work: SymbolWork, symbol: str) -> Outcome:
        """Do a symbol; what may work another time is not noted as finished, so that a retry does it again."""
        try:
            outcome = await work.do(symbol)
        except TemporaryFailure as exc:
            _LOGGER.warning("%s of %s: %s", symbol, job.name or job.run_id, exc)
            return {"status": "failed", "error": str(exc), "may_work_later": True}
        except AtfError as exc:
            _LOGGER.warning("%s of %s: %s", symbol, job.name or job.run_id, exc)
            outcome = {"status": "failed", "error": str(exc)}
        await pause_point("data_jobs.before_step")
        await self._steps.finish(job.run_id, symbol, outcome)
        await pause_point("data_jobs.after_step")
        return outcome


def _result(outcomes: Mapping[str, Outcome]) -> Mapping[str, Any]:
    """Return the run's result. Errors: TemporaryFailure or PermanentFailure if not one symbol was done."""
    failed = {symbol: one for symbol, one in outcomes.items() if one["status"] != "ok"}
    if failed and len(failed) == len(outcomes):
        symbol, first = next(iter(failed.items()))
        sentence = f"none of {len(failed)} symbols could be done; {symbol}: {first['error']}"
        if any(one.get("may_work_later") for one in failed.values()):
            raise TemporaryFailure(sentence)
        raise PermanentFailure(sentence)
    return {
        "symbols": len(outcomes),
        "ok": len(outcomes) - len(failed),
        "failed": sorted(failed),
        "bars": sum(one.get("stored", 0) for one in outcomes.values()),
        "outcomes": dict(outcomes),
    }
