"""What became of many runs, in a few numbers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from atf.jobs.run import RunStatus


@dataclass(frozen=True, slots=True)
class EndedRuns:
    """The runs that ended in one state; ``retried`` of them needed more than one attempt."""

    status: RunStatus
    runs: int
    retried: int
    total_seconds: float
    max_seconds: float


@dataclass(frozen=True, slots=True)
class RunCounts:
    """Runs that ended, perhaps several times the same state, and those that have not."""

    ended: Sequence[EndedRuns]
    pending: int
    running: int


def summary(counts: RunCounts, job_type: str | None, days: int) -> dict[str, Any]:
    """Return the numbers as people read them; rates and averages are None where nothing has run."""
    by_status = {
        str(status): sum(one.runs for one in counts.ended if one.status is status)
        for status in RunStatus
        if status.is_final
    }
    ran = [one for one in counts.ended if one.status in (RunStatus.COMPLETED, RunStatus.FAILED)]
    done = sum(one.runs for one in ran)
    return {
        "job_type": job_type,
        "days": days,
        "total": sum(by_status.values()),
        "by_status": by_status,
        "success_rate": by_status[RunStatus.COMPLETED] / done if done else None,
        "avg_duration_seconds": sum(one.total_seconds for one in ran) / done if done else None,
        "max_duration_seconds": max((one.max_seconds for one in ran), default=None),
        "retried": sum(one.retried for one in counts.ended),
        "pending": counts.pending,
        "running": counts.running,
    }
