"""Universes: which symbols belong on which day, whatever lists are loaded in which order."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.errors import InvalidInput
from atf.market.universes import (
    Listing,
    Membership,
    changes_of,
    checked_name,
    checked_symbols,
    listing_on,
    members_on,
    memberships_of,
    universe_in_use,
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
def test_the_last_list_on_or_before_a_day_counts_in_whatever_order_lists_are_loaded(
    loads: list[tuple[int, frozenset[str]]],
) -> None:
    memberships = loaded(loads)
    lists = sorted(dict(loads).items())
    for day in range(-1, 22):
        expected = next((symbols for at, symbols in reversed(lists) if at <= day), frozenset())
        assert members_on(memberships, BEGIN + day * DAY) == expected
        found = listing_on(memberships, BEGIN + day * DAY)
        assert (found.symbols if found else ()) == tuple(sorted(expected))


@given(LOADS)
def test_a_symbol_belongs_once_a_day(loads: list[tuple[int, frozenset[str]]]) -> None:
    memberships = loaded(loads)
    for day in (BEGIN + n * DAY for n in range(22)):
        there = [one.symbol for one in memberships if one.valid_from <= day < (one.valid_to or date.max)]
        assert len(there) == len(set(there))


def test_a_list_that_comes_again_is_confirmed_and_costs_one_membership() -> None:
    memberships = loaded([(0, frozenset("AB")), (2, frozenset("BC")), (5, frozenset("BC")), (9, frozenset("BC"))])
    assert len(memberships) == 3 + 2
    known = [listing_on(memberships, BEGIN + day * DAY) for day in (-1, 1, 2, 6, 20)]
    assert known == [
        None,
        Listing(("A", "B"), BEGIN, BEGIN),
        Listing(("B", "C"), BEGIN + 2 * DAY, BEGIN + 2 * DAY),
        Listing(("B", "C"), BEGIN + 2 * DAY, BEGIN + 5 * DAY),
        Listing(("B", "C"), BEGIN + 2 * DAY, BEGIN + 9 * DAY),
    ]


def test_an_older_list_that_is_loaded_later_ends_where_another_was_confirmed() -> None:
    memberships = loaded([(0, frozenset("AB")), (9, frozenset("AB")), (5, frozenset("C"))])
    known = [listing_on(memberships, BEGIN + day * DAY) for day in (4, 5, 9)]
    assert known == [
        Listing(("A", "B"), BEGIN, BEGIN),
        Listing(("C",), BEGIN + 5 * DAY, BEGIN + 5 * DAY),
        Listing(("A", "B"), BEGIN + 9 * DAY, BEGIN + 9 * DAY),
    ]


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
    assert versions_of(rows) == {BEGIN: frozenset("A"), BEGIN + DAY: frozenset("A")}


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


@pytest.mark.parametrize(
    ("count", "middle"),
    [
        (1, "by schedule 1 (nightly); delete"),
        (2, "by schedules 1 (nightly), 2 (nightly); delete"),
        (12, "10 (nightly) and 2 more; delete"),
    ],
)
def test_a_universe_in_use_is_told_with_the_schedules(count: int, middle: str) -> None:
    sentence = universe_in_use("sp500", [(number, "nightly") for number in range(1, count + 1)])
    assert sentence.startswith('universe "sp500" is used by schedule')
    assert middle in sentence
