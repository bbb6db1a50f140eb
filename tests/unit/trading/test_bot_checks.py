"""Whether what a configuration names is there: all that is not is told at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from atf.errors import InvalidInput, shown
from atf.market.bars import Timeframe
from atf.market.continuous_calendars import CurrencyWeek
from atf.market.trading_calendar import TradingCalendar
from atf.trading.bot_checks import BotChecks

CONFIG: dict[str, Any] = {
    "symbols": ["AAPL", "NOBODY"],
    "timeframe": "1h",
    "strategy": {"name": "cross", "params": {"fast": 3}},
    "broker": {"type": "paper"},
    "capital": 100,
    "data": {"provider": "files"},
    "schedule": {"calendar": "24/5"},
}


class Strategies:
    def problem(self, name: str, params: Mapping[str, Any]) -> str | None:
        return None if name == "cross" and params.get("fast") == 3 else f"there is no strategy {name}"


class Brokers:
    def problem(self, options: Mapping[str, Any]) -> InvalidInput | None:
        if options["type"] == "paper":
            return None
        return InvalidInput("is unknown", field="type", others=[InvalidInput("is unknown too", field="key")])


class Calendars:
    async def trading_calendar(self, name: str) -> TradingCalendar:
        if name != "24/5":
            raise InvalidInput(f"{shown(name)} is not a trading calendar", field="calendar")
        return CurrencyWeek()


class Known:
    async def require_known(self, symbol: str, timeframe: Timeframe, *, field: str) -> None:
        if symbol == "NOBODY":
            raise InvalidInput(f"nobody has bars of {symbol} {timeframe}", field=field)

    def provider_of(self, symbol: str) -> str | None:
        return "exchange" if symbol == "BTC/USDT" else "files"


async def providers(name: str | None, *, field: str) -> None:
    if name not in (None, "files"):
        raise InvalidInput("is no provider", field=field)


CHECKS = BotChecks(Strategies(), Brokers(), Calendars(), providers, Known())


async def test_what_is_all_there_is_read_and_unknown_series_are_a_warning() -> None:
    review = await CHECKS.review(CONFIG)
    assert review.config.symbols == ("AAPL", "NOBODY")
    assert review.warnings == ("nobody has bars of NOBODY 1h",)


async def test_all_that_is_not_there_is_told_at_once() -> None:
    wrong = {"strategy": {"name": "cros"}, "broker": {"type": "x"}, "data": {"provider": "x"}}
    with pytest.raises(InvalidInput) as refusal:
        await CHECKS.review({**CONFIG, **wrong, "schedule": {"calendar": "XNYSE"}})
    found = [one.field for one in refusal.value.problems]
    assert found == ["strategy", "broker.type", "broker.key", "schedule.calendar", "data.provider"]


async def test_a_provider_that_the_settings_do_not_ask_first_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"^data.provider: by the settings BTC/USDT comes from exchange; "):
        await CHECKS.review({**CONFIG, "symbols": ["AAPL", "BTC/USDT"]})


async def test_what_nobody_here_knows_of_is_not_looked_up() -> None:
    assert (await BotChecks().review(CONFIG)).warnings == ()
