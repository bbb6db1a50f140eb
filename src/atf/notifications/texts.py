"""What ATF says in a user's language: catalogues in Fluent, English where another one lacks something.

A package has its catalogues in ``catalogues/<language>/*.ftl``. Those of messages lie here; a room above brings
its own along: ``Texts("de", packages=(*PACKAGES, "atf.somewhere"))``.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cache, lru_cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Final

from fluent.runtime import FluentBundle, FluentResource

from atf.notifications.foreign_text import one_line

ENGLISH: Final = "en"
PACKAGES: Final = ("atf.notifications",)
LONGEST_ARGUMENT: Final = 1000
"""Characters; Fluent refuses longer ones, and what a template says of a message has its own place."""

_LARGEST_NUMBER: Final = 10**15
_LOGGER = logging.getLogger(__name__)


class Texts:
    """The texts of one language; a territory such as that of ``de-AT`` may be left out of the folders' names."""

    def __init__(self, language: str, packages: Sequence[str] = PACKAGES) -> None:
        self.language = language
        self._bundles = _bundles(language, tuple(packages))

    def __call__(self, message_id: str, **arguments: Any) -> str:
        """Return a text, in English if the language has none, or its bare id if nobody has; never an error."""
        given = tuple((name, _taken(value)) for name, value in arguments.items())
        return _formatted(self._bundles, message_id, given)

    def has(self, message_id: str) -> bool:
        """Return whether the language, or English, has a text."""
        return any(bundle.has_message(message_id) for bundle in self._bundles)

    def type_name(self, notification_type: str) -> str:
        """Return how people call a type of message; one that nobody has named is called as it is."""
        message_id = f"type-{notification_type.replace('_', '-')}"
        return self(message_id) if self.has(message_id) else notification_type


# One alert is told in several forms and to several people, and Fluent takes longer than a template does.
@lru_cache(maxsize=4096)
def _formatted(bundles: tuple[FluentBundle, ...], message_id: str, given: tuple[tuple[str, Any], ...]) -> str:
    """Return the text of the first bundle that has it; what is wrong with it is logged."""
    for bundle in bundles:
        pattern = bundle.get_message(message_id).value if bundle.has_message(message_id) else None
        if pattern is not None:
            text, problems = bundle.format_pattern(pattern, dict(given))
            for problem in problems:
                _LOGGER.warning("text %r: %s", message_id, problem)
            return str(text)
    _LOGGER.warning("text %r is in no catalogue", message_id)
    return message_id


@lru_cache(maxsize=64)
def texts_in(language: str) -> Texts:
    """Return the texts of messages in a language."""
    return Texts(language)


@cache
def installed_languages(packages: tuple[str, ...] = PACKAGES) -> tuple[str, ...]:
    """Return the languages that every one of the packages has, English among them, in order."""
    found = [{folder.name for folder in _folder(package).iterdir() if folder.is_dir()} for package in packages]
    return tuple(sorted(name for name in set.intersection(*found) if not name.startswith("_")))


def catalogue(package: str, language: str) -> str:
    """Return the text of all files of a language, in the order of their names; empty if there is none."""
    folder = _folder(package).joinpath(language)
    if not folder.is_dir():
        return ""
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".ftl")), key=lambda file: file.name)
    return "\n".join(file.read_text("utf-8") for file in files)


@lru_cache(maxsize=64)
def _bundles(language: str, packages: tuple[str, ...]) -> tuple[FluentBundle, ...]:
    """Return what is asked one after the other: a language, it without its territory, English."""
    return tuple(_bundle(name, packages) for name in _names(language) if _is_installed(name, packages))


def _names(language: str) -> Iterator[str]:
    wanted = language.replace("_", "-")
    yield from dict.fromkeys((wanted, wanted.partition("-")[0].lower(), ENGLISH))


def _is_installed(language: str, packages: tuple[str, ...]) -> bool:
    # A language may come from outside; only names that folders have are looked up in them.
    return any(language in (folder.name for folder in _folder(package).iterdir()) for package in packages)


@lru_cache(maxsize=64)
def _bundle(language: str, packages: tuple[str, ...]) -> FluentBundle:
    # Isolating marks keep names of another direction apart, and cannot be seen, copied with what they mark.
    bundle = FluentBundle([language], use_isolating=False)
    for package in packages:
        bundle.add_resource(FluentResource(catalogue(package, language)))
    return bundle


def _folder(package: str) -> Traversable:
    return resources.files(package).joinpath("catalogues")


def _taken(value: Any) -> Any:
    """Return an argument as Fluent takes it: numbers of usual size, and all else as a text of some length."""
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return value if _is_usual(value) else f"{Decimal(value):.9E}"
    text = "–" if value is None else one_line(str(value))
    return text if len(text) <= LONGEST_ARGUMENT else f"{text[:LONGEST_ARGUMENT]}…"


def _is_usual(value: float | Decimal) -> bool:
    # Asked first: Decimal's NaN cannot be compared. What has an exponent of millions would be written out.
    if isinstance(value, Decimal) and not (value.is_finite() and value.adjusted() > -30):
        return False
    return -_LARGEST_NUMBER < value < _LARGEST_NUMBER
