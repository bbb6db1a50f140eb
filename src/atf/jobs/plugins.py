"""Job types of other packages: whoever is installed with an entry point of the group ``atf.job_types``.

An entry point names an object with a ``definition`` and a ``build_handler``. One that does not work is left out
and told in one sentence; it never keeps the service from running.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Protocol, runtime_checkable

from atf.jobs.job_type import JobTypeDefinition

_LOGGER = logging.getLogger(__name__)
GROUP: Final = "atf.job_types"


@runtime_checkable
class JobTypePlugin(Protocol):
    """What an entry point of the group names."""

    definition: JobTypeDefinition

    def build_handler(self, *args: Any, **kwargs: Any) -> Any:
        """Return the handler of the type's runs: a RunHandler, HeavyHandler or BatchHandler."""
        ...


@dataclass(frozen=True, slots=True)
class Plugins:
    """The plug-ins that work, and a sentence for each that does not."""

    found: tuple[JobTypePlugin, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def definitions(self) -> tuple[JobTypeDefinition, ...]:
        """The job types that the plug-ins define."""
        return tuple(plugin.definition for plugin in self.found)


class _Unusable(Exception):
    """A plug-in that must be left out; the text says why."""


def load_plugins(taken: Sequence[str]) -> Plugins:
    """Load all plug-ins, in the order of their names; ``taken`` are the job types that are defined already."""
    found: dict[str, JobTypePlugin] = {}
    problems: list[str] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        try:
            plugin = _load(point, [*taken, *found])
        except _Unusable as exc:
            problems.append(f"the plug-in {_described(point)} is left out: {exc}")
            continue
        found[plugin.definition.name] = plugin
    for problem in problems:
        _LOGGER.error("%s", problem)
    return Plugins(tuple(found.values()), tuple(problems))


def _load(point: EntryPoint, taken: Sequence[str]) -> JobTypePlugin:
    try:
        plugin = point.load()
    except Exception as exc:  # whatever a stranger's module raises while it is imported
        raise _Unusable(" ".join(f"{type(exc).__name__}: {exc}".split())) from exc
    if not isinstance(plugin, JobTypePlugin) or not isinstance(plugin.definition, JobTypeDefinition):
        raise _Unusable("it has no `definition` of a job type or no `build_handler`")
    if plugin.definition.name in taken:
        raise _Unusable(f"the job type '{plugin.definition.name}' is defined already")
    return plugin


def _described(point: EntryPoint) -> str:
    origin = f" of {point.dist.name}" if point.dist is not None else ""
    return f"'{point.name}' ({point.value}){origin}"
