"""A trace tells of each bar what evaluating bar by bar left behind."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.alert_steps import evaluated
from tests.alert_traces import ABOVE_5, BEGIN, HOUR, alert_of, bars_of, traced

from atf.alerts.alert import fresh_state
from atf.alerts.state import AlertStatus
from atf.market.bars import Bars

RULES: list[dict[str, Any]] = [
    ABOVE_5,
    {"indicator": "price", "operator": "crosses", "value": {"indicator": "sma", "params": {"period": 3}}},
    {"operator": "not", "conditions": [{"indicator": "price", "operator": "enters", "value": [5, 6]}]},
]
REARMS: list[dict[str, Any]] = [
    {"type": "edge", "cooldown": 7200},
    {"type": "persistence", "bars": 2},
    {"type": "hysteresis", "threshold": 0.1},
    {"type": "crossing"},
]


@given(
    st.sampled_from(RULES),
    st.sampled_from(REARMS),
    st.lists(st.sampled_from([None, 4.0, 5.0, 6.0]), min_size=1, max_size=25),
    st.integers(0, 5),
)
def test_each_bar_has_the_states_before_and_after_it_and_its_trigger(
    rule: dict[str, Any], rearm: dict[str, Any], closes: list[float | None], history: int
) -> None:
    alert, bars = alert_of(rule, rearm=rearm), bars_of(closes)
    found, state = traced(alert, bars, history), fresh_state(alert, BEGIN + HOUR * history)
    fired = {trigger.bar_time for trigger in found.triggers}
    for index in range(len(bars)):
        step = evaluated(alert, state, bars[: index + 1], BEGIN + HOUR * (index + 1))
        bar = found.at(bars.time_at(index))
        if bar is None:  # history that decides nothing is not looked at
            assert index < history
        else:
            assert (bar.before.gate, bar.before.count) == (state.gate, state.count)
            assert bar.after == step.state
            assert bar.is_triggered == (bar.open_time in fired) == bool(step.triggers)
            assert bar.is_history == (index < history)
        state = step.state


def test_bars_are_a_sequence_and_found_by_their_time() -> None:
    found = traced(alert_of(RULES[0]), bars_of([4, 6, None, 6]))
    assert [bar.truth for bar in found.bars] == [-1, 1, 0, 1]
    assert [bar.truth for bar in found.bars[-2:]] == [0, 1]
    assert found.bars[-1] == found.at(BEGIN + 3 * HOUR)
    assert found.at(BEGIN + HOUR / 2) is None
    assert found.at(BEGIN + 9 * HOUR) is None
    with pytest.raises(IndexError):
        found.bars[4]


def test_without_bars_there_is_nothing_to_tell() -> None:
    found = traced(alert_of(RULES[1]), Bars.empty())
    assert (len(found.bars), found.triggers, found.is_evaluated.tolist()) == (0, (), [])
    assert len(found.record.values) == 2


def test_bars_after_the_alert_ended_and_history_are_not_evaluated() -> None:
    alert = alert_of(ABOVE_5, rearm={"type": "crossing"}, options={"max_triggers": 1})
    found = traced(alert, bars_of([4, 4, 6, 4, 6]), history=1)
    assert found.is_evaluated.tolist() == [False, True, True, False, False]
    assert found.without_history == slice(1, 5)
    assert found.bars[4].after.status is AlertStatus.COMPLETED
