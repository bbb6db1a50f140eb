"""How an alert becomes ready again after a trigger, and when it ends by itself: what users choose. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class RearmType(StrEnum):
    """What opens the gate again after a trigger."""

    SIMPLE = "simple"
    EDGE = "edge"
    HYSTERESIS = "hysteresis"
    COOLDOWN = "cooldown"
    PERSISTENCE = "persistence"
    CROSSING = "crossing"

    @property
    def keeps_gate_open(self) -> bool:
        """Whether a trigger leaves the gate open."""
        return self in (RearmType.SIMPLE, RearmType.COOLDOWN)

    @property
    def starts_closed(self) -> bool:
        """Whether the first true bar does not trigger, as nothing was crossed yet."""
        return self is RearmType.CROSSING

    @property
    def has_band(self) -> bool:
        """Whether a value must have moved away from its level, beyond the rule being false."""
        return self in (RearmType.HYSTERESIS, RearmType.CROSSING)


@dataclass(frozen=True, slots=True)
class Rearm:
    """How an alert becomes ready again.

    ``bars`` true bars in a row trigger; ``cooldown`` lies between triggers. ``threshold`` is how far a value must
    move away: a fraction of its level, or with ``is_absolute`` in the value's unit.
    """

    type: RearmType
    bars: int = 1
    cooldown: timedelta = timedelta(0)
    threshold: float = 0.0
    is_absolute: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """When an alert ends by itself."""

    expires_at: datetime | None = None
    max_triggers: int | None = None
