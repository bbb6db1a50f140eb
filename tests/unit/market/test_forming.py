"""The bar that is forming: asked for once by all, remembered for a moment, and never among the closed ones."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from atf.errors import InvalidInput, NotFound, TemporaryFailure
from atf.market.bars import Bars, Series, Timeframe
from atf.market.closing import EndedBar
from atf.market.forming import FormingBar, made_of_finer
from atf.market.provider import ProviderTraits
from atf.testing.market import MemoryBarStore, ScriptedProvider, open_market

NOON = datetime(2027, 3, 2, 12, tzinfo=UTC)
HOUR, MINUTE, SECOND = timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1)
T = Series("T", Timeframe.H1)
DAILY = Series("T", Timeframe.D1)
BEGIN = datetime(2027, 3, 2, tzinfo=UTC)


def bar(opens: datetime, close: float = 1.0) -> Bars:
    return Bars.from_rows([(opens, close, close, close, close, 1.0)])


class FormingProvider(ScriptedProvider):
    """One whose forming bars a test decides; what it has no entry of it cannot tell."""

    def __init__(self, forming: Mapping[Series, FormingBar | None]) -> None:
        super().__init__()
        self.forming = dict(forming)
        self.looks: list[tuple[Series, datetime]] = []

    async def forming_bar(self, series: Series, now: datetime) -> FormingBar | None:
        self.looks.append((series, now))
        await self._pass_gate()
        if series not in self.forming:
            raise NotFound(f"{self.name} cannot tell of {series}")
        return self.forming[series]


class Ticking:
    """The process's clock."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def test_a_forming_bar_is_no_closed_one_and_is_never_stored() -> None:
    provider, store = FormingProvider({T: FormingBar(bar(NOON, 9.0), NOON + MINUTE)}), MemoryBarStore()
    provider.bars[T] = bar(NOON - HOUR)
    market = open_market(provider, store=store)
    found = await market.forming_bars_of([T], now=NOON + MINUTE)
    assert found.ready[T].bar.close[0] == 9.0
    closed = await market.closed_bars("T", Timeframe.H1, NOON + MINUTE, 5)
    assert [closed.time_at(n) for n in range(len(closed))] == [NOON - HOUR]
    assert [len(bars) for _, bars, _ in store.writes] == [1]


async def test_all_who_ask_meanwhile_share_one_question() -> None:
    provider = FormingProvider({T: FormingBar(bar(NOON), NOON)})
    provider.gate.clear()
    market = open_market(provider)
    asking = [asyncio.create_task(market.forming_bars_of([T], now=NOON + MINUTE)) for _ in range(20)]
    await provider.until_under_way(1)
    provider.gate.set()
    found = await asyncio.gather(*asking)
    assert all(T in one.ready for one in found)
    assert len(provider.looks) == 1


@pytest.mark.parametrize(
    ("seconds", "minutes", "looks"), [(29, 1, 1), (30, 1, 2), (0, 59, 1), (0, 60, 2)], ids=str
)
async def test_a_sight_is_used_for_half_the_time_to_live_and_never_for_the_next_bar(
    seconds: int, minutes: int, looks: int
) -> None:
    clock, provider = Ticking(), FormingProvider({T: FormingBar(bar(NOON), NOON)})
    market = open_market(provider, ttl=timedelta(seconds=60), monotonic=clock)
    await market.forming_bars_of([T], now=NOON)
    clock.seconds = seconds
    await market.forming_bars_of([T], now=NOON + minutes * MINUTE)
    assert len(provider.looks) == looks


async def test_a_sight_of_a_short_bar_is_used_for_a_twelfth_of_it() -> None:
    minute = Series("T", Timeframe.M1)
    clock, provider = Ticking(), FormingProvider({minute: None})
    market = open_market(provider, ttl=timedelta(seconds=60), monotonic=clock)
    for clock.seconds in (0, 4.9, 5.0):
        await market.forming_bars_of([minute], now=NOON + SECOND * int(clock.seconds * 10))
    assert len(provider.looks) == 2


async def test_a_provider_that_cannot_tell_says_so() -> None:
    for provider in (ScriptedProvider(), FormingProvider({})):
        market = open_market(provider)
        found = await market.forming_bars_of([T], now=NOON)
        assert (found.ready, list(found.absent)) == ({}, [T])
        with pytest.raises(InvalidInput, match="only when they have closed") as refused:
            await market.require_forming("T", Timeframe.H1, now=NOON, field="options.evaluate_on")
        assert refused.value.field == "options.evaluate_on"


async def test_who_does_not_answer_now_may_tell_later() -> None:
    provider = FormingProvider({})
    provider.error = TemporaryFailure("down")
    market = open_market(provider)
    await market.require_forming("T", Timeframe.H1, now=NOON, field="options.evaluate_on")
    assert (await market.forming_bars_of([T], now=NOON)).absent == {T: "down"}


async def test_where_nothing_was_traded_there_is_neither_a_bar_nor_a_reason() -> None:
    found = await open_market(FormingProvider({T: None})).forming_bars_of([T], now=NOON)
    assert (found.ready, found.absent) == ({}, {})


async def test_a_provider_that_fails_again_and_again_is_left_alone() -> None:
    clock, provider = Ticking(), FormingProvider({})
    provider.error = TemporaryFailure("down")
    market = open_market(provider, monotonic=clock)
    for minute in range(20):
        clock.seconds += 31
        await market.forming_bars_of([T], now=NOON + minute * MINUTE)
    assert len(provider.looks) < 20
    assert market.providers[0].paused_seconds > 0


async def test_the_forming_bar_comes_from_where_the_closed_ones_do() -> None:
    own, other = ScriptedProvider("own"), FormingProvider({T: FormingBar(bar(NOON), NOON)})
    own.bars[T] = bar(NOON - HOUR)
    found = await open_market(own, other).forming_bars_of([T], now=NOON)
    assert (found.ready, other.looks) == ({}, [])
    own.bars.clear()
    found = await open_market(own, other).forming_bars_of([T], now=NOON)
    assert list(found.ready) == [T]


async def test_an_impossible_bar_and_one_of_another_time_are_not_used() -> None:
    wrong = Bars.from_rows([(NOON, 1.0, 0.5, 2.0, 1.0, 1.0)])
    for seen in (wrong, bar(NOON - HOUR), bar(NOON + HOUR)):
        found = await open_market(FormingProvider({T: FormingBar(seen, NOON)})).forming_bars_of([T], now=NOON)
        assert found.ready == {}


async def test_who_waits_for_a_slow_provider_gets_an_answer_in_time_and_stops_nothing() -> None:
    provider = FormingProvider({T: FormingBar(bar(NOON), NOON)})
    provider.gate.clear()
    market = open_market(provider)
    found = await market.forming_bars_of([T], now=NOON, within=timedelta(0))
    assert found.absent == {T: "not ready in time"}
    provider.gate.set()
    assert list((await market.forming_bars_of([T], now=NOON)).ready) == [T]
    assert (len(provider.looks), provider.cancelled) == (1, 0)


# --- bars that their session has ended ---

CLOSE = datetime(2027, 3, 2, 21, tzinfo=UTC)
ENDED = EndedBar(BEGIN, CLOSE)


@pytest.mark.parametrize(
    ("now", "seen_at", "is_there"),
    [
        (CLOSE + SECOND, CLOSE + SECOND, False),
        (CLOSE + 2 * SECOND, CLOSE + 2 * SECOND, True),
        (CLOSE + 10 * MINUTE, CLOSE - 5 * MINUTE, False),
        (CLOSE + 20 * MINUTE, CLOSE, True),
    ],
)
async def test_of_a_session_that_is_over_a_bar_is_used_once_it_has_settled_and_is_known_to_its_end(
    now: datetime, seen_at: datetime, is_there: bool
) -> None:
    market = open_market(FormingProvider({DAILY: FormingBar(bar(BEGIN), seen_at)}))
    found = await market.ended_bars_of({DAILY: ENDED}, now=now)
    assert (len(found.ready[DAILY]), DAILY in found.awaited) == (int(is_there), not is_there)


async def test_what_was_seen_during_the_session_is_not_the_bar_of_the_session() -> None:
    provider = FormingProvider({DAILY: FormingBar(bar(BEGIN, 7.0), CLOSE - SECOND)})
    market = open_market(provider)
    await market.forming_bars_of([DAILY], now=CLOSE - SECOND)
    provider.forming[DAILY] = FormingBar(bar(BEGIN, 8.0), CLOSE + 2 * SECOND)
    found = await market.ended_bars_of({DAILY: ENDED}, now=CLOSE + 2 * SECOND)
    assert found.ready[DAILY].close.tolist() == [8.0]


async def test_a_local_source_has_the_bar_or_nothing_is_awaited() -> None:
    provider = ScriptedProvider(traits=ProviderTraits(is_local=True))
    provider.bars[DAILY] = bar(BEGIN)
    found = await open_market(provider).ended_bars_of({DAILY: ENDED}, now=CLOSE)
    assert (len(found.ready[DAILY]), found.awaited) == (1, frozenset())
    provider.bars[DAILY] = bar(BEGIN - timedelta(days=1))
    found = await open_market(provider).ended_bars_of({DAILY: ENDED}, now=CLOSE)
    assert (len(found.ready[DAILY]), found.awaited) == (0, frozenset())


async def test_what_was_imported_by_hand_has_its_sessions_too() -> None:
    store = MemoryBarStore()
    store.bars[DAILY] = bar(BEGIN)
    found = await open_market(store=store).ended_bars_of({DAILY: ENDED}, now=CLOSE)
    assert len(found.ready[DAILY]) == 1


# --- made of finer bars ---


def minutes(first: datetime, *closes: float) -> Bars:
    return Bars.from_rows(
        [(first + n * MINUTE, close, close + 1, close - 1, close, 2.0) for n, close in enumerate(closes)]
    )


def test_the_closed_minutes_of_an_hour_make_its_forming_bar() -> None:
    fine = minutes(NOON - MINUTE, 50, 10, 12, 9)
    found = made_of_finer(fine, Timeframe.M1, Timeframe.H1, NOON + 2.5 * MINUTE)
    assert found is not None
    values = [float(found.bar.column(name)[0]) for name in ("open", "high", "low", "close", "volume")]
    assert (found.bar.time_at(0), values) == (NOON, [10.0, 13.0, 9.0, 12.0, 4.0])
    assert found.seen_at == NOON + 2 * MINUTE


@pytest.mark.parametrize(
    ("fine", "now"),
    [
        (minutes(NOON - MINUTE, 50, 10), NOON + 0.5 * MINUTE),
        (minutes(NOON + MINUTE, 10, 12), NOON + 5 * MINUTE),
        (Bars.empty(), NOON),
    ],
    ids=["none has closed in it", "history begins within it", "there are none"],
)
def test_no_forming_bar_is_made_of_a_part(fine: Bars, now: datetime) -> None:
    assert made_of_finer(fine, Timeframe.M1, Timeframe.H1, now) is None
