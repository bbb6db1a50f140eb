"""The job types that ATF comes with: schema, meaning of the target, limits.

What the configuration of an alert or of a data job may hold is known to rooms above this one; their checks are
passed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from atf.jobs import target as targets
from atf.jobs.job_type import Check, Fill, JobLimits, JobTypeDefinition, as_given
from atf.jobs.run import JobType
from atf.jobs.schema_validator import SchemaValidator
from atf.jobs.sensitive_schema import nothing_marked
from atf.schedules.misfire import MisfirePolicy

_SCHEMAS: Final = SchemaValidator("atf.jobs", root="task_params")


def _limits(runtime: float, attempts: int, delay: float, concurrency: int = 10) -> JobLimits:
    return JobLimits(timedelta(seconds=runtime), attempts, timedelta(seconds=delay), concurrency)


DEFAULT_LIMITS: Final[Mapping[str, JobLimits]] = {
    JobType.REPORT: _limits(300, 3, 60),
    JobType.SCREENER: _limits(300, 3, 60),
    JobType.ALERT: _limits(300, 10, 1),
    JobType.NOTIFICATION: _limits(30, 5, 10),
    JobType.DATA_PROCESSING: _limits(600, 2, 120),
    JobType.BACKUP: _limits(3600, 2, 300, concurrency=1),
}


@dataclass(frozen=True, slots=True)
class ParamsCheck:
    """Checks the target, ``task_params`` against the schema of a type, and what they mean together."""

    schema: str
    check_target: Check | None = None
    check_meaning: Check | None = None

    def __call__(self, target: str, task_params: Mapping[str, Any]) -> None:
        """Raise InvalidInput that names the field if something is wrong."""
        if self.check_target is not None:
            self.check_target(target, task_params)
        _SCHEMAS.validate(task_params, self.schema)
        if self.check_meaning is not None:
            self.check_meaning(target, task_params)


def builtin_types(
    alert_check: Check = targets.check_alert,
    limits: Mapping[str, JobLimits] | None = None,
    *,
    data_check: Check | None = None,
) -> tuple[JobTypeDefinition, ...]:
    """Return the six definitions; ``limits`` replace the default ones of the types that they name."""
    known = {**DEFAULT_LIMITS, **(limits or {})}
    once = MisfirePolicy.RUN_ONCE

    def defined(name: JobType, check: Check, fill: Fill = as_given, **more: Any) -> JobTypeDefinition:
        sensitive = _SCHEMAS.sensitive(check.schema) if isinstance(check, ParamsCheck) else nothing_marked
        return JobTypeDefinition(name, check, known[name], fill=fill, sensitive_params=sensitive, **more)

    return (
        defined(
            JobType.REPORT, ParamsCheck("report", targets.check_report), targets.fill_report, misfire_policy=once
        ),
        defined(JobType.SCREENER, ParamsCheck("screener", targets.check_screener), targets.fill_screener),
        defined(
            JobType.ALERT,
            alert_check,
            targets.fill_alert,
            misfire_policy=once,
            retention_class="alert",
            needs_schedule=True,
        ),
        defined(JobType.NOTIFICATION, ParamsCheck("notification")),
        defined(
            JobType.DATA_PROCESSING,
            ParamsCheck("data_processing", targets.check_data_processing, data_check),
            targets.fill_data_processing,
        ),
        defined(JobType.BACKUP, ParamsCheck("backup"), misfire_policy=once),
    )
