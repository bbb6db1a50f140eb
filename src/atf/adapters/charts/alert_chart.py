"""When an alert would have fired, as a PNG: prices, levels and indicators, and a mark for each trigger."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Final

import numpy as np

from atf.adapters.charts.alert_panels import PRICE, VOLUME, Panel, panels_of
from atf.adapters.charts.candles import draw_prices
from atf.adapters.charts.figures import empty_figure, label_bars, require_png, save
from atf.alerts.rearming import rearm_words
from atf.alerts.trace import Trace
from atf.market.bars import Bars, FloatArray, TimeArray
from atf.market.report_sentences import said
from atf.rules.words import rule_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CANDLES: Final = 600
"""More bars than this are a line of closes: candles would be narrower than a dot."""
MARK: Final = "trigger"
"""How the triggers are called in the legend, and the label of their marks."""
_PRICE: Final = "#444444"
_MARKED: Final = "#c51b7d"
_LEVEL: Final = "#2166ac"
_LINES: Final = ("#e08214", "#1b7837", "#542788", "#8c510a", "#01665e", "#b2182b")
_WIDTH: Final = 14.0
_PRICE_HEIGHT, _PANEL_HEIGHT = 6.5, 1.9
_MOST_HAIRLINES: Final = 80
_MOST_THICK: Final = 3_000
_FAR: Final = 0.6
"""A level is drawn if it lies no farther from the values than this part of their span."""
_WIDE_SPAN: Final = 8.0
"""Prices that grow by more than this factor are drawn on a logarithmic scale."""
_TITLE_LETTERS: Final = 150


def draw_alert(path: Path, trace: Trace) -> None:
    """Write a PNG of the bars that an alert was stepped through.

    Errors: ConfigurationError without the extra; InvalidInput if the file cannot be written or is no .png.
    """
    require_png(path)
    save(alert_figure(trace), path)


def alert_figure(trace: Trace) -> Figure:
    """Return the picture: the price above, an indicator of another scale in a panel of its own below."""
    panels, part = panels_of(trace), trace.without_history
    prices, fired = trace.prices[part], np.flatnonzero(trace.record.fired[part])
    shares = [_PRICE_HEIGHT, *[_PANEL_HEIGHT] * (len(panels) - 1)]
    figure = empty_figure((_WIDTH, sum(shares)))
    everywhere = figure.subplots(len(panels), 1, sharex=True, height_ratios=shares, squeeze=False)[:, 0].tolist()
    for axes, panel in zip(everywhere, panels, strict=True):
        _draw_panel(axes, panel, prices, fired)
    figure.suptitle(_title(trace, prices), x=0.01, ha="left", fontsize=12)
    everywhere[-1].set_xlim(-1, max(1, len(prices)))
    label_bars(everywhere[-1], prices)
    return figure


def _title(trace: Trace, prices: Bars) -> str:
    count = len(trace.triggers)
    would = {0: "would not have triggered", 1: "would have triggered once"}
    times = would.get(count, f"would have triggered {count:,} times")
    span = ""
    if len(prices):
        first, last = said(prices.time_at(0)), said(prices.time_at(len(prices) - 1))
        span = f" on {len(prices):,} bars from {first} to {last}"
    rule = f"{rule_words(trace.alert.rule)}; {rearm_words(trace.alert.rearm)}"
    return "\n".join([f"{trace.alert.series} {times}{span}", *wrap(rule, _TITLE_LETTERS)])


def _draw_panel(axes: Axes, panel: Panel, prices: Bars, fired: TimeArray) -> None:
    from matplotlib.ticker import EngFormatter

    at = np.arange(len(prices))
    is_price = panel.scale == PRICE
    if is_price:
        _draw_bars(axes, prices)
    axes.set_ylabel("price" if is_price else panel.scale)
    colors = _LINES if is_price or panel.scale == VOLUME else (_PRICE, *_LINES)
    for index, (name, values) in enumerate(panel.lines.items()):
        thickness = 1.2 if len(prices) <= _MOST_THICK else 0.7
        axes.plot(at, values, linewidth=thickness, color=colors[index % len(colors)], label=name)
    _fit(axes, panel, prices)
    _draw_levels(axes, panel)
    _mark(axes, panel, prices, fired)
    axes.grid(visible=True, alpha=0.25)
    if panel.scale == VOLUME:
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    # Above the axes, where it covers nothing.
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=6, fontsize=9, frameon=False, borderpad=0.1)


def _draw_bars(axes: Axes, prices: Bars) -> None:
    if len(prices) > MOST_CANDLES:
        axes.plot(np.arange(len(prices)), prices.close, linewidth=0.9, color=_PRICE, label="close")
    else:
        draw_prices(axes, prices)


def _fit(axes: Axes, panel: Panel, prices: Bars) -> None:
    """Set the scale by what is drawn, and by the levels that are not far from it."""
    drawn = [*panel.lines.values()]
    if panel.scale == PRICE:
        drawn += [prices.close] if len(prices) > MOST_CANDLES else [prices.low, prices.high]
    known = np.concatenate([values[np.isfinite(values)] for values in drawn] or [np.zeros(0)])
    if not len(known):
        return
    low, high = float(known.min()), float(known.max())
    span = (high - low) or abs(high) * 0.1 or 1.0
    levels = [
        *(level for each in panel.levels.values() for level in each),
        *_ends(edge for edges in panel.rearms.values() for edge in edges),
    ]
    near = [level for level in levels if low - _FAR * span <= level <= high + _FAR * span]
    low, high = min([low, *near]), max([high, *near])
    if panel.scale == PRICE and low > 0 and high / low > _WIDE_SPAN:
        from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0, 7.0)))
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
        margin = (high / low) ** 0.06
        axes.set_ylim(low / margin, high * margin)
    else:
        margin = 0.07 * ((high - low) or span)
        axes.set_ylim(low - margin, high + margin)


def _ends(lines: Iterable[FloatArray]) -> list[float]:
    known = [line[np.isfinite(line)] for line in lines]
    return [float(end) for line in known if len(line) for end in (line.min(), line.max())]


def _draw_levels(axes: Axes, panel: Panel) -> None:
    low, high = axes.get_ylim()
    for words, levels in panel.levels.items():
        is_seen = any(low <= level <= high for level in levels)
        name = words if is_seen else f"{words} (outside of the picture)"
        for index, level in enumerate(levels):
            axes.axhline(level, color=_LEVEL, linestyle="--", linewidth=1.3, label=name if index == 0 else None)
    for words, edges in panel.rearms.items():
        for index, edge in enumerate(edges):
            label = words if index == 0 else None
            axes.plot(np.arange(len(edge)), edge, color=_LEVEL, linestyle=":", linewidth=1.1, label=label)
    axes.set_ylim(low, high)


def _mark(axes: Axes, panel: Panel, prices: Bars, fired: TimeArray) -> None:
    if len(fired) <= _MOST_HAIRLINES:
        for place in fired.tolist():
            axes.axvline(place, color=_MARKED, linewidth=0.8, alpha=0.3, zorder=0)
    if panel.scale != PRICE:
        for name in panel.watched:
            size = 16 if len(fired) <= _MOST_HAIRLINES else 6
            axes.scatter(fired, panel.lines[name][fired], s=size, color=_MARKED, zorder=5)
        return
    tops = prices.close if len(prices) > MOST_CANDLES else np.fmax(prices.high, prices.close)
    size = 70 if len(fired) <= _MOST_HAIRLINES else 24
    offset = _points_up(axes, 9 if len(fired) <= _MOST_HAIRLINES else 6)
    axes.scatter(
        fired,
        tops[fired],
        s=size,
        marker="v",
        color=_MARKED,
        edgecolors="white",
        linewidths=0.6,
        zorder=6,
        transform=offset,
        label=f"{MARK} ({len(fired):,})",
    )


def _points_up(axes: Axes, points: float) -> object:
    """Return the axes' own transformation, moved up: marks stand above the bars on any scale."""
    from matplotlib.transforms import ScaledTranslation

    figure = axes.get_figure()
    assert figure is not None  # noqa: S101  (axes are made by a figure)
    return axes.transData + ScaledTranslation(0, points / 72, figure.dpi_scale_trans)
