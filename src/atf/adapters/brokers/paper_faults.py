"""What goes wrong on the way to the paper venue: by a script, then by dice that a seed makes repeatable."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

from atf.trading.broker import VenueEvent
from atf.trading.paper.options import EventFault, PaperFault, PaperFaults


class FaultDice:
    """The faults of one broker, one after the other."""

    def __init__(self, faults: PaperFaults) -> None:
        self._faults = faults
        self._script = deque(faults.script)
        self._dice = random.Random(faults.seed)  # noqa: S311 - nobody is to be surprised

    def of_call(self) -> PaperFault | None:
        """Return what happens to the next order or cancellation."""
        if self._script:
            return self._script.popleft()
        if not self._faults.chances:
            return None
        thrown = self._dice.random()
        for fault, chance in self._faults.chances.items():
            if thrown < chance:
                return fault
            thrown -= chance
        return None

    def of_events(self, events: Sequence[VenueEvent]) -> Sequence[VenueEvent]:
        """Return what arrives of events that are pushed together."""
        if not self._faults.event_chances:
            return events
        arriving = [
            event for event in events for _ in range(1 + self._happens(EventFault.DUPLICATE))
            if not self._happens(EventFault.DROP)
        ]  # fmt: skip
        if self._happens(EventFault.REORDER):
            self._dice.shuffle(arriving)
        return arriving

    def _happens(self, fault: EventFault) -> bool:
        chance = self._faults.event_chances.get(fault, 0.0)
        return chance > 0 and self._dice.random() < chance
