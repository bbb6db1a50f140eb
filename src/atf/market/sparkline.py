"""A line of prices in one line of text. Pure; needs nothing but a terminal that knows Unicode blocks."""

from __future__ import annotations

from typing import Final

import numpy as np

from atf.market.bars import FloatArray

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_MISSING: Final = " "


def sparkline(values: FloatArray, width: int = 80) -> str:
    """Return values as blocks of eight heights, the lowest to the highest; missing ones are blank.

    More values than ``width`` are put together: each block is the mean of its share.

    Shape: (n,) -> at most ``width`` characters.
    """
    means = [_mean(part) for part in np.array_split(values, min(width, len(values)) or 1)]
    known = [mean for mean in means if mean is not None]
    if not known:
        return _MISSING * len(values[:width])
    low, span = min(known), max(known) - min(known)
    return "".join(_MISSING if mean is None else _BLOCKS[_height(mean - low, span)] for mean in means)


def _height(above: float, span: float) -> int:
    """Return which block; a line that does not move runs in the middle."""
    return round(above / span * (len(_BLOCKS) - 1)) if span else len(_BLOCKS) // 2


def _mean(part: FloatArray) -> float | None:
    known = part[np.isfinite(part)]
    return float(known.mean()) if len(known) else None
