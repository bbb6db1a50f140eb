"""One bar as an alert saw it: for explaining, for previews, and kept with each trigger. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from atf.alerts.state import AlertState


@dataclass(frozen=True, slots=True)
class JudgedBar:
    """What was read on a bar and the truth of each leaf, and the sides of the event leaves before and after it.

    ``values``, ``leaves``: as in ``TracedBar``. Sides are by the leaf's number as text.
    """

    values: tuple[float, ...]
    leaves: Mapping[int, int]
    sides_before: Mapping[str, str]
    sides_after: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TracedBar:
    """One bar: what was read, the truth of each part, and what became of the state.

    ``values`` are those of the alert's operands, in order, NaN where unknown. ``leaves`` are truths by the number
    of the leaf; ``band`` is the truth of the rule that keeps the gate closed (see ``rules.bands``).
    """

    open_time: datetime
    close_time: datetime
    values: tuple[float, ...]
    truth: int
    leaves: Mapping[int, int]
    band: int
    before: AlertState
    after: AlertState
    is_triggered: bool

    @property
    def judged(self) -> JudgedBar:
        """What the tree of the rule is drawn from."""
        return JudgedBar(self.values, self.leaves, self.before.sides, self.after.sides)

    @property
    def is_history(self) -> bool:
        """Whether the bar closed before the alert began: it moves sides and the crossing gate only."""
        return self.close_time <= self.before.history_until
