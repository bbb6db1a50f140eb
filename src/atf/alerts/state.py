"""What an alert remembers between bars: one alert's as people see it, and many alerts' as columns. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from atf.market.bars import to_instant, to_nanoseconds

IntArray = npt.NDArray[np.int64]

NEVER: Final = np.iinfo(np.int64).min
"""In columns of instants: none."""


class AlertStatus(StrEnum):
    """What a person sees of an alert's state."""

    ARMED = "ARMED"
    PENDING = "PENDING"
    TRIGGERED = "TRIGGERED"
    COOLDOWN = "COOLDOWN"
    COMPLETED = "COMPLETED"
    EXPIRED = "EXPIRED"

    @property
    def is_final(self) -> bool:
        """Whether nothing is evaluated any more until the alert is edited or enabled again."""
        return self in (AlertStatus.COMPLETED, AlertStatus.EXPIRED)


class DataStatus(StrEnum):
    """Whether the last bar could be judged."""

    OK = "ok"
    NO_DATA = "no_data"


class Gate(StrEnum):
    """A closed gate keeps a true rule from triggering again."""

    OPEN = "open"
    CLOSED = "closed"


class Side(StrEnum):
    """Where a value was last seen: of its level, or of its channel (above is inside, below is outside)."""

    ABOVE = "above"
    BELOW = "below"


SIDE_CODES: Final[Mapping[str, int]] = {Side.ABOVE: 1, Side.BELOW: -1}
"""In columns: the sides; 0 is none yet."""
SIDE_OF_CODE: Final = {1: str(Side.ABOVE), -1: str(Side.BELOW)}
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
STATUSES: Final = tuple(AlertStatus)
DATA_STATUSES: Final = tuple(DataStatus)
FIRST_FINAL: Final = STATUSES.index(AlertStatus.COMPLETED)
"""In columns a status is its place among all; those from here on are final."""


@dataclass(frozen=True, slots=True)
class AlertState:
    """All that an alert remembers; ``version`` counts its commits.

    Time: bars that closed by ``history_until`` are history: they feed indicators, sides and the crossing gate,
          never trigger and never count. ``last_bar`` is None before the first evaluation.
    """

    rule_hash: str
    history_until: datetime = BEGINNING
    gate: Gate = Gate.OPEN
    count: int = 0
    cooldown_until: datetime | None = None
    last_bar: datetime | None = None
    last_trigger_bar: datetime | None = None
    trigger_count: int = 0
    sides: Mapping[str, str] = field(default_factory=dict)
    status: AlertStatus = AlertStatus.ARMED
    data_status: DataStatus = DataStatus.OK
    version: int = 0


@dataclass(slots=True)
class StateColumns:
    """The states of many alerts, a column a field; what differs from ``AlertState`` is said here.

    Shape: (n,) each.
    Time:  nanoseconds since 1970 UTC, NEVER for none.
    Units: ``status`` and ``data_status`` are places in STATUSES and DATA_STATUSES.
    """

    is_open: npt.NDArray[np.bool_]
    count: IntArray
    cooldown_until: IntArray
    last_bar: IntArray
    last_trigger_bar: IntArray
    trigger_count: IntArray
    status: IntArray
    data_status: IntArray
    history_until: IntArray

    @classmethod
    def of(cls, states: Sequence[AlertState]) -> Self:
        """Return the columns of states."""
        return cls(
            is_open=np.array([state.gate is Gate.OPEN for state in states], dtype=np.bool_),
            count=_integers([state.count for state in states]),
            cooldown_until=_instants([state.cooldown_until for state in states]),
            last_bar=_instants([state.last_bar for state in states]),
            last_trigger_bar=_instants([state.last_trigger_bar for state in states]),
            trigger_count=_integers([state.trigger_count for state in states]),
            status=_integers([STATUSES.index(state.status) for state in states]),
            data_status=_integers([DATA_STATUSES.index(state.data_status) for state in states]),
            history_until=_instants([state.history_until for state in states]),
        )

    @classmethod
    def joined(cls, parts: Sequence[StateColumns]) -> Self:
        """Return the rows of all parts, one after the other."""
        return (
            cls.of([])
            if not parts
            else cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS))
        )

    def __len__(self) -> int:
        return len(self.count)

    def copy(self) -> StateColumns:
        """Return columns that can be changed without changing these."""
        return StateColumns(*(getattr(self, name).copy() for name in _COLUMNS))

    def take(self, rows: IntArray) -> StateColumns:
        """Return a copy of some rows."""
        return StateColumns(*(getattr(self, name)[rows] for name in _COLUMNS))

    def put(self, rows: IntArray, part: StateColumns) -> None:
        """Store what ``take`` returned, after it was changed."""
        for name in _COLUMNS:
            getattr(self, name)[rows] = getattr(part, name)

    def begin(self, row: int, fresh: AlertState) -> None:
        """Let one row begin anew."""
        rows = np.array([row])
        self.put(rows, StateColumns.of([fresh]))

    def state(self, row: int, before: AlertState, sides: Mapping[str, str]) -> AlertState:
        """Return one row as a state; rule hash and version are those before."""
        (found,) = self.states(np.array([row]), [before.rule_hash], [sides])
        return replace(found, version=before.version)

    def states(
        self, rows: IntArray, rule_hashes: Sequence[str], sides: Sequence[Mapping[str, str]]
    ) -> list[AlertState]:
        """Return some rows as states; the versions are not known here."""
        columns = (getattr(self, name)[rows].tolist() for name in _COLUMNS)
        return [
            AlertState(
                rule_hash,
                to_instant(history_until),
                Gate.OPEN if is_open else Gate.CLOSED,
                count,
                _instant(cooldown_until),
                _instant(last_bar),
                _instant(last_trigger_bar),
                trigger_count,
                own_sides,
                STATUSES[status],
                DATA_STATUSES[data_status],
            )
            for (
                rule_hash,
                own_sides,
                is_open,
                count,
                cooldown_until,
                last_bar,
                last_trigger_bar,
                trigger_count,
                status,
                data_status,
                history_until,
            ) in zip(rule_hashes, sides, *columns, strict=True)
        ]


_COLUMNS: Final = tuple(column.name for column in fields(StateColumns))


def _integers(values: Sequence[int]) -> IntArray:
    return np.array(values, dtype=np.int64)


def _instants(values: Sequence[datetime | None]) -> IntArray:
    return _integers([NEVER if value is None else to_nanoseconds(value) for value in values])


def _instant(nanoseconds: int) -> datetime | None:
    return None if nanoseconds == NEVER else to_instant(int(nanoseconds))
