"""What all sources say together: the settings, everything that is wrong, and where each value comes from."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from atf.errors import ConfigurationError
from atf.secrecy import MASK
from atf.settings.checking import refusal
from atf.settings.config_file import ConfigFile, read_config_file
from atf.settings.environment import (
    UnknownVariable,
    Variable,
    given_by_environment,
    two_databases,
    unknown_variables,
)
from atf.settings.masking import masked_url
from atf.settings.model import Settings, home_folder
from atf.settings.names import Setting, settings_of

_LOGGER = logging.getLogger(__name__)
_LONGEST_SHOWN: Final = 100


class Source(StrEnum):
    """Where a value comes from, the one that counts most first."""

    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class ExplainedSetting:
    """A value, fit to be shown, with where it comes from and under which names it can be given."""

    name: str
    value: Any
    source: Source
    origin: str
    variables: tuple[str, ...]
    file_key: str | None


@dataclass(frozen=True, slots=True)
class SettingsExplanation:
    """All settings of this moment; ``unknown_variables`` look like settings and are none."""

    config_file: str | None
    settings: tuple[ExplainedSetting, ...]
    unknown_variables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SettingsReview:
    """The outcome of reading all sources; ``settings`` is None if anything is wrong."""

    settings: Settings | None
    problems: tuple[str, ...]
    unknown: tuple[UnknownVariable, ...]
    file: ConfigFile | None
    variables: Mapping[Setting, Variable]
    known: tuple[Setting, ...]

    def origin_of(self, setting: Setting) -> tuple[Source, str]:
        """Return which source a setting's value is from, and the variable or key there."""
        if setting in self.variables:
            return Source.ENVIRONMENT, self.variables[setting].name
        if self.file is not None and setting in self.file.given:
            return Source.FILE, f"{self.file.path}: {setting.file_key}"
        return Source.DEFAULT, "default"


def review_settings() -> SettingsReview:
    """Read environment and file, and report everything that is wrong with them at once."""
    known = settings_of(Settings)
    file = read_config_file(known, home_folder())
    variables = given_by_environment(known)
    conflict = two_databases()
    problems = (
        *([conflict] if conflict else []),
        *(file.problems if file else ()),
        *_refusals(variables),
    )
    settings = None if problems else Settings()
    return SettingsReview(settings, problems, unknown_variables(known), file, variables, known)


def load_settings() -> Settings:
    """Read environment and file; a variable that looks like a setting and is none is warned of, once.

    Errors: ConfigurationError that names the variable, or the file and the key.
    """
    review = review_settings()
    if review.settings is None:
        raise ConfigurationError(review.problems[0])
    if review.unknown:
        warn_of(review.unknown)
    return review.settings


def explain_settings() -> SettingsExplanation:
    """Return each value with where it comes from; passwords are masked.

    Errors: ConfigurationError, as for ``load_settings``.
    """
    review = review_settings()
    if review.settings is None:
        raise ConfigurationError(review.problems[0])
    return SettingsExplanation(
        None if review.file is None else str(review.file.path),
        tuple(_explain(setting, review, review.settings) for setting in settings_of(Settings)),
        tuple(variable.name for variable in review.unknown),
    )


def unknown_sentence(variables: Sequence[UnknownVariable]) -> str:
    """Return one sentence about variables that are no settings."""
    named = ", ".join(
        f"{one.name} (did you mean {one.suggestion}?)" if one.suggestion else one.name for one in variables
    )
    return f"not a setting of this ATF, ignored: {named}"


def _refusals(variables: Mapping[Setting, Variable]) -> Iterator[str]:
    for setting, variable in variables.items():
        reason = refusal(setting, variable.value, is_strict=False)
        if reason is not None:
            found = "***" if setting.is_secret else repr(variable.value)
            shown = found if len(found) <= _LONGEST_SHOWN else f"{found[:_LONGEST_SHOWN]}..."
            yield f"{variable.name}: {reason}, got {shown}"


def _explain(setting: Setting, review: SettingsReview, settings: Settings) -> ExplainedSetting:
    source, origin = review.origin_of(setting)
    value = setting.value_in(settings)
    if isinstance(value, Path):
        value = str(value)
    elif setting.is_secret and value is not None:
        value = masked_url(value) if setting.path[-1].endswith("_url") else MASK
    return ExplainedSetting(setting.name, value, source, origin, setting.variables, setting.file_key)


@functools.cache
def warn_of(variables: tuple[UnknownVariable, ...]) -> None:
    """Log variables that are no settings, the same ones once a process."""
    _LOGGER.warning("%s", unknown_sentence(variables))
