"""One alert over its new bars: readings, verdicts, state steps, triggers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from atf.alerts.alert import Alert
from atf.alerts.rearm import AlertState, JudgedBar, advance, expire
from atf.indicators.indicator_service import IndicatorSession
from atf.indicators.registry import window_of
from atf.market.bars import Bars, FloatArray
from atf.rules.operands import ColumnOperand, IndicatorOperand, Measured
from atf.rules.rule import evaluate, leaves, measured_operands, value_of


@dataclass(frozen=True, slots=True)
class Trigger:
    """A decision to tell somebody: the bar, what was read on it, and how manieth it is."""

    bar_time: datetime
    number: int
    bar: Mapping[str, float]
    readings: Mapping[str, float]
    value: float
    threshold: float
    is_late: bool


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the new bars made of an alert."""

    state: AlertState
    triggers: tuple[Trigger, ...]
    bars_evaluated: int


def bars_needed(alert: Alert, state: AlertState, history_until: datetime, now: datetime) -> int:
    """Return how many bars up to ``now`` an evaluation reads.

    That is every bar that may be new, and before the first of them the window of the longest operand.
    """
    length = alert.series.timeframe.length
    known_until = history_until if state.last_bar is None else max(history_until, state.last_bar + length)
    new_bars = max(1, -((known_until - now) // length) + 1)
    return new_bars + max((_window(operand) for operand in measured_operands(alert.rule)), default=1)


def evaluate_new_bars(
    alert: Alert,
    state: AlertState,
    bars: Bars,
    indicators: IndicatorSession,
    *,
    history_until: datetime,
    now: datetime,
) -> Evaluation:
    """Step the alert through every closed bar after ``state.last_bar``, oldest first.

    Shape: ``bars`` are closed at ``now``; they reach back as far as ``bars_needed`` asked, if they exist.
    Time:  a bar that closed by ``history_until`` is history: it feeds indicators and never triggers.
    """
    if state.status.is_final:
        return Evaluation(state, (), 0)
    length = alert.series.timeframe.length
    new = 0 if state.last_bar is None else bars.first_after(state.last_bar)
    first = max(new, bars.first_after(history_until - length))
    if first > new:
        state = replace(state, last_bar=bars.time_at(first - 1))
    operands = measured_operands(alert.rule)
    values = [_values(operand, bars, indicators, first) for operand in operands]
    triggers: list[Trigger] = []
    evaluated = 0
    for i in range(first, len(bars)):
        if state.status.is_final:
            break
        open_time = bars.time_at(i)
        readings = {operand: float(column[i - first]) for operand, column in zip(operands, values, strict=True)}
        judged = JudgedBar(open_time, open_time + length, evaluate(alert.rule, readings))
        step = advance(state, alert.rearm, alert.limits, judged)
        state = step.state
        evaluated += 1
        if step.is_triggered:
            triggers.append(_trigger(alert, state, bars, i, readings, now))
    return Evaluation(expire(state, alert.limits, now), tuple(triggers), evaluated)


def _window(operand: Measured) -> int:
    match operand:
        case ColumnOperand(_, offset, _):
            return offset + 1
        case IndicatorOperand(request, offset, _):
            return offset + window_of(request)


def _values(operand: Measured, bars: Bars, indicators: IndicatorSession, first: int) -> FloatArray:
    """The operand on the bars from ``first`` on: (len(bars) - first,), NaN where it is unknown."""
    begin = max(0, first - operand.offset)
    count = max(0, len(bars) - operand.offset - begin)
    match operand:
        case ColumnOperand(column, _, _):
            source = bars.column(column)[begin : begin + count]
        case IndicatorOperand(request, _, _):
            source = indicators.values(request, begin)[:count]
    values = np.full(len(bars) - first, np.nan)
    with np.errstate(over="ignore"):
        scaled = source * operand.multiplier
    values[len(values) - count :] = np.where(np.isfinite(scaled), scaled, np.nan)
    return values


def _trigger(
    alert: Alert, state: AlertState, bars: Bars, i: int, readings: Mapping[Measured, float], now: datetime
) -> Trigger:
    leaf = next(leaves(alert.rule))
    open_time = bars.time_at(i)
    length = alert.series.timeframe.length
    return Trigger(
        bar_time=open_time,
        number=state.trigger_count,
        bar={name: float(bars.column(name)[i]) for name in ("open", "high", "low", "close", "volume")},
        readings={str(operand): value for operand, value in readings.items()},
        value=value_of(leaf.left, readings),
        threshold=value_of(leaf.right, readings),
        is_late=now - (open_time + length) > 2 * length,
    )
