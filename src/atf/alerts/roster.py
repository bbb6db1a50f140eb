"""A roster of alerts, sorted for being judged together: those of one shape and rearm type are a cohort. Pure.

Made once for a batch, or once for all if the alerts stay the same; nothing in it depends on bars or states.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atf.alerts.alert import Alert
from atf.alerts.machine import RearmColumns
from atf.alerts.readings import Source, source_of
from atf.alerts.state import IntArray
from atf.alerts.watched import Watched
from atf.market.bars import FloatArray
from atf.rules.operands import Constant, Operand
from atf.rules.shape import Shape
from atf.rules.truth import BoolArray

Reading = tuple[int, Source, int]
"""The number of what is watched, what is read of it, and how many bars ago."""


@dataclass(frozen=True, slots=True)
class Levels:
    """A slot that holds a number in each alert. Shape: (a,)."""

    values: FloatArray


@dataclass(frozen=True, slots=True)
class Measures:
    """A slot that is read off the bars: the number of the reading and the factor, for each alert. Shape: (a,)."""

    readings: IntArray
    multipliers: FloatArray


SlotColumn = Levels | Measures


@dataclass(frozen=True)
class Cohort:
    """Alerts of one shape and rearm type. Shape: (a,) for ``rows``, their places in the roster.

    ``tells_rearming``: whose users want to hear when they are ready again; None if nobody does.
    """

    shape: Shape
    events: tuple[int, ...]
    rearm: RearmColumns
    rows: IntArray
    slots: tuple[SlotColumn, ...]
    tells_rearming: BoolArray | None = None

    @property
    def needs_history(self) -> bool:
        """Whether bars from before the alert was made decide something: sides, or the crossing gate."""
        return bool(self.events) or self.rearm.type.starts_closed

    def part(self, places: IntArray) -> Cohort:
        """Return the cohort of some of its alerts, by their places in it."""
        if len(places) == len(self.rows):
            return self
        return Cohort(
            self.shape,
            self.events,
            self.rearm.take(places),
            self.rows[places],
            tuple(_taken(slot, places) for slot in self.slots),
            None if self.tells_rearming is None else self.tells_rearming[places],
        )


@dataclass(frozen=True)
class Roster:
    """Alerts in cohorts. Shape: ``watched_of`` (n,), the number of what each alert watches."""

    alerts: Sequence[Alert]
    watched: tuple[Watched, ...]
    watched_of: IntArray
    readings: tuple[Reading, ...]
    cohorts: tuple[Cohort, ...]


def roster_of(alerts: Sequence[Alert]) -> Roster:
    """Sort alerts into cohorts."""
    return _Sorting(alerts).roster()


class _Sorting:
    """The numbers that are given to what is watched and read, on the way."""

    def __init__(self, alerts: Sequence[Alert]) -> None:
        self._alerts = alerts
        self._watched: dict[Watched, int] = {}
        self._readings: dict[Reading, int] = {}
        self._watched_of = [self._watched.setdefault(alert.watched, len(self._watched)) for alert in alerts]

    def roster(self) -> Roster:
        rows: dict[tuple[int, str], list[int]] = {}
        for row, alert in enumerate(self._alerts):
            rows.setdefault(alert.cohort_key, []).append(row)
        cohorts = tuple(self._cohort(found) for found in rows.values())
        return Roster(
            self._alerts,
            tuple(self._watched),
            np.array(self._watched_of, dtype=np.int64),
            tuple(self._readings),
            cohorts,
        )

    def _cohort(self, rows: list[int]) -> Cohort:
        alerts = [self._alerts[row] for row in rows]
        columns = zip(*(alert.operands for alert in alerts), strict=True)
        return Cohort(
            alerts[0].shape,
            alerts[0].events,
            RearmColumns.of(alerts[0].rearm.type, [(alert.rearm, alert.limits) for alert in alerts]),
            np.array(rows, dtype=np.int64),
            tuple(self._slot(rows, column) for column in columns),
            _tells_rearming(alerts),
        )

    def _slot(self, rows: list[int], operands: Sequence[Operand]) -> SlotColumn:
        if isinstance(operands[0], Constant):
            return Levels(np.array([operand.value for operand in operands if isinstance(operand, Constant)]))
        numbers, known, watched_of = [], self._readings, self._watched_of
        factors = []
        for row, operand in zip(rows, operands, strict=True):
            if isinstance(operand, Constant):
                raise TypeError("a slot is constant in all alerts of a shape or in none")
            reading = (watched_of[row], source_of(operand), operand.offset)
            numbers.append(known.setdefault(reading, len(known)))
            factors.append(operand.multiplier)
        return Measures(np.array(numbers, dtype=np.int64), np.array(factors, dtype=np.float64))


def _tells_rearming(alerts: Sequence[Alert]) -> BoolArray | None:
    tells = np.array([alert.notify.tells_rearming for alert in alerts], dtype=np.bool_)
    return tells if tells.any() else None


def _taken(slot: SlotColumn, places: IntArray) -> SlotColumn:
    if isinstance(slot, Levels):
        return Levels(slot.values[places])
    return Measures(slot.readings[places], slot.multipliers[places])
