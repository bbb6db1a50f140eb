"""Judging alerts without a database: ATF, one alert at a time, and a limit with NumPy and TA-Lib alone.

Both baselines know no missing data; they say what the same rules cost at least. The limit also decides by gate,
count and cooldown which alerts fire, on arrays that are thrown away; one at a time no alert has a state.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import talib

from atf.alerts.alert import compile_alert, fresh_state
from atf.alerts.evaluation import evaluate
from atf.alerts.readings import WatchedBars
from atf.alerts.roster import Roster, roster_of
from atf.alerts.state import StateColumns
from atf.alerts.watched import close_times
from atf.indicators.indicator_service import IndicatorService
from atf.market.bars import Bars, FloatArray, Series, to_nanoseconds
from benchmarks.alert_workload import SYMBOLS, TIMEFRAME, Sketch, Timeline
from benchmarks.bench import Bench
from benchmarks.measure import BenchmarkError, Observation, Source, ratio_at_least, value_at_most

RATE: Final = "alerts_per_second"
FULL_SIZE: Final = 100_000
"""What the goals are about."""

BoolArray = np.ndarray[tuple[int], np.dtype[np.bool_]]
_NOW: Final = 1
_STDDEV: Final = 2.0
_BAND_PERIOD: Final = 20


async def measure_arithmetic(bench: Bench, alerts: Sequence[Sketch], timeline: Timeline, *, name: str) -> None:
    """Compare the three on one new closed bar for each alert; rosters and index arrays are made before."""
    bars = {series: each[: -timeline.new_bars + 1] for series, each in timeline.bars().items()}
    judged, limit = _Judged(alerts, bars, timeline), _Limit(alerts, bars)
    expected = limit.fires()
    alone = sum(_holds(sketch, bars[Series(sketch.symbol, TIMEFRAME)]) for sketch in alerts)
    if alone != expected:
        raise BenchmarkError(f"one at a time {alone} alerts fire, vectorised {expected}")

    async def ours() -> Observation:
        return judged.observed(expected)

    async def one_at_a_time() -> Observation:
        begin = time.perf_counter()
        for sketch in alerts:
            _holds(sketch, bars[Series(sketch.symbol, TIMEFRAME)])
        return {RATE: len(alerts) / (time.perf_counter() - begin)}

    async def vectorised() -> Observation:
        begin = time.perf_counter()
        limit.fires()
        return {RATE: len(alerts) / (time.perf_counter() - begin)}

    rounds = await bench.rounds({"atf": ours, "limit": vectorised, "talib": one_at_a_time})
    is_goal = len(alerts) >= FULL_SIZE
    for metric, baseline, goal in ((name, "limit", 0.5), (f"{name}_vs_one_at_a_time", "talib", 3.0)):
        bench.report(
            metric,
            "alerts/s",
            rounds,
            Source("atf", RATE),
            baseline=Source(baseline, RATE),
            goal=ratio_at_least(goal) if is_goal else None,
        )
    bench.report(f"{name}_talib_calls", "calls", rounds, Source("atf", "calculations"))


async def measure_growth(bench: Bench, few: Sequence[Sketch], many: Sequence[Sketch], timeline: Timeline) -> None:
    """Report what ten times the alerts cost, and what one more alert costs on series that are loaded."""
    bars = {series: each[: -timeline.new_bars + 1] for series, each in timeline.bars().items()}
    larger, smaller = _Judged(many, bars, timeline), _Judged(few, bars, timeline)

    async def both() -> Observation:
        most, least = larger.seconds(), smaller.seconds()
        one_more = (most - least) / (len(many) - len(few))
        return {"tenfold": most / least * 10 * len(few) / len(many), "one_more_us": one_more * 1e6}

    rounds = await bench.rounds({"atf": both})
    bench.report(
        "arithmetic_of_ten_times_as_many",
        "times the time",
        rounds,
        Source("atf", "tenfold"),
        goal=value_at_most(10.5),
    )
    bench.report("arithmetic_of_one_more", "us", rounds, Source("atf", "one_more_us"))


async def measure_start(bench: Bench, alerts: Sequence[Sketch]) -> None:
    """Report how long stored configurations take until they can be judged, and the memory that stays."""
    configs = [sketch.config for sketch in alerts]
    memory = _memory(configs)

    async def compiled() -> Observation:
        begin = time.perf_counter()
        ready = [compile_alert(config) for config in configs]
        seconds = time.perf_counter() - begin
        del ready
        return {"seconds": seconds, "megabytes": memory / 1e6, "bytes": memory / len(configs)}

    rounds = await bench.rounds({"atf": compiled})
    is_goal = len(alerts) >= FULL_SIZE
    for metric, unit, quantity, goal in (
        ("start", "s", "seconds", value_at_most(4)),
        ("start_memory", "MB", "megabytes", value_at_most(250)),
        ("memory_of_one", "bytes", "bytes", None),
    ):
        bench.report(metric, unit, rounds, Source("atf", quantity), goal=goal if is_goal else None)


def _memory(configs: Sequence[object]) -> float:
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        ready = [compile_alert(config) for config in configs]
        after, _ = tracemalloc.get_traced_memory()
        del ready
    finally:
        tracemalloc.stop()
    return after - before


class _Judged:
    """ATF's side: a roster, and states whose next bar is the newest."""

    def __init__(self, alerts: Sequence[Sketch], bars: Mapping[Series, Bars], timeline: Timeline) -> None:
        compiled = [compile_alert(sketch.config) for sketch in alerts]
        self._roster: Roster = roster_of(compiled)
        self._states = [fresh_state(alert, timeline.live_from) for alert in compiled]
        self._sides = [{"0": "below"} if alert.events else {} for alert in compiled]
        self._bars = bars
        self._timeline = timeline

    def seconds(self) -> float:
        """Judge all once and return how long it took."""
        return self._run()[0]

    def observed(self, expected: int) -> Observation:
        """Judge all once. Errors: BenchmarkError if others fire than without ATF."""
        seconds, fired, calculations = self._run()
        if fired != expected:
            raise BenchmarkError(f"{fired} alerts fire, by plain TA-Lib {expected}")
        return {RATE: len(self._states) / seconds, "calculations": calculations}

    def _run(self) -> tuple[float, int, int]:
        columns = StateColumns.of(self._states)
        columns.last_bar[:] = to_nanoseconds(self._timeline.live_from - TIMEFRAME.length)
        service = IndicatorService()
        begin = time.perf_counter()
        watched = {}
        for one in self._roster.watched:
            bars = self._bars[one.series]
            watched[one] = WatchedBars(bars, close_times(bars, TIMEFRAME), service.session(bars))
        found = evaluate(self._roster, columns, self._sides, watched, self._timeline.close_of(0))
        seconds = time.perf_counter() - begin
        return seconds, sum(map(len, found.triggers.values())), service.calculations


@dataclass(frozen=True)
class _Rearm:
    """What alerts of one kind rearm by, and the states from which they go on. Shape: (a,) each."""

    keeps_open: np.ndarray[tuple[int], np.dtype[np.bool_]]
    is_open: np.ndarray[tuple[int], np.dtype[np.bool_]]
    bars: np.ndarray[tuple[int], np.dtype[np.int64]]
    cooldown: np.ndarray[tuple[int], np.dtype[np.int64]]
    threshold: FloatArray

    @classmethod
    def of(cls, own: Sequence[Sketch]) -> _Rearm:
        kinds = [sketch.rearm["type"] for sketch in own]
        return cls(
            keeps_open=np.array([kind == "simple" for kind in kinds], dtype=np.bool_),
            is_open=np.array([kind != "crossing" for kind in kinds], dtype=np.bool_),
            bars=np.array([sketch.rearm.get("bars", 1) for sketch in own], dtype=np.int64),
            cooldown=np.array([sketch.rearm.get("cooldown", 0) for sketch in own], dtype=np.int64),
            threshold=np.array([sketch.rearm.get("threshold", 0.0) for sketch in own]),
        )

    def fires(self, truth: BoolArray, relaxed: BoolArray, now: int) -> int:
        """Step all states by one bar and return how many alerts fire."""
        is_open = self.is_open | self.keeps_open | ~(truth | relaxed)
        count = np.where(truth & is_open, 1, 0)
        cooldown_until = np.zeros(len(truth), dtype=np.int64)
        fires = (count >= self.bars) & (now >= cooldown_until)
        is_open &= self.keeps_open | ~fires
        count[fires] = 0
        cooldown_until[fires] = now + self.cooldown[fires]
        return int(fires.sum())


@dataclass(frozen=True)
class _Group:
    """Alerts of one kind: which symbol, which column of what was computed, which level. Shape: (a,) each."""

    kind: str
    rearm: _Rearm
    symbols: np.ndarray[tuple[int], np.dtype[np.int64]]
    first: np.ndarray[tuple[int], np.dtype[np.int64]]
    second: np.ndarray[tuple[int], np.dtype[np.int64]]
    levels: FloatArray
    others: FloatArray


class _Limit:
    """The same decisions with NumPy and TA-Lib alone: each indicator once a symbol, each kind at once."""

    def __init__(self, alerts: Sequence[Sketch], bars: Mapping[Series, Bars]) -> None:
        self._closes = [bars[Series(symbol, TIMEFRAME)].close for symbol in SYMBOLS]
        self._periods = sorted({sketch.rsi_period for sketch in alerts})
        self._averages = sorted({period for sketch in alerts for period in sketch.averages})
        self._groups = [self._group(kind, alerts) for kind in ("price", "rsi", "both", "cross", "band")]

    def fires(self) -> int:
        """Return how many alerts fire on the newest bar."""
        rsi = np.array([[talib.RSI(c, timeperiod=p)[-1] for p in self._periods] for c in self._closes])
        averages = np.array([[talib.SMA(c, timeperiod=p)[-2:] for p in self._averages] for c in self._closes])
        upper = np.array([talib.BBANDS(c, _BAND_PERIOD, _STDDEV, _STDDEV)[0][-1] for c in self._closes])
        close = np.array([c[-1] for c in self._closes])
        fired = 0
        for group in self._groups:
            truth = _true(group, group.levels, close, rsi, averages, upper)
            relaxed = _true(group, group.levels * (1 - group.rearm.threshold), close, rsi, averages, upper)
            fired += group.rearm.fires(truth, relaxed, _NOW)
        return fired

    def _group(self, kind: str, alerts: Sequence[Sketch]) -> _Group:
        own = [sketch for sketch in alerts if sketch.kind == kind]
        place = {symbol: number for number, symbol in enumerate(SYMBOLS)}
        is_rsi = kind in ("rsi", "both")
        first = [
            self._periods.index(s.rsi_period) if is_rsi else self._averages.index(s.averages[0]) for s in own
        ]
        return _Group(
            kind,
            _Rearm.of(own),
            np.array([place[s.symbol] for s in own], dtype=np.int64),
            np.array(first, dtype=np.int64),
            np.array([self._averages.index(s.averages[1]) for s in own], dtype=np.int64),
            np.array([s.rsi_level if is_rsi else s.price_level for s in own]),
            np.array([s.factor if kind in ("cross", "band") else s.price_level for s in own]),
        )


def _true(
    group: _Group,
    levels: FloatArray,
    close: FloatArray,
    rsi: FloatArray,
    averages: FloatArray,
    upper: FloatArray,
) -> BoolArray:
    symbols = group.symbols
    match group.kind:
        case "price":
            truth = close[symbols] > levels
        case "rsi":
            truth = rsi[symbols, group.first] > levels
        case "both":
            truth = (rsi[symbols, group.first] > levels) & (close[symbols] > group.others)
        case "cross":
            fast, slow = averages[symbols, group.first], averages[symbols, group.second] * group.others[:, None]
            truth = (fast[:, 0] < slow[:, 0]) & (fast[:, 1] > slow[:, 1])
        case _:
            truth = close[symbols] > group.others * upper[symbols]
    return np.asarray(truth)


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
        case "cross":
            fast, slow = (talib.SMA(close, timeperiod=period) for period in sketch.averages)
            return bool(fast[-2] < sketch.factor * slow[-2] and fast[-1] > sketch.factor * slow[-1])
        case _:
            return bool(close[-1] > sketch.factor * talib.BBANDS(close, _BAND_PERIOD, _STDDEV, _STDDEV)[0][-1])


def _rsi(sketch: Sketch, close: FloatArray) -> float:
    return float(talib.RSI(close, timeperiod=sketch.rsi_period)[-1])
