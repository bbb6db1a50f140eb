"""The sources of bars that the settings name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from difflib import get_close_matches
from typing import Any, Final

from atf.adapters.calendars.exchange_calendars import ExchangeCalendars
from atf.adapters.providers.binance_stream import BinanceBarStream
from atf.adapters.providers.ccxt_client import exchange_names
from atf.adapters.providers.ccxt_exchange import CcxtBarProvider
from atf.adapters.providers.files import FilesBarProvider
from atf.adapters.providers.simulated import SimulatedBarProvider
from atf.adapters.providers.streamed import StreamedBarProvider
from atf.adapters.providers.yahoo import YahooBarProvider
from atf.adapters.providers.yahoo_fundamentals import YahooFundamentals
from atf.errors import ConfigurationError, InvalidInput, shown
from atf.market.chains import Chains
from atf.market.due_bars import DueBars
from atf.market.patterns import Patterns
from atf.market.provider import BarProvider, FundamentalsProvider
from atf.market.provider_lane import ProviderLane
from atf.market.symbols import canonical
from atf.settings import Settings

OWN_PROVIDERS: Final = ("files", "yahoo", "simulated", "binance-stream")
"""All providers but for the exchanges of ccxt."""


class OpenProviders:
    """The providers of a process, each opened once: its limits hold for everybody here who asks it.

    ``calendars``, and ``due``, which knows those of symbols, are for whoever else in the process needs them, as
    loading one takes time.

    Errors: ConfigurationError if the settings choose calendars in a text that cannot be read.
    """

    def __init__(self, settings: Settings, stack: AsyncExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self._lanes: dict[str, ProviderLane] = {}
        self._providers: dict[str, BarProvider] = {}
        self.calendars = ExchangeCalendars()
        self.due = DueBars(self.calendars, calendar_overrides(settings))

    def lane(self, name: str) -> ProviderLane:
        """Return the way to a provider; it is closed with the stack, and connects when it is first asked."""
        if name not in self._lanes:
            self._lanes[name] = ProviderLane(self.provider(name))
        return self._lanes[name]

    def provider(self, name: str) -> BarProvider:
        """Return the provider itself, for what only this one can tell."""
        if name not in self._providers:
            provider = self._providers[name] = _built(name, self._settings, self.due)
            close: Any = getattr(provider, "aclose", None)
            if close is not None:
                self._stack.push_async_callback(close)
        return self._providers[name]

    def fundamentals(self, name: str) -> tuple[ProviderLane, FundamentalsProvider]:
        """Return who knows fundamentals under a name, and the way to it, which its bars go as well.

        Errors: InvalidInput for a name that is not one of them.
        """
        provider = self.provider(name) if name == YahooBarProvider.name else None
        if not isinstance(provider, YahooBarProvider):
            raise InvalidInput(
                f"{shown(name)} gives no fundamentals; {YahooBarProvider.name} does", field="--provider"
            )
        return self.lane(name), YahooFundamentals(provider.client)

    def chains(self) -> Chains:
        """Return the chains of the settings. Errors: ConfigurationError for a pattern that is none."""
        default = named_in(self._settings.providers)
        by_symbol = _patterns(self._settings.symbol_providers, "symbol_providers")
        names = dict.fromkeys([*default, *sorted(by_symbol.values())])
        return Chains([self.lane(name) for name in names], default, by_symbol)


@asynccontextmanager
async def open_providers(settings: Settings) -> AsyncIterator[OpenProviders]:
    """Open the providers of a process; they are closed at the end."""
    async with AsyncExitStack() as stack:
        yield OpenProviders(settings, stack)


async def require_provider(name: str | None, *, field: str) -> None:
    """Return if there are bars under a name, or if none is given; only names of exchanges load ccxt.

    Errors: InvalidInput with the field, for exchanges also without the extra that knows them.
    """
    if name is None or name in OWN_PROVIDERS:
        return
    own = ", ".join(OWN_PROVIDERS)
    try:
        exchanges = await exchange_names()
    except ConfigurationError as exc:
        raise InvalidInput(f"{shown(name)} is not one of {own}; {exc}", field=field) from exc
    if name not in exchanges:
        near = get_close_matches(name, [*OWN_PROVIDERS, *sorted(exchanges)], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InvalidInput(
            f"{shown(name)} is not one of {own} and the exchanges of ccxt, such as binance{hint}", field=field
        )


def named_in(text: str) -> list[str]:
    """Return the names of a list with commas, each once."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def calendar_overrides(settings: Settings) -> Patterns:
    """Return which calendars the settings choose. Errors: ConfigurationError."""
    return _patterns(settings.symbol_calendars, "symbol_calendars")


def _built(name: str, settings: Settings, due: DueBars) -> BarProvider:
    """Return a provider by its name; any other than our own is an exchange of ccxt."""
    match name:
        case "files":
            return FilesBarProvider(settings.data_files_folder, due)
        case "yahoo":
            return YahooBarProvider(cache_folder=settings.home / "cache" / "yfinance")
        case "simulated":
            return SimulatedBarProvider(settings.simulation_seed)
        case "binance-stream":
            return StreamedBarProvider(CcxtBarProvider("binance"), BinanceBarStream())
        case _:
            return CcxtBarProvider(name)


def _patterns(text: str, field: str) -> Patterns:
    try:
        return Patterns.parse(text, field=field, spelled=canonical)
    except InvalidInput as exc:
        raise ConfigurationError(f"setting {exc}") from exc
