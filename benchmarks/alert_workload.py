"""Many alerts over 500 symbols, seeded: their configurations, their bars, and how they are stored.

Of a hundred alerts 40 watch the price, 30 the RSI, 15 both, 10 the cross of two averages, 5 a Bollinger band;
rearm types take turns. About one in a hundred holds on every bar and may fire each time; the others never hold,
so that every round has as many triggers as the last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import psycopg

from atf.alerts.alert import compile_alert, fresh_state
from atf.market.bars import Bars, FloatArray, Series, Timeframe, to_nanoseconds

HISTORY_BARS: Final = 250
TIMEFRAME: Final = Timeframe.M1
SYMBOLS: Final = tuple(f"BENCH{number:03d}" for number in range(500))
_TRIGGER_EVERY: Final = 101  # prime to the symbols and kinds, so that all levels have their share
_SEED: Final = 20_271_101
_KINDS: Final = tuple(
    {"p": "price", "r": "rsi", "b": "both", "a": "cross", "o": "band"}[letter]
    for letter in "prpbrpaprpbproprbpra"
)
_RSI_PERIODS: Final = (7, 14, 21)
_AVERAGES: Final = ((10, 30), (20, 50), (5, 20))
_QUIET_REARMS: Final[Sequence[Mapping[str, Any]]] = (
    {"type": "edge"},
    {"type": "simple"},
    {"type": "cooldown", "cooldown": 3600},
    {"type": "persistence", "bars": 2},
    {"type": "hysteresis", "threshold": 0.02},
    {"type": "crossing"},
)


@dataclass(frozen=True, slots=True)
class Sketch:
    """An alert in few words, from which its configuration and the plain TA-Lib rule are made alike."""

    symbol: str
    kind: str
    price_level: float
    rsi_period: int
    rsi_level: float
    averages: tuple[int, int]
    factor: float
    rearm: Mapping[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """The alert as its user would write it."""
        return {
            "ticker": self.symbol,
            "timeframe": str(TIMEFRAME),
            "rule": self._rule(),
            "rearm": dict(self.rearm),
            "notify": {"channels": ["inbox"]},
        }

    def _rule(self) -> dict[str, Any]:
        price = {"indicator": "price", "operator": ">", "value": self.price_level}
        rsi = {
            "indicator": "rsi",
            "params": {"period": self.rsi_period},
            "operator": ">",
            "value": self.rsi_level,
        }
        fast, slow = ({"indicator": "sma", "params": {"period": period}} for period in self.averages)
        match self.kind:
            case "price":
                return price
            case "rsi":
                return rsi
            case "both":
                return {"operator": "and", "conditions": [rsi, price]}
            case "cross":
                return {**fast, "operator": "crosses_above", "value": {**slow, "multiplier": self.factor}}
            case _:
                upper = {"indicator": "bbands", "output": "upper", "multiplier": self.factor}
                return {"indicator": "price", "operator": ">", "value": upper}


def sketches(count: int) -> list[Sketch]:
    """Return the alerts of a workload; equal counts give equal alerts."""
    random = np.random.default_rng(_SEED)
    return [_sketch(number, random) for number in range(count)]


def _sketch(number: int, random: np.random.Generator) -> Sketch:
    kind = _KINDS[number // len(SYMBOLS) % len(_KINDS)]
    fires = number % _TRIGGER_EVERY == 7 and kind != "cross"  # nothing crosses on every bar
    return Sketch(
        symbol=SYMBOLS[number % len(SYMBOLS)],
        kind=kind,
        price_level=0.5 if fires else float(random.uniform(5_000, 10_000)),
        rsi_period=_RSI_PERIODS[int(random.integers(len(_RSI_PERIODS)))],
        rsi_level=0.01 if fires else float(random.uniform(99.0, 99.9)),
        averages=_AVERAGES[int(random.integers(len(_AVERAGES)))],
        factor=0.5 if fires else float(random.uniform(2, 3)),
        rearm={"type": "simple"} if fires else _QUIET_REARMS[number % len(_QUIET_REARMS)],
    )


def walk(symbol: str, begin: datetime, count: int) -> Bars:
    """Return ``count`` bars of a calm random walk around 100, the first opening at ``begin``."""
    random = np.random.default_rng([_SEED, SYMBOLS.index(symbol)])
    close = 100.0 * np.exp(np.cumsum(random.normal(0.0, 0.001, count)))
    opens = np.concatenate([[100.0], close[:-1]])
    high = np.maximum(opens, close) * 1.0005
    low = np.minimum(opens, close) * 0.9995
    volume = random.uniform(1_000, 2_000, count)
    minute = int(TIMEFRAME.length.total_seconds()) * 1_000_000_000
    times = to_nanoseconds(begin) + np.arange(count, dtype=np.int64) * minute
    values: FloatArray = np.column_stack([opens, high, low, close, volume])
    return Bars.from_columns(times, values)


@dataclass(frozen=True, slots=True)
class Timeline:
    """``begin`` is the open of the first bar; the history closes at ``live_from``, and then come new bars."""

    begin: datetime
    new_bars: int

    @classmethod
    def ending_today(cls, new_bars: int) -> Timeline:
        """Return a timeline on this day, so that its runs lie in the partitions that there are."""
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return cls(today - HISTORY_BARS * TIMEFRAME.length, new_bars)

    @property
    def live_from(self) -> datetime:
        """When the last bar of the history closes."""
        return self.begin + HISTORY_BARS * TIMEFRAME.length

    def close_of(self, new_bar: int) -> datetime:
        """Return when a new bar closes, 0 being the first."""
        return self.live_from + (new_bar + 1) * TIMEFRAME.length

    def bars(self) -> dict[Series, Bars]:
        """Return all bars of all symbols; those to come lie in the store and are not closed yet."""
        count = HISTORY_BARS + self.new_bars
        return {Series(symbol, TIMEFRAME): walk(symbol, self.begin, count) for symbol in SYMBOLS}


_GROUP: Final = """
    INSERT INTO schedule_groups (cron, timezone, next_fire_at) VALUES ('* * * * *', 'UTC', %s) RETURNING id
"""
_SCHEDULES: Final = """
    INSERT INTO job_schedules (user_id, name, job_type, target, task_params, cron, next_run_at, created_at,
                               effective_from, group_id)
    SELECT 1, 'alert ' || n, 'alert', config ->> 'ticker', config, '* * * * *', %(first)s, %(live_from)s,
           %(live_from)s, %(group)s
    FROM unnest(%(configs)s::jsonb[]) WITH ORDINALITY AS k(config, n) ORDER BY n
"""
_STATES: Final = """
    INSERT INTO alert_states (schedule_id, gate, status, data_status, rule_hash, history_until, version)
    SELECT s.id, gate, 'ARMED', 'ok', hash, %(live_from)s, 0
    FROM unnest(%(gates)s::text[], %(hashes)s::text[]) WITH ORDINALITY AS k(gate, hash, n)
    JOIN job_schedules s ON s.name = 'alert ' || n
"""


async def store_alerts(url: str, alerts: Sequence[Sketch], timeline: Timeline) -> None:
    """Store the alerts with their first states in one group that rings at the close of each bar."""
    configs = [alert.config for alert in alerts]
    compiled = [compile_alert(config) for config in configs]
    values = {
        "first": timeline.close_of(0),
        "live_from": timeline.live_from,
        "configs": [json.dumps(config) for config in configs],
        "gates": [fresh_state(alert, timeline.live_from).gate for alert in compiled],
        "hashes": [alert.rule_hash for alert in compiled],
    }
    async with await psycopg.AsyncConnection.connect(url) as connection:
        (group,) = await (await connection.execute(_GROUP, [values["first"]])).fetchone() or (0,)
        await connection.execute(_SCHEDULES, {**values, "group": group})
        await connection.execute(_STATES, values)
