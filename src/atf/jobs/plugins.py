"""Job types of other packages: whoever is installed with an entry point of the group ``atf.job_types``.

An entry point names an object with a ``definition`` and a ``build_handler``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol, runtime_checkable

from atf.jobs.job_type import JobTypeDefinition
from atf.plugins import Loaded, Unusable, load_group

GROUP: Final = "atf.job_types"


@runtime_checkable
class JobTypePlugin(Protocol):
    """What an entry point of the group names."""

    definition: JobTypeDefinition

    def build_handler(self, *args: Any, **kwargs: Any) -> Any:
        """Return the handler of the type's runs: a RunHandler, HeavyHandler or BatchHandler."""
        ...


def load_plugins(taken: Sequence[str]) -> Loaded[JobTypePlugin]:
    """Load all plug-ins, in the order of their names; ``taken`` are the job types that are defined already."""

    def accept(plugin: object, before: Sequence[JobTypePlugin]) -> JobTypePlugin:
        if not isinstance(plugin, JobTypePlugin) or not isinstance(plugin.definition, JobTypeDefinition):
            raise Unusable("it has no `definition` of a job type or no `build_handler`")
        name = plugin.definition.name
        if name in taken or any(name == other.definition.name for other in before):
            raise Unusable(f"the job type '{name}' is defined already")
        return plugin

    return load_group(GROUP, accept)
