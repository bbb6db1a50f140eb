"""Charts of candles, drawn by the real library."""

from __future__ import annotations

import struct
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from atf.adapters.charts.candles import draw_candles
from atf.errors import ConfigurationError, InvalidInput
from atf.market.bars import Bars

FIRST = datetime(2024, 1, 1, tzinfo=UTC)


def some_bars(count: int) -> Bars:
    closes = [100 + 10 * np.sin(n / 9) for n in range(count)]
    return Bars.from_rows(
        [
            (FIRST + timedelta(days=n), close - np.cos(n), close + 2, close - 2, close, 1e6)
            for n, close in enumerate(closes)
        ]
    )


def size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack("!II", data[16:24])
    return width, height


def test_bars_become_a_picture_in_about_a_second(tmp_path: Path) -> None:
    path, bars = tmp_path / "aapl.png", some_bars(250)
    draw_candles(tmp_path / "first.png", bars, "fonts are looked for once")
    begun = time.perf_counter()
    draw_candles(path, bars, "AAPL 1d", {"mean": bars.close})
    # 0.4 s on an idle machine; the bound is wide, as machines that are busy with other tests are slow.
    assert time.perf_counter() - begun < 4
    assert size(path) == (1200, 700)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_bars_are_drawn_too(tmp_path: Path, count: int) -> None:
    draw_candles(tmp_path / "few.png", some_bars(count), "few")
    assert size(tmp_path / "few.png") == (1200, 700)


def test_bars_with_missing_values_are_drawn_without_them(tmp_path: Path) -> None:
    holed = Bars.from_rows([(FIRST + timedelta(days=n), 1.0, 2.0, 1.0, np.nan, np.nan) for n in range(3)])
    draw_candles(tmp_path / "holed.png", holed, "holed")
    assert size(tmp_path / "holed.png") == (1200, 700)


def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"chart: .*nowhere/a.png cannot be written: No such file"):
        draw_candles(tmp_path / "nowhere" / "a.png", some_bars(2), "")
    with pytest.raises(InvalidInput, match=r"chart: must end in .png, got a.gif"):
        draw_candles(tmp_path / "a.gif", some_bars(2), "")


def test_without_the_extra_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigurationError, match=r"charts need an extra: pip install 'atf\[charts\]'"):
        draw_candles(tmp_path / "a.png", some_bars(2), "")


def test_who_draws_nothing_loads_no_matplotlib() -> None:
    code = "import sys, atf.adapters.charts.candles; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
