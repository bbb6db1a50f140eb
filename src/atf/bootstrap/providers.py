"""The sources of bars that the settings name."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack
from typing import Any, Final

from atf.adapters.providers.binance_stream import BinanceBarStream
from atf.adapters.providers.ccxt_exchange import CcxtBarProvider
from atf.adapters.providers.files import FilesBarProvider
from atf.adapters.providers.simulated import SimulatedBarProvider
from atf.adapters.providers.streamed import StreamedBarProvider
from atf.adapters.providers.yahoo import YahooBarProvider
from atf.errors import ConfigurationError, InvalidInput
from atf.market.chains import Chains
from atf.market.patterns import Patterns
from atf.market.provider import BarProvider
from atf.market.provider_lane import ProviderLane
from atf.market.symbols import canonical
from atf.settings import Settings

OWN_PROVIDERS: Final = ("files", "yahoo", "simulated", "binance-stream")
"""Those that are no exchange of ccxt."""


async def build_chains(settings: Settings, stack: AsyncExitStack, more: Iterable[str] = ()) -> Chains:
    """Return the chains of the settings; ``more`` names providers that are wanted besides.

    Providers are closed with the stack. Nothing is connected before it is asked for bars.

    Errors: ConfigurationError for a setting that names what there is not.
    """
    default = named_in(settings.providers)
    by_symbol = _patterns(settings.symbol_providers, "symbol_providers")
    names = dict.fromkeys([*default, *sorted(by_symbol.values()), *more])
    lanes = [ProviderLane(await opened(build_provider(name, settings), stack)) for name in names]
    return Chains(lanes, default, by_symbol)


def named_in(text: str) -> list[str]:
    """Return the names of a list with commas, each once."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def calendar_overrides(settings: Settings) -> Patterns:
    """Return which calendars the settings choose. Errors: ConfigurationError."""
    return _patterns(settings.symbol_calendars, "symbol_calendars")


def build_provider(name: str, settings: Settings) -> BarProvider:
    """Return a provider by its name; any other than our own is an exchange of ccxt."""
    match name:
        case "files":
            return FilesBarProvider(settings.data_files_folder)
        case "yahoo":
            return YahooBarProvider()
        case "simulated":
            return SimulatedBarProvider(settings.simulation_seed)
        case "binance-stream":
            return StreamedBarProvider(CcxtBarProvider("binance"), BinanceBarStream())
        case _:
            return CcxtBarProvider(name)


async def opened(provider: BarProvider, stack: AsyncExitStack) -> BarProvider:
    """Let a provider be closed with the stack, if it holds connections."""
    close: Any = getattr(provider, "aclose", None)
    if close is not None:
        stack.push_async_callback(close)
    return provider


def _patterns(text: str, field: str) -> Patterns:
    try:
        return Patterns.parse(text, field=field, spelled=canonical)
    except InvalidInput as exc:
        raise ConfigurationError(f"setting {exc}") from exc
