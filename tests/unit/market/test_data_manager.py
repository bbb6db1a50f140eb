import asyncio
import gc
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from atf.errors import InvalidInput, NotFound, PermanentFailure, TemporaryFailure
from atf.market.bars import Bars, Series, Timeframe
from atf.market.data_manager import DataManager
from atf.market.provider import BarProvider, ProviderTraits
from atf.testing.market import open_market

NOON = datetime(2024, 1, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
AT_ONCE = timedelta(milliseconds=20)
LONG = timedelta(seconds=30)


def hourly(symbol: str) -> Series:
    return Series(symbol, Timeframe.H1)


def bars_until(newest_open: datetime, count: int = 3) -> Bars:
    return Bars.from_rows([(newest_open - HOUR * i, 1.0, 2.0, 0.5, 1.5, 100.0 + i) for i in range(count)])


class Fake:
    """A local provider that knows some symbols at 1h and answers at once; subclasses misbehave."""

    traits = ProviderTraits(is_local=True)

    def __init__(self, *known: str, name: str = "fake", bars: Bars | None = None) -> None:
        self.name = name
        self.known = known
        self.bars = bars_until(NOON - HOUR) if bars is None else bars
        self.asked: list[str] = []

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        self.asked.append(series.symbol)
        if series.symbol not in self.known:
            raise NotFound(f"{self.name} has no {series}")
        return self.bars

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        return symbol in self.known and timeframe is Timeframe.H1

    async def symbols(self) -> Sequence[str]:
        return self.known


class Hanging(Fake):
    """Never answers; notes how many calls are under way and how many were cancelled."""

    def __init__(self, *known: str, name: str = "hanging") -> None:
        super().__init__(*known, name=name)
        self.never = asyncio.Event()
        self.reached = asyncio.Event()
        self.under_way = self.most_under_way = self.cancelled = 0

    async def hang(self) -> None:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.reached.set()
        try:
            await self.never.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        if series.symbol in self.known:
            await self.hang()
        return await super().closed_bars(series, until, count)

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        await self.hang()
        return False

    async def symbols(self) -> Sequence[str]:
        await self.hang()
        return []


class Failing(Fake):
    """Raises the same error from every question about bars."""

    def __init__(self, error: Exception, name: str = "failing") -> None:
        super().__init__(name=name)
        self.error = error

    async def closed_bars(
        self, series: Series, until: datetime, count: int, since: datetime | None = None
    ) -> Bars:
        raise self.error

    async def knows(self, symbol: str, timeframe: Timeframe) -> bool:
        raise self.error

    async def symbols(self) -> Sequence[str]:
        raise self.error


def manager(*providers: BarProvider, patience: timedelta = LONG, calls: int = 16) -> DataManager:
    for provider in providers:
        if isinstance(provider, Fake):
            provider.traits = ProviderTraits(is_local=True, calls_at_once=calls)
    return open_market(*providers, patience=patience)


async def test_every_wanted_series_is_in_exactly_one_of_ready_late_and_unknown() -> None:
    data = manager(Hanging("SLOW"), Fake("FAST"), patience=AT_ONCE)
    fetched = await data.closed_bars_of({hourly(s): 3 for s in ("FAST", "SLOW", "NONE")}, until=NOON)
    assert set(fetched.ready) == {hourly("FAST")}
    assert fetched.late == {hourly("SLOW")}
    assert fetched.unknown == {hourly("NONE"): "fake has no NONE 1h"}


async def test_nothing_wanted_is_nothing_fetched() -> None:
    fetched = await manager(Fake("A")).closed_bars_of({}, until=NOON)
    assert (fetched.ready, fetched.late, fetched.unknown) == ({}, frozenset(), {})


async def test_patience_of_the_call_overrides_that_of_the_manager() -> None:
    fetched = await manager(Hanging("A")).closed_bars_of({hourly("A"): 1}, until=NOON, within=AT_ONCE)
    assert fetched.late == {hourly("A")}


async def test_what_is_late_is_cancelled_before_the_call_returns() -> None:
    provider = Hanging("A", "B")
    await manager(provider, patience=AT_ONCE).closed_bars_of({hourly("A"): 1, hourly("B"): 1}, until=NOON)
    assert (provider.cancelled, provider.under_way) == (2, 0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    gc.collect()  # a task that nobody waited for would warn here, and warnings are errors


async def test_cancelling_the_call_cancels_what_it_started() -> None:
    provider = Hanging("A")
    call = asyncio.create_task(manager(provider).closed_bars_of({hourly("A"): 1}, until=NOON))
    await provider.reached.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (provider.cancelled, provider.under_way) == (1, 0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_series_are_fetched_at_the_same_time_up_to_the_bound() -> None:
    provider = Hanging(*"ABCDE")
    data = manager(provider, patience=AT_ONCE, calls=3)
    fetched = await data.closed_bars_of({hourly(s): 1 for s in "ABCDE"}, until=NOON)
    assert provider.most_under_way == 3
    assert fetched.late == {hourly(s) for s in "ABCDE"}


async def test_a_hanging_provider_does_not_use_up_the_calls_of_another() -> None:
    first, second = Fake("A", "B"), Hanging("X", "Y", "Z")
    data = manager(first, second, patience=AT_ONCE, calls=1)
    fetched = await data.closed_bars_of({hourly(s): 1 for s in "XYZAB"}, until=NOON)
    assert set(fetched.ready) == {hourly("A"), hourly("B")}
    assert fetched.late == {hourly(s) for s in "XYZ"}


async def test_calls_are_free_again_after_a_late_one() -> None:
    provider = Hanging("A")
    data = manager(provider, patience=AT_ONCE, calls=1)
    await data.closed_bars_of({hourly("A"): 1}, until=NOON)
    provider.never.set()
    fetched = await data.closed_bars_of({hourly("A"): 1}, until=NOON, within=LONG)
    assert set(fetched.ready) == {hourly("A")}


@pytest.mark.parametrize("first", [Fake(name="empty"), Failing(TemporaryFailure("down"))], ids=lambda p: p.name)
async def test_the_next_provider_is_asked_when_one_does_not_know_or_cannot_answer(first: Fake) -> None:
    fetched = await manager(first, Fake("A")).closed_bars_of({hourly("A"): 3}, until=NOON)
    assert len(fetched.ready[hourly("A")]) == 3


async def test_the_first_provider_that_has_bars_is_the_only_one_asked() -> None:
    second = Fake("A", name="second")
    await manager(Fake("A"), second).closed_bars_of({hourly("A"): 3}, until=NOON)
    assert second.asked == []


@pytest.mark.parametrize("order", [1, -1])
async def test_a_series_that_one_provider_may_have_is_late_and_not_unknown(order: int) -> None:
    providers = [Failing(TemporaryFailure("down")), Fake()][::order]
    fetched = await manager(*providers).closed_bars_of({hourly("A"): 3}, until=NOON)
    assert fetched.late == {hourly("A")}
    assert fetched.unknown == {}


@pytest.mark.parametrize("error", [InvalidInput("A.csv is broken"), PermanentFailure("A.csv is broken")])
async def test_a_broken_source_is_told_and_not_hidden_by_the_next_provider(error: Exception) -> None:
    fetched = await manager(Failing(error), Fake("A")).closed_bars_of({hourly("A"): 3}, until=NOON)
    assert fetched.unknown == {hourly("A"): "A.csv is broken"}


async def test_without_providers_every_series_is_unknown() -> None:
    fetched = await manager().closed_bars_of({hourly("A"): 3}, until=NOON)
    assert fetched.unknown == {hourly("A"): "no provider of bars is configured"}


async def test_a_programming_error_of_a_provider_is_raised_and_leaves_no_task() -> None:
    hanging = Hanging("B")
    with pytest.raises(ZeroDivisionError):
        await manager(hanging, Failing(ZeroDivisionError())).closed_bars_of(
            {hourly("A"): 1, hourly("B"): 1}, until=NOON
        )
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert hanging.under_way == 0


async def test_a_provider_cannot_leak_a_bar_that_is_not_closed() -> None:
    lying = Fake("A", bars=bars_until(NOON + HOUR, count=5))
    fetched = await manager(lying).closed_bars_of({hourly("A"): 5}, until=NOON)
    bars = fetched.ready[hourly("A")]
    assert bars.time_at(-1) == NOON - HOUR
    assert len(bars) == 3


async def test_a_provider_cannot_give_more_bars_than_wanted() -> None:
    generous = Fake("A", bars=bars_until(NOON - HOUR, count=9))
    fetched = await manager(generous).closed_bars_of({hourly("A"): 2}, until=NOON)
    assert [fetched.ready[hourly("A")].time_at(i) for i in (0, 1)] == [NOON - 2 * HOUR, NOON - HOUR]


async def test_a_known_series_without_bars_is_ready_and_empty() -> None:
    fetched = await manager(Fake("A", bars=Bars.empty())).closed_bars_of({hourly("A"): 2}, until=NOON)
    assert len(fetched.ready[hourly("A")]) == 0


async def test_a_ticker_that_any_provider_knows_is_accepted() -> None:
    data = manager(Failing(TemporaryFailure("down")), Fake("AAPL"))
    await data.require_known("AAPL", Timeframe.H1, field="ticker")


async def test_an_unknown_ticker_is_named_with_its_field_and_what_is_known() -> None:
    data = manager(Fake("MSFT", "AAPL"), Fake("FB", "AAPL"))
    with pytest.raises(InvalidInput) as caught:
        await data.require_known("XYZ", Timeframe.H1, field="ticker")
    assert caught.value.field == "ticker"
    assert str(caught.value) == "ticker: unknown ticker 'XYZ' at 1h; known here: AAPL, FB, MSFT"


@pytest.mark.parametrize("typed", ["APPL", "appl"])
async def test_a_near_miss_is_answered_with_the_ticker_that_was_meant(typed: str) -> None:
    with pytest.raises(InvalidInput, match=r"\(did you mean 'AAPL'\?\)"):
        await manager(Fake("MSFT", "AAPL")).require_known(typed, Timeframe.H1, field="ticker")


async def test_a_ticker_known_at_another_timeframe_is_answered_with_that_timeframe() -> None:
    with pytest.raises(InvalidInput, match="ticker 'AAPL' has no bars at 5m here; it has 1h"):
        await manager(Fake("AAPL")).require_known("AAPL", Timeframe.M5, field="ticker")


async def test_a_long_list_of_known_tickers_is_cut() -> None:
    many = [f"S{i:02}" for i in range(40)]
    with pytest.raises(InvalidInput, match=r"known here: S00, .*, S09, \.\.\.$"):
        await manager(Fake(*many)).require_known("XYZ", Timeframe.H1, field="ticker")


async def test_a_ticker_is_unknown_when_nothing_at_all_is_known() -> None:
    with pytest.raises(InvalidInput, match=r"unknown ticker 'XYZ' at 1h; known here: none$"):
        await manager(Fake()).require_known("XYZ", Timeframe.H1, field="ticker")


@pytest.mark.parametrize("silent", ["failing", "hanging"])
async def test_a_ticker_is_not_called_unknown_while_a_provider_cannot_tell(silent: str) -> None:
    mute = Hanging(name=silent) if silent == "hanging" else Failing(TemporaryFailure("down"), name=silent)
    with pytest.raises(TemporaryFailure, match=f"cannot check ticker 'XYZ' now: no answer from {silent}"):
        await manager(Fake("A"), mute, patience=AT_ONCE).require_known("XYZ", Timeframe.H1, field="t")


class Nameless(Fake):
    """Knows its symbols and cannot list them."""

    async def symbols(self) -> Sequence[str]:
        raise TemporaryFailure("no list today")


async def test_a_provider_that_cannot_list_its_tickers_is_left_out_of_the_message() -> None:
    with pytest.raises(InvalidInput, match=r"known here: FB$"):
        await manager(Nameless("AAPL"), Fake("FB")).require_known("XYZ", Timeframe.H1, field="ticker")
