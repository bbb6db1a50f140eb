"""Pictures of when an alert would have fired, drawn by the real library."""

from __future__ import annotations

import struct
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection

from atf.adapters.charts.alert_chart import MOST_CANDLES, alert_figure, draw_alert
from atf.adapters.charts.alert_panels import panels_of
from atf.alerts.alert import parse_alert
from atf.alerts.preview import Previewed, preview_on
from atf.errors import ConfigurationError, InvalidInput
from atf.market.bars import Bars

FIRST = datetime(2020, 1, 6, tzinfo=UTC)
DAY = timedelta(days=1)
LEVEL = {"indicator": "price", "operator": ">", "value": 105}
RSI = {"indicator": "rsi", "operator": "<", "value": 40}
CROSS = {
    "indicator": "sma",
    "params": {"period": 5},
    "operator": "crosses_above",
    "value": {"indicator": "sma", "params": {"period": 20}},
}
LOUD = {
    "indicator": "volume",
    "operator": ">",
    "value": {"indicator": "sma", "params": {"period": 5, "source": "volume"}},
}


def previewed(rule: dict[str, Any], count: int, since: datetime | None = None, **rearm: Any) -> Previewed:
    alert = parse_alert({"ticker": "T", "timeframe": "1d", "rule": rule, "rearm": rearm or {"type": "edge"}})
    closes = [100 + 10 * np.sin(n / 9) for n in range(count)]
    rows = [
        (FIRST + n * DAY, c - np.cos(n), c + 2, c - 2, c, 1e6 + 1e5 * np.sin(n)) for n, c in enumerate(closes)
    ]
    return preview_on(alert, Bars.from_rows(rows), FIRST + 10_000 * DAY, since)


def marks(axes: Axes) -> list[float]:
    """The places of the triggers' marks."""
    (found,) = [one for one in axes.collections if str(one.get_label()).startswith("trigger")]
    assert isinstance(found, PathCollection)
    return [float(place) for place, _ in np.asarray(found.get_offsets())]


def legend(axes: Axes) -> list[str]:
    found = axes.get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


@pytest.mark.parametrize("rule", [LEVEL, RSI, CROSS, LOUD])
@pytest.mark.parametrize("count", [120, 900])
def test_every_trigger_has_its_mark_above_its_bar(rule: dict[str, Any], count: int) -> None:
    found = previewed(rule, count)
    assert found.preview.triggers
    places = [(trigger.bar_time - FIRST) / DAY for trigger in found.preview.triggers]
    assert marks(alert_figure(found.trace).axes[0]) == places


@pytest.mark.parametrize("count", [1, 50, 2_000])
def test_a_picture_is_a_png_of_a_sensible_size(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.png"
    draw_alert(path, previewed(RSI, count).trace)
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack("!II", data[16:24]) == (1400, 840)
    assert 10_000 < len(data) < 500_000


def test_few_bars_are_candles_and_many_a_line() -> None:
    few, many = (
        alert_figure(previewed(LEVEL, count).trace).axes[0] for count in (MOST_CANDLES, MOST_CANDLES + 1)
    )
    assert any(isinstance(one, PolyCollection) for one in few.collections)
    assert "close" not in legend(few)
    assert not any(isinstance(one, PolyCollection) for one in many.collections)
    assert "close" in legend(many)


def test_levels_and_where_they_re_arm_are_named_in_the_legend() -> None:
    axes = alert_figure(previewed(LEVEL, 100, type="hysteresis", threshold=0.1).trace).axes[0]
    assert legend(axes)[:2] == ["close > 105", "re-arms at close <= 94.5"]
    moving = {"indicator": "price", "operator": ">", "value": {"indicator": "sma", "params": {"period": 5}}}
    axes = alert_figure(previewed(moving, 100, type="crossing").trace).axes[0]
    assert legend(axes)[:2] == ["sma(5)", "close re-arms"]


def test_a_level_that_is_far_away_does_not_squash_the_prices() -> None:
    axes = alert_figure(previewed({**LEVEL, "value": 5000}, 100).trace).axes[0]
    assert axes.get_ylim()[1] < 130
    assert legend(axes)[0] == "close > 5000 (outside of the picture)"


def test_what_is_on_another_scale_has_a_panel_of_its_own_with_its_level() -> None:
    rule = {"operator": "and", "conditions": [RSI, {**RSI, "operator": ">", "value": 5}, CROSS, LOUD]}
    figure = alert_figure(previewed(rule, 200).trace)
    price, rsi, volume = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["price", "rsi(14)", "volume"]
    assert legend(price)[:2] == ["sma(5)", "sma(20)"]
    assert legend(rsi) == ["rsi(14)", "rsi(14) < 40", "rsi(14) > 5"]
    assert legend(volume) == ["volume", "sma(5,volume)"]


def test_of_many_indicators_the_first_few_are_drawn() -> None:
    parts = [{"indicator": "rsi", "params": {"period": n}, "operator": "<", "value": 40} for n in range(2, 12)]
    assert len(panels_of(previewed({"operator": "or", "conditions": parts}, 60).trace)) == 5


def test_prices_that_grew_manyfold_are_drawn_on_a_logarithmic_scale() -> None:
    alert = parse_alert({"ticker": "T", "timeframe": "1d", "rule": LEVEL})
    grown = Bars.from_rows([(FIRST + n * DAY, 1.0, 2.0**n, 1.0, 2.0**n, 1.0) for n in range(10)])
    found = preview_on(alert, grown, FIRST + 1000 * DAY)
    assert alert_figure(found.trace).axes[0].get_yscale() == "log"


def test_the_title_says_the_rule_in_words_and_history_is_not_drawn() -> None:
    found = previewed(CROSS, 200, since=FIRST + 100 * DAY)
    figure = alert_figure(found.trace)
    assert len(found.trace.prices) == 200
    count = len(found.preview.triggers)
    assert figure.get_suptitle() == (
        f"T 1d would have triggered {count} times on 100 bars from 2020-04-15 to 2020-07-23\n"
        "sma(5) crosses above sma(20); each time it becomes true"
    )
    assert all(0 <= place < 100 for place in marks(figure.axes[0]))


def test_bars_without_prices_are_drawn_too() -> None:
    alert = parse_alert({"ticker": "T", "timeframe": "1d", "rule": LEVEL})
    nan = float("nan")
    missing = Bars.from_rows([(FIRST + n * DAY, nan, nan, nan, nan, nan) for n in range(3)])
    found = preview_on(alert, missing, FIRST + 1000 * DAY)
    assert alert_figure(found.trace).get_suptitle().startswith("T 1d would not have triggered on 3 bars")


def test_a_file_that_is_no_png_or_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    found = previewed(LEVEL, 5).trace
    with pytest.raises(InvalidInput, match=r"chart: must end in .png, got a.gif"):
        draw_alert(tmp_path / "a.gif", found)
    with pytest.raises(InvalidInput, match=r"chart: .*nowhere/a.png cannot be written: No such file"):
        draw_alert(tmp_path / "nowhere" / "a.png", found)


def test_without_the_extra_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = previewed(LEVEL, 5).trace
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigurationError, match=r"charts need an extra: pip install 'atf\[charts\]'"):
        draw_alert(tmp_path / "a.png", found)


def test_who_draws_nothing_loads_no_matplotlib() -> None:
    code = "import sys, atf.adapters.charts.alert_chart; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
