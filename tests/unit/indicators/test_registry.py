import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from atf.errors import InvalidInput
from atf.indicators import registry
from atf.indicators.calculations import CALCULATIONS
from atf.indicators.definitions import INDICATORS
from atf.indicators.registry import resolve

FIELD = "rule.conditions[1]"


def test_defaults_are_filled_in() -> None:
    assert resolve("rsi", {}).params == (("period", 14), ("source", "close"))
    assert resolve("macd", {}).params == (("fast", 12), ("slow", 26), ("signal", 9), ("source", "close"))
    assert resolve("bbands", {}).params == (("period", 20), ("stddev", 2.0), ("source", "close"))
    assert resolve("atr", {}).params == (("period", 14),)
    assert resolve("change_pct", {}).params == (("bars", 1), ("source", "close"))
    assert resolve("sma", {}).params == resolve("ema", {}).params == (("period", 20), ("source", "close"))


@pytest.mark.parametrize(("name", "output"), [("macd", "macd"), ("bbands", "middle"), ("rsi", "value")])
def test_first_output_is_the_default(name: str, output: str) -> None:
    assert resolve(name, {}).output == output


def test_equal_requests_are_one_however_they_were_written() -> None:
    written = [resolve("bbands", {"stddev": 2}), resolve("bb", {"period": 20, "stddev": 2.0}, "middle")]
    assert len(set(written)) == 1


@pytest.mark.parametrize(
    ("name", "params", "output", "field", "reason"),
    [
        ("rsii", {}, None, "indicator", "unknown indicator 'rsii'; did you mean 'rsi'?"),
        ("RSI", {}, None, "indicator", "unknown indicator 'RSI'; did you mean 'rsi'?"),
        (
            "zzz",
            {},
            None,
            "indicator",
            f"unknown indicator 'zzz'; known: {', '.join(registry.names())}",
        ),
        (
            "rsi",
            {"perod": 9},
            None,
            "params.perod",
            "unknown parameter 'perod' of rsi; allowed: period, source",
        ),
        (
            "atr",
            {"source": "high"},
            None,
            "params.source",
            "unknown parameter 'source' of atr; allowed: period",
        ),
        ("rsi", {"period": "14"}, None, "params.period", 'must be an integer from 2 to 1000, got "14"'),
        ("rsi", {"period": True}, None, "params.period", "must be an integer from 2 to 1000, got true"),
        ("rsi", {"period": 14.0}, None, "params.period", "must be an integer from 2 to 1000, got 14.0"),
        ("rsi", {"period": None}, None, "params.period", "must be an integer from 2 to 1000, got null"),
        ("rsi", {"period": 1}, None, "params.period", "must be an integer from 2 to 1000, got 1"),
        ("sma", {"period": 0}, None, "params.period", "must be an integer from 1 to 1000, got 0"),
        ("ema", {"period": 1001}, None, "params.period", "must be an integer from 1 to 1000, got 1001"),
        ("bbands", {"stddev": -1}, None, "params.stddev", "must be a number from 0 to 100, got -1"),
        ("bbands", {"stddev": True}, None, "params.stddev", "must be a number from 0 to 100, got true"),
        (
            "bbands",
            {"stddev": float("nan")},
            None,
            "params.stddev",
            "must be a number from 0 to 100, got nan",
        ),
        (
            "sma",
            {"source": "price"},
            None,
            "params.source",
            'must be one of open, high, low, close, volume, got "price"',
        ),
        (
            "sma",
            {"source": ["close"]},
            None,
            "params.source",
            'must be one of open, high, low, close, volume, got ["close"]',
        ),
        ("macd", {"fast": 26, "slow": 12}, None, "params.fast", "must be less than slow (12), got 26"),
        (
            "macd",
            {},
            "histogram",
            "output",
            "unknown output 'histogram' of macd; allowed: macd, signal, hist",
        ),
        ("rsi", [14], None, "params", "must be an object, got [14]"),
        ("rsi", {}, "rsi", "output", "rsi has one output only; leave this out"),
    ],
)
def test_rejected_request_names_the_path_and_what_is_allowed(
    name: str, params: Any, output: str | None, field: str, reason: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve(name, params, output, field=FIELD)
    assert (caught.value.field, caught.value.reason) == (f"{FIELD}.{field}", reason)


def test_path_without_a_prefix_has_no_leading_dot() -> None:
    with pytest.raises(InvalidInput, match=r"^params\.period: must be"):
        resolve("rsi", {"period": 0})


@pytest.mark.parametrize(
    ("name", "params", "window"),
    [
        ("rsi", {}, 500),
        ("sma", {"period": 200}, 4000),
        ("macd", {}, 520),
        ("macd", {"signal": 40}, 800),
        ("change_pct", {"bars": 1000}, 20_000),
    ],
)
def test_window_is_twenty_of_the_longest_period_and_at_least_500(
    name: str, params: dict[str, Any], window: int
) -> None:
    assert registry.window_of(resolve(name, params)) == window


def test_every_definition_has_a_calculation() -> None:
    assert set(CALCULATIONS) == set(registry.names())


def test_names_can_be_checked_without_loading_talib() -> None:
    code = "import sys; import atf.indicators.registry; sys.exit('talib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_indicator_says_in_a_sentence_what_it_tells() -> None:
    for name in registry.names():
        doc = registry.indicator_of(resolve(name, {})).doc
        assert doc.endswith("."), name


def test_names_and_aliases_are_all_different() -> None:
    known = [one for found in INDICATORS for one in (found.name, *found.aliases)]
    assert len(known) == len(set(known))
    assert not {"price", "open", "high", "low", "close", "volume"} & set(known)


def test_every_indicator_has_its_row_in_the_docs() -> None:
    page = (Path(__file__).parents[3] / "docs" / "alerts.md").read_text("utf-8").splitlines()
    for one in INDICATORS:
        params = ", ".join(f"{known.name} {known.default}" for known in one.parameters) or "none"
        row = f"| {one.name} | {params} | {', '.join(one.outputs)} |"
        assert row.replace(".0,", ",").replace(".0 |", " |") in page, row
