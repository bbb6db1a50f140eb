"""What other installed packages bring along: the objects behind the entry points of a group.

One that does not work is left out and told in one sentence; it never keeps a process from running.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

Plugin = TypeVar("Plugin")

_LOGGER = logging.getLogger(__name__)


class Unusable(Exception):
    """A plug-in that must be left out; the text says why."""


@dataclass(frozen=True, slots=True)
class Loaded(Generic[Plugin]):
    """The plug-ins of a group that work, and a sentence for each that does not."""

    found: tuple[Plugin, ...] = ()
    problems: tuple[str, ...] = ()


def load_group(group: str, accept: Callable[[object, Sequence[Plugin]], Plugin]) -> Loaded[Plugin]:
    """Load all plug-ins of a group, in the order of their names; problems are logged.

    ``accept`` gets what an entry point names and what was accepted before it, and returns the plug-in or
    raises Unusable.
    """
    found: list[Plugin] = []
    problems: list[str] = []
    for point in sorted(entry_points(group=group), key=lambda point: (point.name, point.value)):
        try:
            found.append(accept(_load(point), found))
        except Unusable as exc:
            problems.append(f"the plug-in {_described(point)} is left out: {exc}")
    for problem in problems:
        _LOGGER.error("%s", problem)
    return Loaded(tuple(found), tuple(problems))


def said(exc: BaseException) -> str:
    """Return what went wrong in a stranger's code, in one line."""
    return " ".join(f"{type(exc).__name__}: {exc}".split())


def _load(point: EntryPoint) -> object:
    try:
        return point.load()
    except Exception as exc:  # whatever a stranger's module raises while it is imported
        raise Unusable(said(exc)) from exc


def _described(point: EntryPoint) -> str:
    origin = f" of {point.dist.name}" if point.dist is not None else ""
    return f"'{point.name}' ({point.value}){origin}"
