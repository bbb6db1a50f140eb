"""Universes and fundamentals in the database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest

from atf.errors import Conflict, InvalidInput, NotFound
from atf.market.fundamentals import Fundamentals
from atf.market.universes import EVERYBODY, Listing
from atf.storage.database import Database
from atf.storage.fundamentals_repository import PostgresFundamentals
from atf.storage.universes_repository import PostgresUniverses

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

JANUARY, MARCH, JUNE = date(2024, 1, 1), date(2024, 3, 1), date(2024, 6, 1)
OWNER = 1
SECOND = 2


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
    await universes.load(OWNER, "mine", ["A", "B"], MARCH, source="second")
    before = await rows.all("SELECT *, xmin::text FROM market_universes ORDER BY symbol, valid_from")
    await universes.load(OWNER, "mine", ["B", "A"], JANUARY, source="third")
    await universes.load(OWNER, "mine", ["B", "A"], MARCH, source="fourth")
    assert await rows.all("SELECT *, xmin::text FROM market_universes ORDER BY symbol, valid_from") == before


async def test_a_list_that_comes_again_on_a_later_day_is_confirmed(universes: PostgresUniverses) -> None:
    await universes.load(OWNER, "mine", ["A", "B"], JANUARY, source="")
    change = await universes.load(OWNER, "mine", ["A", "B"], JUNE, source="")
    assert (change.joined, change.left, change.symbols) == ((), (), 2)
    assert await universes.listing(OWNER, "mine", MARCH) == Listing(("A", "B"), JANUARY, JANUARY)
    assert await universes.listing(OWNER, "mine", JUNE) == Listing(("A", "B"), JANUARY, JUNE)
    (summary,) = await universes.list_universes(OWNER, JUNE)
    assert (summary.symbols, summary.first_on, summary.newest_on) == (2, JANUARY, JUNE)
    late = await universes.load(OWNER, "mine", ["C"], MARCH, source="")
    assert late.until == JUNE
    assert await universes.members(OWNER, "mine", JUNE) == ["A", "B"]


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


async def add_schedule(rows: Rows, user_id: int, name: str, job_type: str, params: str) -> None:
    await rows.change("INSERT INTO users (name, role) VALUES ('second', 'viewer') ON CONFLICT DO NOTHING")
    await rows.change(
        "WITH made AS (INSERT INTO schedule_groups (cron, timezone) VALUES (:name, 'UTC') RETURNING id) "
        "INSERT INTO job_schedules (user_id, name, job_type, target, task_params, cron, effective_from, group_id)"
        " SELECT :user_id, :name, :job_type, 'x', CAST(:params AS jsonb), 'x', now(), id FROM made",
        user_id=user_id,
        name=name,
        job_type=job_type,
        params=params,
    )


async def test_a_universe_is_deleted_with_all_its_versions(universes: PostgresUniverses, rows: Rows) -> None:
    await universes.load(EVERYBODY, "sp500", ["A"], JANUARY, source="")
    for day, symbols in ((JANUARY, ["A"]), (MARCH, ["B"]), (JUNE, ["B"])):
        await universes.load(OWNER, "sp500", symbols, day, source="")
    assert await universes.delete(OWNER, "sp500") == 3
    assert await universes.members(OWNER, "sp500", JUNE) == ["A"]
    with pytest.raises(NotFound, match=r'the universe "sp500" is everybody\'s; delete it with --for-everybody$'):
        await universes.delete(OWNER, "sp500")
    assert await universes.delete(EVERYBODY, "sp500") == 1
    with pytest.raises(NotFound, match='there is no universe "sp500"; none is loaded yet'):
        await universes.delete(EVERYBODY, "sp500")
    assert await rows.value("SELECT count(*) FROM market_universes") == 0


@pytest.mark.parametrize(
    ("job_type", "params"),
    [
        ("data_processing", '{"universe": "sp500", "data_source": "files"}'),
        ("screener", '{"screener_set": "sp500"}'),
    ],
)
@pytest.mark.parametrize("owner", [EVERYBODY, OWNER])
async def test_a_universe_that_a_schedule_names_stays(
    universes: PostgresUniverses, rows: Rows, owner: int, job_type: str, params: str
) -> None:
    await universes.load(owner, "sp500", ["A"], JANUARY, source="")
    await add_schedule(rows, OWNER, "nightly", job_type, params)
    with pytest.raises(Conflict, match=r'universe "sp500" is used by schedule \d+ \(nightly\); delete or edit'):
        await universes.delete(owner, "sp500")
    assert await universes.members(OWNER, "sp500", JUNE) == ["A"]
    await rows.change("UPDATE job_schedules SET deleted_at = now(), enabled = false")
    assert await universes.delete(owner, "sp500") == 1


async def test_schedules_that_do_not_need_a_universe_do_not_keep_it(
    universes: PostgresUniverses, rows: Rows
) -> None:
    for owner in (EVERYBODY, OWNER, SECOND):
        await universes.load(owner, "sp500", ["A"], JANUARY, source="")
    await add_schedule(rows, OWNER, "other name", "data_processing", '{"universe": "sp50"}')
    await add_schedule(rows, OWNER, "own symbols", "screener", '{"screener_set": "sp500", "tickers": ["A"]}')
    await add_schedule(rows, OWNER, "other type", "report", '{"universe": "sp500"}')
    await add_schedule(rows, SECOND, "of another user", "data_processing", '{"universe": "sp500"}')
    assert await universes.delete(OWNER, "sp500") == 1
    assert await universes.delete(EVERYBODY, "sp500") == 1  # the second user has one of the same name
    with pytest.raises(Conflict, match="of another user"):
        await universes.delete(SECOND, "sp500")


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
