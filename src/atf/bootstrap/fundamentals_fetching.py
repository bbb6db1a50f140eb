"""What the command that fetches fundamentals needs: universes and a table on one side, providers on the other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from atf.bootstrap.providers import OpenProviders, open_providers
from atf.bootstrap.universes import UniversesClient, open_universes
from atf.market.fundamentals_fetch import FundamentalsFetcher, Outcome
from atf.market.symbols import canonical
from atf.settings import Settings


@dataclass(frozen=True, slots=True)
class FetchingClient:
    """Brings fundamentals of providers into the table."""

    universes: UniversesClient
    providers: OpenProviders

    async def wanted(self, symbols: Sequence[str], universe: str | None) -> Sequence[str]:
        """Return symbols in ATF's spelling, each once, or those of a universe today.

        Errors: InvalidInput for what is no symbol; NotFound if there is no such universe.
        """
        if universe is not None:
            return await self.universes.members(universe, None)
        return list(dict.fromkeys(map(canonical, symbols)))

    async def fetch(
        self, source: str, symbols: Sequence[str], *, on_symbol: Callable[[], None] = lambda: None
    ) -> Mapping[str, Outcome]:
        """Fetch and store symbols as ``FundamentalsFetcher.fetch`` does.

        Errors: InvalidInput for a provider that has none, besides its own.
        """
        lane, provider = self.providers.fundamentals(source)
        fetcher = FundamentalsFetcher(lane, provider, self.universes.fundamentals)
        return await fetcher.fetch(symbols, on_symbol=on_symbol)


@asynccontextmanager
async def open_fetching(settings: Settings, user: str = "owner") -> AsyncIterator[FetchingClient]:
    """Open the configured database as a user, and the providers. Errors: NotFound if there is no such user."""
    async with open_universes(settings, user) as universes, open_providers(settings) as providers:
        yield FetchingClient(universes, providers)
