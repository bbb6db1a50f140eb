"""Brokers by type: ATF's own and those of other packages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest
from tests.installed_packages import Installed

from atf.errors import InvalidInput
from atf.testing.venue_broker import LocalVenueBroker
from atf.trading.broker import Broker
from atf.trading.broker_registry import BrokerContext, BrokerRegistry, BrokerType, load_broker_types
from atf.trading.order import BotId

CONTEXT = BrokerContext(BotId(7), 3)


class Own:
    name = "paper"

    def check(self, config: Mapping[str, Any]) -> None:
        if config.get("cash") == 0:
            raise InvalidInput("must be more", field="broker.cash")

    async def open(self, config: Mapping[str, Any], context: BrokerContext) -> Broker:
        return cast("Broker", (config["type"], context.bot_id))


async def test_the_type_says_which_broker_a_bot_has() -> None:
    registry = BrokerRegistry([Own()])
    assert isinstance(Own(), BrokerType)
    assert cast("Any", await registry.open({"type": "paper"}, CONTEXT)) == ("paper", 7)
    with pytest.raises(InvalidInput, match=r"broker\.cash: must be more"):
        registry.check({"type": "paper", "cash": 0})


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("paper", 'broker: must be a JSON object, got "paper"'),
        ({}, "broker.type: is missing; one of paper"),
        ({"type": "papr"}, "broker.type: \"papr\" is not one of paper; did you mean 'paper'?"),
        ({"type": ["paper"]}, 'broker.type: ["paper"] is not one of paper'),
    ],
)
def test_an_unknown_type_is_told_with_those_that_there_are(config: object, said: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        BrokerRegistry([Own()]).check(config)
    assert str(refusal.value).startswith(said)


async def test_a_package_brings_the_local_venue_by_an_entry_point(installed: Installed) -> None:
    installed.broker("venue-plugin", "local-venue = atf.testing.venue_broker:broker_type")
    registry = BrokerRegistry([Own()], load_broker_types(["paper"]))
    assert registry.names == ["local-venue", "paper"]
    with pytest.raises(InvalidInput, match=r"broker\.url: must be an http URL, got null"):
        registry.check({"type": "local-venue"})
    broker = await registry.open({"type": "local-venue", "url": "http://127.0.0.1:1"}, CONTEXT)
    assert isinstance(broker, LocalVenueBroker)
    await broker.close()


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("broker = 7", "it is no object with the `name`, `check` and `open` of a broker's type"),
        ("raise OSError('gone')", "OSError: gone"),
        (
            "class Odd:\n    name = 'paper'\n    check = open = print\nbroker = Odd()",
            "the broker type 'paper' is defined already",
        ),
    ],
)
def test_a_package_that_does_not_work_is_left_out_and_named(installed: Installed, source: str, why: str) -> None:
    installed.broker("odd-plugin", "odd = atf_test_odd:broker", atf_test_odd=source)
    loaded = load_broker_types(["paper"])
    assert loaded.found == ()
    (problem,) = BrokerRegistry([Own()], loaded).problems
    assert problem == f"the plug-in 'odd' (atf_test_odd:broker) of odd-plugin is left out: {why}"
