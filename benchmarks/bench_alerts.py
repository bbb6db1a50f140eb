"""Alerts from claim to commit, with a new closed bar for each; beside them the commit alone, and plain TA-Lib."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final
from uuid import UUID

import psycopg

from atf.alerts.batch_work import BatchWork
from atf.alerts.evaluator import AlertEvaluator
from atf.alerts.loading import CompiledRules
from atf.alerts.outcome import Outcomes
from atf.jobs.run import ClaimedBatch, ClaimedRun, JobType, RunId, RunKey, WorkerId
from atf.jobs.worker import Duty
from atf.schedules.tick import Tick
from atf.storage.alerts_repository import PostgresAlerts
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.storage.groups_repository import PostgresGroups
from atf.storage.partitions import PostgresPartitions
from atf.testing.clocks import FakeMarketClock
from benchmarks.alert_arithmetic import FULL_SIZE, RATE, measure_arithmetic, measure_growth, measure_start
from benchmarks.alert_stages import STAGES, StageWatch, WatchedData, WatchedQueue, WatchedStore
from benchmarks.alert_workers import AlertWorkers, alert_workers
from benchmarks.alert_workload import TIMEFRAME, Sketch, Timeline, sketches, store_alerts
from benchmarks.bench import Bench
from benchmarks.driving import Count, CountingHandler, drain, job_type, run_queue
from benchmarks.measure import (
    BenchmarkError,
    Contender,
    Observation,
    Rounds,
    Source,
    percentiles,
    ratio_at_least,
    value_at_most,
)
from benchmarks.server import BenchServer

BATCHES: Final = (2_000, 5_000)
PATIENCE: Final = timedelta(seconds=60)
"""On a slow machine no series is to be put back."""

_MOST_NEW_BARS: Final = 100


async def benchmark(bench: Bench) -> None:
    """Measure the arithmetic alone, the start, and the whole way."""
    size = bench.options.size or bench.choose(FULL_SIZE, 600)
    alerts = sketches(size)
    timeline = Timeline.ending_today(_MOST_NEW_BARS)
    few = alerts[: max(size // 10, 1)]
    await measure_arithmetic(bench, few, timeline, name=f"arithmetic_{len(few)}")
    await measure_arithmetic(bench, alerts, timeline, name="arithmetic")
    await measure_growth(bench, few, alerts, timeline)
    await measure_start(bench, alerts)
    async with bench.server() as server, AsyncExitStack() as stack:
        desks = await _desks(server, alerts, timeline, stack)
        for batch_size in BATCHES:
            await _end_to_end(bench, *desks, batch_size, name=f"end_to_end_batch_{batch_size}")
        await _two_workers(bench, desks[0], BATCHES[0])


# --- the whole way


@dataclass
class Desk:
    """A database with all alerts, and the time there; each use takes one more bar."""

    server: BenchServer
    name: str
    database: Database
    timeline: Timeline
    alerts: int
    clock: FakeMarketClock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = FakeMarketClock(self.timeline.live_from)
        self._next_bar = count()
        self._rules = CompiledRules()

    async def close_a_bar(self) -> None:
        """Let one more bar close and the runs of all alerts become due; what was done before goes away."""
        self.clock.at = self.timeline.close_of(next(self._next_bar))
        await self.server.execute(self.name, "TRUNCATE job_schedule_runs")
        created = await Tick(PostgresGroups(self.database, is_replay=False), self.clock).fire_due()
        if created != self.alerts:
            raise BenchmarkError(f"{created} of {self.alerts} runs were made")
        await self.server.settle(self.name)

    async def require_done(self) -> float:
        """Return how many triggers there are. Errors: BenchmarkError unless everything was evaluated."""
        newest_bar = self.clock.at - TIMEFRAME.length
        async with await psycopg.AsyncConnection.connect(self.server.url(self.name)) as connection:
            for expected in (
                "SELECT count(*) FROM job_schedule_runs WHERE status = 'COMPLETED'",
                f"SELECT count(*) FROM alert_states WHERE last_bar = '{newest_bar.isoformat()}'",
            ):
                (found,) = await (await connection.execute(expected.encode())).fetchone() or (0,)
                if found != self.alerts:
                    raise BenchmarkError(f"{found} of {self.alerts} rows: {expected}")
            triggers = await connection.execute(
                "SELECT count(*) FROM alert_triggers WHERE bar_time = %s", [newest_bar]
            )
            (found,) = await triggers.fetchone() or (0,)
        return float(found)

    async def evaluated(self, batch_size: int) -> Observation:
        """Let a Worker with an AlertEvaluator do one bar of all alerts."""
        await self.close_a_bar()
        watch = StageWatch()
        count = Count(self.alerts)
        store = WatchedStore(PostgresAlerts(self.database), watch)
        data = WatchedData(PostgresBarStore(self.database), watch)
        async with run_queue(self.database) as runs:
            evaluator = AlertEvaluator(store, runs, data, self.clock, patience=PATIENCE, rules=self._rules)
            duty = Duty(job_type("alert"), CountingHandler(evaluator, count), is_batch=True)
            queue = WatchedQueue(runs, count, watch)
            seconds, batches = await drain(self.database, queue, duty, count, batch_size=batch_size)
        own = watch.seconds["compile"] + watch.seconds["evaluate"]
        return {
            RATE: self.alerts / seconds,
            "seconds": seconds,
            "own_share": own / seconds,
            "triggers": await self.require_done(),
            "calculations": evaluator.calculations,
            **{f"{stage}_us": watch.seconds[stage] / self.alerts * 1e6 for stage in STAGES},
            **{name: value * 1000 for name, value in percentiles(batches).items()},
        }

    async def done_by(self, workers: AlertWorkers) -> Observation:
        """Let workers in processes of their own do one bar of all alerts."""
        await self.close_a_bar()
        seconds = await workers.seconds(self.clock.at, self.alerts)
        await self.require_done()
        return {RATE: self.alerts / seconds}

    async def committed(self, batch_size: int) -> Observation:
        """Let a Worker claim the same and commit outcomes that were computed before."""
        await self.close_a_bar()
        count = Count(self.alerts)
        handler = PrecomputedHandler(PostgresAlerts(self.database), await self._outcomes())
        duty = Duty(job_type("alert"), CountingHandler(handler, count), is_batch=True)
        async with run_queue(self.database) as queue:
            seconds, batches = await drain(self.database, queue, duty, count, batch_size=batch_size)
        return {
            RATE: self.alerts / seconds,
            "triggers": await self.require_done(),
            **{name: value * 1000 for name, value in percentiles(batches).items()},
        }

    async def _outcomes(self) -> Outcomes:
        """Compute by ATF's own evaluator what the handler is to commit."""
        async with await psycopg.AsyncConnection.connect(self.server.url(self.name)) as connection:
            rows = await (await connection.execute("SELECT id FROM job_schedules")).fetchall()
        store = PostgresAlerts(self.database)
        data = WatchedData(PostgresBarStore(self.database), StageWatch())
        async with run_queue(self.database) as runs:
            evaluator = AlertEvaluator(store, runs, data, self.clock, patience=PATIENCE)
            return await evaluator.outcomes(BatchWork(_batch_of([row[0] for row in rows])))


def _batch_of(schedule_ids: Sequence[int]) -> ClaimedBatch:
    """Return runs of the alerts that nobody holds; they serve to compute outcomes."""
    runs = [
        ClaimedRun(
            RunKey("alert", datetime.now(UTC), number), RunId(UUID(int=number)), "alert", number, 1, 1, 1, {}
        )
        for number in schedule_ids
    ]
    return ClaimedBatch(WorkerId(""), "alert", tuple(runs))


class PrecomputedHandler:
    """Commits what it was given, as AlertEvaluator commits: nothing is loaded, fetched or computed."""

    job_type: str = JobType.ALERT

    def __init__(self, store: PostgresAlerts, known: Outcomes) -> None:
        self._store = store
        self._known = known
        self._rows = {number: row for row, number in enumerate(known.ids.tolist())}

    async def handle(self, batch: ClaimedBatch) -> None:
        """Commit the outcomes of a batch in one transaction."""
        runs = sorted(batch.runs, key=lambda run: run.job_id or 0)
        outcomes = self._known.take([self._rows[run.job_id or 0] for run in runs], [(run,) for run in runs])
        async with self._store.commit() as commit:
            await commit.unchanged(outcomes)
            await commit.states(outcomes)
            await commit.triggers(outcomes)
            await commit.outbox(outcomes.messages())
            await commit.runs(batch.worker_id, outcomes.completions())


async def _desks(
    server: BenchServer, alerts: Sequence[Sketch], timeline: Timeline, stack: AsyncExitStack
) -> tuple[Desk, Desk]:
    """Return two databases that are alike: each side has its own states to move on."""
    async with server.database("original") as database:
        await PostgresPartitions(database).ensure_ahead(timeline.close_of(0))
        store = PostgresBarStore(database)
        for series, bars in timeline.bars().items():
            await store.store(series, bars)
        await store_alerts(server.url("original"), alerts, timeline)
    desks = []
    for name in ("evaluating", "committing"):
        database = await stack.enter_async_context(server.database(name, copy_of="original"))
        desks.append(Desk(server, name, database, timeline, len(alerts)))
    return desks[0], desks[1]


async def _end_to_end(bench: Bench, evaluating: Desk, committing: Desk, batch_size: int, *, name: str) -> None:
    contenders: dict[str, Contender] = {
        "evaluator": lambda: evaluating.evaluated(batch_size),
        "commit": lambda: committing.committed(batch_size),
    }
    for contender in contenders.values():  # once before it counts: caches of rules and statements fill
        await contender()
    rounds = await bench.rounds(contenders, count=3)
    _require_same_triggers(rounds)
    bench.report(
        name,
        "alerts/s",
        rounds,
        Source("evaluator", RATE),
        baseline=Source("commit", RATE),
        goal=ratio_at_least(0.5),
    )
    if evaluating.alerts >= FULL_SIZE:
        bench.report(f"{name}_all", "s", rounds, Source("evaluator", "seconds"), goal=value_at_most(4))
    for part in ("p50", "p95", "p99") if evaluating.alerts >= 4 * batch_size else ():
        source, baseline = Source("evaluator", part), Source("commit", part)
        bench.report(f"{name}_batch_{part}", "ms", rounds, source, baseline=baseline)
    bench.report(
        f"{name}_own_share", "of wall time", rounds, Source("evaluator", "own_share"), goal=value_at_most(0.2)
    )
    for stage in STAGES:
        bench.report(f"{name}_{stage}", "us/alert", rounds, Source("evaluator", f"{stage}_us"))
    bench.report(f"{name}_talib_calls", "calls", rounds, Source("evaluator", "calculations"))
    bench.report(f"{name}_triggers", "triggers", rounds, Source("evaluator", "triggers"))


async def _two_workers(bench: Bench, desk: Desk, batch_size: int) -> None:
    """Two processes against one, on the same rows."""
    url = desk.server.url(desk.name)
    async with alert_workers(url, 1, batch_size) as one, alert_workers(url, 2, batch_size) as two:
        contenders: dict[str, Contender] = {"two": lambda: desk.done_by(two), "one": lambda: desk.done_by(one)}
        for contender in contenders.values():  # each process compiles the rules that it meets
            await contender()
            await contender()
        rounds = await bench.rounds(contenders, count=3)
    bench.report(
        "two_workers",
        "alerts/s",
        rounds,
        Source("two", RATE),
        baseline=Source("one", RATE),
        goal=ratio_at_least(1.4),
    )


def _require_same_triggers(rounds: Rounds) -> None:
    ours = rounds.figures(Source("evaluator", "triggers"))
    theirs = rounds.figures(Source("commit", "triggers"))
    if set(ours) != set(theirs):
        raise BenchmarkError(f"both sides should trigger alike, found {ours} and {theirs}")
