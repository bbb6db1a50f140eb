"""Indicators of other packages: whoever is installed with an entry point of the group ``atf.indicators``.

An entry point names what ``declaration.indicator`` returns. Each is tried on some bars before it is accepted.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np

from atf.errors import AtfError
from atf.indicators.indicator import Indicator, IndicatorRequest
from atf.market.bars import COLUMNS
from atf.plugins import Loaded, Unusable, load_group, said

GROUP: Final = "atf.indicators"

_RESERVED: Final = frozenset({"price", *COLUMNS})
_TRIED_BEYOND_FIRST: Final = 20
_MOST_FIRST: Final = 5_000


def load_indicators(taken: Collection[str]) -> Loaded[Indicator]:
    """Load all plug-ins, in the order of their names; ``taken`` are the names and aliases that ATF itself has."""

    def accept(plugin: object, before: Sequence[Indicator]) -> Indicator:
        if not isinstance(plugin, Indicator) or plugin.calculation is None:
            raise Unusable("it is not what `atf.indicators.declaration.indicator` makes of a function")
        used = {*taken, *_RESERVED, *(name for other in before for name in (other.name, *other.aliases))}
        for name in (plugin.name, *plugin.aliases):
            if name in used:
                raise Unusable(f"the name '{name}' is used already")
        _try(plugin)
        return plugin

    return load_group(GROUP, accept)


def _try(plugin: Indicator) -> None:
    """Compute the indicator with its defaults on made-up bars, and see that its values begin where it says."""
    request = IndicatorRequest(
        plugin.name, tuple((one.name, one.default) for one in plugin.parameters), plugin.outputs[0]
    )
    first = _first_index(plugin, request)
    if plugin.calculation is None:
        return
    columns = _columns(first + _TRIED_BEYOND_FIRST)
    try:
        outputs = plugin.calculation(tuple(columns[name] for name in plugin.columns_of(request)), request)
    except AtfError as exc:
        raise Unusable(str(exc)) from exc
    for name, values in zip(plugin.outputs, outputs, strict=True):
        known = np.flatnonzero(np.isfinite(values))
        if not known.size or known[0] != first:
            found = f"at {known[0]}" if known.size else "nowhere"
            raise Unusable(f"its first value of '{name}' should be at index {first}, and is {found}")


def _first_index(plugin: Indicator, request: IndicatorRequest) -> int:
    try:
        first = plugin.first_index(request)
    except Exception as exc:
        raise Unusable(f"its `first` failed: {said(exc)}") from exc
    if type(first) is not int or not 0 <= first <= _MOST_FIRST:
        raise Unusable(f"its `first` must be a whole number from 0 to {_MOST_FIRST}, got {first!r}")
    return first


def _columns(count: int) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Return bars that move both ways, so that no indicator divides by nothing."""
    waves = np.sin(np.arange(count + 1) * 0.7) + np.arange(count + 1) * 0.01
    opened, close = 100 + waves[:-1], 100 + waves[1:]
    high, low = np.maximum(opened, close) + 0.5, np.minimum(opened, close) - 0.5
    volume = 1000 + 100 * np.cos(np.arange(count, dtype=np.float64))
    return dict(zip(COLUMNS, (opened, high, low, close, volume), strict=True))
