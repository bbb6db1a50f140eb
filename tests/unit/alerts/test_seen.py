"""What is kept of the bar that was judged last gives back the tree as it was judged."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.alert_steps import evaluated
from tests.alert_traces import BEGIN, HOUR, alert_of, bars_of, traced

from atf.alerts.alert import fresh_state
from atf.alerts.evaluation import Evaluated
from atf.alerts.explanation import tree
from atf.alerts.seen import judged_bar
from atf.alerts.state import StateColumns

SMA = {"indicator": "sma", "params": {"period": 3}, "offset": 1, "multiplier": 1.1}
ABOVE = {"indicator": "price", "operator": ">", "value": SMA}
CROSSES = {"indicator": "price", "operator": "crosses", "value": 5}
ENTERS = {"indicator": "price", "operator": "enters", "value": [4.5, SMA]}
RULES: list[dict[str, Any]] = [
    ABOVE,
    CROSSES,
    ENTERS,
    {"operator": "or", "conditions": [ABOVE, {"operator": "not", "conditions": [ENTERS]}, CROSSES]},
]
REARMS: list[dict[str, Any]] = [
    {"type": "simple"},
    {"type": "crossing"},
    {"type": "hysteresis", "threshold": 0.1},
]
LIMITS: list[dict[str, Any]] = [{}, {"max_triggers": 1}]
CLOSES = st.lists(st.sampled_from([None, 4.0, 5.0, 6.0]), min_size=1, max_size=20)


@given(
    st.sampled_from(RULES), st.sampled_from(REARMS), st.sampled_from(LIMITS), CLOSES, st.integers(0, 3), st.data()
)
def test_the_tree_of_the_last_evaluated_bar_can_be_drawn_again(
    rule: dict[str, Any],
    rearm: dict[str, Any],
    options: dict[str, Any],
    closes: list[float | None],
    history: int,
    data: st.DataObject,
) -> None:
    alert, bars = alert_of(rule, rearm=rearm, options=options), bars_of(closes)
    state, kept, first = fresh_state(alert, BEGIN + HOUR * history), None, 0
    while first < len(bars):  # in any batches
        first = data.draw(st.integers(first + 1, len(bars)), label="bars so far")
        step = evaluated(alert, state, bars[:first], BEGIN + HOUR * first)
        state, kept = step.state, step.kept if step.kept is not None else kept
    bar = None if state.last_bar is None else traced(alert, bars, history).at(state.last_bar)
    if bar is None:  # history that decides nothing is not looked at
        assert len(bars) <= history or kept is None
        return
    assert kept is not None
    seen = judged_bar(alert, kept, state)
    assert seen is not None
    assert tree(alert, seen) == tree(alert, bar.judged)
    assert (seen.leaves, seen.sides_before, seen.sides_after) == (
        bar.leaves,
        bar.judged.sides_before,
        bar.judged.sides_after,
    )


def test_a_few_bytes_are_kept_and_levels_are_not_among_them() -> None:
    alert = alert_of(CROSSES)
    step = evaluated(alert, fresh_state(alert, BEGIN), bars_of([4, 6]), BEGIN + 2 * HOUR)
    assert step.kept is not None
    assert len(step.kept) == 1 + 8 + 1 + 1
    assert step.kept[:1] == b"\x01"
    assert np.frombuffer(step.kept, "<f8", 1, 1).tolist() == [6]


def test_an_unknown_value_stays_unknown() -> None:
    alert = alert_of(ABOVE)
    step = evaluated(alert, fresh_state(alert, BEGIN), bars_of([4]), BEGIN + HOUR)
    assert step.kept is not None
    seen = judged_bar(alert, step.kept, step.state)
    assert seen is not None
    assert math.isnan(seen.values[1])
    assert tree(alert, seen)["truth"] == "unknown"


@pytest.mark.parametrize("spoil", [lambda kept: kept[:-1], lambda kept: b"\x02" + kept[1:], lambda kept: b""])
def test_what_another_version_or_rule_kept_is_not_read(spoil: Any) -> None:
    alert = alert_of(CROSSES)
    step = evaluated(alert, fresh_state(alert, BEGIN), bars_of([4, 6]), BEGIN + 2 * HOUR)
    assert step.kept is not None
    assert judged_bar(alert, spoil(step.kept), step.state) is None


def test_without_a_new_bar_nothing_is_kept_anew() -> None:
    alert, bars = alert_of(ABOVE), bars_of([4, 6])
    first = evaluated(alert, fresh_state(alert, BEGIN), bars, BEGIN + 2 * HOUR)
    assert first.kept is not None
    assert evaluated(alert, first.state, bars, BEGIN + 2 * HOUR).kept is None


def test_kept_bytes_stay_with_their_alerts_when_batches_are_joined_and_parted() -> None:
    alert = alert_of(ABOVE)
    parts = [Evaluated.of(StateColumns.of([fresh_state(alert, BEGIN)] * count)) for count in (2, 0, 1)]
    for number, part in enumerate(parts):
        part.seen[:] = [bytes([number, row, 0]) for row in range(len(part.bars))]
    whole = Evaluated.joined(parts)
    assert whole.seen.tolist() == [b"\0\0\0", b"\0\1\0", b"\2\0\0"]
    assert whole.take(np.array([2, 0])).seen.tolist() == [b"\2\0\0", b"\0\0\0"]
