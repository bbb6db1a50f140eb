from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.alert_steps import FALSE, TRUE, UNKNOWN, Step, expired, step

from atf.alerts.alert import parse_alert, renewed_state
from atf.alerts.rearm import Limits, Rearm, RearmType
from atf.alerts.state import AlertState, AlertStatus, DataStatus, Gate

T, F, U = TRUE, FALSE, UNKNOWN
BEGIN = datetime(2027, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
FRESH = AlertState(rule_hash="hash")
NO_LIMITS = Limits()


def advance(state: AlertState, rearm: Rearm, limits: Limits, index: int, truth: int) -> Step:
    return step(state, rearm, limits, BEGIN + HOUR * index, BEGIN + HOUR * (index + 1), truth)


def played(
    rearm: Rearm, verdicts: list[int], limits: Limits = NO_LIMITS, state: AlertState = FRESH
) -> tuple[AlertState, list[int]]:
    """The state after these bars, and the indices of those that triggered."""
    fired = []
    for index, verdict in enumerate(verdicts):
        found = advance(state, rearm, limits, index, verdict)
        state = found.state
        if found.is_triggered:
            fired.append(index)
    return state, fired


@pytest.mark.parametrize(
    ("rearm", "verdicts", "fired", "status"),
    [
        (Rearm(RearmType.SIMPLE), [T, T, F, T], [0, 1, 3], AlertStatus.ARMED),
        (Rearm(RearmType.SIMPLE, bars=2), [T, T, T, T, T], [1, 3], AlertStatus.PENDING),
        (Rearm(RearmType.SIMPLE, cooldown=HOUR * 2), [T, T, T, T], [0, 2], AlertStatus.COOLDOWN),
        (Rearm(RearmType.EDGE), [T, T, U, T, F, U, T], [0, 6], AlertStatus.TRIGGERED),
        (Rearm(RearmType.EDGE), [T, F], [0], AlertStatus.ARMED),
        (Rearm(RearmType.EDGE, cooldown=HOUR * 2), [T, F, T], [0, 2], AlertStatus.COOLDOWN),
        (Rearm(RearmType.EDGE, cooldown=HOUR * 3), [T, F, T, T], [0, 3], AlertStatus.COOLDOWN),
        (Rearm(RearmType.EDGE, cooldown=HOUR), [T, T], [0], AlertStatus.TRIGGERED),
        (Rearm(RearmType.COOLDOWN, cooldown=HOUR * 3), [T, F, T, T], [0, 3], AlertStatus.COOLDOWN),
        (Rearm(RearmType.PERSISTENCE, bars=2), [T, F, T, T, T, T], [3], AlertStatus.TRIGGERED),
        (Rearm(RearmType.PERSISTENCE, bars=2), [T, U, T, F, T], [2], AlertStatus.PENDING),
    ],
)
def test_each_type_fires_where_it_should(
    rearm: Rearm, verdicts: list[int], fired: list[int], status: AlertStatus
) -> None:
    state, found = played(rearm, verdicts)
    assert (found, state.status) == (fired, status)


def test_unknown_bar_keeps_gate_and_count_and_shows_no_data() -> None:
    before, _ = played(Rearm(RearmType.PERSISTENCE, bars=3), [T, T])
    after = advance(before, Rearm(RearmType.PERSISTENCE, bars=3), NO_LIMITS, 2, U).state
    assert after == replace(before, last_bar=BEGIN + HOUR * 2, data_status=DataStatus.NO_DATA)


def test_cooldown_may_end_on_an_unknown_bar() -> None:
    rearm = Rearm(RearmType.EDGE, cooldown=HOUR * 2)
    state, _ = played(rearm, [T, U])
    assert state.status is AlertStatus.COOLDOWN
    assert advance(state, rearm, NO_LIMITS, 2, U).state.status is AlertStatus.TRIGGERED


def test_trigger_is_remembered() -> None:
    state, _ = played(Rearm(RearmType.EDGE, cooldown=HOUR * 5), [F, T])
    assert state.gate is Gate.CLOSED
    assert state.trigger_count == 1
    assert state.last_trigger_bar == BEGIN + HOUR
    assert state.cooldown_until == BEGIN + HOUR * 7  # the bar closed at hour 2


@pytest.mark.parametrize("status", [AlertStatus.COMPLETED, AlertStatus.EXPIRED])
def test_final_state_is_left_alone(status: AlertStatus) -> None:
    final = replace(FRESH, status=status)
    assert advance(final, Rearm(RearmType.SIMPLE), NO_LIMITS, 0, T) == Step(final, False)
    assert expired(final, Rearm(RearmType.SIMPLE), Limits(expires_at=BEGIN), BEGIN + HOUR) == final


def test_expiry_is_the_last_instant_that_counts() -> None:
    limits = Limits(expires_at=BEGIN + HOUR)
    state, fired = played(Rearm(RearmType.SIMPLE), [T, T], limits)
    assert (fired, state.status, state.last_bar) == ([0], AlertStatus.EXPIRED, BEGIN)
    assert expired(FRESH, Rearm(RearmType.SIMPLE), limits, BEGIN + HOUR) == FRESH
    assert (
        expired(FRESH, Rearm(RearmType.SIMPLE), limits, BEGIN + HOUR + timedelta(microseconds=1)).status
        is AlertStatus.EXPIRED
    )


def test_completed_beats_cooldown() -> None:
    state, fired = played(Rearm(RearmType.COOLDOWN, cooldown=HOUR), [T, T], Limits(max_triggers=1))
    assert (fired, state.status) == ([0], AlertStatus.COMPLETED)


def test_edited_rule_keeps_only_what_was_evaluated() -> None:
    rule = {"indicator": "price", "operator": ">", "value": 5}
    edited = parse_alert({"ticker": "T", "timeframe": "1h", "rule": rule})
    old, _ = played(Rearm(RearmType.EDGE, cooldown=HOUR * 9), [T, F])
    fresh = renewed_state(edited, replace(old, version=7))
    # The bar of hour 1 closed at hour 2: it is history, and no bar before it is evaluated again.
    assert fresh == AlertState(edited.rule_hash, history_until=BEGIN + HOUR * 2, version=7)


rearms = st.builds(
    Rearm,
    st.sampled_from([kind for kind in RearmType if not kind.has_band]),
    st.integers(1, 4),
    st.integers(0, 5).map(lambda hours: HOUR * hours),
)
verdicts = st.lists(st.sampled_from([T, F, U]), max_size=30)


@given(rearms, verdicts)
def test_only_true_bars_trigger(rearm: Rearm, given_: list[int]) -> None:
    _, fired = played(rearm, given_)
    assert all(given_[index] is T for index in fired)


@given(rearms, verdicts)
def test_triggers_are_a_cooldown_apart(rearm: Rearm, given_: list[int]) -> None:
    _, fired = played(rearm, given_)
    assert all(HOUR * (later - earlier) >= rearm.cooldown for earlier, later in pairwise(fired))


@given(rearms, verdicts)
def test_enough_known_true_bars_in_a_row_come_before_a_trigger(rearm: Rearm, given_: list[int]) -> None:
    for index in played(rearm, given_)[1]:
        known = [verdict for verdict in given_[: index + 1] if verdict is not U]
        assert known[-rearm.bars :] == [T] * rearm.bars


@given(st.builds(Rearm, st.sampled_from([RearmType.EDGE, RearmType.PERSISTENCE]), st.integers(1, 3)), verdicts)
def test_edge_and_persistence_need_a_false_bar_between_triggers(rearm: Rearm, given_: list[int]) -> None:
    _, fired = played(rearm, given_)
    assert all(F in given_[earlier:later] for earlier, later in pairwise(fired))


@given(rearms, verdicts, st.integers(1, 3))
def test_never_more_than_max_triggers(rearm: Rearm, given_: list[int], most: int) -> None:
    state, fired = played(rearm, given_, Limits(max_triggers=most))
    assert len(fired) <= most
    assert (state.status is AlertStatus.COMPLETED) == (len(fired) == most)
