"""Reconciliation: six ways how books and venue go together, and what each policy makes of them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.unit.trading.trading_fakes import NOW, a_fill

from atf.trading.bot import StartupPositionPolicy as Policy
from atf.trading.order import Side
from atf.trading.position import Holding, Position, apply
from atf.trading.reconcile import Action, Finding, adopt, compare, flattening, plan

CASES = [
    ("2", "2", Finding.MATCHED),
    ("0", "2", Finding.UNBOOKED),
    ("2", "0", Finding.MISSING),
    ("2", "3", Finding.SIZE_DIFFERS),
    ("2", "-2", Finding.SIDE_FLIPPED),
]


@pytest.mark.parametrize(("booked", "at_venue", "finding"), CASES)
def test_each_pair_of_positions_has_one_name(booked: str, at_venue: str, finding: Finding) -> None:
    (found,) = compare({"A": Decimal(booked)}, {"A": Decimal(at_venue)})
    assert (found.symbol, found.finding) == ("A", finding)


def test_what_neither_side_holds_is_no_finding() -> None:
    assert compare({"A": Decimal(0)}, {"B": Decimal(0)}) == []


@pytest.mark.parametrize(
    ("policy", "if_matched", "if_not"),
    [
        (Policy.RESUME, Action.KEEP, Action.HALT),
        (Policy.ADOPT, Action.KEEP, Action.ADOPT),
        (Policy.FLATTEN, Action.FLATTEN, Action.FLATTEN),
        (Policy.HALT, Action.HALT, Action.HALT),
    ],
)
@pytest.mark.parametrize(("booked", "at_venue", "finding"), CASES)
def test_the_policy_decides(
    policy: Policy, if_matched: Action, if_not: Action, booked: str, at_venue: str, finding: Finding
) -> None:
    (planned,) = plan(compare({"A": Decimal(booked)}, {"A": Decimal(at_venue)}), policy)
    assert planned.action is (if_matched if finding is Finding.MATCHED else if_not)


@pytest.mark.parametrize(("booked", "at_venue", "finding"), CASES)
def test_what_is_adopted_matches_from_then_on(booked: str, at_venue: str, finding: Finding) -> None:
    holding = Holding(Position("AAPL"))
    if Decimal(booked):
        holding = apply(holding, a_fill("o", "f", booked)).after
    change = adopt(holding, Decimal(at_venue), Decimal(100), NOW)
    again = compare({"AAPL": change.after.position.quantity}, {"AAPL": Decimal(at_venue)})
    assert {one.finding for one in again} <= {Finding.MATCHED}
    assert (change.closed is not None) == bool(Decimal(booked))
    if change.after.position.is_open:
        assert change.after.position.is_adopted
        assert change.after.trade is not None


def test_flattening_takes_all_of_it_back() -> None:
    assert flattening("A", Decimal("1.5")).side is Side.SELL
    assert flattening("A", Decimal("-1.5")).side is Side.BUY
    assert flattening("A", Decimal("-1.5")).quantity == Decimal("1.5")
