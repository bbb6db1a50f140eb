"""What alerts saw on their bars, and what is kept of the last one: values, verdicts, sides. Pure.

What is kept is a few bytes an alert, as every evaluation writes them: one for the form, eight for each value that
is read off the bars, one for the verdict of each leaf, one for the side before the bar of each event leaf.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from atf.alerts.alert import Alert
from atf.alerts.roster import Cohort, Levels
from atf.alerts.state import SIDE_OF_CODE, AlertState, IntArray
from atf.alerts.traced_bar import JudgedBar, TracedBar
from atf.market.bars import FloatArray, to_instant
from atf.rules.operands import Constant
from atf.rules.rule import leaves
from atf.rules.truth import Judged, TruthArray

KeptColumn = npt.NDArray[np.object_]
"""What is kept of alerts' last bars, as bytes; None where nothing new was seen."""

_FORM: Final = 1
"""Of the kept bytes; another number means that they are of another version of ATF."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a cohort saw on all its bars, which open and close at these times.

    Shape: (a, b) each, ``before`` (a,): the sides before the first bar.
    """

    opens: IntArray
    closes: IntArray
    values: Sequence[FloatArray]
    judged: Judged
    band: TruthArray
    before: Mapping[int, TruthArray]

    def bars_at(
        self, places: IntArray, index: int, before: Sequence[AlertState], after: Sequence[AlertState]
    ) -> list[TracedBar]:
        """Return one bar of some of the alerts, which fire on it, with their states before and after it."""
        opens, closes = self.opens[places, index].tolist(), self.closes[places, index].tolist()
        truth, band = self.judged.truth[places, index].tolist(), self.band[places, index].tolist()
        read = [one[places, 0 if one.shape[1] == 1 else index].tolist() for one in self.values]
        numbers = tuple(self.judged.leaves)
        leaves = zip(*[one[places, index].tolist() for one in self.judged.leaves.values()], strict=True)
        return [
            TracedBar(
                open_time=to_instant(opens[row]),
                close_time=to_instant(closes[row]),
                values=values,
                truth=truth[row],
                leaves=dict(zip(numbers, verdicts, strict=True)),
                band=band[row],
                before=before[row],
                after=after[row],
                is_triggered=True,
            )
            for row, (values, verdicts) in enumerate(zip(zip(*read, strict=True), leaves, strict=True))
        ]

    def sides_at(self, places: IntArray, index: int) -> list[dict[str, str]]:
        """Return the sides of some of the alerts after one bar, -1 for those before the first."""
        found: list[dict[str, str]] = [{} for _ in places]
        for number, column in self.judged.sides.items():
            sides = column[places, index] if index >= 0 else self.before[number][places]
            for one, side in zip(found, sides.tolist(), strict=True):
                if side:
                    one[str(number)] = SIDE_OF_CODE[side]
        return found

    def kept(self, cohort: Cohort, indices: IntArray) -> KeptColumn:
        """Return what is kept of one bar of each alert. Shape: ``indices``, the bars, and the result (a,)."""
        places = np.arange(len(indices))
        read = [one for one, slot in zip(self.values, cohort.slots, strict=True) if not isinstance(slot, Levels)]
        table = np.empty(len(indices), _layout(len(read), len(self.judged.leaves), len(self.before)))
        table["form"] = _FORM
        for column, one in enumerate(read):
            table["values"][:, column] = one[places, 0 if one.shape[1] == 1 else indices]
        for column, number in enumerate(sorted(self.judged.leaves)):
            table["leaves"][:, column] = self.judged.leaves[number][places, indices]
        for column, number in enumerate(sorted(self.before)):
            after = self.judged.sides[number]
            table["sides"][:, column] = np.where(
                indices > 0, after[places, np.maximum(indices - 1, 0)], self.before[number]
            )
        found: KeptColumn = table.view(f"V{table.dtype.itemsize}").astype(np.object_)
        return found


def judged_bar(alert: Alert, kept: bytes, state: AlertState) -> JudgedBar | None:
    """Return the bar whose evaluation led to the state, from what was kept of it; None if it cannot be read."""
    reads = sum(not isinstance(operand, Constant) for operand in alert.operands)
    numbers = [leaf.number for leaf in leaves(alert.rule)]
    layout = _layout(reads, len(numbers), len(alert.events))
    if len(kept) != layout.itemsize or kept[0] != _FORM:
        return None
    row = np.frombuffer(kept, layout)[0]
    return JudgedBar(
        values=tuple(_values(alert, iter(row["values"].tolist()))),
        leaves=dict(zip(numbers, row["leaves"].tolist(), strict=True)),
        sides_before={
            str(number): SIDE_OF_CODE[side]
            for number, side in zip(sorted(alert.events), row["sides"].tolist(), strict=True)
            if side in SIDE_OF_CODE
        },
        sides_after=state.sides,
    )


def _values(alert: Alert, read: Iterator[float]) -> Iterator[float]:
    for operand in alert.operands:
        yield operand.value if isinstance(operand, Constant) else next(read)


def _layout(values: int, leaves: int, events: int) -> np.dtype[Any]:
    return np.dtype(
        [("form", "u1"), ("values", "<f8", (values,)), ("leaves", "i1", (leaves,)), ("sides", "i1", (events,))]
    )
