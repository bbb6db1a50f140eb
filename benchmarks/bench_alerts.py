"""Alerts from claim to commit, with a new closed bar for each; beside them the commit alone, and plain TA-Lib."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Final

import psycopg
import talib

from atf.alerts.alert import Alert, parse_alert
from atf.alerts.evaluation import Evaluation, evaluate_new_bars
from atf.alerts.evaluator import AlertEvaluator
from atf.alerts.outcome import LoadedAlert, Outcome
from atf.alerts.rearm import AlertState
from atf.indicators.indicator_service import IndicatorService
from atf.indicators.registry import PERIODS_IN_WINDOW, SHORTEST_WINDOW
from atf.jobs.run import ClaimedBatch, ClaimedRun, JobType
from atf.jobs.worker import Duty
from atf.market.bars import Bars, FloatArray, Series
from atf.schedules.tick import Tick
from atf.settings import Settings
from atf.storage.alerts_repository import PostgresAlerts
from atf.storage.bars_repository import PostgresBarStore
from atf.storage.database import Database
from atf.storage.groups_repository import PostgresGroups
from atf.storage.partitions import PostgresPartitions
from atf.testing.clocks import FakeMarketClock
from benchmarks.alert_stages import STAGES, StageWatch, WatchedData, WatchedQueue, WatchedStore
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
    value_at_least,
    value_at_most,
)
from benchmarks.server import BenchServer

DEFAULT_BATCH: Final = int(Settings.model_fields["worker_batch_size"].default)
LARGE_BATCH: Final = 2_000
_MOST_NEW_BARS: Final = 200


async def benchmark(bench: Bench) -> None:
    """Measure the arithmetic alone, parsing, and the whole way at two batch sizes."""
    size = bench.options.size or bench.choose(2_000, 200)
    alerts = sketches(size)
    timeline = Timeline.ending_today(_MOST_NEW_BARS)
    await _arithmetic(bench, alerts, timeline)
    await _parsing(bench, alerts)
    async with bench.server() as server, AsyncExitStack() as stack:
        desks = await _desks(server, alerts, timeline, stack)
        await _end_to_end(bench, *desks, DEFAULT_BATCH, name="end_to_end")
        await _end_to_end(bench, *desks, LARGE_BATCH, name=f"end_to_end_batch_{LARGE_BATCH}")


# --- arithmetic alone


async def _arithmetic(bench: Bench, alerts: Sequence[Sketch], timeline: Timeline) -> None:
    bars = {series: all_[: -_MOST_NEW_BARS + 1] for series, all_ in timeline.bars().items()}
    parsed = [parse_alert(sketch.config) for sketch in alerts]
    truths = sum(_holds(sketch, bars[alert.series]) for sketch, alert in zip(alerts, parsed, strict=True))

    async def ours() -> Observation:
        service = IndicatorService()
        begin = time.perf_counter()
        triggers = _evaluate_all(parsed, bars, timeline, service)
        seconds = time.perf_counter() - begin
        if triggers != truths:
            raise BenchmarkError(f"{triggers} alerts fire, by plain TA-Lib {truths}")
        return {"alerts_per_second": len(alerts) / seconds, "calculations": service.calculations}

    async def one_at_a_time() -> Observation:
        begin = time.perf_counter()
        for sketch, alert in zip(alerts, parsed, strict=True):
            _holds(sketch, bars[alert.series])
        return {"alerts_per_second": len(alerts) / (time.perf_counter() - begin)}

    rounds = await bench.rounds({"atf": ours, "talib": one_at_a_time})
    rate = "alerts_per_second"
    bench.report("arithmetic", "alerts/s", rounds, Source("atf", rate), baseline=Source("talib", rate))
    bench.report("arithmetic_talib_calls", "calls", rounds, Source("atf", "calculations"))


def _evaluate_all(
    alerts: Sequence[Alert], bars: Mapping[Series, Bars], timeline: Timeline, service: IndicatorService
) -> int:
    """Evaluate one new bar of each alert, each indicator computed once; return how many fire."""
    sessions = {series: service.session(each) for series, each in bars.items()}
    now = timeline.close_of(0)
    triggers = 0
    for alert in alerts:
        evaluation = evaluate_new_bars(
            alert,
            AlertState(alert.rule_hash),
            bars[alert.series],
            sessions[alert.series],
            history_until=timeline.live_from,
            now=now,
        )
        triggers += len(evaluation.triggers)
    return triggers


def _holds(sketch: Sketch, bars: Bars) -> bool:
    """Return the rule's truth on the newest bar, written directly for this alert alone."""
    close = bars.close
    match sketch.kind:
        case "price":
            return bool(close[-1] > sketch.price_level)
        case "rsi":
            return _rsi(sketch, close) > sketch.rsi_level
        case "both":
            return _rsi(sketch, close) > sketch.rsi_level and bool(close[-1] > sketch.price_level)
        case _:
            average = talib.SMA if sketch.ma_name == "sma" else talib.EMA
            values = average(_window(close, sketch.ma_period), timeperiod=sketch.ma_period)
            return bool(close[-1] > sketch.ma_factor * values[-1])


def _rsi(sketch: Sketch, close: FloatArray) -> float:
    return float(talib.RSI(_window(close, sketch.rsi_period), timeperiod=sketch.rsi_period)[-1])


def _window(close: FloatArray, period: int) -> FloatArray:
    """Return the bars on which ATF computes a value of this period."""
    return close[-max(SHORTEST_WINDOW, PERIODS_IN_WINDOW * period) :]


# --- parsing


async def _parsing(bench: Bench, alerts: Sequence[Sketch]) -> None:
    texts = [json.dumps(sketch.config) for sketch in alerts]

    async def parse() -> Observation:
        begin = time.perf_counter()
        for text in texts:
            parse_alert(json.loads(text))
        return {"alerts_per_second": len(texts) / (time.perf_counter() - begin)}

    async def only_json() -> Observation:
        begin = time.perf_counter()
        for text in texts:
            json.loads(text)
        return {"alerts_per_second": len(texts) / (time.perf_counter() - begin)}

    rounds = await bench.rounds({"parse": parse, "json": only_json})
    rate = "alerts_per_second"
    bench.report(
        "parse",
        "alerts/s",
        rounds,
        Source("parse", rate),
        baseline=Source("json", rate),
        goal=value_at_least(25_000),  # 100,000 stored alerts ready within 4 s
    )


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
        patience = timedelta(seconds=30)  # on a slow machine no series is to be put back
        async with run_queue(self.database) as runs:
            evaluator = AlertEvaluator(store, runs, data, self.clock, patience=patience)
            duty = Duty(job_type("alert"), CountingHandler(evaluator, count), is_batch=True)
            queue = WatchedQueue(runs, count, watch)
            seconds, batches = await drain(self.database, queue, duty, count, batch_size=batch_size)
        own = watch.seconds["compile"] + watch.seconds["evaluate"]
        return {
            "alerts_per_second": self.alerts / seconds,
            "own_share": own / seconds,
            "triggers": await self.require_done(),
            "calculations": evaluator._indicators.calculations,  # noqa: SLF001 - the count is for measurements
            **{f"{stage}_us": watch.seconds[stage] / self.alerts * 1e6 for stage in STAGES},
            **{name: value * 1000 for name, value in percentiles(batches).items()},
        }

    async def committed(self, batch_size: int) -> Observation:
        """Let a Worker claim the same and commit outcomes that were computed before."""
        await self.close_a_bar()
        known = await self._evaluations()
        count = Count(self.alerts)
        handler = CountingHandler(PrecomputedHandler(PostgresAlerts(self.database), known), count)
        duty = Duty(job_type("alert"), handler, is_batch=True)
        async with run_queue(self.database) as queue:
            seconds, batches = await drain(self.database, queue, duty, count, batch_size=batch_size)
        return {
            "alerts_per_second": self.alerts / seconds,
            "triggers": await self.require_done(),
            **{name: value * 1000 for name, value in percentiles(batches).items()},
        }

    async def _evaluations(self) -> dict[int, tuple[LoadedAlert, Evaluation]]:
        """Compute by ATF's own functions what the handler is to commit."""
        async with await psycopg.AsyncConnection.connect(self.server.url(self.name)) as connection:
            rows = await (await connection.execute("SELECT id FROM job_schedules")).fetchall()
        stored = await PostgresAlerts(self.database).load([row[0] for row in rows])
        service = IndicatorService()
        bars = {series: all_.closed_at(self.clock.at, TIMEFRAME) for series, all_ in self.timeline.bars().items()}
        sessions = {series: service.session(closed) for series, closed in bars.items()}
        known = {}
        for one in stored:
            alert = parse_alert(one.config)
            loaded = LoadedAlert(one, alert, one.state or AlertState(alert.rule_hash), one.created_at)
            evaluation = evaluate_new_bars(
                alert,
                loaded.state,
                bars[alert.series],
                sessions[alert.series],
                history_until=one.created_at,
                now=self.clock.at,
            )
            known[one.schedule_id] = loaded, evaluation
        return known


class PrecomputedHandler:
    """Commits what it was given, as AlertEvaluator commits: nothing is loaded, fetched or computed."""

    job_type: str = JobType.ALERT

    def __init__(self, store: PostgresAlerts, known: Mapping[int, tuple[LoadedAlert, Evaluation]]) -> None:
        self._store = store
        self._known = known

    async def handle(self, batch: ClaimedBatch) -> None:
        """Commit the outcomes of a batch in one transaction."""
        outcomes = [self._outcome(run) for run in batch.runs]
        async with self._store.commit() as commit:
            held = await commit.held(batch.worker_id, batch.runs)
            ours = [mine for o in outcomes if (mine := o.of_runs(held)).runs]
            unchanged = await commit.unchanged([o.loaded for o in ours])
            valid = [o for o in ours if o.schedule_id in unchanged]
            await commit.states(valid)
            await commit.triggers(valid)
            await commit.outbox([message for o in valid for message in o.messages()])
            await commit.runs([completion for o in valid for completion in o.completions()])

    def _outcome(self, run: ClaimedRun) -> Outcome:
        if run.job_id is None:
            raise BenchmarkError("a run without an alert")
        return Outcome(*self._known[run.job_id], (run,))


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
    rounds = await bench.rounds(contenders)
    _require_same_triggers(rounds)
    rate = "alerts_per_second"
    bench.report(
        name,
        "alerts/s",
        rounds,
        Source("evaluator", rate),
        baseline=Source("commit", rate),
        goal=ratio_at_least(0.5),
    )
    for part in ("p50", "p95", "p99") if evaluating.alerts >= 4 * batch_size else ():
        source, baseline = Source("evaluator", part), Source("commit", part)
        bench.report(f"{name}_batch_{part}", "ms", rounds, source, baseline=baseline)
    goal = value_at_most(0.2) if batch_size >= LARGE_BATCH else None
    bench.report(f"{name}_own_share", "of wall time", rounds, Source("evaluator", "own_share"), goal=goal)
    for stage in STAGES:
        bench.report(f"{name}_{stage}", "us/alert", rounds, Source("evaluator", f"{stage}_us"))
    bench.report(f"{name}_talib_calls", "calls", rounds, Source("evaluator", "calculations"))
    bench.report(f"{name}_triggers", "triggers", rounds, Source("evaluator", "triggers"))


def _require_same_triggers(rounds: Rounds) -> None:
    ours = rounds.figures(Source("evaluator", "triggers"))
    theirs = rounds.figures(Source("commit", "triggers"))
    if set(ours) != set(theirs):
        raise BenchmarkError(f"both sides should trigger alike, found {ours} and {theirs}")
