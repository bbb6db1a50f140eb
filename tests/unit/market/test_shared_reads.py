import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atf.errors import DatabaseUnavailable
from atf.market.bar_store import NOTHING
from atf.market.bars import Bars, Series, Timeframe
from atf.market.shared_reads import SharedReads
from atf.testing.market import MemoryBarStore, ScriptedProvider, open_market

NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
A, B = (Series(name, Timeframe.H1) for name in "AB")


class GatedStore(MemoryBarStore):
    """A store whose answers are made at once, and given when the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.error: Exception | None = None
        self.wanted: list[dict[Series, int]] = []

    async def closed_bars_of(self, wanted: Mapping[Series, int], until: datetime) -> dict[Series, Bars]:
        self.wanted.append(dict(wanted))
        found = await super().closed_bars_of(wanted, until)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return found


def some_bars(count: int) -> Bars:
    return Bars.from_rows([(NOON - HOUR * (i + 1), 1.0, 1.0, 1.0, 1.0, 1.0) for i in range(count)])


@pytest.fixture
def store() -> GatedStore:
    store = GatedStore()
    store.bars = {A: some_bars(10), B: some_bars(10)}
    return store


async def begun(store: GatedStore, *calls: asyncio.Task[Any]) -> None:
    """Let the calls go as far as they can while the gate is closed."""
    reads = -1
    while reads != len(store.wanted) or not store.wanted:
        reads = len(store.wanted)
        for _ in calls:
            await asyncio.sleep(0)


def ask(
    reads: SharedReads, wanted: dict[Series, int], until: datetime = NOON
) -> asyncio.Task[dict[Series, Bars]]:
    return asyncio.create_task(reads.closed_bars_of(wanted, until))


async def test_a_thousand_callers_of_the_same_series_cause_one_read(store: GatedStore) -> None:
    reads = SharedReads(store)
    calls = [ask(reads, {A: 5, B: 3}) for _ in range(1000)]
    await begun(store, *calls)
    store.gate.set()
    answers = await asyncio.gather(*calls)
    assert store.wanted == [{A: 5, B: 3}]
    assert {(len(found[A]), len(found[B])) for found in answers} == {(5, 3)}


async def test_only_what_nobody_reads_yet_is_read(store: GatedStore) -> None:
    reads = SharedReads(store)
    calls = [ask(reads, {A: 5}), ask(reads, {A: 4, B: 3})]
    await begun(store, *calls)
    store.gate.set()
    _, found = await asyncio.gather(*calls)
    assert store.wanted == [{A: 5}, {B: 3}]
    assert (len(found[A]), len(found[B])) == (4, 3)


@pytest.mark.parametrize(("count", "until"), [(6, NOON), (5, NOON - HOUR)])
async def test_who_wants_more_or_another_instant_gets_a_read_of_its_own(
    store: GatedStore, count: int, until: datetime
) -> None:
    reads = SharedReads(store)
    calls = [ask(reads, {A: 5}), ask(reads, {A: count}, until)]
    await begun(store, *calls)
    store.gate.set()
    _, found = await asyncio.gather(*calls)
    assert store.wanted == [{A: 5}, {A: count}]
    assert len(found[A]) == count
    assert found[A].closed_at(until, Timeframe.H1).open_time.tolist() == found[A].open_time.tolist()


async def test_what_is_stored_during_a_read_is_in_its_answer(store: GatedStore) -> None:
    reads = SharedReads(store)
    del store.bars[A]
    call = ask(reads, {A: 5, B: 3})
    await begun(store, call)
    await reads.store(A, some_bars(2), NOTHING, source="venue")
    store.gate.set()
    found = await call
    assert (len(found[A]), len(found[B])) == (2, 3)
    assert store.wanted == [{A: 5, B: 3}, {A: 5}]


async def test_who_comes_after_bars_were_stored_does_not_join_a_read_from_before(store: GatedStore) -> None:
    reads = SharedReads(store)
    first = ask(reads, {A: 5})
    await begun(store, first)
    await reads.store(A, some_bars(2), NOTHING, source="venue")
    second = ask(reads, {A: 5})
    await begun(store, first, second)
    assert len(store.wanted) == 2
    store.gate.set()
    await asyncio.gather(first, second)


async def test_a_caller_that_is_cancelled_takes_nobody_with_it(store: GatedStore) -> None:
    reads = SharedReads(store)
    going, staying = ask(reads, {A: 5}), ask(reads, {A: 5})
    await begun(store, going, staying)
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    store.gate.set()
    assert len((await staying)[A]) == 5
    assert len(store.wanted) == 1


async def test_all_who_wait_learn_why_a_read_failed_and_the_next_one_reads_again(store: GatedStore) -> None:
    reads = SharedReads(store)
    calls = [ask(reads, {A: 5}) for _ in range(2)]
    await begun(store, *calls)
    store.error = DatabaseUnavailable("the database does not answer")
    store.gate.set()
    assert await asyncio.gather(*calls, return_exceptions=True) == [store.error, store.error]
    store.error = None
    assert len((await reads.closed_bars_of({A: 5}, NOON))[A]) == 5


async def test_closing_leaves_no_read_behind(store: GatedStore) -> None:
    reads = SharedReads(store)
    going = ask(reads, {A: 5})
    await begun(store, going)
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    await reads.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_thousand_callers_for_fifty_series_read_the_store_once_and_fetch_fifty_times(
    store: GatedStore,
) -> None:
    series = [Series(f"S{number}", Timeframe.H1) for number in range(50)]
    provider = ScriptedProvider()
    provider.bars = dict.fromkeys(series, some_bars(10))
    data = open_market(provider, store=store)
    wanted = dict.fromkeys(series, 5)
    calls = [asyncio.create_task(data.closed_bars_of(wanted, until=NOON)) for _ in range(1000)]
    await begun(store, *calls)
    store.gate.set()
    answers = await asyncio.gather(*calls)
    assert (len(store.wanted), len(provider.asked)) == (1, 50)
    assert all(len(bars) == 5 for fetched in answers for bars in fetched.ready.values())
