"""Settings that choose by symbol, such as ``*/USDT=binance,kraken; AAPL=yahoo``. Pure.

The first pattern that fits counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from atf.errors import InvalidInput, shown

_WILDCARDS: Final = frozenset("*?[")
_EXAMPLE: Final = "such as */USDT=binance,kraken; AAPL=yahoo"


@dataclass(frozen=True, slots=True)
class Patterns:
    """Patterns of symbols and what each chooses, in the order in which they are tried."""

    entries: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def parse(cls, text: str, *, field: str, spelled: Callable[[str], str] = str.upper) -> Patterns:
        """Return what a text says: ``PATTERN=VALUE,VALUE`` with ``;`` between; an empty text has no patterns.

        ``*``, ``?`` and ``[...]`` are wildcards. A pattern without one is a symbol, and ``spelled`` gives it the
        spelling in which symbols are looked up.

        Errors: InvalidInput with the given ``field``.
        """
        parts = [part.strip() for part in text.split(";")]
        entries = tuple(_entry(part, field, spelled) for part in parts if part)
        patterns = [pattern for pattern, _ in entries]
        for at, pattern in enumerate(patterns):
            if pattern in patterns[:at]:
                raise InvalidInput(f"has {shown(pattern)} twice; give each pattern once", field=field)
        return cls(entries)

    def find(self, symbol: str) -> tuple[str, ...]:
        """Return what the first fitting pattern chooses; nothing if none fits."""
        return next((values for pattern, values in self.entries if fnmatchcase(symbol, pattern)), ())

    def values(self) -> frozenset[str]:
        """Return everything that is ever chosen, to check that it exists."""
        return frozenset(value for _, values in self.entries for value in values)


NO_PATTERNS: Final = Patterns()


def _entry(part: str, field: str, spelled: Callable[[str], str]) -> tuple[str, tuple[str, ...]]:
    # The last =, as symbols of some providers have one themselves: EURUSD=X, ES=F.
    pattern, equals, chosen = (word.strip() for word in part.rpartition("="))
    values = tuple(value.strip() for value in chosen.split(","))
    if not equals or not pattern or not all(values):
        raise InvalidInput(f"{shown(part)} is not PATTERN=VALUE,VALUE, {_EXAMPLE}", field=field)
    if not _WILDCARDS.isdisjoint(pattern):
        return pattern.upper(), values
    try:
        return spelled(pattern), values
    except InvalidInput as exc:
        raise InvalidInput(f"{shown(part)}: {exc.reason}", field=field) from exc
