"""What the alerts of a roster read off their newest bars, each reading computed once. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from atf.alerts.readings import WatchedBars, newest, read, read_newest
from atf.alerts.roster import Roster
from atf.alerts.state import FIRST_FINAL, NEVER, IntArray, StateColumns
from atf.alerts.watched import Watched
from atf.market.bars import FloatArray
from atf.rules.truth import BoolArray


class Ends:
    """The newest bar of what each alert watches, and when the one before it opened; NEVER where there is none."""

    def __init__(self, roster: Roster, watched: Mapping[Watched, WatchedBars]) -> None:
        found = [watched.get(one) for one in roster.watched]
        self.opens, self.closes, before = (
            np.array([NEVER if one is None else value(one) for one in found], dtype=np.int64)[roster.watched_of]
            for value in (_newest_open, _newest_close, _open_before)
        )
        self._before = before

    def has_one_new_bar(self, states: StateColumns) -> BoolArray:
        """Tell which alerts have evaluated all bars but the newest, which is no history to them."""
        is_next: BoolArray = (states.last_bar == self._before) & (self._before != NEVER)
        return is_next & (self.closes > states.history_until) & (states.status < FIRST_FINAL)


def _newest_open(watched: WatchedBars) -> int:
    return int(watched.bars.open_time[-1]) if len(watched.bars) else NEVER


def _newest_close(watched: WatchedBars) -> int:
    return int(watched.close_time[-1]) if len(watched.bars) else NEVER


def _open_before(watched: WatchedBars) -> int:
    return int(watched.bars.open_time[-2]) if len(watched.bars) > 1 else NEVER


class ReadingTable:
    """The readings of a roster for the newest bars, each computed when it is first asked for."""

    def __init__(self, roster: Roster, watched: Mapping[Watched, WatchedBars], ends: Ends) -> None:
        self._roster = roster
        self._watched = [watched.get(one) for one in roster.watched]
        self._ends = ends
        self._newest = np.full(len(roster.readings), np.nan)
        self._is_read = np.zeros(len(roster.readings), dtype=np.bool_)
        self.failed: dict[int, Exception] = {}

    def values(self, readings: IntArray, width: int) -> FloatArray:
        """Return the readings for the newest ``width`` bars. Shape: (a,) -> (a, width)."""
        if width == 1:
            is_unread = np.zeros(len(self._is_read), dtype=np.bool_)
            is_unread[readings] = True
            unread = np.flatnonzero(is_unread & ~self._is_read)
            self._newest[unread] = self._read_newest(unread.tolist())
            self._is_read[unread] = True
            return self._newest[readings][:, None]
        numbers, places = np.unique(readings, return_inverse=True)
        return np.array([self._read(number, width) for number in numbers.tolist()])[places]

    def times(self, rows: IntArray, width: int) -> tuple[IntArray, IntArray]:
        """Return when the newest bars of each alert open and close. Shape: (a, width)."""
        if width == 1:
            return self._ends.opens[rows][:, None], self._ends.closes[rows][:, None]
        numbers, places = np.unique(self._roster.watched_of[rows], return_inverse=True)
        found = [self._watched_at(number) for number in numbers.tolist()]
        opens = np.array([newest(one.bars.open_time, width) for one in found])
        closes = np.array([newest(one.close_time, width) for one in found])
        return opens[places], closes[places]

    def watched_of(self, row: int) -> WatchedBars:
        """Return the bars that the alert in a row watches."""
        return self._watched_at(int(self._roster.watched_of[row]))

    def _watched_at(self, number: int) -> WatchedBars:
        found = self._watched[number]
        if found is None:
            raise KeyError(self._roster.watched[number])
        return found

    def _read_newest(self, numbers: Sequence[int]) -> list[float]:
        found = []
        for number in numbers:
            watched, source, offset = self._roster.readings[number]
            try:
                found.append(read_newest(self._watched_at(watched), source, offset))
            except Exception as exc:  # noqa: BLE001 - an indicator's mistake costs only the alerts that read it
                self.failed[number] = exc
                found.append(np.nan)
        return found

    def _read(self, number: int, width: int) -> FloatArray:
        watched, source, offset = self._roster.readings[number]
        try:
            return read(self._watched_at(watched), source, offset, width)
        except Exception as exc:  # noqa: BLE001 - an indicator's mistake costs only the alerts that read it
            self.failed[number] = exc
            return np.full(width, np.nan)
