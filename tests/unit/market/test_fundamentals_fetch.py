"""Fetching fundamentals within a lane: patience, what is stored, and what one bad symbol costs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import pytest

from atf.errors import AtfError, ConfigurationError, NotFound, PermanentFailure, TemporaryFailure
from atf.market.fundamentals import Fundamentals
from atf.market.fundamentals_fetch import FundamentalsFetcher
from atf.market.provider_lane import ProviderLane
from atf.testing.market import ScriptedProvider

DAY = date(2024, 3, 8)


class ScriptedFundamentals:
    """Knows every symbol but those it has errors for; each error comes once, the last one for ever."""

    name = "venue"

    def __init__(self) -> None:
        self.errors: dict[str, list[AtfError]] = {}
        self.asked: list[str] = []

    async def fundamentals(self, symbol: str) -> Fundamentals:
        self.asked.append(symbol)
        errors = self.errors.get(symbol, [])
        if errors:
            raise errors[0] if len(errors) == 1 else errors.pop(0)
        return Fundamentals(symbol, DAY, market_cap=1e9)


class Desk:
    """A provider behind a lane, what is stored, and a clock that only pauses move on."""

    def __init__(self) -> None:
        self.provider = ScriptedFundamentals()
        self.stored: list[tuple[str, str]] = []
        self.pauses: list[float] = []
        self.now = 0.0
        bars = ScriptedProvider("venue")
        self.lane = ProviderLane(bars, monotonic=lambda: self.now, spread=lambda: 0.0)
        self.fetcher = FundamentalsFetcher(self.lane, self.provider, self, sleep=self.pause)

    async def load(self, rows: Sequence[Fundamentals], *, source: str) -> int:
        self.stored += [(row.symbol, source) for row in rows]
        return len(rows)

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_each_symbol_is_asked_for_once_and_stored_under_the_providers_name(desk: Desk) -> None:
    done: list[int] = []
    found = await desk.fetcher.fetch(["A", "B", "A"], on_symbol=lambda: done.append(len(desk.stored)))
    assert list(found) == desk.provider.asked == ["A", "B"]
    assert desk.stored == [("A", "venue"), ("B", "venue")]
    assert done == [1, 2]


@pytest.mark.parametrize("error", [NotFound("unknown"), PermanentFailure("refused"), TemporaryFailure("down")])
async def test_a_symbol_that_fails_keeps_no_other_from_being_stored(desk: Desk, error: AtfError) -> None:
    desk.provider.errors["B"] = [error]
    found = await desk.fetcher.fetch(["A", "B", "C"])
    assert found["B"] is error
    assert [symbol for symbol, _ in desk.stored] == ["A", "C"]


async def test_a_provider_gets_the_pause_that_it_asks_for_and_is_asked_again(desk: Desk) -> None:
    desk.provider.errors["A"] = [TemporaryFailure("429", retry_after_seconds=17), TemporaryFailure("502")]
    desk.provider.errors["A"].append(NotFound("unknown"))
    found = await desk.fetcher.fetch(["A"])
    assert isinstance(found["A"], NotFound)
    assert desk.pauses == [17, 2.0]


async def test_calls_go_through_the_lane_which_hears_of_failures(desk: Desk) -> None:
    desk.provider.errors["A"] = [TemporaryFailure("down")]
    await desk.fetcher.fetch(["A"])
    assert (desk.lane.state.calls, desk.lane.state.failures) == (4, 4)
    assert desk.lane.state.paused_seconds > 0


async def test_a_provider_that_is_down_is_not_waited_for_at_each_of_many_symbols(desk: Desk) -> None:
    symbols = [f"S{n}" for n in range(500)]
    desk.provider.errors = {symbol: [TemporaryFailure("down")] for symbol in symbols}
    found = await desk.fetcher.fetch(symbols)
    assert all(isinstance(each, TemporaryFailure) for each in found.values())
    assert len(desk.provider.asked) <= 12
    assert sum(desk.pauses) < 300


async def test_patience_returns_with_the_first_answer(desk: Desk) -> None:
    down = ["A", "B", "C"]
    desk.provider.errors = {symbol: [TemporaryFailure("down")] for symbol in down}
    await desk.fetcher.fetch(down)
    desk.now += 1000
    desk.pauses.clear()
    desk.provider.errors = {"E": [TemporaryFailure("down"), NotFound("unknown")]}
    found = await desk.fetcher.fetch(["D", "E"])
    assert isinstance(found["D"], Fundamentals)
    assert desk.pauses == [1.0]


async def test_a_missing_extra_ends_it_at_once(desk: Desk) -> None:
    desk.provider.errors["A"] = [ConfigurationError("pip install")]
    with pytest.raises(ConfigurationError):
        await desk.fetcher.fetch(["A", "B"])
    assert desk.provider.asked == ["A"]


async def test_a_store_that_fails_is_no_symbols_fault(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(rows: Sequence[Fundamentals], *, source: str) -> int:
        raise TemporaryFailure(f"the database is away: {len(rows)} of {source}")

    monkeypatch.setattr(desk, "load", refuse)
    with pytest.raises(TemporaryFailure, match="the database is away"):
        await desk.fetcher.fetch(["A", "B"])
    assert desk.provider.asked == ["A"]
