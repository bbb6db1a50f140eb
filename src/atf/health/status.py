"""The spellings of health, and the one rule that makes one word of many components. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

STALE_AFTER_INTERVALS: Final = 3
"""A report is stale when this many of its intervals have passed without the next one."""


class HealthStatus(StrEnum):
    """How a system or a component is."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    DOWN = "DOWN"
    UNKNOWN = "UNKNOWN"


class OverallHealth(StrEnum):
    """The word at the top of a health payload."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Component:
    """A part of a process: the word that people read, and what it means for the whole."""

    name: str
    word: str
    status: HealthStatus


def overall(components: Iterable[Component]) -> OverallHealth:
    """Return ``unhealthy`` if a component is DOWN, ``degraded`` if one is not HEALTHY, else ``healthy``."""
    found = {component.status for component in components}
    if HealthStatus.DOWN in found:
        return OverallHealth.UNHEALTHY
    return OverallHealth.HEALTHY if found <= {HealthStatus.HEALTHY} else OverallHealth.DEGRADED


def reported_status(status: HealthStatus, age_seconds: float, interval_seconds: float) -> HealthStatus:
    """Return what a stored report is worth now: an old one says nothing but that nobody reports any more."""
    is_stale = age_seconds > STALE_AFTER_INTERVALS * interval_seconds
    return HealthStatus.DOWN if is_stale else status
