import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.alert_steps import evaluated

from atf.alerts.alert import fresh_state, parse_alert
from atf.alerts.alert_line import config_of_line
from atf.alerts.template_parameters import Amount, Bars, Choice
from atf.alerts.templates import TEMPLATES, from_template, template_named
from atf.errors import InvalidInput
from atf.market.bars import Bars as BarRun
from atf.market.bars import Timeframe
from atf.rules.line_text import line_of

BEGIN = datetime(2027, 3, 1, tzinfo=UTC)
NEEDED = {"price_above": {"level": 5}, "price_below": {"level": 5}}

Row = tuple[float, float, float, float, float]


def flat(*closes: float) -> list[Row]:
    return [(close, close, close, close, 100.0) for close in closes]


def volumes(*values: float) -> list[Row]:
    return [(5.0, 5.0, 5.0, 5.0, value) for value in values]


def opens(*pairs: tuple[float, float]) -> list[Row]:
    return [(first, max(first, last), min(first, last), last, 100.0) for first, last in pairs]


def fired(name: str, rows: Sequence[Row], **params: Any) -> list[int]:
    """Return the numbers of the bars on which the template's alert triggers."""
    timeframe = "1d" if template_named(name).only_timeframe else "1h"
    alert = parse_alert(from_template(name, "T", timeframe, params))
    length = Timeframe(timeframe).length
    bars = BarRun.from_rows([(BEGIN + length * i, *row) for i, row in enumerate(rows)])
    state = fresh_state(alert, BEGIN - timedelta(days=1))
    found = evaluated(alert, state, bars, BEGIN + length * len(rows))
    assert found.bars_evaluated == len(rows)
    return [int((trigger.bar_time - BEGIN) / length) for trigger in found.triggers]


def test_a_breakout_is_a_close_above_the_highs_before() -> None:
    touching = [(5.0, 9.0, 4.0, 5.0, 1.0)] * 3
    assert fired("breakout", [*touching, *flat(9, 9.5, 8)], bars=3) == [4]
    assert fired("breakout", flat(9, 8, 7, 6, 8.9), bars=3) == [4]
    assert fired("breakout", flat(9, 8, 7, 6, 8.9), bars=4) == []


def test_a_breakdown_is_a_close_below_the_lows_before() -> None:
    touching = [(5.0, 9.0, 4.0, 5.0, 1.0)] * 3
    assert fired("breakdown", [*touching, *flat(4, 3.5, 8)], bars=3) == [4]
    assert fired("breakdown", flat(5, 6, 7, 8, 5), bars=4) == []


def test_crosses_of_averages_are_told_from_each_other() -> None:
    rows = flat(9, 8, 7, 6, 8, 9, 9, 5, 4)
    assert fired("golden_cross", rows, fast=2, slow=4) == [5]
    assert fired("death_cross", rows, fast=2, slow=4) == [7]
    assert fired("golden_cross", flat(4, 5, 6, 7, 8, 9), fast=2, slow=4) == []


def test_a_volume_spike_is_measured_on_the_bars_before() -> None:
    assert fired("volume_spike", volumes(10, 10, 10, 20, 10, 31), lookback=3, factor=2) == [5]
    assert fired("volume_spike", volumes(10, 10, 10, 21), lookback=3, factor=2) == [3]


def test_oversold_and_overbought_are_levels_of_the_rsi() -> None:
    down, up = flat(9, 8, 7, 6, 5), flat(5, 6, 7, 8, 9)
    assert fired("oversold", down, period=3) == [3]
    assert fired("oversold", up, period=3) == []
    assert fired("overbought", up, period=3) == [3]
    assert fired("overbought", down, period=3) == []
    assert fired("overbought", flat(5, 6, 5, 6, 5, 6), period=3, level=90) == []


def test_a_channel_is_left_after_it_was_inside() -> None:
    calm = flat(5, 5.1, 5, 5.1, 5, 5.1)
    assert fired("channel_exit", [*calm, *flat(9, 9, 9)], period=6, stddev=2) == [6]
    assert fired("channel_exit", [*calm, *flat(1, 1, 1)], period=6, stddev=2) == [6]
    assert fired("channel_exit", [*calm, *flat(5, 5.1)], period=6, stddev=2) == []


@pytest.mark.parametrize(("direction", "bars"), [("up", [1]), ("down", [3]), ("either", [1, 3])])
def test_a_move_in_a_day_is_up_down_or_either(direction: str, bars: list[int]) -> None:
    assert fired("move_in_a_day", flat(100, 106, 106, 100, 104), percent=5, direction=direction) == bars


@pytest.mark.parametrize(("direction", "bars"), [("up", [1]), ("down", [3]), ("either", [1, 3])])
def test_a_gap_is_between_the_close_and_the_next_open(direction: str, bars: list[int]) -> None:
    rows = opens((100, 100), (102, 110), (110, 100), (97, 97), (97, 120))
    assert fired("gap", rows, percent=2, direction=direction) == bars


def test_a_gap_of_exactly_the_percentage_counts() -> None:
    assert fired("gap", opens((100, 100), (102, 102), (102, 102)), percent=2) == [1]
    assert fired("gap", opens((100, 100), (107, 107), (107, 107)), percent=7) == [1]


def test_price_above_and_below_are_strict() -> None:
    assert fired("price_above", flat(4, 5, 6, 7), level=5) == [2]
    assert fired("price_below", flat(6, 5, 4, 3), level=5) == [2]


@pytest.mark.parametrize("name", [template.name for template in TEMPLATES])
def test_every_template_has_a_line_a_sentence_and_defaults_in_their_ranges(name: str) -> None:
    template = template_named(name)
    config = from_template(name, "AAPL", "1d", NEEDED.get(name))
    assert parse_rule_of(config_of_line(line_of(config))) == parse_rule_of(config)
    assert template.doc.endswith(".")
    for parameter in template.parameters:
        given = NEEDED.get(name, {}).get(parameter.name, parameter.default)
        assert parameter.check(given, "") == given
        assert parameter.doc
        assert parameter.allowed


def parse_rule_of(config: dict[str, Any]) -> Any:
    return parse_alert(config).rule


@pytest.mark.parametrize(
    ("name", "timeframe", "params", "said"),
    [
        ("breakot", "1h", {}, "template: unknown template \"breakot\"; did you mean 'breakout'?"),
        ("xyz", "1h", {}, 'template: unknown template "xyz"; allowed: breakout, breakdown, golden_cross'),
        ("breakout", "1h", {"bar": 3}, "params.bar: unknown parameter of breakout; did you mean 'bars'?"),
        ("breakout", "1h", {"bars": 1}, "params.bars: must be an integer from 2 to 1000, got 1"),
        ("breakout", "1h", {"bars": True}, "params.bars: must be an integer from 2 to 1000, got true"),
        ("breakout", "2h", {}, "timeframe: "),
        ("golden_cross", "1h", {"fast": 200}, "params.fast: must be less than slow (200), got 200"),
        ("price_above", "1h", {}, "params.level: is missing; give a number above 0, up to 1e+12"),
        ("price_above", "1h", {"level": 0}, "params.level: must be a number above 0, up to 1e+12, got 0"),
        ("price_above", "1h", {"level": math.nan}, "params.level: must be a number above 0, up to 1e+12, got n"),
        ("price_above", "1h", {"level": 10**400}, "params.level: must be a number above 0"),
        ("price_above", "1h", {"level": "5"}, 'params.level: must be a number above 0, up to 1e+12, got "5"'),
        ("gap", "1h", {"direction": "left"}, 'params.direction: must be one of up, down, either; got "left"'),
        ("move_in_a_day", "1h", {"percent": -1}, "timeframe: must be 1d for move_in_a_day, got \"1h\"; params"),
    ],
)  # fmt: skip
def test_what_a_template_cannot_take_is_refused(
    name: str, timeframe: str, params: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        from_template(name, "AAPL", timeframe, params)
    assert said in str(refused.value)


def test_kinds_of_parameters_are_told_apart() -> None:
    kinds = {type(parameter) for template in TEMPLATES for parameter in template.parameters}
    assert kinds == {Bars, Amount, Choice}
