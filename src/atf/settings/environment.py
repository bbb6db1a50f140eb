"""Settings from environment variables, and a guard against misspelt ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from atf.settings.masking import masked_url, without_driver
from atf.settings.names import Setting, did_you_mean

PREFIXES: Final = ("ATF_", "SCHEDULER_")
OTHER_VARIABLES: Final = frozenset({"ATF_CONFIG", "ATF_PAUSE_AT", "ATF_LIFELINE_FD"})
"""What is read elsewhere than in the settings."""
OTHER_PREFIXES: Final = ("ATF_TEST_", "ATF_CHAOS_", "ATF_BENCH_")
"""What tests and benchmarks use among themselves."""

_DATABASE_URLS: Final = ("ATF_DATABASE_URL", "SCHEDULER_DATABASE_URL")
_CLOSE: Final = 0.8


@dataclass(frozen=True, slots=True)
class Variable:
    """A setting as the environment gives it."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class UnknownVariable:
    """A variable that looks like a setting and is none; ``suggestion`` is what was probably meant."""

    name: str
    suggestion: str | None


def given_by_environment(settings: Iterable[Setting]) -> dict[Setting, Variable]:
    """Return the settings that the environment gives; an empty variable counts as not set."""
    given = {}
    for setting in settings:
        name = next((name for name in setting.variables if os.environ.get(name)), None)
        if name is not None:
            given[setting] = Variable(name, os.environ[name])
    return given


def two_databases() -> str | None:
    """Return what is wrong if the two names of the database's URL are set to different databases."""
    ours, missions = (os.environ.get(name) for name in _DATABASE_URLS)
    if not ours or not missions or without_driver(ours) == without_driver(missions):
        return None
    shown = tuple(masked_url(without_driver(url)) for url in (ours, missions))
    difference = "with different passwords" if shown[0] == shown[1] else f"to {shown[0]} and {shown[1]}"
    return f"{' and '.join(_DATABASE_URLS)}: both are set, {difference}; unset one of them"


def unknown_variables(
    settings: Iterable[Setting], environment: Mapping[str, str] | None = None
) -> tuple[UnknownVariable, ...]:
    """Return the variables that start like a setting and are none, in the order of their names."""
    known = {name for setting in settings for name in setting.variables} | OTHER_VARIABLES
    found = sorted(os.environ if environment is None else environment)
    return tuple(
        UnknownVariable(name, did_you_mean(name, sorted(known), cutoff=_CLOSE))
        for name in found
        if name.startswith(PREFIXES) and name not in known and not name.startswith(OTHER_PREFIXES)
    )
