"""What is asked of a configuration beyond its own words: whether what it names is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from atf.errors import InvalidInput, Problems
from atf.market.bars import Timeframe
from atf.market.trading_calendar import TradingCalendars
from atf.trading.bot_config import BotConfig, parse_bot_config


class StrategyCatalogue(Protocol):
    """The strategies that can be run here."""

    def problem(self, name: str, params: Mapping[str, Any]) -> str | None:
        """Return in a sentence why this strategy cannot be run with these parameters, None if it can."""
        ...


class BrokerTypes(Protocol):
    """The types of brokers that can be traded with."""

    def problem(self, options: Mapping[str, Any]) -> InvalidInput | None:
        """Return what is wrong with a configuration's ``broker``; fields are paths within it."""
        ...


class KnownSeries(Protocol):
    """The series of which there are bars."""

    async def require_known(self, symbol: str, timeframe: Timeframe, *, field: str) -> None:
        """Do nothing if somebody has bars of it, or cannot be asked now. Errors: InvalidInput."""
        ...

    def provider_of(self, symbol: str) -> str | None:
        """Return the name of the provider whose bars of a symbol count most; None if there is none."""
        ...


class KnownProviders(Protocol):
    """The names under which there are bars."""

    async def __call__(self, name: str | None, *, field: str) -> None:
        """Do nothing if there is a provider of that name, or none is named. Errors: InvalidInput."""
        ...


@dataclass(frozen=True, slots=True)
class Review:
    """What a configuration says, and what its user should know of it."""

    config: BotConfig
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BotChecks:
    """Looks up what configurations name; what nobody here knows of is not looked up."""

    strategies: StrategyCatalogue | None = None
    brokers: BrokerTypes | None = None
    calendars: TradingCalendars | None = None
    providers: KnownProviders | None = None
    series: KnownSeries | None = None

    async def review(self, document: object) -> Review:
        """Return what a document says. Errors: InvalidInput with all that is wrong, each with its JSON path."""
        config = parse_bot_config(document)
        problems = Problems()
        with problems:
            self._require_strategy(config)
        with problems:
            self._require_broker(config)
        with problems:
            await self._require_calendar(config)
        with problems:
            await self._require_provider(config)
        problems.raise_any()
        return Review(config, await self._warnings(config))

    def _require_strategy(self, config: BotConfig) -> None:
        if self.strategies is None:
            return
        problem = self.strategies.problem(config.strategy.name, config.strategy.params)
        if problem is not None:
            raise InvalidInput(problem, field="strategy")

    def _require_broker(self, config: BotConfig) -> None:
        problem = None if self.brokers is None else self.brokers.problem(config.broker)
        if problem is not None:
            raise _below("broker", problem)

    async def _require_calendar(self, config: BotConfig) -> None:
        if self.calendars is None or config.hours is None or config.hours.calendar is None:
            return
        try:
            await self.calendars.trading_calendar(config.hours.calendar)
        except InvalidInput as exc:
            raise InvalidInput(exc.reason, field="schedule.calendar") from exc

    async def _require_provider(self, config: BotConfig) -> None:
        if self.providers is not None:
            await self.providers(config.data_provider, field="data.provider")
        if config.data_provider is None or self.series is None:
            return
        for symbol in config.symbols:
            giver = self.series.provider_of(symbol)
            if giver != config.data_provider:
                raise InvalidInput(
                    f"by the settings {symbol} comes from {giver or 'nobody'}; name that one, or let "
                    f"ATF_SYMBOL_PROVIDERS or ATF_PROVIDERS begin with {config.data_provider} for it",
                    field="data.provider",
                )

    async def _warnings(self, config: BotConfig) -> tuple[str, ...]:
        """What the providers do not know today they may know when the bot runs, maybe on another machine."""
        if self.series is None:
            return ()
        found = []
        for symbol in config.symbols:
            try:
                await self.series.require_known(symbol, config.timeframe, field="symbol")
            except InvalidInput as exc:
                found.append(exc.reason)
        return tuple(found)


def _below(section: str, problem: InvalidInput) -> InvalidInput:
    first, *others = (
        InvalidInput(one.reason, field=f"{section}.{one.field}" if one.field else section)
        for one in problem.problems
    )
    return InvalidInput(first.reason, field=first.field, others=others)
