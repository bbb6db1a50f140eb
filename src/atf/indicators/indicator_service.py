"""Indicator values over bars: which bars count, and the window that each value is computed on.

The value at a bar depends on the last ``lookback`` bars up to it and on nothing else, to the last bit, so
that live evaluation, catch-up, preview and replay agree whatever was loaded. TA-Lib's running sums keep traces
of every bar they have seen; beyond the first window each value therefore is a call of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from atf.indicators.calculations import CALCULATIONS
from atf.indicators.indicator import Indicator, IndicatorRequest
from atf.indicators.registry import indicator_of, window_of
from atf.market.bars import Bars, FloatArray


class IndicatorService:
    """Computes indicators; ``calculations`` counts the calls of TA-Lib, for tests and measurements."""

    def __init__(self) -> None:
        self.calculations = 0

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
        indicator = indicator_of(request)
        columns = _FiniteColumns.of(bars, indicator.columns_of(request))
        table = self.calculate(indicator, request, columns.values)
        result = np.full(len(bars), np.nan)
        result[columns.is_finite] = table[:, indicator.outputs.index(request.output)]
        result[~np.isfinite(result)] = np.nan
        return result

    def calculate(
        self, indicator: Indicator, request: IndicatorRequest, columns: tuple[FloatArray, ...]
    ) -> FloatArray:
        """Return all outputs over finite columns.

        Shape: k columns (n,) -> (n, outputs).
        """
        count = len(columns[0])
        if count <= indicator.first_index(request):
            return np.full((count, len(indicator.outputs)), np.nan)
        self.calculations += 1
        return np.column_stack(CALCULATIONS[request.name](columns, request))

    def session(self, bars: Bars) -> IndicatorSession:
        """Return the indicators of one series of bars, each computed once."""
        return IndicatorSession(self, bars)


class IndicatorSession:
    """The indicators of one run of bars; all outputs of an indicator come from one computation."""

    def __init__(self, service: IndicatorService, bars: Bars) -> None:
        self._service = service
        self._bars = bars
        self._computed: dict[IndicatorRequest, tuple[int, FloatArray]] = {}

    def values(self, request: IndicatorRequest, first: int) -> FloatArray:
        """Return the value at each bar from index ``first`` on, as ``IndicatorService.values`` does."""
        indicator = indicator_of(request)
        first = min(max(first, 0), len(self._bars))
        start, table = self._table(indicator, request, first)
        column: FloatArray = table[first - start :, indicator.outputs.index(request.output)]
        return column

    def _table(self, indicator: Indicator, request: IndicatorRequest, first: int) -> tuple[int, FloatArray]:
        key = IndicatorRequest(request.name, request.params, indicator.outputs[0])
        start, table = self._computed.get(key, (len(self._bars) + 1, None))
        if table is None or first < start:
            start, table = first, self._compute(indicator, key, first)
            self._computed[key] = start, table
        return start, table

    def _compute(self, indicator: Indicator, request: IndicatorRequest, first: int) -> FloatArray:
        """Return every output at every bar from ``first`` on.

        Shape: (len(bars) - first, outputs).
        """
        count, window = len(self._bars), window_of(request)
        columns = _FiniteColumns.of(self._bars, indicator.columns_of(request))
        table = np.full((count - first, len(indicator.outputs)), np.nan)
        known = min(window, count)
        if first < known:
            # Up to here the window is all bars, and TA-Lib goes forward: one pass gives what single calls do.
            values = self._service.calculate(indicator, request, columns.part(0, known))
            at = np.flatnonzero(columns.is_finite[:known])
            table[at[at >= first] - first] = values[at >= first]
        later = max(first, known)
        for index in (np.flatnonzero(columns.is_finite[later:]) + later).tolist():
            part = columns.part(index + 1 - window, index + 1)
            table[index - first] = self._service.calculate(indicator, request, part)[-1]
        table[~np.isfinite(table)] = np.nan
        table.setflags(write=False)
        return table


@dataclass(frozen=True, slots=True)
class _FiniteColumns:
    """Some columns of the bars, without the bars on which one of them is missing.

    Shape: ``is_finite`` (n,) over all bars; ``before`` (n + 1,) the number of finite bars before each;
           ``values`` one array of the m finite bars for each column.
    """

    is_finite: np.ndarray[tuple[int], np.dtype[np.bool_]]
    before: np.ndarray[tuple[int], np.dtype[np.int64]]
    values: tuple[FloatArray, ...]

    @classmethod
    def of(cls, bars: Bars, names: tuple[str, ...]) -> Self:
        columns = [bars.column(name) for name in names]
        is_finite = np.logical_and.reduce([np.isfinite(column) for column in columns])
        before = np.concatenate([[0], np.cumsum(is_finite)])
        return cls(is_finite, before, tuple(np.ascontiguousarray(column[is_finite]) for column in columns))

    def part(self, start: int, stop: int) -> tuple[FloatArray, ...]:
        """Return the finite values of the bars in ``start <= index < stop``."""
        low, high = int(self.before[start]), int(self.before[stop])
        return tuple(column[low:high] for column in self.values)
