"""The broker type ``paper``: which account a bot's configuration means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from atf.adapters.brokers.paper import PaperBroker, PaperVenue
from atf.trading.broker_registry import BrokerContext
from atf.trading.paper.options import PaperOptions, parse_paper_options

PAPER: Final = "paper"


class PaperBrokerType:
    """The type ``paper`` of the registry."""

    name = PAPER

    def __init__(self, venue: PaperVenue) -> None:
        self._venue = venue

    def check(self, config: Mapping[str, Any]) -> None:
        """Check a configuration. Errors: InvalidInput."""
        parse_paper_options(config)

    async def open(self, config: Mapping[str, Any], context: BrokerContext) -> PaperBroker:
        """Return the broker of a bot."""
        options = parse_paper_options(config)
        return await self._venue.open(account_name(options, context), options)


def account_name(options: PaperOptions, context: BrokerContext) -> str:
    """Return how the account of a bot is called: nobody can name another user's."""
    if options.account is None:
        return f"bot-{context.bot_id}"
    return f"user-{context.user_id}/{options.account}"
