"""Indicator values over bars: which bars count, and the window that each value is computed on.

The value at a bar depends on the last ``lookback`` bars up to it and on nothing else, to the last bit, so
that live evaluation, catch-up, preview and replay agree whatever was loaded. TA-Lib's running sums keep traces
of every bar they have seen; beyond the first window each value therefore is a call of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from atf.indicators.calculations import CALCULATIONS
from atf.indicators.indicator import Calculation, Indicator, IndicatorRequest, Outputs, without_infinite
from atf.indicators.registry import indicator_of, window_of
from atf.market.bars import Bars, FloatArray

BoolArray = npt.NDArray[np.bool_]
_WIDEST_GAP: Final = 16
_LARGEST_SQUARED: Final = 1e100
"""No sum of squares of smaller numbers overflows."""


class IndicatorService:
    """Computes indicators; ``calculations`` counts the calls of TA-Lib, for tests and measurements."""

    def __init__(self) -> None:
        self.calculations = 0
        self._plans: dict[IndicatorRequest, Plan] = {}
        self._computations: dict[tuple[object, ...], int] = {}

    def plan_of(self, request: IndicatorRequest) -> Plan:
        """Return what each computation of a request needs."""
        found = self._plans.get(request)
        if found is None:
            key = (request.name, request.params)
            number = self._computations.setdefault(key, len(self._computations))
            found = self._plans.setdefault(request, Plan.of(request, number))
        return found

    def lookback(self, request: IndicatorRequest) -> int:
        """Return how many bars, its own included, must be loaded to compute one value."""
        return window_of(request)

    def values(self, bars: Bars, request: IndicatorRequest, first: int) -> FloatArray:
        """Return the value at each bar from index ``first`` on.

        Shape: (len(bars) - first,); NaN where the value is unknown: before the first value, on a bar that
               lacks a column, and where the definition has none.
        """
        return self.session(bars).values(request, first)

    def compute(self, bars: Bars, request: IndicatorRequest) -> FloatArray:
        """Return the value at each bar in one pass over all of them, as charts and backtests want it.

        A recursive indicator then depends on where the series begins, which ``values`` does not.

        Shape: (len(bars),); NaN where the value is unknown.
        """
        return self.compute_each(bars, [request])[request]

    def compute_each(
        self, bars: Bars, requests: Iterable[IndicatorRequest]
    ) -> dict[IndicatorRequest, FloatArray]:
        """Return what ``compute`` does for many requests; outputs of one indicator come from one computation."""
        read: dict[tuple[str, ...], _FiniteColumns] = {}
        computed: dict[tuple[object, ...], Outputs] = {}
        found: dict[IndicatorRequest, FloatArray] = {}
        for request in requests:
            indicator = indicator_of(request)
            names, key = indicator.columns_of(request), (request.name, request.params)
            columns = read.get(names) or read.setdefault(names, _FiniteColumns.of(bars, names))
            outputs = computed.get(key) or computed.setdefault(
                key, self.outputs(indicator, request, columns.values)
            )
            found[request] = columns.spread(outputs[indicator.outputs.index(request.output)])
        return found

    def outputs(self, indicator: Indicator, request: IndicatorRequest, columns: Outputs) -> Outputs:
        """Return all outputs over finite columns.

        Shape: columns (n,) -> an array (n,) for each output.
        """
        count = len(columns[0])
        if count <= indicator.first_index(request):
            return tuple(np.full(count, np.nan) for _ in indicator.outputs)
        self.calculations += 1
        calculation = indicator.calculation or CALCULATIONS[request.name]
        return calculation(columns, request)

    def session(self, bars: Bars) -> IndicatorSession:
        """Return the indicators of one series of bars, each computed once."""
        return IndicatorSession(self, bars)


class IndicatorSession:
    """The indicators of one run of bars; all outputs of an indicator come from one computation."""

    def __init__(self, service: IndicatorService, bars: Bars) -> None:
        self._service = service
        self.bars = bars
        self._columns: dict[tuple[str, ...], _Windows] = {}
        self._computed: dict[tuple[object, ...], _Table] = {}
        self._newest: dict[int, tuple[float, ...]] = {}

    def newest(self, request: IndicatorRequest) -> float:
        """Return the value at the last bar, as ``values`` does; the bars must not be empty.

        Nearly all that alerts read: thousands of values a second, in a fraction of the time that arrays take.
        """
        plan = self._service.plan_of(request)
        row = self._newest.get(plan.computation)
        if row is None:
            row = self._newest[plan.computation] = self._row(plan, len(self.bars.open_time) - 1)
        return row[plan.output]

    def values(self, request: IndicatorRequest, first: int, stop: int | None = None) -> FloatArray:
        """Return the value at each bar in ``first <= index < stop``, as ``IndicatorService.values`` does.

        Shape: (stop - first,); up to the last bar if ``stop`` is not given.
        """
        count = len(self.bars)
        stop = count if stop is None else min(max(stop, 0), count)
        first = min(max(first, 0), stop)
        indicator = indicator_of(request)
        table = self._table(indicator, request, first, stop)
        column: FloatArray = table.values[
            first - table.first : stop - table.first, indicator.outputs.index(request.output)
        ]
        return column

    def _table(self, indicator: Indicator, request: IndicatorRequest, first: int, stop: int) -> _Table:
        key = (request.name, request.params)
        known = self._computed.get(key)
        if known is not None:
            if known.first <= first and stop <= known.stop:
                return known
            # Bars in between are computed too, but not when somebody asks for one long ago.
            wider = min(first, known.first), max(stop, known.stop)
            if wider[1] - wider[0] <= stop - first + known.stop - known.first + _WIDEST_GAP:
                first, stop = wider
        table = _Table(first, stop, self._compute(indicator, request, first, stop))
        self._computed[key] = table
        return table

    def _compute(self, indicator: Indicator, request: IndicatorRequest, first: int, stop: int) -> FloatArray:
        """Return every output at every bar in ``first <= index < stop``.

        Shape: (stop - first, outputs).
        """
        if stop == first + 1:
            table = np.array([self._row(self._service.plan_of(request), first)])
        else:
            table = self._rows(indicator, request, self._windows(indicator.columns_of(request)), first, stop)
        table.setflags(write=False)
        return table

    def _row(self, plan: Plan, index: int) -> tuple[float, ...]:
        """Return every output at one bar."""
        columns = self._columns.get(plan.columns) or self._windows(plan.columns)
        part = columns.part(max(index + 1 - plan.window, 0), index + 1)
        if len(part[0]) <= plan.first_index or not columns.has(index):
            return (nan,) * plan.outputs
        self._service.calculations += 1
        row = [values.item(-1) for values in plan.calculation(part, plan.request)]
        return tuple([value if isfinite(value) else nan for value in row])

    def _rows(
        self, indicator: Indicator, request: IndicatorRequest, columns: _Windows, first: int, stop: int
    ) -> FloatArray:
        window = window_of(request)
        table = np.full((stop - first, len(indicator.outputs)), np.nan)
        known = min(window, stop)
        if first < known:
            # Up to here the window is all bars, and TA-Lib goes forward: one pass gives what single calls do.
            values = np.column_stack(self._service.outputs(indicator, request, columns.part(0, known)))
            at = columns.indices(0, known)
            table[at[at >= first] - first] = values[at >= first]
        for index in columns.indices(max(first, known), stop).tolist():
            part = columns.part(index + 1 - window, index + 1)
            table[index - first] = [values[-1] for values in self._service.outputs(indicator, request, part)]
        table[~np.isfinite(table)] = np.nan
        return table

    def _windows(self, names: tuple[str, ...]) -> _Windows:
        found = self._columns.get(names)
        if found is None:
            found = self._columns[names] = _Windows(self.bars, names)
        return found


@dataclass(frozen=True, slots=True)
class Plan:
    """What is the same in each computation of a request.

    ``computation`` is the number of what all outputs share; ``output`` is the place of the wanted one.
    """

    request: IndicatorRequest
    computation: int
    columns: tuple[str, ...]
    window: int
    first_index: int
    calculation: Calculation
    outputs: int
    output: int

    @classmethod
    def of(cls, request: IndicatorRequest, computation: int) -> Self:
        """Look everything up."""
        indicator = indicator_of(request)
        return cls(
            request,
            computation=computation,
            columns=indicator.columns_of(request),
            window=window_of(request),
            first_index=indicator.first_index(request),
            calculation=indicator.calculation or CALCULATIONS[request.name],
            outputs=len(indicator.outputs),
            output=indicator.outputs.index(request.output),
        )


@dataclass(frozen=True, slots=True)
class _Table:
    """All outputs of an indicator at the bars in ``first <= index < stop``. Shape: (stop - first, outputs)."""

    first: int
    stop: int
    values: FloatArray


@dataclass(frozen=True, slots=True)
class _FiniteColumns:
    """Some columns of the bars, without the bars on which one of them is missing.

    Shape: ``is_finite`` (n,) over all bars, None if that is all of them; ``values`` one array of the m finite
           bars for each column.
    """

    is_finite: BoolArray | None
    values: Outputs
    may_overflow: bool

    @classmethod
    def of(cls, bars: Bars, names: tuple[str, ...]) -> Self:
        columns = tuple([bars.column(name) for name in names])
        ranges = [bars.range_of(name) for name in names]
        if all(isfinite(low) and isfinite(high) for low, high in ranges):
            return cls(None, columns, _are_large(ranges))
        is_finite = np.logical_and.reduce([np.isfinite(column) for column in columns])
        return cls(is_finite, tuple(column[is_finite] for column in columns), may_overflow=True)

    def spread(self, values: FloatArray) -> FloatArray:
        """Put values of the finite bars to their places among all bars.

        Shape: (m,) -> (n,).
        """
        if self.may_overflow:
            values = without_infinite(values)
        if self.is_finite is None:
            return values
        result = np.full(len(self.is_finite), np.nan)
        result[self.is_finite] = values
        return result


def _are_large(ranges: Sequence[tuple[float, float]]) -> bool:
    """Tell whether squares and products of the values may overflow; then each result must be looked at."""
    return any(high > _LARGEST_SQUARED or low < -_LARGEST_SQUARED for low, high in ranges)


class _Windows:
    """Parts of the columns between two bars, without the bars on which one of them is missing."""

    def __init__(self, bars: Bars, names: tuple[str, ...]) -> None:
        columns = _FiniteColumns.of(bars, names)
        self._is_finite = columns.is_finite
        self._values = columns.values
        self._before: npt.NDArray[np.int64] | None = None
        if columns.is_finite is not None:
            self._before = np.concatenate([[0], np.cumsum(columns.is_finite)])

    def has(self, index: int) -> bool:
        """Tell whether the bar at an index has all columns."""
        return self._is_finite is None or bool(self._is_finite[index])

    def indices(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Return which bars in ``start <= index < stop`` have all columns."""
        if self._is_finite is None:
            return np.arange(start, stop)
        return np.flatnonzero(self._is_finite[start:stop]) + start

    def part(self, start: int, stop: int) -> Outputs:
        """Return the finite values of the bars in ``start <= index < stop``."""
        if self._before is not None:
            start, stop = int(self._before[start]), int(self._before[stop])
        return tuple([column[start:stop] for column in self._values])
