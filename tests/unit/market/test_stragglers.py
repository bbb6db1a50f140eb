"""How long many series are waited for: for all that are slow together, not for a few that hang."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from tests.simulated_time import simulate

from atf.market.bars import Bars, Series, Timeframe
from atf.market.forming import FormingBar
from atf.market.provider import ProviderTraits
from atf.market.stragglers import Fetch, late_of
from atf.testing.market import open_market

NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PATIENCE = 2.0
TWENTY = [Series(f"S{number:02d}", Timeframe.H1) for number in range(20)]
SLOW = TWENTY[7]


Waited = tuple[float, set[Series]]


def waited(seconds: Mapping[Series, float], *, wanted: int | None = None, age: float = 0.0) -> Waited:
    """Return how long fetches that take so many seconds are waited for, and which of them are late."""

    async def wait() -> Waited:
        loop = asyncio.get_running_loop()
        begun_at = {series: loop.time() - age for series in seconds}
        tasks = {series: asyncio.create_task(asyncio.sleep(each)) for series, each in seconds.items()}
        fetches = {series: Fetch(task, begun_at[series]) for series, task in tasks.items()}
        began = loop.time()
        late = await late_of(fetches, wanted or len(seconds), began + PATIENCE)
        return round(loop.time() - began, 3), late

    return simulate(wait())


@pytest.mark.parametrize(
    ("others", "slow", "until"),
    [
        (0.8, 0.9, 0.9),  # comes a little later than the others
        (0.8, 60.0, 1.0),  # a quarter longer than they took
        (0.01, 60.0, 0.25),  # every fetch has so much
        (1.9, 60.0, PATIENCE),
    ],
)
def test_one_of_twenty_is_waited_for_a_quarter_longer_than_the_others(
    others: float, slow: float, until: float
) -> None:
    took, late = waited({**dict.fromkeys(TWENTY, others), SLOW: slow})
    assert took == until
    assert late == ({SLOW} if slow > until else set())


@pytest.mark.parametrize(("slow", "until"), [(2, 1.0), (3, PATIENCE)])
def test_more_than_a_tenth_that_are_slow_together_are_waited_for(slow: int, until: float) -> None:
    took, late = waited({**dict.fromkeys(TWENTY, 0.8), **dict.fromkeys(TWENTY[:slow], 60.0)})
    assert took == until
    assert late == set(TWENTY[:slow])


def test_what_comes_one_after_the_other_is_waited_for_to_its_end() -> None:
    took, late = waited({series: 0.3 + 0.05 * place for place, series in enumerate(TWENTY)})
    assert (took, late) == (1.25, set())


def test_beside_many_that_are_held_already_one_gets_a_quarter_of_a_second_and_only_once() -> None:
    assert waited({SLOW: 60.0}, wanted=20) == (0.25, {SLOW})
    assert waited({SLOW: 60.0}, wanted=20, age=5.0) == (0.0, {SLOW})


def test_alone_a_series_is_waited_for_as_long_as_there_is_patience() -> None:
    assert waited({SLOW: 60.0}) == (PATIENCE, {SLOW})
    assert waited({}) == (0.0, set())


def test_an_error_ends_the_wait_at_once() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    async def wait() -> float:
        loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(asyncio.sleep(60)), asyncio.create_task(fail())]
        fetches = {series: Fetch(task, 0.0) for series, task in zip(TWENTY, tasks, strict=False)}
        with pytest.raises(ZeroDivisionError):
            await late_of(fetches, 2, PATIENCE)
        return loop.time()

    assert simulate(wait()) < 0.001


class Folder:
    """Files, or an exchange that tells of forming bars; one symbol hangs."""

    name = "folder"

    def __init__(self, *, is_local: bool) -> None:
        self.traits = ProviderTraits(is_local=is_local, calls_at_once=100)

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        await asyncio.sleep(60 if series == SLOW else 0.4)
        return Bars.from_rows([(NOON - HOUR, 1.0, 1.0, 1.0, 1.0, 1.0)])

    async def forming_bar(self, series: Series, now: datetime) -> FormingBar | None:
        await self.closed_bars(series, now, 1)
        return FormingBar(Bars.from_rows([(NOON, 1.0, 1.0, 1.0, 1.0, 1.0)]), now)

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        return True

    async def symbols(self) -> Sequence[str]:
        return []


@pytest.mark.parametrize("is_local", [True, False])
def test_a_file_or_a_symbol_that_hangs_delays_no_other(is_local: bool) -> None:
    async def ask() -> tuple[int, set[Series], float]:
        data, loop = open_market(Folder(is_local=is_local)), asyncio.get_running_loop()
        found = await data.closed_bars_of(dict.fromkeys(TWENTY, 1), until=NOON)
        took = round(loop.time(), 3)
        await data.close()
        return len(found.ready), set(found.late), took

    assert simulate(ask()) == (19, {SLOW}, 0.5)


def test_a_forming_bar_that_hangs_delays_no_other() -> None:
    async def ask() -> tuple[int, set[Series], float]:
        data, loop = open_market(Folder(is_local=False)), asyncio.get_running_loop()
        found = await data.forming_bars_of(TWENTY, now=NOON + timedelta(minutes=1))
        took = round(loop.time(), 3)
        await data.close()
        return len(found.ready), set(found.absent), took

    assert simulate(ask()) == (19, {SLOW}, 0.5)
