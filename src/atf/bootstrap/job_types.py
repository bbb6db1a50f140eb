"""The job types of this installation: the built-in ones, limited by the settings, and those of plug-ins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from atf.alerts.alert import parse_alert
from atf.data_jobs.request import check_request
from atf.errors import InvalidAlertRule
from atf.jobs.job_type import JobLimits, JobTypes
from atf.jobs.job_types_builtin import DEFAULT_LIMITS, builtin_types
from atf.jobs.plugins import JobTypePlugin, load_plugins
from atf.jobs.run import JobType
from atf.jobs.target import check_alert
from atf.plugins import Loaded
from atf.settings import Settings
from atf.settings.model import JobConfig


@dataclass(frozen=True, slots=True)
class InstalledJobTypes:
    """All job types, and the plug-ins that some of them come from."""

    types: JobTypes
    plugins: Loaded[JobTypePlugin]


def build_job_types(settings: Settings) -> InstalledJobTypes:
    """Return what can be run here; a plug-in that does not work is logged and left out."""
    builtin = builtin_types(check_alert_job, _limits(settings), data_check=check_request)
    plugins = load_plugins([one.name for one in builtin])
    return InstalledJobTypes(JobTypes([*builtin, *(one.definition for one in plugins.found)]), plugins)


def check_alert_job(target: str, task_params: Mapping[str, Any]) -> None:
    """Raise InvalidInput unless the configuration is that of an alert on the target."""
    check_alert(target, task_params)
    try:
        parse_alert(task_params)
    except InvalidAlertRule as exc:
        field = f"task_params.{exc.field}" if exc.field else "task_params"
        raise InvalidAlertRule(exc.reason, field=field) from exc


def _limits(settings: Settings) -> dict[str, JobLimits]:
    configs = settings.job_configs
    given = {
        JobType.REPORT: configs.report_generation,
        JobType.DATA_PROCESSING: configs.data_processing,
        JobType.NOTIFICATION: configs.notifications,
    }
    limits = {str(name): _configured(DEFAULT_LIMITS[name], config) for name, config in given.items()}
    alert_timeout = timedelta(seconds=settings.alert_timeout_seconds)
    limits[JobType.ALERT] = replace(DEFAULT_LIMITS[JobType.ALERT], max_runtime=alert_timeout)
    return limits


def _configured(limits: JobLimits, config: JobConfig) -> JobLimits:
    return replace(
        limits,
        max_runtime=timedelta(seconds=config.max_runtime_seconds),
        max_attempts=config.retry_attempts,
        retry_delay=timedelta(seconds=config.retry_delay_seconds),
    )
