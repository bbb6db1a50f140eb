"""Rounds, medians, goals: what turns single timings into a figure that can be compared.

A round runs every contender once, one after the other, between two probes of the disk. A round during which
the disk stalled is void, counted, and measured again.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

Probe = Callable[[], float]
"""Seconds of one disk sync at this moment."""

Observation = Mapping[str, float]
"""What a contender measured in one round, by quantity."""

Contender = Callable[[], Awaitable[Observation]]
"""Prepares untimed, then does the work once and returns its own timings."""

VOID_FACTOR: Final = 3.0
_MOST_REPEATS: Final = 2
_FIRST_PROBES: Final = 5


class BenchmarkError(Exception):
    """It could not be measured."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound on a metric's ``value``, or on its ``ratio`` to the baseline."""

    of: str
    limit: float
    is_floor: bool

    def is_met(self, figure: float) -> bool:
        """Return whether the figure is on the right side; the bound itself is."""
        return figure >= self.limit if self.is_floor else figure <= self.limit

    def __str__(self) -> str:
        return f"{self.of} {'>=' if self.is_floor else '<='} {self.limit:g}"


def ratio_at_least(limit: float) -> Goal:
    """Return the goal that value / baseline reaches ``limit``."""
    return Goal("ratio", limit, is_floor=True)


def ratio_at_most(limit: float) -> Goal:
    """Return the goal that value / baseline stays within ``limit``."""
    return Goal("ratio", limit, is_floor=False)


def value_at_least(limit: float) -> Goal:
    """Return the goal that the value reaches ``limit`` in the metric's unit."""
    return Goal("value", limit, is_floor=True)


def value_at_most(limit: float) -> Goal:
    """Return the goal that the value stays within ``limit`` in the metric's unit."""
    return Goal("value", limit, is_floor=False)


@dataclass(frozen=True, slots=True)
class Source:
    """One quantity of one contender."""

    contender: str
    quantity: str


@dataclass(frozen=True, slots=True)
class Round:
    """What each contender measured, and the slower of the disk probes around it in seconds."""

    probe: float
    observed: Mapping[str, Observation]

    def figure(self, source: Source) -> float:
        """Return one measured quantity."""
        return self.observed[source.contender][source.quantity]


@dataclass(frozen=True, slots=True)
class Rounds:
    """The rounds that count, and how many do not."""

    valid: Sequence[Round]
    void: int

    def figures(self, source: Source) -> list[float]:
        """Return a quantity in each round that counts."""
        return [one.figure(source) for one in self.valid]


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of a result; ``spread`` holds lowest and highest of a round."""

    metric: str
    value: float
    unit: str
    baseline: float | None
    ratio: float | None
    goal: Goal | None
    rounds: int
    void_rounds: int
    spread: Mapping[str, tuple[float, float]]

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        if self.goal is None:
            return None
        figure = self.value if self.goal.of == "value" else self.ratio
        return figure is not None and self.goal.is_met(figure)

    def as_json(self) -> dict[str, Any]:
        """Return the line as it is written to a file."""
        return {
            "metric": self.metric,
            "value": self.value,
            "unit": self.unit,
            "baseline": self.baseline,
            "ratio": self.ratio,
            "goal": None if self.goal is None else self.goal.limit,
            "goal_text": None if self.goal is None else str(self.goal),
            "met": self.met,
            "rounds": self.rounds,
            "void_rounds": self.void_rounds,
            "spread": {name: list(bounds) for name, bounds in self.spread.items()},
        }


def summarise(
    name: str,
    unit: str,
    rounds: Rounds,
    source: Source,
    *,
    baseline: Source | None = None,
    goal: Goal | None = None,
) -> Metric:
    """Return the median of a quantity and the median of the rounds' ratios to the baseline. Pure.

    The ratio is that of each round, where both sides met the same machine, and not that of two medians.
    """
    values = rounds.figures(source)
    spread = {"value": (min(values), max(values))}
    against = ratio = None
    if baseline is not None:
        others = rounds.figures(baseline)
        ratios = [value / other for value, other in zip(values, others, strict=True)]
        against, ratio = median(others), median(ratios)
        spread["ratio"] = (min(ratios), max(ratios))
    return Metric(name, median(values), unit, against, ratio, goal, len(values), rounds.void, spread)


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile: a value that was measured. Pure."""
    ordered = sorted(samples)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and p99 as an observation. Pure."""
    return {f"p{percent}": percentile(samples, percent) for percent in (50, 95, 99)}


class RoundRunner:
    """Runs rounds; all its probes together tell what a normal sync of this disk takes."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self.probes: list[float] = []

    async def run(self, contenders: Mapping[str, Contender], count: int) -> Rounds:
        """Return ``count`` rounds that are not void, out of at most three times as many.

        Errors: BenchmarkError if fewer than half of them could be had.
        """
        while len(self.probes) < _FIRST_PROBES:  # before anything can be judged by their median
            await self._probed()
        done: list[Round] = []
        for number in range(count * (1 + _MOST_REPEATS)):
            done.append(await self._round(contenders, is_reversed=number % 2 == 1))
            valid = [one for one in done if not self._is_void(one)]
            if len(valid) >= count:
                break
        if 2 * len(valid) < count:
            raise BenchmarkError(f"the disk stalled in {len(done) - len(valid)} of {len(done)} rounds")
        return Rounds(valid, len(done) - len(valid))

    async def _round(self, contenders: Mapping[str, Contender], *, is_reversed: bool) -> Round:
        """Take turns in going first: who goes second finds warm caches and a busier autovacuum."""
        names = list(contenders)
        before = await self._probed()
        observed: dict[str, Observation] = {}
        for name in reversed(names) if is_reversed else names:
            gc.collect()
            observed[name] = await contenders[name]()
        return Round(max(before, await self._probed()), observed)

    async def _probed(self) -> float:
        seconds = await asyncio.to_thread(self._probe)
        self.probes.append(seconds)
        return seconds

    def _is_void(self, one: Round) -> bool:
        return one.probe > VOID_FACTOR * median(self.probes)
