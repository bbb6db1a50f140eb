"""Universes: which symbols belong on which day, whatever lists are loaded in which order."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.errors import InvalidInput
from atf.market.universes import (
    Membership,
    changes_of,
    checked_name,
    checked_symbols,
    members_on,
    memberships_of,
    unknown_universe,
    versions_of,
    with_list,
)

BEGIN = date(2024, 1, 1)
DAY = timedelta(days=1)
LISTS = st.frozensets(st.sampled_from("ABCDEF"), min_size=1)
LOADS = st.lists(st.tuples(st.integers(0, 20), LISTS), max_size=8)


def loaded(loads: list[tuple[int, frozenset[str]]]) -> tuple[Membership, ...]:
    found: tuple[Membership, ...] = ()
    for day, symbols in loads:
        found = with_list(found, symbols, BEGIN + day * DAY)
    return found


@given(LOADS)
def test_on_increasing_dates_the_last_list_on_or_before_a_day_counts(
    loads: list[tuple[int, frozenset[str]]],
) -> None:
    loads.sort(key=lambda one: one[0])
    memberships = loaded(loads)
    for day in range(-1, 22):
        expected = next((symbols for at, symbols in reversed(loads) if at <= day), frozenset())
        assert members_on(memberships, BEGIN + day * DAY) == expected


@given(LOADS, st.integers(0, 20), LISTS)
def test_a_list_changes_only_the_days_until_the_next_version(
    loads: list[tuple[int, frozenset[str]]], at: int, symbols: frozenset[str]
) -> None:
    before = loaded(loads)
    on = BEGIN + at * DAY
    after = with_list(before, symbols, on)
    until = min((day for day in versions_of(before) if day > on), default=date.max)
    for day in (BEGIN + n * DAY for n in range(-1, 22)):
        assert members_on(after, day) == (symbols if on <= day < until else members_on(before, day))


@given(LOADS, st.integers(0, 20), LISTS)
def test_the_same_list_again_changes_nothing(
    loads: list[tuple[int, frozenset[str]]], at: int, symbols: frozenset[str]
) -> None:
    once = with_list(loaded(loads), symbols, BEGIN + at * DAY)
    assert with_list(once, symbols, BEGIN + at * DAY) == once
    assert memberships_of(versions_of(once)) == once


def test_a_symbol_that_comes_back_has_two_memberships() -> None:
    memberships = loaded([(0, frozenset("AB")), (2, frozenset("B")), (5, frozenset("AB"))])
    assert [each for each in memberships if each.symbol == "A"] == [
        Membership("A", BEGIN, BEGIN + 2 * DAY),
        Membership("A", BEGIN + 5 * DAY),
    ]
    assert [(one.joined, one.left, one.symbols) for one in changes_of(memberships)] == [
        (("A", "B"), (), 2),
        ((), ("A",), 1),
        (("A",), (), 2),
    ]


def test_a_membership_that_goes_on_in_another_row_is_not_interrupted() -> None:
    rows = [Membership("A", BEGIN + DAY), Membership("A", BEGIN, BEGIN + DAY)]
    assert memberships_of(versions_of(rows)) == (Membership("A", BEGIN),)


def test_symbols_are_canonical_and_each_is_there_once() -> None:
    assert checked_symbols(["brk-b", "BTCUSDT", "BRK.B"]) == ("BRK.B", "BTC/USDT")


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least one symbol"):
        checked_symbols([])


@pytest.mark.parametrize("name", ["", "sp 500", "-x", "a" * 65, "a\n"])
def test_a_name_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="is no name of a universe; allowed are 1 to 64 letters"):
        checked_name(name)


@pytest.mark.parametrize(
    ("known", "end"),
    [
        (["sp500", "nasdaq"], 'did you mean "sp500"?'),
        (["mine", "nasdaq"], "there are mine, nasdaq"),
        ([], "load one with `atf universes load`"),
    ],
)
def test_an_unknown_name_is_told_with_near_ones(known: list[str], end: str) -> None:
    assert unknown_universe("SP50", known).endswith(end)
