"""A bot that is started again finds its positions, orders and state, and goes on counting its orders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.bots import T0, Strategies, Talk, candle, feed, fill, forked_bots, noted, only_order, spawned, update

from atf.adapters.bot_processes.forked_bots import ForkedBots
from atf.trading.bot_messages import Failed, HeldPosition, OpenOrder
from atf.trading.order import ClientOrderId, OrderStatus, OrderTerms, OrderType, Side

pytestmark = pytest.mark.asyncio(loop_scope="module")
D = Decimal


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bots() -> AsyncIterator[ForkedBots]:
    async with forked_bots() as bots:
        yield bots


@pytest_asyncio.fixture(loop_scope="module")
async def talk(bots: ForkedBots) -> AsyncIterator[Talk]:
    talk = await spawned(bots)
    yield talk
    await talk.process.kill()


@pytest.fixture
def strategy(tmp_path: Path) -> Strategies:
    return Strategies(tmp_path)


def _open(ref: int, terms: OrderTerms, status: OrderStatus = OrderStatus.ACCEPTED, **more: Any) -> OpenOrder:
    known = {"filled_quantity": D(0), "average_price": None}
    return OpenOrder(ref, ClientOrderId(f"atf-{ref}"), terms, status, **{**known, **more})


LOOKING = """
    def next(self):
        if self.position.size > 0 and len(self.data) == 4:
            self.close()
        orders = [
            (one.ref, one.getstatusname(), one.getordername(), one.isbuy(), one.size, one.executed.size,
             one.created.price, one.created.pricelimit, one.executed.remsize)
            for one in self.broker.get_orders_open()
        ]
        self.note(self.position.size, self.position.price, *orders)
    def notify_order(self, order):
        done = order.executed
        self.note(order.ref, order.getstatusname(), done.size, done.remsize, done.price)
    def notify_trade(self, trade):
        self.note("trade", trade.isclosed, trade.size, trade.pnl, round(trade.pnlcomm, 9))
"""
LIMIT = OrderTerms("BTC", Side.SELL, OrderType.LIMIT, D("2"), limit_price=D("5"))


async def test_a_position_is_there_and_its_trade_ends_with_the_whole_profit(
    talk: Talk, strategy: Strategies
) -> None:
    held = HeldPosition("BTC", D("0.3"), D("2.5"), fees=D("0.1"), opened_at=T0)
    await talk.ready(strategy(LOOKING), feed([1, 2]), positions=[held], next_ref=7)
    assert noted(await talk.bar(3)) == [[0.3, 2.5]]
    answer = await talk.bar(4)
    assert (only_order(answer).ref, only_order(answer).terms.quantity) == (7, D("0.3"))
    sold = [
        fill(7, "0.1", "4.5", "0.1", OrderStatus.PARTIALLY_FILLED, fees=D("0.1")),
        fill(7, "0.2", "4.5", "0.3", fees=D("0.3")),
    ]
    assert noted(await talk.update(*sold))[-1] == ["trade", True, 0.0, pytest.approx(0.6), pytest.approx(0.2)]
    assert noted(await talk.bar(4)) == [[0.0, 0.0]]
    trades = (await talk.stop()).analysis["tradeanalyzer"]["total"]
    assert trades == {"total": 1, "open": 0, "closed": 1}


async def test_a_short_position_is_below_zero(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy(LOOKING), feed([1, 2]), positions=[HeldPosition("BTC", D("-2"), D("2.5"))])
    assert noted(await talk.bar(3)) == [[-2.0, 2.5]]


async def test_open_orders_are_there_and_are_heard_of(talk: Talk, strategy: Strategies) -> None:
    order = _open(
        3, LIMIT, OrderStatus.PARTIALLY_FILLED, filled_quantity=D("0.5"), average_price=D("5"), fees=D("0.01")
    )
    await talk.ready(strategy(LOOKING), feed([1, 2]), orders=[order], next_ref=4)
    there = [3, "Partial", "Limit", False, -2.0, -0.5, 5.0, None, -1.5]
    assert noted(await talk.bar(3)) == [[0, 0.0, there]]
    rest = fill(3, "1.5", "6", "2", price=D("5.75"), fees=D("0.03"))
    assert noted(await talk.update(rest)) == [
        [3, "Completed", -2.0, 0.0, 5.75],
        ["trade", False, -1.5, 0.0, pytest.approx(-0.02)],
    ]
    assert noted(await talk.bar(3)) == [[-1.5, 6.0]]


@pytest.mark.parametrize(
    ("terms", "shown"),
    [
        (OrderTerms("BTC", Side.BUY, OrderType.MARKET, D(1)), ["Market", True, 1.0, 0, 2.0, None, 1.0]),
        (
            OrderTerms("BTC", Side.SELL, OrderType.STOP, D(1), stop_price=D("1.5")),
            ["Stop", False, -1.0, 0, 1.5, None, -1.0],
        ),
        (
            OrderTerms("BTC", Side.BUY, OrderType.STOP_LIMIT, D(1), stop_price=D("3"), limit_price=D("4")),
            ["StopLimit", True, 1.0, 0, 3.0, 4.0, 1.0],
        ),
        (
            OrderTerms(
                "BTC", Side.SELL, OrderType.TRAILING_STOP, D(1), stop_price=D("1.5"), trail_amount=D("0.5")
            ),
            ["StopTrail", False, -1.0, 0, 1.5, None, -1.0],
        ),
        (
            OrderTerms(
                "BTC",
                Side.SELL,
                OrderType.TRAILING_STOP_LIMIT,
                D(1),
                stop_price=D("1.5"),
                limit_price=D("1.25"),
                trail_fraction=D("0.1"),
                valid_until=datetime(2026, 4, 1, tzinfo=UTC),
            ),
            ["StopTrailLimit", False, -1.0, 0, 1.5, 1.25, -1.0],
        ),
    ],
)
async def test_every_kind_of_order_is_recovered(
    talk: Talk, strategy: Strategies, terms: OrderTerms, shown: list[Any]
) -> None:
    await talk.ready(strategy(LOOKING), feed([1, 2]), orders=[_open(3, terms)], next_ref=4)
    found = noted(await talk.bar(3))[0][2]
    assert found[:2] == [3, "Accepted"]
    assert found[2:] == shown


async def test_an_order_nobody_knows_about_is_told_from_its_beginning(talk: Talk, strategy: Strategies) -> None:
    await talk.ready(strategy(LOOKING), feed([1, 2]), orders=[_open(3, LIMIT, OrderStatus.UNKNOWN)], next_ref=4)
    found = noted(await talk.update(update(3, OrderStatus.CANCELLED)))
    assert [one[1] for one in found] == ["Submitted", "Accepted", "Canceled"]


async def test_recovered_orders_stay_tied(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            self.note(*[(one.ref, one.parent and one.parent.ref, one.p.oco and one.p.oco.ref)
                        for one in self.broker.get_orders_open()])
            self.cancel(self.broker.get_orders_open()[1])
    """
    orders = [_open(4, LIMIT, parent_ref=3), _open(3, LIMIT), _open(5, LIMIT, oco_ref=4)]
    await talk.ready(strategy(body), feed([1, 2]), orders=orders, next_ref=6)
    answer = await talk.bar(3)
    assert noted(answer) == [[[3, None, None], [4, 3, None], [5, None, 4]]]
    assert answer.cancels == (4,)


STATEFUL = """
import backtrader as bt
class Counting(bt.Strategy):
    def __init__(self):
        self.sma = bt.indicators.SMA(self.data.close, period=2)
        self.count, self.loaded = 0, None
    def next(self):
        self.count += 1
    def save_state(self):
        return {"count": self.count, "loaded": self.loaded}
    def load_state(self, state):
        self.count = state["count"]
        self.loaded = [len(self.data), self.sma[0], self.position.size, len(self.broker.get_orders_open())]
"""


async def test_state_is_in_every_answer_and_comes_back_when_all_else_is_there(
    bots: ForkedBots, talk: Talk, strategy: Strategies
) -> None:
    target = strategy.file(STATEFUL, "Counting")
    ready = await talk.ready(target, feed([1, 2]))
    assert ready.has_state
    assert (await talk.bar(3)).state == {"count": 1, "loaded": None}
    assert (await talk.update()).state == {"count": 1, "loaded": None}
    again = await spawned(bots)
    await again.ready(
        target,
        feed([1, 2, 4]),
        state={"count": 1},
        positions=[HeldPosition("BTC", D(2), D(1))],
        orders=[_open(3, LIMIT)],
        next_ref=4,
    )
    assert (await again.bar(3)).state == {"count": 2, "loaded": [3, 3.0, 2.0, 1]}
    await again.process.kill()


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("{'a': {'b': [1, {2}]}}", "the strategy's state holds a set at a.b[1], which JSON cannot hold"),
        ("{'a': float('nan')}", "the strategy's state holds NaN at a, which JSON cannot hold; use null"),
        ("{'a': 'x' * 65536}", "the strategy's state has 65544 bytes as JSON; at most 65536 are allowed"),
        ("[1]", "the strategy's state must be a JSON object (a dict), not a list"),
        (
            "{'a': ['\\\\u0000', {'b': 'x\\0'}]}",
            "the strategy's state holds NUL or half of a surrogate pair at a[1].b",
        ),
        ("{'\\ud800': 1}", "the strategy's state holds NUL or half of a surrogate pair at '\\ud800'"),
    ],
)
async def test_a_state_that_cannot_be_stored_fails_in_one_sentence(
    talk: Talk, strategy: Strategies, returned: str, said: str
) -> None:
    body = f"""
        def save_state(self):
            return {returned}
    """
    await talk.ready(strategy(body), feed([1, 2]))
    await talk.send_bars({0: candle(3)})
    assert (await talk.failure()).error == said


async def test_a_state_of_the_largest_size_is_kept(talk: Talk, strategy: Strategies) -> None:
    body = """
        def save_state(self):
            return {"a": "x" * (65536 - 8)}
    """
    await talk.ready(strategy(body), feed([1, 2]))
    state = (await talk.bar(3)).state
    assert state is not None
    assert len(state["a"]) == 65528


async def test_a_state_may_hold_any_text_that_there_is(talk: Talk, strategy: Strategies) -> None:
    body = r"""
        def save_state(self):
            return {"\U0001f600": ["\\u0000", "\U0001f600" * 5000]}
    """
    await talk.ready(strategy(body), feed([1, 2]))
    assert (await talk.bar(3)).state == {"\U0001f600": ["\\u0000", "\U0001f600" * 5000]}


async def test_a_state_that_cannot_be_loaded_fails_the_start(talk: Talk, strategy: Strategies) -> None:
    message = await talk.begin(strategy.file(STATEFUL, "Counting"), feed([1, 2]), state={"other": 1})
    assert isinstance(message, Failed)
    assert message.error == "the strategy raised KeyError: 'count' (line 12 of counting.py, in load_state)"


async def test_a_strategy_without_state_has_none(talk: Talk, strategy: Strategies) -> None:
    plain = strategy.file("import backtrader as bt\nclass Plain(bt.Strategy): pass\n", "Plain")
    assert not (await talk.ready(plain, feed([1, 2]), state={"count": 1})).has_state
    assert (await talk.bar(3)).state is None


async def test_the_configuration_can_be_read(talk: Talk, strategy: Strategies) -> None:
    body = """
        def next(self):
            self.note(self.config["_recovered_positions"])
    """
    await talk.ready(strategy(body), feed([1]), config={"_recovered_positions": [{"symbol": "BTC"}]})
    assert noted(await talk.bar(2)) == [[[{"symbol": "BTC"}]]]
