"""Candles with volume as a PNG, drawn by matplotlib without a screen.

Matplotlib is an extra and slow to load: it is imported when the first chart is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from atf.adapters.charts.figures import empty_figure, require_png, save
from atf.market.bars import Bars, FloatArray
from atf.market.report_sentences import said

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_UP: Final = "#1b9e77"
_DOWN: Final = "#d95f02"
_BODY: Final = 0.35
"""Half the width of a candle, in bars."""
_LABELS: Final = 8
_INCHES: Final = (12.0, 7.0)


def draw_candles(path: Path, bars: Bars, title: str, lines: Mapping[str, FloatArray] | None = None) -> None:
    """Write a PNG of bars, one after the other without the gaps of nights and weekends.

    ``lines`` are drawn over the prices, by their names in the legend; a bar with a missing price has no candle.

    Shape:  each line as long as the bars.
    Errors: ConfigurationError without the extra; InvalidInput if the file cannot be written or is no .png.
    """
    require_png(path)
    prices, volumes, figure = _two_axes(title)
    draw_prices(prices, bars)
    _draw_volumes(volumes, bars)
    for name, values in (lines or {}).items():
        prices.plot(np.arange(len(bars)), values, linewidth=1.0, label=name)
    if lines:
        prices.legend(loc="upper left")
    _label_times(volumes, bars)
    save(figure, path)


def _two_axes(title: str) -> tuple[Axes, Axes, Figure]:
    figure = empty_figure(_INCHES)
    prices, volumes = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    prices.set_title(title, loc="left")
    volumes.set_ylabel("volume")
    for axes in (prices, volumes):
        axes.grid(visible=True, alpha=0.3)
    return prices, volumes, figure


def draw_prices(axes: Axes, bars: Bars) -> None:
    """Draw candles, one bar a unit of the axis; a bar with a missing price has none."""
    from matplotlib.collections import LineCollection, PolyCollection

    whole = np.isfinite(bars.open + bars.high + bars.low + bars.close)
    at = np.flatnonzero(whole).astype(np.float64)
    colors = _colors(bars)[whole]
    wicks = np.stack([np.column_stack([at, bars.low[whole]]), np.column_stack([at, bars.high[whole]])], axis=1)
    axes.add_collection(LineCollection(list(wicks), colors=list(colors), linewidths=0.8))
    bodies = _boxes(at, bars.open[whole], bars.close[whole])
    # The edges keep a body visible where open and close are the same.
    paint = list(colors)
    axes.add_collection(PolyCollection(list(bodies), facecolors=paint, edgecolors=paint, linewidths=0.8))
    axes.autoscale_view()


def _draw_volumes(axes: Axes, bars: Bars) -> None:
    from matplotlib.collections import PolyCollection

    known = np.isfinite(bars.volume)
    at, volume = np.flatnonzero(known).astype(np.float64), bars.volume[known]
    boxes = _boxes(at, np.zeros(len(at)), volume)
    axes.add_collection(PolyCollection(list(boxes), facecolors=list(_colors(bars)[known])))
    axes.set_xlim(-1, max(1, len(bars)))
    axes.set_ylim(0, float(volume.max(initial=0.0)) * 1.05 or 1.0)


def _boxes(at: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """Return the corners of a box a bar. Shape: (n,) each -> (n, 4, 2)."""
    left, right = at - _BODY, at + _BODY
    corners = [(left, low), (left, high), (right, high), (right, low)]
    return np.stack([np.column_stack(corner) for corner in corners], axis=1)


def _colors(bars: Bars) -> Any:
    return np.where(bars.close >= bars.open, _UP, _DOWN)


def _label_times(axes: Axes, bars: Bars) -> None:
    if len(bars):
        places = np.unique(np.linspace(0, len(bars) - 1, _LABELS).round().astype(int))
        axes.set_xticks(places, [said(bars.time_at(int(place))) for place in places])
