"""What an alert would do bar by bar, with all that was read and decided: for explaining and for previews. Pure.

It comes from the evaluation itself, which lets a recorder look on; nothing is computed a second way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Final, overload

import numpy as np

from atf.alerts.alert import Alert
from atf.alerts.evaluation import evaluate
from atf.alerts.readings import WatchedBars
from atf.alerts.roster import roster_of
from atf.alerts.state import SIDE_OF_CODE, AlertState, IntArray, StateColumns
from atf.alerts.traced_bar import TracedBar
from atf.alerts.trigger import Trigger
from atf.indicators.indicator_service import IndicatorService
from atf.market.bars import Bars, FloatArray, to_instant, to_nanoseconds
from atf.market.closing import Closing
from atf.rules.truth import BoolArray, Judged, TruthArray

_STATE_COLUMNS: Final = tuple(column.name for column in fields(StateColumns))


@dataclass(frozen=True, slots=True)
class Record:
    """All bars of a trace as arrays: what ``TracedBar`` tells of one.

    Shape: (n,) each, ``values`` by operand; ``states`` are those after each bar.
    """

    values: tuple[FloatArray, ...]
    truth: TruthArray
    leaves: Mapping[int, TruthArray]
    band: TruthArray
    sides: Mapping[int, TruthArray]
    states: StateColumns
    fired: BoolArray


class TracedBars(Sequence[TracedBar]):
    """The bars of a trace, each made when it is asked for: a preview of 100,000 bars looks at few of them."""

    def __init__(self, initial: AlertState, prices: Bars, close_time: IntArray, record: Record) -> None:
        self._initial = initial
        self._prices = prices
        self._close_time = close_time
        self._record = record

    def __len__(self) -> int:
        return len(self._prices)

    @overload
    def __getitem__(self, index: int) -> TracedBar: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[TracedBar]: ...

    def __getitem__(self, index: int | slice) -> TracedBar | Sequence[TracedBar]:
        if isinstance(index, slice):
            return [self._bar(place) for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        return self._bar(place)

    def _bar(self, place: int) -> TracedBar:
        record = self._record
        return TracedBar(
            open_time=self._prices.time_at(place),
            close_time=to_instant(int(self._close_time[place])),
            values=tuple(float(one[place]) for one in record.values),
            truth=int(record.truth[place]),
            leaves={number: int(truth[place]) for number, truth in record.leaves.items()},
            band=int(record.band[place]),
            before=self._state(place - 1) if place else self._initial,
            after=self._state(place),
            is_triggered=bool(record.fired[place]),
        )

    def _state(self, place: int) -> AlertState:
        sides = {str(number): int(side[place]) for number, side in self._record.sides.items()}
        named = {number: SIDE_OF_CODE[side] for number, side in sides.items() if side}
        return self._record.states.state(place, self._initial, named)


@dataclass(frozen=True, slots=True)
class Trace:
    """The bars that an alert was stepped through, oldest first, and what it triggered.

    Shape: ``prices``, ``close_time`` and ``record`` are of the same bars as ``bars``.
    """

    alert: Alert
    prices: Bars
    close_time: IntArray
    record: Record
    bars: TracedBars
    triggers: tuple[Trigger, ...]

    @property
    def is_evaluated(self) -> BoolArray:
        """Tell which bars were judged: neither history nor after the alert had ended. Shape: (n,)."""
        states = self.record.states
        judged: BoolArray = states.last_bar == self.prices.open_time
        return judged & (self.close_time > states.history_until)

    @property
    def without_history(self) -> slice:
        """Return which bars are no history, as a part of all."""
        until = self.record.states.history_until
        return slice(int(np.count_nonzero(self.close_time <= until)), len(self.prices))

    def at(self, open_time: datetime) -> TracedBar | None:
        """Return the bar that opens then."""
        place = int(np.searchsorted(self.prices.open_time, to_nanoseconds(open_time)))
        is_there = place < len(self.bars) and self.prices.time_at(place) == open_time
        return self.bars[place] if is_there else None


def trace(alert: Alert, state: AlertState, watched: WatchedBars, now: datetime) -> Trace:
    """Step one alert through its new bars and keep all that happened.

    Shape: as ``evaluate``.
    Errors: what an indicator of a plug-in raises.
    """
    recorder = _Recorder()
    found = evaluate(
        roster_of([alert]), StateColumns.of([state]), [state.sides], {alert.watched: watched}, now, recorder
    )
    for failure in found.failed.values():
        raise failure
    places, record = recorder.finished(alert, len(watched.bars))
    prices, close_time = watched.bars.where(places), watched.close_time[places]
    bars = TracedBars(state, prices, close_time, record)
    return Trace(alert, prices, close_time, record, bars, tuple(found.triggers.get(0, ())))


def watched_bars(bars: Bars, closing: Closing) -> WatchedBars:
    """Return bars with when each closed and their indicators, as evaluation reads them."""
    return WatchedBars(bars, closing.times(bars.open_time), IndicatorService().session(bars))


class _Recorder:
    """Keeps what the evaluation of one alert shows, a column of numbers for all that is kept of a bar."""

    def __init__(self) -> None:
        self._values: Sequence[FloatArray] = ()
        self._seen: Judged | None = None
        self._band = self._is_new = np.zeros((1, 0), dtype=np.int8)
        self._states = np.zeros((len(_STATE_COLUMNS), 0), dtype=np.int64)
        self._fired = np.zeros(0, dtype=np.bool_)

    def judged(self, values: Sequence[FloatArray], judged: Judged, band: TruthArray, is_new: BoolArray) -> None:
        width = is_new.shape[1]
        self._values, self._seen, self._band, self._is_new = values, judged, band, is_new.astype(np.int8)
        self._states = np.zeros((len(_STATE_COLUMNS), width), dtype=np.int64)
        self._fired = np.zeros(width, dtype=np.bool_)

    def stepped(self, index: int, columns: StateColumns, fires: BoolArray) -> None:
        for row, name in enumerate(_STATE_COLUMNS):
            self._states[row, index] = getattr(columns, name)[0]
        self._fired[index] = fires[0]

    def finished(self, alert: Alert, count: int) -> tuple[IntArray, Record]:
        """Return which of ``count`` bars are new, and what was recorded of them."""
        width = self._is_new.shape[1]
        places = np.flatnonzero(self._is_new[0])

        def taken(table: TruthArray) -> TruthArray:
            part: TruthArray = table[0, places]
            return part

        seen = self._seen
        record = Record(
            values=tuple(_spread(one, width)[places] for one in self._values)
            or tuple(np.zeros(0) for _ in alert.operands),
            truth=np.zeros(0, dtype=np.int8) if seen is None else taken(seen.truth),
            leaves={} if seen is None else {number: taken(one) for number, one in seen.leaves.items()},
            band=taken(self._band),
            sides={} if seen is None else {number: taken(one) for number, one in seen.sides.items()},
            states=_columns(self._states[:, places]),
            fired=self._fired[places],
        )
        return places + (count - width), record


def _spread(values: FloatArray, width: int) -> FloatArray:
    """Return an operand's value at each bar, that of a fixed level too. Shape: (1, 1) or (1, b) -> (b,)."""
    return np.broadcast_to(values[0], (width,))


def _columns(table: IntArray) -> StateColumns:
    rows = dict(zip(_STATE_COLUMNS, table, strict=True))
    return StateColumns(is_open=rows.pop("is_open").astype(np.bool_), **rows)
