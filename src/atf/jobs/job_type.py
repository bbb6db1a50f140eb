"""Job types: what a job of a name needs, how it is checked, how long and how often it is tried. Pure.

A type is one definition and one handler; a plug-in package adds its own by an entry point (``jobs/plugins.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from atf.errors import InvalidInput, shown
from atf.jobs.sensitive_schema import MarkedFields, nothing_marked
from atf.schedules.misfire import MisfirePolicy

Check = Callable[[str, Mapping[str, Any]], None]
"""Raises InvalidInput, which names the field, unless a target and its task_params can be run together."""

LONGEST_SECONDS: Final = 366 * 86_400
"""No limit of a run is longer."""

Fill = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""Returns task_params with what the target says and they leave open. Errors: InvalidInput of the target."""


def as_given(target: str, task_params: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG001
    """Fill nothing."""
    return task_params


@dataclass(frozen=True, slots=True)
class JobLimits:
    """How long a run may take, how often it is tried, how long the first pause is, how many run at once.

    ``max_attempts`` counts the first one too; ``concurrency`` is for one worker process.
    """

    max_runtime: timedelta
    max_attempts: int
    retry_delay: timedelta
    concurrency: int = 10

    def own(self, snapshot: Mapping[str, Any]) -> JobLimits:
        """Return the limits of a run, of which its schedule may have set some.

        One that a person has edited into something that is no time counts as not set.
        """
        given = snapshot.get("limits")
        if not isinstance(given, Mapping) or not given:
            return self
        runtime, delay = _time(given.get("max_runtime_seconds")), _time(given.get("retry_delay_seconds"))
        return replace(
            self,
            max_runtime=runtime or self.max_runtime,
            retry_delay=self.retry_delay if delay is None else delay,
        )


def _time(seconds: object) -> timedelta | None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return timedelta(seconds=seconds) if 0 <= seconds <= LONGEST_SECONDS else None


@dataclass(frozen=True, slots=True)
class JobTypeDefinition:
    """A job type: its name in ``job_type``, its check of what is stored, its limits and defaults.

    ``check`` is applied when something is stored and again when it runs, ``fill`` only before it is stored. Runs
    of the class "alert" are kept for a day, those of "other" for months. A type that ``needs_schedule`` has no
    runs of its own: what they work on is kept with the schedule. ``sensitive_params`` and ``sensitive_result``
    say which fields of ``task_params`` and of results are stored sealed (``SchemaValidator.sensitive``).
    """

    name: str
    check: Check
    limits: JobLimits
    misfire_policy: MisfirePolicy = MisfirePolicy.RUN_ALL
    retention_class: str = "other"
    fill: Fill = as_given
    needs_schedule: bool = False
    sensitive_params: MarkedFields = nothing_marked
    sensitive_result: MarkedFields = nothing_marked

    @property
    def has_sensitive_fields(self) -> bool:
        """Whether anything of this type is stored sealed."""
        return bool(self.sensitive_params()) or bool(self.sensitive_result())

    def prepare(self, target: str, task_params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return task_params as they are stored, filled and checked. Errors: InvalidInput with the field."""
        filled = self.fill(target, task_params)
        self.check(target, filled)
        return filled

    def without_filled(self, target: str, task_params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return task_params without what the target alone says, as before another target takes its place."""
        kept = dict(task_params)
        for name, value in task_params.items():
            rest = {other: kept[other] for other in kept if other != name}
            if self.fill(target, rest).get(name) == value:
                kept = rest
        return kept


class JobTypes:
    """All job types of this installation, built in and plugged in."""

    def __init__(self, definitions: Sequence[JobTypeDefinition]) -> None:
        self._definitions: Final = {one.name: one for one in definitions}
        if len(self._definitions) != len(definitions):
            names = sorted(one.name for one in definitions)
            raise ValueError(f"a job type is defined twice: {', '.join(names)}")

    def __iter__(self) -> Iterator[JobTypeDefinition]:
        return iter(self._definitions.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in the order of definition."""
        return tuple(self._definitions)

    def find(self, name: str) -> JobTypeDefinition | None:
        """Return a type's definition, None if it is not installed here."""
        return self._definitions.get(name)

    def get(self, name: object) -> JobTypeDefinition:
        """Return a type's definition. Errors: InvalidInput that names the types there are."""
        found = self._definitions.get(name) if isinstance(name, str) else None
        if found is None:
            raise InvalidInput(f"{shown(name)} is not one of {', '.join(self._definitions)}", field="job_type")
        return found
