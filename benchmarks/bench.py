"""What a benchmark module gets: sizes, rounds, a server, and where its metrics go."""

from __future__ import annotations

import cProfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.machine import describe_versions
from benchmarks.measure import Contender, Goal, Metric, Observation, Probe, RoundRunner, Rounds, Source, summarise
from benchmarks.server import BenchServer, running_server


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured; None leaves it to the benchmark."""

    quick: bool = False
    size: int | None = None
    rounds: int | None = None


@dataclass
class Bench:
    """One benchmark on its way; ``profiler`` watches the first contender of each comparison if it is given.

    ``notes`` say what the figures do not, such as what could not be compared.
    """

    folder: Path
    options: Options
    probe: Probe
    profiler: cProfile.Profile | None = None
    metrics: list[Metric] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=describe_versions)

    def __post_init__(self) -> None:
        self._runner = RoundRunner(self.probe)

    def choose(self, full: int, quick: int) -> int:
        """Return the size for this run."""
        return quick if self.options.quick else full

    async def rounds(self, contenders: Mapping[str, Contender], *, count: int = 5) -> Rounds:
        """Run the contenders in turns, ATF first and its baseline after it. Errors: BenchmarkError."""
        if self.profiler is not None:
            first, *_ = contenders
            contenders = {**contenders, first: _profiled(contenders[first], self.profiler)}
        return await self._runner.run(contenders, self.options.rounds or self.choose(count, 1))

    def report(
        self,
        metric: str,
        unit: str,
        rounds: Rounds,
        source: Source,
        *,
        baseline: Source | None = None,
        goal: Goal | None = None,
    ) -> None:
        """Add a metric: the median over the rounds."""
        self.metrics.append(summarise(metric, unit, rounds, source, baseline=baseline, goal=goal))

    @asynccontextmanager
    async def server(self) -> AsyncIterator[BenchServer]:
        """Run ATF's own PostgreSQL as long as this lasts."""
        async with running_server(self.folder) as server:
            self.versions["postgresql"] = await server.version()
            yield server

    @property
    def disk_syncs(self) -> list[float]:
        """Seconds of a sync in each probe."""
        return self._runner.probes


def _profiled(contender: Contender, profiler: cProfile.Profile) -> Contender:
    async def run() -> Observation:
        profiler.enable()
        try:
            return await contender()
        finally:
            profiler.disable()

    return run
