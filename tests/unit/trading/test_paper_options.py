"""A bot's ``broker`` for the paper venue: what it may say, what it means, what is said of mistakes."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from importlib import resources
from typing import Any

import pytest

from atf.adapters.brokers.paper_faults import FaultDice
from atf.adapters.brokers.paper_type import account_name
from atf.errors import InvalidInput
from atf.jobs.schema_check import check_schemas
from atf.trading.broker import VenueEvent, VenueOrder
from atf.trading.broker_registry import BrokerContext
from atf.trading.order import BotId, ClientOrderId, OrderStatus
from atf.trading.paper.options import PaperFault, PaperFaults, parse_paper_options


def test_the_schema_ships_and_its_examples_fit() -> None:
    schemas = check_schemas(resources.files("atf.trading").joinpath("schemas"), ["paper_broker"])
    found = {one.file: (one.problem, one.examples) for one in schemas}
    assert found["paper_broker.schema.json"] == (None, 3)


def test_without_more_an_account_has_cash_and_costs_nothing() -> None:
    options = parse_paper_options({"type": "paper"})
    assert (options.account, options.cash) == (None, Decimal(100_000))
    assert options.rules.model.fee_fraction == 0
    assert options.rules.model.partial_fill_fraction is None
    assert options.rules.allow_short is False


def test_numbers_are_exactly_those_that_are_written() -> None:
    options = parse_paper_options(
        {
            "type": "paper",
            "cash": 2500.1,
            "fee_fraction": 0.00075,
            "slippage_fraction": 1e-05,
            "latency_seconds": 0.25,
            "partial_fill_fraction": 0.1,
            "allow_short": True,
            "quantity_step": 0.001,
            "price_step": 0.01,
            "minimum_quantity": 1,
            "minimum_value": 10,
            "faults": {"seed": 3, "script": ["none", "reject"], "timeout_after": 0.5, "visibility_seconds": 2},
        }
    )
    model, rules, faults = options.rules.model, options.rules, options.faults
    assert options.cash == Decimal("2500.1")
    assert (model.fee_fraction, model.slippage_fraction) == (Decimal("0.00075"), Decimal("0.00001"))
    assert (model.latency, model.partial_fill_fraction) == (timedelta(seconds=0.25), Decimal("0.1"))
    assert (rules.quantity_step, rules.price_step) == (Decimal("0.001"), Decimal("0.01"))
    assert (rules.minimum_quantity, rules.minimum_value, rules.allow_short) == (Decimal(1), Decimal(10), True)
    assert (faults.seed, faults.script, faults.visibility) == (3, (None, PaperFault.REJECT), timedelta(seconds=2))
    assert faults.chances == {PaperFault.TIMEOUT_AFTER: 0.5}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            {"type": "paper", "fee_fractoin": 1},
            "broker.fee_fractoin: unknown field; did you mean 'fee_fraction'?",
        ),
        ({"type": "paper", "cash": -1}, "broker.cash: -1 is less than or equal to the minimum of 0"),
        ({"type": "paper", "price_step": 1e-16}, "broker.price_step: must be 0 or at least 1E-15"),
        ({"type": "paper", "cash": "1"}, 'broker.cash: must be a number, got "1"'),
        ({"type": "paper", "account": "a/b"}, 'broker.account: "a/b" has characters that are not allowed'),
        (
            {"type": "paper", "faults": {"script": ["fall"]}},
            'broker.faults.script[0]: "fall" is not one of none, ',
        ),
        ({"type": "paper", "faults": {"reject": 2}}, "broker.faults.reject: 2 is greater than the maximum of 1"),
        (
            {"type": "paper", "faults": {"reject": 0.6, "disconnect": 0.6}},
            "broker.faults: the chances of timeout_after, timeout_before, server_error, reject",
        ),
    ],
)
def test_a_mistake_is_told_with_its_path(config: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_paper_options(config)
    assert str(refusal.value).startswith(said)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_paper_options({"type": "paper", "cash": 0, "price_step": -1})
    assert {one.field for one in refusal.value.problems} == {"broker.cash", "broker.price_step"}


def test_an_account_is_a_bots_own_or_shared_within_its_user() -> None:
    own, shared = parse_paper_options({"type": "paper"}), parse_paper_options({"type": "paper", "account": "m"})
    context = BrokerContext(BotId(7), 3)
    assert (account_name(own, context), account_name(shared, context)) == ("bot-7", "user-3/m")


def events(count: int) -> list[VenueEvent]:
    return [VenueOrder(ClientOrderId(f"o{n}"), f"V{n}", "S", OrderStatus.ACCEPTED) for n in range(count)]


def test_a_script_goes_before_chance_and_a_seed_repeats_it() -> None:
    config = {"seed": 5, "script": ["reject", "none"], "timeout_after": 0.3, "server_error": 0.3}
    faults = parse_paper_options({"type": "paper", "faults": config}).faults
    one, two = FaultDice(faults), FaultDice(faults)
    first = [one.of_call() for _ in range(400)]
    assert first == [two.of_call() for _ in range(400)]
    assert first[:2] == [PaperFault.REJECT, None]
    counts = {
        fault: first[2:].count(fault) for fault in (PaperFault.TIMEOUT_AFTER, PaperFault.SERVER_ERROR, None)
    }
    assert all(80 < count < 200 for count in counts.values())


def test_events_are_dropped_doubled_and_shuffled_by_chance() -> None:
    def arriving(**chances: float) -> list[str]:
        faults = parse_paper_options({"type": "paper", "faults": {"seed": 2, **chances}}).faults
        return [event.client_order_id for event in FaultDice(faults).of_events(events(200))]

    names = [event.client_order_id for event in events(200)]
    assert arriving() == names
    assert arriving(drop_events=1.0) == []
    assert sorted(arriving(duplicate_events=1.0)) == sorted(names * 2)
    assert sorted(arriving(reorder_events=1.0)) == sorted(names) != arriving(reorder_events=1.0)
    assert 70 < len(arriving(drop_events=0.5)) < 130


def test_no_faults_are_no_faults() -> None:
    dice = FaultDice(PaperFaults())
    assert dice.of_call() is None
