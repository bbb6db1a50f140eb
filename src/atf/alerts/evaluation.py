"""Many alerts over their new bars: readings, truth, state steps, triggers. Pure.

Live evaluation, catch-up, preview and replay all come through here. Alerts of one cohort are judged together,
those that have equally many new bars at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol, Self

import numpy as np

from atf.alerts.alert import Alert
from atf.alerts.machine import BarColumn, RearmColumns, advance, expire
from atf.alerts.reading_table import Ends, ReadingTable
from atf.alerts.readings import WatchedBars
from atf.alerts.roster import Cohort, Levels, Roster, SlotColumn
from atf.alerts.seen import KeptColumn, Seen
from atf.alerts.state import FIRST_FINAL, NEVER, SIDE_CODES, SIDE_OF_CODE, IntArray, StateColumns
from atf.alerts.trigger import Trigger, trigger_of
from atf.alerts.watched import Watched
from atf.market.bars import FloatArray, to_instant, to_nanoseconds
from atf.rules.bands import Width, closed_truth, relaxed_truth
from atf.rules.truth import BoolArray, Judged, TruthArray, judge

HISTORY_BARS: Final = 500
"""So many bars before its making tell an alert the side that a value was on: prices seldom stand still."""

_MOST_CELLS: Final = 4_000_000
"""Alerts times bars that are judged at a time: some 30 MB an operand."""

Sides = Mapping[str, str]


class Recorder(Protocol):
    """Looks on while a cohort is judged; what it is shown must be copied to be kept."""

    def judged(self, values: Sequence[FloatArray], judged: Judged, band: TruthArray, is_new: BoolArray) -> None:
        """All bars were judged; they are stepped through next."""
        ...

    def stepped(self, index: int, columns: StateColumns, fires: BoolArray) -> None:
        """The bar at ``index`` was stepped through."""
        ...


@dataclass(slots=True)
class Evaluated:
    """What new bars made of the alerts of a roster.

    ``states`` are the changed columns and ``sides`` those that changed, by row; ``bars`` counts evaluated bars.
    ``seen`` is what is kept of the last of them.
    ``rearmed`` are the bars on which alerts that tell so became ready again after a trigger. ``failed`` holds
    what went wrong with single alerts, whose states are unchanged.
    """

    states: StateColumns
    bars: IntArray
    seen: KeptColumn
    sides: dict[int, Sides] = field(default_factory=dict)
    triggers: dict[int, list[Trigger]] = field(default_factory=dict)
    rearmed: dict[int, list[datetime]] = field(default_factory=dict)
    failed: dict[int, Exception] = field(default_factory=dict)

    @classmethod
    def of(cls, states: StateColumns) -> Self:
        """Return what no bar has made of alerts yet."""
        return cls(states, np.zeros(len(states), dtype=np.int64), np.full(len(states), None, dtype=np.object_))

    @classmethod
    def joined(cls, parts: Sequence[Evaluated]) -> Self:
        """Return what became of alerts that were judged apart, one after the other."""
        whole = cls.of(StateColumns.joined([part.states for part in parts]))
        first = 0
        for part in parts:
            rows = slice(first, first + len(part.bars))
            whole.bars[rows], whole.seen[rows] = part.bars, part.seen
            whole.sides |= {first + row: sides for row, sides in part.sides.items()}
            whole.triggers |= {first + row: found for row, found in part.triggers.items()}
            whole.rearmed |= {first + row: times for row, times in part.rearmed.items()}
            whole.failed |= {first + row: error for row, error in part.failed.items()}
            first += len(part.bars)
        return whole

    def take(self, rows: IntArray) -> Evaluated:
        """Return what became of some of the alerts, numbered anew."""
        places = {int(row): place for place, row in enumerate(rows)}
        return Evaluated(
            self.states.take(rows),
            self.bars[rows],
            self.seen[rows],
            sides={places[row]: sides for row, sides in self.sides.items() if row in places},
            triggers={places[row]: found for row, found in self.triggers.items() if row in places},
            rearmed={places[row]: times for row, times in self.rearmed.items() if row in places},
            failed={places[row]: error for row, error in self.failed.items() if row in places},
        )


def bars_needed(alerts: Sequence[Alert], states: StateColumns, now: datetime) -> IntArray:
    """Return how many bars up to ``now`` an evaluation of each alert reads.

    That is every bar that may be new, and before the first of them what the longest operand reads.

    Shape: (n,), as the states.
    """
    length = np.array([alert.bar_nanoseconds for alert in alerts], dtype=np.int64)
    history = np.array([HISTORY_BARS if alert.needs_history else 0 for alert in alerts], dtype=np.int64)
    behind = np.array([alert.bars_behind for alert in alerts], dtype=np.int64)
    known_until = states.history_until - history * length
    has_evaluated = states.last_bar != NEVER
    evaluated_until = np.where(has_evaluated, states.last_bar + length, known_until)
    known_until = np.maximum(known_until, evaluated_until)
    new_bars = np.maximum(1, -((known_until - to_nanoseconds(now)) // length) + 1)
    return new_bars + behind


def evaluate(
    roster: Roster,
    states: StateColumns,
    sides: Sequence[Sides],
    watched: Mapping[Watched, WatchedBars],
    now: datetime,
    recorder: Recorder | None = None,
) -> Evaluated:
    """Step each alert through every closed bar after its ``last_bar``, oldest first.

    Alerts whose bars are not among ``watched`` stay as they are. ``states`` are changed in place.

    Shape: ``states`` and ``sides`` by the rows of the roster; the bars are closed at ``now`` and reach back as
           far as ``bars_needed`` asked, if they exist.
    """
    result = Evaluated.of(states)
    ends = Ends(roster, watched)
    widths = _new_bars(roster, states, ends, watched)
    table = ReadingTable(roster, watched, ends)
    instant = to_nanoseconds(now)
    for cohort in roster.cohorts:
        for part, width in _by_width(cohort, widths):
            _Judging(roster, part, width, table, now, result, recorder).run(sides)
        if np.any(cohort.rearm.expires_at < instant):
            columns = states.take(cohort.rows)
            expire(columns, cohort.rearm, instant)
            states.put(cohort.rows, columns)
    return result


def _new_bars(
    roster: Roster, states: StateColumns, ends: Ends, watched: Mapping[Watched, WatchedBars]
) -> IntArray:
    """Return how many of its newest bars each alert steps through.

    An alert that looks at bars for the first time begins where its history ends, or in it if it needs history.
    """
    is_usual = ends.has_one_new_bar(states)
    widths = is_usual.astype(np.int64)
    others = np.flatnonzero(~is_usual & (states.status < FIRST_FINAL))
    if not len(others):
        return widths
    needs_history = np.zeros(len(states), dtype=np.bool_)
    for cohort in roster.cohorts:
        needs_history[cohort.rows] = cohort.needs_history
    numbers = roster.watched_of[others]
    for number in np.unique(numbers).tolist():
        found = watched.get(roster.watched[number])
        if found is None or not len(found.bars):
            continue
        rows = others[numbers == number]
        last_bar, history_until = states.last_bar[rows], states.history_until[rows]
        known = np.searchsorted(found.bars.open_time, last_bar, side="right")
        history = np.searchsorted(found.close_time, history_until, side="right")
        known = np.maximum(known, np.where(needs_history[rows], history - HISTORY_BARS, history))
        is_unknown = (last_bar == NEVER) & (known > 0)
        states.last_bar[rows[is_unknown]] = found.bars.open_time[known[is_unknown] - 1]
        widths[rows] = len(found.bars) - known
    return widths


def _by_width(cohort: Cohort, widths: IntArray) -> Iterator[tuple[Cohort, int]]:
    """Yield the cohort in parts of which all alerts have about equally many new bars, a power of two at most."""
    own = widths[cohort.rows]
    if len(own) <= _MOST_CELLS and np.all(own == 1):  # on nearly all evaluations
        yield cohort, 1
        return
    rounded = np.where(own > 0, 2 ** np.ceil(np.log2(np.maximum(own, 1))).astype(np.int64), 0)
    for width in np.unique(rounded).tolist():
        if not width:
            continue
        places = np.flatnonzero(rounded == width)
        most = max(1, _MOST_CELLS // width)
        for start in range(0, len(places), most):
            part = places[start : start + most]
            yield cohort.part(part), int(own[part].max())


class _Judging:
    """One cohort over its newest ``width`` bars."""

    def __init__(
        self,
        roster: Roster,
        cohort: Cohort,
        width: int,
        table: ReadingTable,
        now: datetime,
        result: Evaluated,
        recorder: Recorder | None,
    ) -> None:
        self._roster = roster
        self._table = table
        self._now = now
        self._result = result
        self._width = width
        self._recorder = recorder
        values = [self._values(slot, width) for slot in cohort.slots]
        bad = self._failed_places(cohort)
        if bad.any():
            places = np.flatnonzero(~bad)
            cohort, values = cohort.part(places), [one[places] for one in values]
        self._cohort = cohort
        self._values_of = values

    def run(self, sides: Sequence[Sides]) -> None:
        """Judge all bars, then step through them."""
        cohort = self._cohort
        if not len(cohort.rows):
            return
        columns = self._result.states.take(cohort.rows)
        opens, closes = self._table.times(cohort.rows, self._width)
        is_new = opens > columns.last_bar[:, None]
        values = self._values_of if is_new.all() else [_only(is_new, one) for one in self._values_of]
        before = {number: _side_column(cohort, sides, number) for number in cohort.events}
        judged = judge(cohort.shape, values, before)
        band = _band(cohort, values, judged)
        if self._recorder is not None:
            self._recorder.judged(values, judged, band, is_new)
        seen = Seen(opens, closes, values, judged, band, before)
        self._step(columns, is_new, seen)
        self._result.states.put(cohort.rows, columns)
        self._keep_last(sides, seen, is_new & (opens == columns.last_bar[:, None]))

    def _step(self, columns: StateColumns, is_new: BoolArray, seen: Seen) -> None:
        counted = np.zeros(len(columns), dtype=np.int64)
        for index in range(self._width):
            column = BarColumn(
                is_new[:, index],
                seen.opens[:, index],
                seen.closes[:, index],
                seen.judged.truth[:, index],
                seen.band[:, index],
            )
            is_history = column.close_time <= columns.history_until
            was_closed, before = ~columns.is_open, columns.copy()
            fires = advance(columns, self._cohort.rearm, column)
            if self._cohort.tells_rearming is not None:
                opened = was_closed & (columns.is_open | fires) & self._cohort.tells_rearming & ~is_history
                self._tell_rearmed(np.flatnonzero(opened & (columns.trigger_count > fires)), column.open_time)
            counted += column.is_there & (columns.last_bar == column.open_time) & ~is_history
            if self._recorder is not None:
                self._recorder.stepped(index, columns, fires)
            if fires.any():
                self._tell(np.flatnonzero(fires), index, seen, before, columns)
        self._result.bars[self._cohort.rows] = counted

    def _values(self, slot: SlotColumn, width: int) -> FloatArray:
        if isinstance(slot, Levels):
            return slot.values[:, None]
        with np.errstate(over="ignore"):
            found = self._table.values(slot.readings, width) * slot.multipliers[:, None]
        found[np.isinf(found)] = np.nan
        return found

    def _failed_places(self, cohort: Cohort) -> BoolArray:
        bad = np.zeros(len(cohort.rows), dtype=np.bool_)
        if not self._table.failed:
            return bad
        numbers = np.array(list(self._table.failed), dtype=np.int64)
        for slot in cohort.slots:
            if isinstance(slot, Levels):
                continue
            hit = np.isin(slot.readings, numbers)
            for place in np.flatnonzero(hit & ~bad).tolist():
                self._result.failed[int(cohort.rows[place])] = self._table.failed[int(slot.readings[place])]
            bad |= hit
        return bad

    def _tell(self, places: IntArray, index: int, seen: Seen, before: StateColumns, after: StateColumns) -> None:
        rows = self._cohort.rows[places].tolist()
        alerts = [self._roster.alerts[row] for row in rows]
        hashes = [alert.rule_hash for alert in alerts]
        bars = seen.bars_at(
            places,
            index,
            before.states(places, hashes, seen.sides_at(places, index - 1)),
            after.states(places, hashes, seen.sides_at(places, index)),
        )
        for row, alert, bar in zip(rows, alerts, bars, strict=True):
            found = trigger_of(alert, self._table.watched_of(row), self._width - index, bar, self._now)
            self._result.triggers.setdefault(row, []).append(found)

    def _tell_rearmed(self, places: IntArray, open_time: IntArray) -> None:
        for place in places.tolist():
            row = int(self._cohort.rows[place])
            self._result.rearmed.setdefault(row, []).append(to_instant(int(open_time[place])))

    def _keep_last(self, sides: Sequence[Sides], seen: Seen, is_last: BoolArray) -> None:
        """Keep what was seen on the bar that was evaluated last: an alert may have ended before the newest."""
        newest: IntArray = is_last.argmax(axis=1)
        has_last: BoolArray = np.any(is_last, axis=1)
        self._result.seen[self._cohort.rows[has_last]] = seen.kept(self._cohort, newest)[has_last]
        if seen.judged.sides:
            self._keep_sides(sides, seen, newest, has_last)

    def _keep_sides(self, sides: Sequence[Sides], seen: Seen, newest: IntArray, has_last: BoolArray) -> None:
        places, before = np.arange(len(newest)), seen.before
        changed: dict[int, dict[str, str]] = {}
        for number, column in seen.judged.sides.items():
            last = np.where(has_last, column[places, newest], before[number])
            for place in np.flatnonzero(last != before[number]).tolist():
                row = int(self._cohort.rows[place])
                changed.setdefault(row, dict(sides[row]))[str(number)] = SIDE_OF_CODE[int(last[place])]
        self._result.sides.update(changed)


def _only(is_new: BoolArray, values: FloatArray) -> FloatArray:
    """Leave out what was seen on an earlier evaluation: it must not move sides once more."""
    return values if values.shape[1] == 1 else np.where(is_new, values, np.nan)


def _side_column(cohort: Cohort, sides: Sequence[Sides], number: int) -> TruthArray:
    name = str(number)
    return np.array([SIDE_CODES.get(sides[row].get(name, ""), 0) for row in cohort.rows.tolist()], dtype=np.int8)


def _band(cohort: Cohort, values: Sequence[FloatArray], judged: Judged) -> TruthArray:
    if not cohort.rearm.type.has_band:
        return judged.truth
    if cohort.rearm.type.starts_closed:
        return closed_truth(cohort.shape, values, judged.leaves)
    return relaxed_truth(cohort.shape, values, judged.leaves, _width_of(cohort.rearm))


def _width_of(rearm: RearmColumns) -> Width:
    threshold, is_absolute = rearm.threshold[:, None], rearm.is_absolute[:, None]
    return lambda level: np.where(is_absolute, threshold, np.abs(level) * threshold)
