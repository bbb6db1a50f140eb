"""Universes and fundamentals in the database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest

from atf.errors import InvalidInput, NotFound
from atf.market.fundamentals import Fundamentals
from atf.market.universes import EVERYBODY
from atf.storage.database import Database
from atf.storage.fundamentals_repository import PostgresFundamentals
from atf.storage.universes_repository import PostgresUniverses

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

JANUARY, MARCH, JUNE = date(2024, 1, 1), date(2024, 3, 1), date(2024, 6, 1)
OWNER = 1


@pytest.fixture
def universes(database: Database) -> PostgresUniverses:
    return PostgresUniverses(database)


@pytest.fixture
def fundamentals(database: Database) -> PostgresFundamentals:
    return PostgresFundamentals(database)


async def test_members_are_those_of_the_day(universes: PostgresUniverses) -> None:
    await universes.load(EVERYBODY, "sp500", ["B", "A", "brk-b"], JANUARY, source="x")
    change = await universes.load(EVERYBODY, "sp500", ["B", "C"], JUNE, source="y")
    assert (change.joined, change.left, change.symbols, change.until) == (("C",), ("A", "BRK.B"), 2, None)
    assert await universes.members(None, "sp500", MARCH) == ["A", "B", "BRK.B"]
    assert await universes.members(OWNER, "sp500", JUNE) == ["B", "C"]


async def test_an_older_list_holds_until_the_next_version(universes: PostgresUniverses) -> None:
    await universes.load(OWNER, "mine", ["A", "B"], JANUARY, source="")
    await universes.load(OWNER, "mine", ["A"], JUNE, source="")
    change = await universes.load(OWNER, "mine", ["A", "C"], MARCH, source="")
    assert change.until == JUNE
    days = (JANUARY, MARCH, JUNE)
    assert [await universes.members(OWNER, "mine", day) for day in days] == [["A", "B"], ["A", "C"], ["A"]]
    assert [one.on for one in await universes.history(OWNER, "mine")] == list(days)


async def test_the_same_list_again_leaves_every_row_as_it_is(universes: PostgresUniverses, rows: Rows) -> None:
    await universes.load(OWNER, "mine", ["A", "B"], JANUARY, source="first")
    before = await rows.all("SELECT *, xmin::text FROM market_universes ORDER BY symbol")
    await universes.load(OWNER, "mine", ["B", "A"], JANUARY, source="second")
    await universes.load(OWNER, "mine", ["B", "A"], JUNE, source="third")
    assert await rows.all("SELECT *, xmin::text FROM market_universes ORDER BY symbol") == before


async def test_a_version_is_replaced_by_a_list_of_its_date(universes: PostgresUniverses, rows: Rows) -> None:
    await universes.load(OWNER, "mine", ["A", "B"], JANUARY, source="")
    await universes.load(OWNER, "mine", ["B", "C"], JANUARY, source="")
    assert await universes.members(OWNER, "mine", JANUARY) == ["B", "C"]
    assert await rows.value("SELECT count(*) FROM market_universes") == 2


async def test_a_users_own_universe_hides_everybodys(universes: PostgresUniverses) -> None:
    await universes.load(EVERYBODY, "sp500", ["A"], JANUARY, source="")
    await universes.load(OWNER, "sp500", ["Z"], MARCH, source="")
    assert await universes.members(OWNER, "sp500", JUNE) == ["Z"]
    assert await universes.members(OWNER + 1, "sp500", JUNE) == ["A"]
    with pytest.raises(NotFound, match="universe 'sp500' begins on 2024-03-01; nothing is known of 2024-01-01"):
        await universes.members(OWNER, "sp500", JANUARY)
    listed = await universes.list_universes(OWNER, JUNE)
    assert [(one.name, one.user_id, one.symbols) for one in listed] == [("sp500", 0, 1), ("sp500", 1, 1)]


async def test_another_users_universe_is_not_even_named(universes: PostgresUniverses) -> None:
    await universes.load(OWNER + 1, "secret", ["A"], JANUARY, source="")
    await universes.load(EVERYBODY, "sp500", ["A"], JANUARY, source="")
    with pytest.raises(NotFound, match=r'there is no universe "secret"; there are sp500$'):
        await universes.members(OWNER, "secret", JUNE)


async def test_a_bad_symbol_leaves_nothing_stored(universes: PostgresUniverses, rows: Rows) -> None:
    with pytest.raises(InvalidInput, match="is no symbol"):
        await universes.load(OWNER, "mine", ["A", "B C"], JANUARY, source="")
    assert await rows.value("SELECT count(*) FROM market_universes") == 0


async def test_lists_loaded_at_once_end_as_one_of_them(universes: PostgresUniverses) -> None:
    lists = [[f"S{n}", f"S{n + 1}"] for n in range(8)]
    await asyncio.gather(*(universes.load(OWNER, "mine", each, JANUARY, source="") for each in lists))
    assert await universes.members(OWNER, "mine", JUNE) in lists


async def test_the_newest_row_on_or_before_a_day_counts(fundamentals: PostgresFundamentals) -> None:
    old, new = Fundamentals("A", JANUARY, pe=1.0), Fundamentals("A", JUNE, "Alpha", dividend_yield=0.02)
    assert await fundamentals.load([new, old], source="x") == 2
    assert await fundamentals.newest(["A", "B"], MARCH) == {"A": old}
    assert await fundamentals.newest(["A"], JUNE) == {"A": new}
    assert await fundamentals.newest(["A"], date(2023, 1, 1)) == {}
    assert await fundamentals.of("A") == [old, new]


async def test_files_of_one_day_complete_each_other(fundamentals: PostgresFundamentals) -> None:
    await fundamentals.load([Fundamentals("A", JUNE, "Alpha", pe=1.0)], source="x")
    await fundamentals.load([Fundamentals("A", JUNE, pe=2.0, average_volume=7.0)], source="y")
    assert await fundamentals.of("A") == [Fundamentals("A", JUNE, "Alpha", pe=2.0, average_volume=7.0)]


async def test_many_rows_are_stored_and_found_at_once(fundamentals: PostgresFundamentals) -> None:
    many = [Fundamentals(f"S{n}", JANUARY, market_cap=1e9 + n) for n in range(7_000)]
    assert await fundamentals.load([*many, replace(many[0], pe=3.0)], source="x") == len(many)
    found = await fundamentals.newest([row.symbol for row in many], JUNE)
    assert (len(found), found["S0"].pe, found["S6999"].market_cap) == (7_000, 3.0, 1e9 + 6_999)
