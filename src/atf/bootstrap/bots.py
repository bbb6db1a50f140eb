"""The service of bots, with what it looks up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atf.adapters.brokers.paper import PaperVenue
from atf.adapters.calendars.exchange_calendars import ExchangeCalendars
from atf.bootstrap.brokers import build_brokers
from atf.bootstrap.providers import require_provider
from atf.bootstrap.quotas import default_quotas
from atf.clock import SystemClock
from atf.errors import InvalidInput
from atf.market.data_manager import DataManager
from atf.settings import Settings
from atf.storage.bot_records_repository import PostgresBotRecords
from atf.storage.bots_repository import PostgresBots
from atf.storage.database import Database
from atf.storage.paper_repository import PostgresPaperStore
from atf.trading.bot_checks import BotChecks
from atf.trading.bots_service import BotsService
from atf.trading.strategy_catalogue import StrategyCatalogue


class InstalledStrategies:
    """The strategies of this installation; what their parameters are is for their own process to say."""

    def __init__(self, catalogue: StrategyCatalogue) -> None:
        self._catalogue = catalogue

    def problem(self, name: str, params: Mapping[str, Any]) -> str | None:  # noqa: ARG002 - the port's
        """Return why a strategy cannot be run here, None if it can."""
        try:
            self._catalogue.resolve(name)
        except InvalidInput as exc:
            return exc.reason
        return None


class InstalledBrokers:
    """The types of brokers of this installation; they are loaded when somebody asks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def problem(self, options: Mapping[str, Any]) -> InvalidInput | None:
        """Return what is wrong with a configuration's ``broker``."""
        brokers = build_brokers(PaperVenue(PostgresPaperStore(self._database), SystemClock()))
        try:
            brokers.registry.check(options)
        except InvalidInput as exc:
            first, *others = (InvalidInput(one.reason, field=_within(one.field)) for one in exc.problems)
            return InvalidInput(first.reason, field=first.field, others=others)
        return None


def _within(field: str) -> str:
    return field.removeprefix("broker").removeprefix(".")


def build_bots(
    settings: Settings, database: Database, calendars: ExchangeCalendars, data: DataManager
) -> BotsService:
    """Return the service of bots."""
    checks = BotChecks(
        strategies=InstalledStrategies(StrategyCatalogue(settings.strategies_folder)),
        brokers=InstalledBrokers(database),
        calendars=calendars,
        providers=require_provider,
        series=data,
    )
    return BotsService(PostgresBots(database, default_quotas(settings)), PostgresBotRecords(database), checks)
