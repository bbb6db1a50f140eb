"""Universes: named sets of symbols whose members change by date. Pure; the store is in ``storage``.

A version is a list of symbols that holds from its date until the date of the next one; it may be the same list,
which is then confirmed. What is stored are memberships, from which all versions can be told again.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from itertools import takewhile
from typing import Final

from atf.errors import InvalidInput, shown
from atf.market.symbols import canonical

EVERYBODY: Final = 0
"""The owner of universes that all users have; ids of users begin at 1."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LISTED: Final = 10

Versions = Mapping[date, frozenset[str]]


@dataclass(frozen=True, slots=True, order=True)
class Membership:
    """A symbol belongs from ``valid_from`` on, up to the day before ``valid_to``; None is without end."""

    symbol: str
    valid_from: date
    valid_to: date | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What a list changed, compared with the day before it was in force; ``until`` is the next version's date."""

    on: date
    until: date | None
    joined: tuple[str, ...]
    left: tuple[str, ...]
    symbols: int


@dataclass(frozen=True, slots=True)
class Listing:
    """The symbols of a day, sorted: the same since ``since``, and last said by the list of ``confirmed_on``."""

    symbols: tuple[str, ...]
    since: date
    confirmed_on: date


@dataclass(frozen=True, slots=True)
class UniverseSummary:
    """A universe in a list; ``symbols`` counts those of the day that was asked for."""

    name: str
    user_id: int
    symbols: int
    first_on: date
    newest_on: date


def checked_name(name: str) -> str:
    """Return the name of a universe. Errors: InvalidInput with ``field`` "name"."""
    if not _NAME.fullmatch(name):
        allowed = "1 to 64 letters, digits, '_', '-' and '.', with a letter or digit first, such as sp500"
        raise InvalidInput(f"{shown(name)} is no name of a universe; allowed are {allowed}", field="name")
    return name


def checked_symbols(symbols: Iterable[str]) -> tuple[str, ...]:
    """Return symbols in canonical spelling, each once and sorted.

    Errors: InvalidInput for what is no symbol, and for no symbols at all: an empty file is a mistake.
    """
    found = tuple(sorted({canonical(symbol) for symbol in symbols}))
    if not found:
        raise InvalidInput("a universe needs at least one symbol", field="symbols")
    return found


def with_list(memberships: Iterable[Membership], symbols: Iterable[str], on: date) -> tuple[Membership, ...]:
    """Return the memberships with a list in force from its date until the next version, which stays.

    A version of the same date is replaced. A list equal to the one in force confirms it, which is a version too:
    a list that is loaded later on for an earlier date holds only until then.
    """
    return memberships_of({**versions_of(memberships), on: frozenset(symbols)})


def versions_of(memberships: Iterable[Membership]) -> Versions:
    """Return the symbols in force from the date of each list, oldest first."""
    joined: dict[date, set[str]] = defaultdict(set)
    left: dict[date, set[str]] = defaultdict(set)
    for each in memberships:
        joined[each.valid_from].add(each.symbol)
        if each.valid_to is not None:
            left[each.valid_to].add(each.symbol)
    found: dict[date, frozenset[str]] = {}
    current: frozenset[str] = frozenset()
    for day in sorted(joined.keys() | left.keys()):
        current = (current - left.get(day, set())) | joined.get(day, set())
        found[day] = current
    return found


def memberships_of(versions: Versions) -> tuple[Membership, ...]:
    """Return the fewest memberships that say the same as versions, sorted.

    The date of a list that changes nothing is kept by its first symbol, whose membership is parted there in two.
    """
    since: dict[str, date] = {}
    found: list[Membership] = []
    for day in sorted(versions):
        is_confirmed = bool(since) and since.keys() == versions[day]
        ending = {min(since)} if is_confirmed else since.keys() - versions[day]
        found += [Membership(symbol, since.pop(symbol), day) for symbol in ending]
        since |= dict.fromkeys(versions[day] - since.keys(), day)
    found += [Membership(symbol, begin) for symbol, begin in since.items()]
    return tuple(sorted(found, key=lambda each: (each.symbol, each.valid_from)))


def members_on(memberships: Iterable[Membership], on: date) -> frozenset[str]:
    """Return the symbols that belong on a day."""
    return frozenset(
        each.symbol
        for each in memberships
        if each.valid_from <= on and (each.valid_to is None or on < each.valid_to)
    )


def listing_on(memberships: Iterable[Membership], on: date) -> Listing | None:
    """Return the list in force on a day and since when it is known; None before the first one."""
    known = [(day, symbols) for day, symbols in versions_of(memberships).items() if day <= on]
    if not known:
        return None
    confirmed_on, symbols = known[-1]
    same = takewhile(lambda version: version[1] == symbols, reversed(known))
    return Listing(tuple(sorted(symbols)), min(day for day, _ in same), confirmed_on)


def changes_of(memberships: Iterable[Membership]) -> tuple[Change, ...]:
    """Return what each version changed against the one before, oldest first."""
    versions = versions_of(memberships)
    before: frozenset[str] = frozenset()
    found = []
    for on, until in zip(versions, [*list(versions)[1:], None], strict=True):
        found.append(change_between(before, versions[on], on, until))
        before = versions[on]
    return tuple(found)


def change_between(before: frozenset[str], after: frozenset[str], on: date, until: date | None) -> Change:
    """Return who joined and who left between two lists."""
    return Change(on, until, tuple(sorted(after - before)), tuple(sorted(before - after)), len(after))


def universe_in_use(name: str, schedules: Iterable[tuple[int, str]]) -> str:
    """Return the sentence that schedules, given by number and name, need the universe."""
    names = [f"{number} ({each})" for number, each in schedules]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    what = "schedule" if len(names) == 1 else "schedules"
    return (
        f"universe {shown(name)} is used by {what} {', '.join(names[:_LISTED])}{more}; delete or edit them first"
    )


def unknown_universe(name: str, known: Iterable[str]) -> str:
    """Return the sentence that there is no such universe, with names that are near or, if none is, some."""
    names = {each.lower(): each for each in sorted(known)}
    if not names:
        return f"there is no universe {shown(name)}; none is loaded yet, load one with `atf universes load`"
    near = [names[each] for each in get_close_matches(name.lower(), names, n=3)]
    if near:
        return f"there is no universe {shown(name)}; did you mean {' or '.join(map(shown, near))}?"
    listed = list(names.values())
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return f"there is no universe {shown(name)}; there are {', '.join(listed[:_LISTED])}{more}"
