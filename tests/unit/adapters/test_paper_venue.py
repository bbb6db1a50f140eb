"""The paper venue in a process: gathered submissions, news of others, and a database that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from math import nan
from typing import Any

import pytest
from tests.paper_bars import BEGIN, BTC, MINUTES, candle, new

from atf.adapters.brokers.paper import PaperBroker, PaperVenue
from atf.errors import DatabaseUnavailable, TransactionConflict
from atf.market.bars import Series, Timeframe
from atf.testing.clocks import FakeClock
from atf.trading.broker import (
    OpenState,
    OrderRejected,
    OrderStatusUnknown,
    VenueEvent,
    VenueOrder,
    VenueUnavailable,
)
from atf.trading.fill import Fill
from atf.trading.order import ClientOrderId, OrderStatus
from atf.trading.paper.account import AccountRules
from atf.trading.paper.bar import PaperBar
from atf.trading.paper.live import Look
from atf.trading.paper.marks import SeriesBars
from atf.trading.paper.options import parse_paper_options
from atf.trading.paper.store import AccountNews, Matched, Submission, Taken

X = ClientOrderId("x")
ORDER = VenueOrder(X, "paper-1", BTC, OrderStatus.ACCEPTED)


class RecordingStore:
    """A store that answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Submission]] = []
        self.pieces: list[PaperBar] = []
        self.failure: Exception | None = None
        self.matched = Matched()
        self.since: list[tuple[Collection[str], Collection[str], datetime]] = []

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def open_account(self, name: str, rules: AccountRules, cash: Decimal) -> None:
        self._fail()

    async def submit(self, submissions: Sequence[Submission]) -> Sequence[Taken | Exception]:
        await asyncio.sleep(0)
        self._fail()
        self.batches.append(submissions)
        return [
            Taken(VenueOrder(one.order.client_order_id, "paper-1", BTC, OrderStatus.ACCEPTED), is_new=True)
            for one in submissions
        ]

    async def cancel(
        self, account: str, client_order_id: ClientOrderId, at: datetime
    ) -> tuple[VenueOrder, AccountNews]:
        self._fail()
        return ORDER, AccountNews(account, orders=[ORDER])

    async def order(self, account: str, client_order_id: ClientOrderId) -> VenueOrder | None:
        self._fail()
        return ORDER

    async def fills_of(self, account: str, client_order_id: ClientOrderId) -> Sequence[Fill]:
        self._fail()
        return []

    async def open_state(self, account: str, at: datetime) -> OpenState:
        self._fail()
        return OpenState({}, [ORDER], Decimal(0), at)

    async def match(self, bars: SeriesBars) -> Matched:
        return self.matched

    async def match_pieces(self, pieces: Sequence[PaperBar]) -> Matched:
        self._fail()
        self.pieces += pieces
        return self.matched

    async def news_since(
        self, accounts: Collection[str], symbols: Collection[str], since: datetime
    ) -> Sequence[AccountNews]:
        self.since.append((accounts, symbols, since))
        return [AccountNews("a", orders=[ORDER])]


@pytest.fixture
def store() -> RecordingStore:
    return RecordingStore()


@pytest.fixture
def venue(store: RecordingStore) -> PaperVenue:
    return PaperVenue(store, FakeClock(BEGIN))


async def opened(venue: PaperVenue, account: str = "a", **faults: Any) -> PaperBroker:
    return await venue.open(account, parse_paper_options({"type": "paper", "faults": faults}))


async def test_orders_that_come_together_are_stored_together(store: RecordingStore, venue: PaperVenue) -> None:
    brokers = [await opened(venue, f"a{n}") for n in range(50)]
    await asyncio.gather(*(broker.submit(new("x", "buy", "market")) for broker in brokers))
    assert [len(batch) for batch in store.batches] == [50]


@pytest.mark.parametrize(
    ("failure", "told"),
    [(DatabaseUnavailable("gone"), OrderStatusUnknown), (TransactionConflict("again"), VenueUnavailable)],
)
async def test_a_database_that_goes_away_while_something_is_changed_may_have_changed_it(
    store: RecordingStore, venue: PaperVenue, failure: Exception, told: type[Exception]
) -> None:
    broker = await opened(venue)
    store.failure = failure
    with pytest.raises(told):
        await broker.submit(new("x", "buy", "market"))
    with pytest.raises(told):
        await broker.cancel(X, BTC)
    for asking in (broker.order(X, BTC), broker.fills_of(X, BTC), broker.open_state()):
        with pytest.raises(VenueUnavailable):
            await asking


async def test_an_account_that_cannot_be_opened_now_can_be_later(
    store: RecordingStore, venue: PaperVenue
) -> None:
    store.failure = DatabaseUnavailable("gone")
    with pytest.raises(VenueUnavailable, match="the paper venue cannot be asked: gone"):
        await opened(venue)
    store.failure = None
    assert (await opened(venue)).account == "a"


async def test_what_another_process_has_matched_is_told_here_once(
    store: RecordingStore, venue: PaperVenue
) -> None:
    broker = await opened(venue)
    events = broker.events()
    store.matched = Matched(known=frozenset({BTC}))
    for _ in range(2):
        await venue.on_bars({MINUTES: (BEGIN, candle((1, 1, 1, 1)))})
    assert store.since == [(["a"], [BTC], BEGIN)]
    assert await anext(events) == ORDER
    await venue.on_bars({Series(BTC, Timeframe.H1): (BEGIN - timedelta(hours=1), candle((1, 1, 1, 1)))})
    assert len(store.since) == 1


async def test_bars_that_were_matched_here_are_not_told_again(store: RecordingStore, venue: PaperVenue) -> None:
    await opened(venue)
    await venue.on_bars({MINUTES: (BEGIN, candle((1, 1, 1, 1)))})
    store.matched = Matched(known=frozenset({BTC}))
    await venue.on_bars({MINUTES: (BEGIN, candle((1, 1, 1, 1)))})
    assert store.since == []


async def test_news_reach_every_broker_of_the_account_and_no_other(venue: PaperVenue) -> None:
    one, two, other = await opened(venue), await opened(venue), await opened(venue, "b")
    streams = [broker.events() for broker in (one, two, other)]
    venue.tell([AccountNews("a", orders=[ORDER])])
    await two.close()
    venue.tell([AccountNews("a", orders=[ORDER])])
    await one.close()
    await other.close()
    assert [await all_of(stream) for stream in streams] == [[ORDER, ORDER], [ORDER], []]


async def all_of(events: Any) -> list[VenueEvent]:
    return [event async for event in events]


async def test_a_script_of_faults_is_played_and_the_connection_comes_back(venue: PaperVenue) -> None:
    script = ["timeout_before", "server_error", "reject", "disconnect", "timeout_after"]
    broker = await opened(venue, script=script, disconnect_seconds=3)
    events = broker.events()
    told: list[type[Exception]] = []
    for number in range(6):
        try:
            await broker.submit(new(f"x{number}", "buy", "market"))
        except (OrderStatusUnknown, OrderRejected, VenueUnavailable) as exc:
            told.append(type(exc))
            if number >= 3:
                assert isinstance(venue.clock, FakeClock)
                venue.clock.advance(timedelta(seconds=3))
    assert told == [OrderStatusUnknown, OrderStatusUnknown, OrderRejected, VenueUnavailable, OrderStatusUnknown]
    with pytest.raises(VenueUnavailable):
        await all_of(events)
    with pytest.raises(VenueUnavailable):
        await anext(events)


async def test_every_answer_takes_its_time(store: RecordingStore, venue: PaperVenue) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    options = parse_paper_options({"type": "paper", "faults": {"answer_seconds": 0.25}})
    broker = PaperBroker(venue, "a", options, sleep)
    await broker.order(X, BTC)
    await broker.submit(new("x", "buy", "market"))
    assert slept == [0.25, 0.25]


async def test_a_denied_order_is_in_no_answer_until_its_time(venue: PaperVenue) -> None:
    broker = await opened(venue, visibility_seconds=2)
    assert broker.visibility_delay == timedelta(seconds=2)
    await broker.submit(new("x", "buy", "market"))
    assert await broker.order(X, BTC) is None
    assert (await broker.open_state()).orders == []
    assert isinstance(venue.clock, FakeClock)
    venue.clock.advance(timedelta(seconds=2))
    assert await broker.order(X, BTC) == ORDER
    assert (await broker.open_state()).orders == [ORDER]


def look(seconds: float, *prices: float, minute: int = 0) -> Look:
    opened_at = BEGIN + timedelta(minutes=minute)
    return Look(MINUTES, opened_at, opened_at + timedelta(seconds=seconds), candle(prices))


def times_and_closes(store: RecordingStore) -> list[tuple[float, float, int]]:
    return [
        ((one.opens_at - BEGIN).total_seconds(), (one.closes_at - BEGIN).total_seconds(), int(one.close))
        for one in store.pieces
    ]


async def test_only_bots_that_want_it_have_their_symbols_looked_at(venue: PaperVenue) -> None:
    await (await opened(venue)).instrument(BTC)
    assert venue.live_symbols == frozenset()
    live = await venue.open("b", parse_paper_options({"type": "paper", "match_on": "live"}))
    await live.instrument("ETH")
    assert venue.live_symbols == {"ETH"}
    await live.close()
    assert venue.live_symbols == frozenset()


async def test_a_bar_is_matched_from_look_to_look_and_its_rest_when_it_closes(
    store: RecordingStore, venue: PaperVenue
) -> None:
    await venue.on_looks([look(10, 1, 2, 1, 2)])
    await venue.on_looks([look(30, 1, 5, 1, 3)])
    await venue.on_looks([look(20, 1, 4, 1, 4)])  # an answer that was under way for long
    await venue.on_bars({MINUTES: (BEGIN, candle((1, 9, 1, 4)))})
    await venue.on_bars({MINUTES: (BEGIN + timedelta(minutes=1), candle((4, 4, 4, 5)))})  # nobody looked at it
    await venue.on_looks([look(10, 6, 6, 6, 6, minute=2)])
    assert times_and_closes(store) == [(0, 10, 2), (10, 30, 3), (30, 60, 4), (120, 130, 6)]
    assert store.pieces[2].high == 9


async def test_what_could_not_be_matched_is_in_the_next_piece(store: RecordingStore, venue: PaperVenue) -> None:
    await venue.on_looks([look(10, 1, 2, 1, 2)])
    store.failure = DatabaseUnavailable("gone")
    with pytest.raises(DatabaseUnavailable):
        await venue.on_looks([look(30, 1, 7, 1, 3)])
    store.failure = None
    await venue.on_looks([look(40, 1, 7, 1, 4)])
    assert times_and_closes(store) == [(0, 10, 2), (10, 40, 4)]
    assert store.pieces[1].high == 7


async def test_a_look_at_prices_that_are_none_hides_nothing(store: RecordingStore, venue: PaperVenue) -> None:
    await venue.on_looks([look(10, 1, 2, 1, 2)])
    await venue.on_looks([look(20, 1, 8, 1, nan)])
    await venue.on_looks([look(30, 1, 8, 1, 3)])
    assert times_and_closes(store) == [(0, 10, 2), (10, 30, 3)]
    assert store.pieces[1].high == 8


async def test_an_order_between_two_looks_counts_from_when_it_came(
    store: RecordingStore, venue: PaperVenue
) -> None:
    """And not from the last look, as one counts from a bar's close that is sent because of that."""
    broker = await opened(venue)
    assert isinstance(venue.clock, FakeClock)
    await venue.on_bars({MINUTES: (BEGIN, candle((1, 1, 1, 1)))})
    venue.clock.advance(timedelta(seconds=61))
    await broker.submit(new("x", "buy", "market"))
    await venue.on_looks([look(2, 1, 2, 1, 2, minute=1)])
    venue.clock.advance(timedelta(seconds=2))
    await broker.submit(new("y", "buy", "market"))
    came = [(one.at - BEGIN).total_seconds() for batch in store.batches for one in batch]
    assert came == [60, 63]


async def test_what_a_piece_fills_is_told(store: RecordingStore, venue: PaperVenue) -> None:
    broker = await opened(venue)
    events = broker.events()
    store.matched = Matched([AccountNews("a", orders=[ORDER])])
    await venue.on_looks([look(10, 1, 2, 1, 2)])
    assert await anext(events) == ORDER
