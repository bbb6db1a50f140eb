"""Chains: which providers are asked for a symbol, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from atf.errors import ConfigurationError
from atf.market.patterns import NO_PATTERNS, Patterns
from atf.market.provider_lane import ProviderLane


class Chains:
    """A default chain, and others for symbols that fit a pattern."""

    def __init__(
        self,
        lanes: Sequence[ProviderLane],
        default: Sequence[str] | None = None,
        by_symbol: Patterns = NO_PATTERNS,
    ) -> None:
        self.lanes = tuple(lanes)
        self._by_name = {lane.name: lane for lane in lanes}
        self._default = self._named([lane.name for lane in lanes] if default is None else default)
        self._by_symbol = by_symbol
        for name in by_symbol.values():
            self._named([name])
        self.of = lru_cache(maxsize=65_536)(self._of)

    def _of(self, symbol: str) -> tuple[ProviderLane, ...]:
        """Return the providers of a symbol, the first counts most."""
        chosen = self._by_symbol.find(symbol)
        return self._named(chosen) if chosen else self._default

    def patterns_of(self, name: str) -> tuple[str, ...]:
        """Return the patterns of symbols whose chain a provider is in."""
        return tuple(pattern for pattern, names in self._by_symbol.entries if name in names)

    def _named(self, names: Sequence[str]) -> tuple[ProviderLane, ...]:
        unknown = [name for name in names if name not in self._by_name]
        if unknown:
            known = ", ".join(self._by_name)
            raise ConfigurationError(f"there is no provider {unknown[0]!r}; there are {known}")
        return tuple(self._by_name[name] for name in names)
