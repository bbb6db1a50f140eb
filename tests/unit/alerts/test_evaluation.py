import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.alert_steps import evaluated, needed

from atf.alerts.alert import Alert, fresh_state, parse_alert
from atf.alerts.evaluation import evaluate
from atf.alerts.readings import WatchedBars
from atf.alerts.roster import roster_of
from atf.alerts.state import AlertState, AlertStatus, DataStatus, Gate, StateColumns
from atf.alerts.trigger import Trigger
from atf.alerts.watched import close_times
from atf.indicators.indicator_service import IndicatorService
from atf.market.bars import Bars, Timeframe

BEGIN = datetime(2027, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
LONG_AGO = BEGIN - timedelta(days=1)
PRICE_ABOVE_5 = {"indicator": "price", "operator": ">", "value": 5}


def alert_of(rule: dict[str, Any], **fields: Any) -> Alert:
    return parse_alert({"ticker": "T", "timeframe": "1h", "rule": rule, **fields})


def bars_of(closes: list[float | None]) -> Bars:
    values = [math.nan if close is None else close for close in closes]
    return Bars.from_rows(
        [(BEGIN + HOUR * i, close, close, close, close, 100.0) for i, close in enumerate(values)]
    )


class Run:
    """An alert that is evaluated several times, each time on as many bars as it asks for, or on more."""

    def __init__(self, alert: Alert, history_until: datetime = LONG_AGO) -> None:
        self.alert = alert
        self.state = fresh_state(alert, history_until)
        self.triggers: list[Trigger] = []
        self.evaluated: list[int] = []

    def over(self, bars: Bars, *, now: datetime | None = None, surplus: int = 0) -> None:
        now = now or bars.time_at(len(bars) - 1) + HOUR
        loaded = bars.last(needed(self.alert, self.state, now) + surplus)
        result = evaluated(self.alert, self.state, loaded, now)
        self.state = result.state
        self.triggers += result.triggers
        self.evaluated.append(result.bars_evaluated)

    @property
    def fired(self) -> list[int]:
        return [int((trigger.bar_time - BEGIN) / HOUR) for trigger in self.triggers]


SMA = {"indicator": "sma", "params": {"period": 2}}
closes = st.lists(st.one_of(st.none(), st.sampled_from([4.0, 5.0, 6.0, 7.0])), min_size=1, max_size=25)
leaf_rules = st.sampled_from(
    [
        PRICE_ABOVE_5,
        {"indicator": "price", "operator": "<=", "value": {"indicator": "sma", "params": {"period": 3}}},
        {"indicator": "price", "operator": ">", "value": {"indicator": "price", "offset": 2}},
        {"indicator": "change_pct", "operator": "!=", "value": 0},
        {"indicator": "rsi", "params": {"period": 2}, "operator": ">", "value": 50, "offset": 1},
        {"indicator": "price", "operator": "between", "value": [5, 6]},
        {
            "indicator": "price",
            "operator": "outside",
            "value": [5, {"indicator": "sma", "params": {"period": 2}}],
        },
        {"indicator": "price", "operator": "crosses_above", "value": 5},
        {"indicator": "price", "operator": "crosses", "value": SMA},
        {"indicator": "price", "operator": "enters", "value": [5, 6]},
        {"indicator": "price", "operator": "exits", "value": [4.5, 6.5]},
    ]
)
rules = st.recursive(
    leaf_rules,
    lambda inner: st.one_of(
        st.builds(lambda part: {"operator": "not", "conditions": [part]}, inner),
        st.builds(
            lambda sign, parts: {"operator": sign, "conditions": parts},
            st.sampled_from(["and", "or"]),
            st.lists(inner, min_size=1, max_size=3),
        ),
    ),
    max_leaves=4,
)
rearms = st.sampled_from(
    [
        {"type": "simple"},
        {"type": "edge"},
        {"type": "edge", "cooldown": 7200},
        {"type": "cooldown", "cooldown": 10800},
        {"type": "persistence", "bars": 2},
        {"type": "hysteresis", "threshold": 0.2},
        {"type": "hysteresis", "threshold": 1, "unit": "absolute", "cooldown": 3600},
        {"type": "crossing"},
        {"type": "crossing", "bars": 2},
    ]
)
options = st.sampled_from([{}, {"max_triggers": 2}, {"expires_at": "2027-03-01T09:00:00Z"}])


@given(rules, rearms, options, closes, st.data())
def test_any_split_into_batches_gives_the_same_triggers(
    rule: dict[str, Any],
    rearm: dict[str, Any],
    option: dict[str, Any],
    values: list[float | None],
    data: st.DataObject,
) -> None:
    alert, bars = alert_of(rule, rearm=rearm, options=option), bars_of(values)
    whole = Run(alert)
    whole.over(bars)
    feeds = data.draw(st.lists(st.integers(1, len(values)), max_size=8))
    batches = Run(alert)
    for count in [*feeds, len(values)]:  # may go back, and may repeat
        batches.over(bars[:count])
    assert batches.fired == whole.fired
    assert batches.state == whole.state


@given(rules, rearms, closes)
def test_same_bars_again_change_nothing(
    rule: dict[str, Any], rearm: dict[str, Any], values: list[float | None]
) -> None:
    run, bars = Run(alert_of(rule, rearm=rearm)), bars_of(values)
    run.over(bars)
    state, fired = run.state, run.fired
    run.over(bars)
    assert (run.state, run.fired, run.evaluated[-1]) == (state, fired, 0)


@given(rules, rearms, st.integers(1, 12))
def test_bars_without_data_never_trigger(rule: dict[str, Any], rearm: dict[str, Any], count: int) -> None:
    run = Run(alert_of(rule, rearm=rearm))
    run.over(bars_of([None] * count))
    assert (run.fired, run.state.data_status) == ([], DataStatus.NO_DATA)


WALK = [100 + 10 * math.sin(i / 7) + 3 * math.cos(i / 2.3) + (i * 7919 % 13) / 10 for i in range(900)]


@pytest.mark.parametrize(
    "left",
    [
        {"indicator": "ema", "params": {"period": 30}},
        {"indicator": "rsi", "params": {"period": 3}},
        {"indicator": "macd", "output": "hist", "offset": 7},
        {"indicator": "atr", "multiplier": 2.5, "offset": 1},
        {"indicator": "bb", "output": "upper"},
        {"indicator": "price", "offset": 3},
    ],
)
def test_values_do_not_depend_on_how_much_was_loaded(left: dict[str, Any]) -> None:
    rule = {**left, "operator": "!=", "value": 0}
    bars, results = bars_of(list(WALK)), []
    for surplus in (0, 1, 37, 300):
        run = Run(alert_of(rule, rearm={"type": "simple"}), history_until=BEGIN + HOUR * 880)
        run.over(bars[:890], surplus=surplus)
        run.over(bars, surplus=surplus)
        results.append([(trigger.bar_time, dict(trigger.readings)) for trigger in run.triggers])
    assert len(results[0]) == 20
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize(
    ("state_bar", "history", "now", "expected"),
    [
        (None, 0, 0, 1),
        (None, 0, 1, 2),
        (None, 0, 5, 6),
        (3, 0, 4, 1),
        (3, 0, 5, 2),
        (3, 0, 104, 101),
        (3, 10, 12, 3),
        (9, 0, 4, 1),
    ],
)
def test_bars_needed_covers_every_bar_that_may_be_new(
    state_bar: int | None, history: int, now: int, expected: int
) -> None:
    alert = alert_of(PRICE_ABOVE_5)
    last_bar = None if state_bar is None else BEGIN + HOUR * state_bar
    state = AlertState(alert.rule_hash, BEGIN + HOUR * history, last_bar=last_bar)
    # One more than the bars that may be new, as the price reads the bar itself.
    assert needed(alert, state, BEGIN + HOUR * now) == expected + 1


def test_bars_needed_reaches_back_by_window_and_offset() -> None:
    rule = {"indicator": "sma", "params": {"period": 100}, "offset": 4, "operator": ">", "value": 1}
    alert = alert_of(rule)
    found = needed(alert, AlertState("", BEGIN), BEGIN)
    assert found == 1 + 2000 + 4


@pytest.mark.parametrize("multiplier", [1e308, -1e308])
def test_value_that_overflows_is_unknown(multiplier: float) -> None:
    sign = ">" if multiplier > 0 else "<"
    run = Run(alert_of({"indicator": "price", "multiplier": multiplier, "operator": sign, "value": 70}))
    run.over(bars_of([150.0]))
    assert (run.fired, run.state.data_status) == ([], DataStatus.NO_DATA)


def test_offset_beyond_the_first_bar_is_unknown() -> None:
    run = Run(
        alert_of({"indicator": "price", "offset": 3, "operator": ">", "value": 0}, rearm={"type": "simple"})
    )
    run.over(bars_of([6.0, 6.0, 6.0, 6.0, 6.0]))
    assert run.fired == [3, 4]


def test_trigger_tells_the_bar_and_what_was_read() -> None:
    rule = {
        "operator": "or",
        "conditions": [
            {"indicator": "price", "operator": ">", "value": {"indicator": "sma", "params": {"period": 2}}},
            {"indicator": "volume", "operator": "<", "value": 1},
        ],
    }
    run = Run(alert_of(rule))
    run.over(bars_of([4.0, 6.0]), now=BEGIN + HOUR * 4)
    (trigger,) = run.triggers
    assert trigger == Trigger(
        bar_time=BEGIN + HOUR,
        number=1,
        bar={"open": 6.0, "high": 6.0, "low": 6.0, "close": 6.0, "volume": 100.0},
        readings={"close": 6.0, "sma(2)": 5.0, "volume": 100.0},
        value=6.0,
        threshold=5.0,
        is_late=False,
        late_at=BEGIN + HOUR * 4,
        seen=trigger.seen,
    )


def test_trigger_keeps_how_its_bar_was_judged() -> None:
    rule = {
        "operator": "or",
        "conditions": [
            {"indicator": "price", "operator": "crosses_above", "value": 5},
            {"indicator": "volume", "operator": "<", "value": 1},
        ],
    }
    run = Run(alert_of(rule, rearm={"type": "edge", "cooldown": 60}))
    run.over(bars_of([4.0, 4.5, 6.0]), now=BEGIN + HOUR * 3)
    (trigger,) = run.triggers
    seen = trigger.seen
    assert (seen.open_time, seen.close_time) == (BEGIN + HOUR * 2, BEGIN + HOUR * 3)
    assert (seen.values, seen.truth, seen.leaves) == ((6.0, 5.0, 100.0, 1.0), 1, {0: 1, 1: -1})
    assert (seen.before.gate, seen.after.gate) == (Gate.OPEN, Gate.CLOSED)
    assert (seen.before.trigger_count, seen.after.trigger_count) == (0, 1)
    assert (seen.before.sides, seen.after.sides) == ({"0": "below"}, {"0": "above"})
    assert seen.after.cooldown_until == BEGIN + HOUR * 3 + timedelta(seconds=60)


@pytest.mark.parametrize(("seconds", "is_late"), [(0, False), (7200, False), (7201, True)])
def test_trigger_is_late_after_more_than_two_timeframes(seconds: int, is_late: bool) -> None:
    run = Run(alert_of(PRICE_ABOVE_5))
    run.over(bars_of([6.0]), now=BEGIN + HOUR + timedelta(seconds=seconds))
    assert [trigger.is_late for trigger in run.triggers] == [is_late]


def test_no_bars_at_all_leave_the_state_alone() -> None:
    alert = alert_of(PRICE_ABOVE_5, options={"expires_at": "2027-03-01T09:00:00Z"})
    state = fresh_state(alert, LONG_AGO)
    for hour, status in ((9, AlertStatus.ARMED), (10, AlertStatus.EXPIRED)):
        result = evaluated(alert, state, Bars.empty(), BEGIN + HOUR * hour)
        assert (result.state.status, result.triggers, result.bars_evaluated) == (status, (), 0)


def test_history_moves_on_without_being_evaluated() -> None:
    run = Run(alert_of(PRICE_ABOVE_5), history_until=BEGIN + HOUR * 3)
    run.over(bars_of([6.0, 6.0, 6.0]))
    assert (run.fired, run.evaluated, run.state.last_bar) == ([], [0], BEGIN + HOUR * 2)


def test_history_costs_no_indicator_values_of_its_own() -> None:
    """A sibling on the same series may have asked for thousands of bars more than a new alert reads."""
    alert = alert_of({"indicator": "rsi", "operator": ">", "value": 101})
    bars, service = bars_of(list(WALK)), IndicatorService()
    now = BEGIN + HOUR * 900
    columns = StateColumns.of([fresh_state(alert, now - HOUR * 3)])
    watched = WatchedBars(bars, close_times(bars, alert.series.timeframe), service.session(bars))
    result = evaluate(roster_of([alert]), columns, [{}], {alert.watched: watched}, now)
    assert (result.bars.tolist(), service.calculations) == ([3], 3)


@pytest.mark.parametrize("status", [AlertStatus.COMPLETED, AlertStatus.EXPIRED])
def test_final_state_is_left_alone(status: AlertStatus) -> None:
    alert = alert_of(PRICE_ABOVE_5)
    state, bars = AlertState(alert.rule_hash, status=status), bars_of([6.0, 6.0])
    result = evaluated(alert, state, bars, BEGIN + HOUR * 2)
    assert (result.state, result.triggers, result.bars_evaluated) == (state, (), 0)


def negated(rule: dict[str, Any]) -> dict[str, Any]:
    return {"operator": "not", "conditions": [rule]}


@given(st.lists(rules, min_size=1, max_size=3), rearms, closes)
def test_de_morgan_equivalents_fire_alike(
    parts: list[dict[str, Any]], rearm: dict[str, Any], values: list[float | None]
) -> None:
    one = negated({"operator": "and", "conditions": parts})
    other = {"operator": "or", "conditions": [negated(part) for part in parts]}
    runs = [Run(alert_of(rule, rearm=rearm)) for rule in (one, other)]
    for run in runs:
        run.over(bars_of(values))
    assert runs[0].fired == runs[1].fired


@given(st.sampled_from([">", ">=", "<", "<=", "==", "!=", "between", "outside"]), closes)
def test_hysteresis_without_width_is_edge(sign: str, values: list[float | None]) -> None:
    level = [5, 6] if sign in ("between", "outside") else 5
    rule = {"indicator": "price", "operator": sign, "value": level}
    fired = []
    for rearm in ({"type": "hysteresis", "threshold": 0}, {"type": "edge"}):
        run = Run(alert_of(rule, rearm=rearm))
        run.over(bars_of(values))
        fired.append(run.fired)
    assert fired[0] == fired[1]


@given(st.lists(st.tuples(rules, rearms, st.integers(0, 24)), min_size=1, max_size=6), closes)
def test_alerts_that_are_judged_together_do_not_mix(
    given_: list[tuple[dict[str, Any], dict[str, Any], int]], values: list[float | None]
) -> None:
    """Each has seen another part of the bars before, and may share rule, indicators or cohort with others."""
    bars = bars_of(values)
    alerts, states, expected = [], [], []
    for rule, rearm, seen in given_:
        run = Run(alert_of(rule, rearm=rearm))
        if seen:
            run.over(bars[:seen])
        alerts.append(run.alert)
        states.append(run.state)
        before = len(run.fired)
        run.over(bars)
        expected.append((run.state, run.fired[before:]))
    watched = WatchedBars(bars, close_times(bars, Timeframe.H1), IndicatorService().session(bars))
    columns = StateColumns.of(states)
    now = bars.time_at(len(bars) - 1) + HOUR
    found = evaluate(
        roster_of(alerts), columns, [state.sides for state in states], {alerts[0].watched: watched}, now
    )
    for row, (state, fired) in enumerate(expected):
        assert columns.state(row, states[row], found.sides.get(row, states[row].sides)) == state
        hours = [int((one.bar_time - BEGIN) / HOUR) for one in found.triggers.get(row, [])]
        assert hours == fired


def test_what_happened_before_the_alert_was_made_tells_the_side() -> None:
    rule = {"indicator": "price", "operator": "crosses_above", "value": 5}
    run = Run(alert_of(rule), history_until=BEGIN + HOUR * 2)
    run.over(bars_of([6.0, 4.0, 6.0]))
    assert run.fired == [2]


def test_crossing_is_opened_by_history_on_the_other_side() -> None:
    rule = {"indicator": "price", "operator": ">", "value": 5}
    for history, fired in (([4.0, 6.0], []), ([6.0, 4.0], [2]), ([4.0, 5.0], [2]), ([6.0, 5.0], [])):
        run = Run(alert_of(rule, rearm={"type": "crossing"}), history_until=BEGIN + HOUR * 2)
        run.over(bars_of([*history, 6.0]))
        assert run.fired == fired, history


def test_a_side_is_not_moved_by_the_revision_of_a_bar_that_was_seen() -> None:
    """Another one of the cohort is one bar further behind, and looks at that bar for the first time."""
    rule = {"indicator": "price", "operator": "crosses_above", "value": 5}
    ahead, behind = Run(alert_of(rule)), Run(alert_of(rule))
    ahead.over(bars_of([4.0, 4.0, 4.0]))
    behind.over(bars_of([4.0, 4.0]))
    bars = bars_of([4.0, 4.0, 6.0, 6.0, 6.0, 6.0])
    watched = WatchedBars(bars, close_times(bars, Timeframe.H1), IndicatorService().session(bars))
    columns = StateColumns.of([ahead.state, behind.state])
    sides = [ahead.state.sides, behind.state.sides]
    now = BEGIN + HOUR * 6
    found = evaluate(roster_of([ahead.alert, behind.alert]), columns, sides, {ahead.alert.watched: watched}, now)
    fired = {row: [trigger.bar_time for trigger in triggers] for row, triggers in found.triggers.items()}
    assert fired == {0: [BEGIN + HOUR * 3], 1: [BEGIN + HOUR * 2]}
    assert found.bars.tolist() == [3, 4]
