"""What a worker counts: claims, outcomes, waiting and running times by job type. Cheap enough for every run."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
"""Upper ends in seconds; one more bucket is for what is longer."""


class Histogram:
    """Counts of durations by bucket, and their sum."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total_seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total_seconds += seconds

    @property
    def count(self) -> int:
        """How many durations were counted."""
        return sum(self.counts)


@dataclass(slots=True)
class TypeMetrics:
    """The figures of one job type in one worker.

    ``outcomes`` by: completed, failed, put_back, cancelled, refused (taken away meanwhile), handled (by a batch).
    """

    slots: int
    claimed: int = 0
    busy: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    waiting: Histogram = field(default_factory=Histogram)
    running: Histogram = field(default_factory=Histogram)


@dataclass(slots=True)
class RunMetrics:
    """The figures of one worker."""

    by_type: dict[str, TypeMetrics] = field(default_factory=dict)

    def of(self, job_type: str, *, slots: int = 1) -> TypeMetrics:
        """Return the figures of a type, which begin at zero."""
        return self.by_type.setdefault(job_type, TypeMetrics(slots))
