"""Brokers, wired: the paper venue, and what other packages bring along."""

from __future__ import annotations

from decimal import Decimal

from atf.adapters.brokers.paper import PaperVenue
from atf.adapters.brokers.paper_type import PAPER, PaperBrokerType
from atf.trading.bot import Bot
from atf.trading.bot_config import BotConfig
from atf.trading.broker import Broker
from atf.trading.broker_registry import BrokerContext, BrokerRegistry, load_broker_types


class RegisteredBrokers:
    """Opens brokers by what a bot's configuration says."""

    def __init__(self, registry: BrokerRegistry) -> None:
        self.registry = registry

    async def open(self, bot: Bot, config: BotConfig) -> Broker:
        """Return the broker of a bot. Errors: InvalidInput; VenueUnavailable."""
        options = dict(config.broker)
        if options.get("type") == PAPER:
            options.setdefault("cash", as_number(config.capital))
        return await self.registry.open(options, BrokerContext(bot.id, bot.user_id))


def as_number(amount: Decimal) -> int | float:
    """Return an amount as JSON has it."""
    return int(amount) if amount == int(amount) else float(amount)


def build_brokers(venue: PaperVenue) -> RegisteredBrokers:
    """Return all types of brokers that are installed."""
    return RegisteredBrokers(BrokerRegistry([PaperBrokerType(venue)], load_broker_types([PAPER])))
