"""Under which names a setting may be given, and the list of all settings that follows from the model."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo


@dataclass(frozen=True, slots=True)
class Names:
    """Names beside the field's own; it stands in the field's annotation.

    ``variables``: environment variables, the first that is set counts; None means ``ATF_<FIELD>``, and none at
    all below the top. ``key``: the key in the file; None means the field's name below the top, and none at it.
    """

    variables: tuple[str, ...] | None = None
    key: str | None = None
    is_secret: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Setting:
    """One value of the model: where it is, how it may be given, and what it is for."""

    path: tuple[str, ...]
    variables: tuple[str, ...]
    keys: tuple[str, ...]
    is_secret: bool
    info: FieldInfo

    @property
    def name(self) -> str:
        """The way from the settings to the value, such as ``job_defaults.coalesce``."""
        return ".".join(self.path)

    @property
    def file_key(self) -> str | None:
        """The way to the value in the file; None if the file cannot give it."""
        return ".".join(self.keys) or None

    def value_in(self, settings: BaseModel) -> Any:
        """Return the setting's value."""
        value: Any = settings
        for part in self.path:
            value = getattr(value, part)
        return value


@cache
def settings_of(model: type[BaseModel]) -> tuple[Setting, ...]:
    """Return every setting of a model, those of its parts included, in the order of the fields."""
    return tuple(_walk(model, (), ()))


def _walk(model: type[BaseModel], path: tuple[str, ...], keys: tuple[str, ...]) -> Iterator[Setting]:
    for field, info in model.model_fields.items():
        names = next((one for one in info.metadata if isinstance(one, Names)), Names())
        part = info.annotation
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield from _walk(part, (*path, field), (*keys, names.key or field))
            continue
        own_variable = () if path else (f"ATF_{field.upper()}",)
        variables = own_variable if names.variables is None else names.variables
        key = names.key or (field if path else None)
        yield Setting((*path, field), variables, (*keys, key) if key else (), names.is_secret, info)


def nested(given: Mapping[Setting, Any]) -> dict[str, Any]:
    """Return values as the model takes them, part within part."""
    whole: dict[str, Any] = {}
    for setting, value in given.items():
        part = whole
        for step in setting.path[:-1]:
            part = part.setdefault(step, {})
        part[setting.path[-1]] = value
    return whole


def did_you_mean(word: str, allowed: Collection[str], *, cutoff: float = 0.6) -> str | None:
    """Return the allowed word that is most like a wrong one."""
    close = get_close_matches(word, allowed, n=1, cutoff=cutoff)
    return close[0] if close else None
