"""Pictures as PNG files, made by matplotlib without a screen, and their axis of bars.

Matplotlib is an extra and slow to load: it is imported when the first picture is made.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from atf.errors import ConfigurationError, InvalidInput
from atf.market.bars import Bars, TimeArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_LABELS: Final = 12
_WEEK: Final = 7
_PERIODS: Final = (
    ("h", 1, "%d %b %H:%M"),
    ("h", 4, "%d %b %H:%M"),
    ("D", 1, "%d %b %Y"),
    ("D", _WEEK, "%d %b %Y"),
    ("M", 1, "%b %Y"),
    ("M", 3, "%b %Y"),
    ("M", 6, "%b %Y"),
    ("Y", 1, "%Y"),
    ("Y", 2, "%Y"),
    ("Y", 5, "%Y"),
    ("Y", 10, "%Y"),
)
"""Lengths of time that may lie between labels, shortest first: unit, how many of it, and how they are written."""


def require_png(path: Path) -> None:
    """Refuse any other kind of file. Errors: InvalidInput."""
    if path.suffix.lower() != ".png":
        raise InvalidInput(f"must end in .png, got {path.name}", field="chart")


def empty_figure(inches: tuple[float, float]) -> Figure:
    """Return a picture without anything in it. Errors: ConfigurationError without the extra."""
    try:
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise ConfigurationError("charts need an extra: pip install 'atf[charts]'") from exc
    # Not by pyplot, which keeps every figure and looks for a screen.
    return Figure(figsize=inches, layout="constrained")


def save(figure: Figure, path: Path) -> None:
    """Write a picture, 100 dots an inch. Errors: InvalidInput."""
    try:
        figure.savefig(path, format="png", dpi=100)
    except OSError as exc:
        raise InvalidInput(f"{path} cannot be written: {exc.strerror}", field="chart") from exc


def label_bars(axes: Axes, bars: Bars) -> None:
    """Label an axis on which bars stand side by side: the first bar of each day, month or year as they fit."""
    places, style = _labelled(bars)
    axes.set_xticks(places, [f"{bars.time_at(int(place)):{style}}" for place in places])


def _labelled(bars: Bars) -> tuple[TimeArray, str]:
    """Return which bars are labelled, and how."""
    times = bars.open_time.astype("datetime64[ns]")
    for unit, step, style in _PERIODS:
        # Three days more, as 1970 began on a Thursday and weeks begin on Mondays.
        days_more = 3 if step == _WEEK else 0
        period = (times.astype(f"datetime64[{unit}]").astype(np.int64) + days_more) // step
        places = np.flatnonzero(np.diff(period)) + 1
        if 1 < len(places) <= _MOST_LABELS:
            return places, style
    few = max(1, len(bars) // 4)
    return np.arange(len(bars))[::few], "%d %b %Y %H:%M"
