"""Whether a schedule can be stored, and how: every field is checked, what is left open is filled. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from atf.errors import InvalidInput, shown
from atf.jobs.field_checks import (
    LARGEST_COUNT,
    require_flag,
    require_integer,
    require_params,
    require_seconds,
    require_text,
)
from atf.jobs.job_type import JobTypes
from atf.schedules.cron_parser import CronParser
from atf.schedules.misfire import MisfirePolicy
from atf.schedules.schedule import ScheduleCreate

MOST_PRIORITY: Final = 100
MOST_ATTEMPTS: Final = 1000
_LONGEST_CRON: Final = 100
_DAY: Final = 86_400


def checked_schedule(schedule: ScheduleCreate, types: JobTypes) -> ScheduleCreate:
    """Return the schedule as it is stored, but for the defaults of the installation.

    Errors: InvalidInput that names the field.
    """
    require_text(schedule.name, "name")
    definition = types.get(schedule.job_type)
    require_text(schedule.target, "target")
    _check_time(schedule)
    _check_numbers(schedule)
    params = definition.prepare(schedule.target, require_params(schedule.task_params))
    policy = definition.misfire_policy if schedule.misfire_policy is None else schedule.misfire_policy
    if policy not in list(MisfirePolicy):
        raise InvalidInput(f"{shown(policy)} is not one of {', '.join(MisfirePolicy)}", field="misfire_policy")
    return replace(schedule, task_params=params, misfire_policy=MisfirePolicy(policy))


def _check_time(schedule: ScheduleCreate) -> None:
    for field in ("cron", "timezone"):
        value = getattr(schedule, field)
        if not isinstance(value, str):
            raise InvalidInput(f"must be a text, got {shown(value)}", field=field)
    if len(schedule.cron) > _LONGEST_CRON:
        raise InvalidInput(f"has more than {_LONGEST_CRON} characters", field="cron")
    CronParser.parse(schedule.cron, schedule.timezone)
    if schedule.calendar is not None:
        require_text(schedule.calendar, "calendar")


def _check_numbers(schedule: ScheduleCreate) -> None:
    require_integer(schedule.priority, "priority", -MOST_PRIORITY, MOST_PRIORITY)
    require_flag(schedule.enabled, "enabled")
    if schedule.coalesce is not None:
        require_flag(schedule.coalesce, "coalesce")
    for field in ("max_instances", "misfire_grace_seconds"):
        value = getattr(schedule, field)
        if value is not None:
            require_integer(value, field, 1, LARGEST_COUNT)
    if schedule.max_attempts is not None:
        require_integer(schedule.max_attempts, "max_attempts", 1, MOST_ATTEMPTS)
    if schedule.max_runtime_seconds is not None:
        require_seconds(schedule.max_runtime_seconds, "max_runtime_seconds", most=_DAY)
    if schedule.retry_delay_seconds is not None:
        require_seconds(schedule.retry_delay_seconds, "retry_delay_seconds", most=_DAY, may_be_zero=True)
