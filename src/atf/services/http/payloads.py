"""The shapes of `/health` and `/stats`: the mission's, with new keys only beside them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atf.health.service_health import HealthReport
from atf.health.statistics import Statistics


def health_payload(report: HealthReport, *, counts: bool) -> Mapping[str, Any]:
    """Return the answer of `/health`. Numbers that are not known are null."""
    payload = {
        "status": report.status.value,
        "timestamp": report.reported_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "components": {component.name: component.word for component in report.components},
        "metrics": {
            **(_metrics(report.statistics) if counts else {}),
            "progress_age_seconds": round(report.progress_age_seconds, 3),
        },
        "service": report.service,
        "instance_id": report.instance_id,
        "version": report.version,
    }
    return payload if report.problem is None else {**payload, "detail": report.problem}


def stats_payload(statistics: Statistics) -> Mapping[str, Any]:
    """Return the answer of `/stats`; durations in seconds, the rate as a fraction."""
    return {
        "job_counts": {
            "total_schedules": statistics.total_schedules,
            "enabled_schedules": statistics.enabled_schedules,
            "active_jobs": statistics.enabled_schedules,
        },
        "execution_stats": {
            "runs_24h": statistics.runs_24h,
            "success_rate": round(statistics.success_rate, 6),
            "avg_duration": round(statistics.avg_duration, 6),
            "max_duration": round(statistics.max_duration, 6),
            "avg_wait": round(statistics.avg_wait, 6),
            "is_estimated": statistics.is_estimated,
        },
        "error_stats": {
            "failed_runs_24h": statistics.failed_24h,
            "common_errors": [f"{kind}: {runs}" for kind, runs in statistics.common_errors],
            "dead_letters": statistics.trouble.dead_letters,
            "misfires_24h": statistics.trouble.misfires,
            "missed_runs_24h": statistics.trouble.missed_runs,
            "lost_workers_24h": statistics.trouble.lost_workers,
            "rescued_runs_24h": statistics.trouble.rescued_runs,
        },
        "queue": {
            job_type: {
                "waiting": found.waiting,
                "delayed": found.delayed,
                "running": found.running,
                "slots": found.slots,
                "oldest_seconds": round(found.oldest_seconds, 3),
            }
            for job_type, found in statistics.queue.items()
        },
        "workers": statistics.workers,
    }


def _metrics(statistics: Statistics | None) -> dict[str, Any]:
    if statistics is None:
        return dict.fromkeys(("active_jobs", "pending_runs", "failed_jobs_24h", "avg_execution_time"))
    return {
        "active_jobs": statistics.enabled_schedules,
        "pending_runs": statistics.pending_runs,
        "failed_jobs_24h": statistics.failed_24h,
        "avg_execution_time": round(statistics.avg_duration, 6),
    }
