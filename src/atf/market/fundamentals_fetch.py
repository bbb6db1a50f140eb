"""Fetching fundamentals: one symbol after another from a provider into the store, each stored as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from atf.errors import AtfError, ConfigurationError, TemporaryFailure
from atf.market.fundamentals import Fundamentals
from atf.market.provider import FundamentalsProvider
from atf.market.provider_lane import ProviderLane

_TRIES: Final = 4
_LONGEST_PAUSE: Final = 60.0
_FAILED_IN_A_ROW: Final = 3
"""After so many symbols in a row for which all tries failed, the others are asked for once each."""

Sleep = Callable[[float], Awaitable[None]]
Outcome = Fundamentals | AtfError


class FundamentalsStore(Protocol):
    """Where fundamentals are kept."""

    async def load(self, rows: Sequence[Fundamentals], *, source: str) -> int:
        """Store rows, all or none, and return how many."""
        ...


class FundamentalsFetcher:
    """Asks a provider within the bounds of its lane, and waits as long as it asks for."""

    def __init__(
        self,
        lane: ProviderLane,
        provider: FundamentalsProvider,
        store: FundamentalsStore,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._lane = lane
        self._provider = provider
        self._store = store
        self._sleep = sleep
        self._failed_in_a_row = 0

    async def fetch(
        self, symbols: Sequence[str], *, on_symbol: Callable[[], None] = lambda: None
    ) -> dict[str, Outcome]:
        """Fetch and store each symbol, and return what was stored of it or why it could not be fetched.

        ``on_symbol`` is called after each. What was stored before an interruption stays.

        Errors: ConfigurationError, which would come for every symbol; what the store raises.
        """
        found: dict[str, Outcome] = {}
        for symbol in dict.fromkeys(symbols):
            outcome = found[symbol] = await self._outcome(symbol)
            if isinstance(outcome, Fundamentals):
                await self._store.load([outcome], source=self._provider.name)
            on_symbol()
        return found

    async def _outcome(self, symbol: str) -> Outcome:
        """Return what came of a symbol; one that failed is told at the end, as others may work."""
        try:
            outcome: Outcome = await self._patiently(symbol)
        except ConfigurationError:
            raise
        except AtfError as exc:
            outcome = exc
        has_no_answer = isinstance(outcome, TemporaryFailure)
        self._failed_in_a_row = self._failed_in_a_row + 1 if has_no_answer else 0
        return outcome

    async def _patiently(self, symbol: str) -> Fundamentals:
        """Ask, again after a pause if the provider cannot answer now, unless it has not for a while."""
        tries = _TRIES if self._failed_in_a_row < _FAILED_IN_A_ROW else 1
        for number in range(1, tries + 1):
            try:
                async with self._lane.asking():
                    return await self._provider.fundamentals(symbol)
            except TemporaryFailure as exc:
                if number == tries:
                    raise
                await self._sleep(min(exc.retry_after_seconds or 2.0 ** (number - 1), _LONGEST_PAUSE))
        raise AssertionError("the last try either answers or raises")
