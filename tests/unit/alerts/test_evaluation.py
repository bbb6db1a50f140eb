import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atf.alerts.alert import Alert, parse_alert
from atf.alerts.evaluation import Trigger, bars_needed, evaluate_new_bars
from atf.alerts.rearm import AlertState, AlertStatus, DataStatus
from atf.indicators.indicator_service import IndicatorService
from atf.market.bars import Bars

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
        self.history_until = history_until
        self.state = AlertState(rule_hash=alert.rule_hash)
        self.triggers: list[Trigger] = []
        self.evaluated: list[int] = []

    def over(self, bars: Bars, *, now: datetime | None = None, surplus: int = 0) -> None:
        now = now or bars.time_at(len(bars) - 1) + HOUR
        loaded = bars.last(bars_needed(self.alert, self.state, self.history_until, now) + surplus)
        result = evaluate_new_bars(
            self.alert,
            self.state,
            loaded,
            IndicatorService().session(loaded),
            history_until=self.history_until,
            now=now,
        )
        self.state = result.state
        self.triggers += result.triggers
        self.evaluated.append(result.bars_evaluated)

    @property
    def fired(self) -> list[int]:
        return [int((trigger.bar_time - BEGIN) / HOUR) for trigger in self.triggers]


closes = st.lists(st.one_of(st.none(), st.sampled_from([4.0, 5.0, 6.0, 7.0])), min_size=1, max_size=25)
leaf_rules = st.sampled_from(
    [
        PRICE_ABOVE_5,
        {"indicator": "price", "operator": "<=", "value": {"indicator": "sma", "params": {"period": 3}}},
        {"indicator": "price", "operator": ">", "value": {"indicator": "price", "offset": 2}},
        {"indicator": "change_pct", "operator": "!=", "value": 0},
        {"indicator": "rsi", "params": {"period": 2}, "operator": ">", "value": 50, "offset": 1},
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
    state = AlertState(rule_hash=alert.rule_hash, last_bar=last_bar)
    # One more than the bars that may be new, as the price reads the bar itself.
    assert bars_needed(alert, state, BEGIN + HOUR * history, BEGIN + HOUR * now) == expected + 1


def test_bars_needed_reaches_back_by_window_and_offset() -> None:
    rule = {"indicator": "sma", "params": {"period": 100}, "offset": 4, "operator": ">", "value": 1}
    alert = alert_of(rule)
    needed = bars_needed(alert, AlertState(rule_hash=""), BEGIN, BEGIN)
    assert needed == 1 + 2000 + 4


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
    )


@pytest.mark.parametrize(("seconds", "is_late"), [(0, False), (7200, False), (7201, True)])
def test_trigger_is_late_after_more_than_two_timeframes(seconds: int, is_late: bool) -> None:
    run = Run(alert_of(PRICE_ABOVE_5))
    run.over(bars_of([6.0]), now=BEGIN + HOUR + timedelta(seconds=seconds))
    assert [trigger.is_late for trigger in run.triggers] == [is_late]


def test_no_bars_at_all_leave_the_state_alone() -> None:
    alert = alert_of(PRICE_ABOVE_5, options={"expires_at": "2027-03-01T09:00:00Z"})
    state = AlertState(rule_hash=alert.rule_hash)
    session = IndicatorService().session(Bars.empty())
    for hour, status in ((9, AlertStatus.ARMED), (10, AlertStatus.EXPIRED)):
        result = evaluate_new_bars(
            alert, state, Bars.empty(), session, history_until=LONG_AGO, now=BEGIN + HOUR * hour
        )
        assert (result.state.status, result.triggers, result.bars_evaluated) == (status, (), 0)


def test_history_moves_on_without_being_evaluated() -> None:
    run = Run(alert_of(PRICE_ABOVE_5), history_until=BEGIN + HOUR * 3)
    run.over(bars_of([6.0, 6.0, 6.0]))
    assert (run.fired, run.evaluated, run.state.last_bar) == ([], [0], BEGIN + HOUR * 2)


def test_history_costs_no_indicator_values_of_its_own() -> None:
    """A sibling on the same series may have asked for thousands of bars more than a new alert reads."""
    alert = alert_of({"indicator": "rsi", "operator": ">", "value": 101})
    bars, service = bars_of(list(WALK)), IndicatorService()
    state = AlertState(rule_hash=alert.rule_hash)
    now = BEGIN + HOUR * 900
    session = service.session(bars)
    result = evaluate_new_bars(alert, state, bars, session, history_until=now - HOUR * 3, now=now)
    assert (result.bars_evaluated, service.calculations) == (3, 3)


@pytest.mark.parametrize("status", [AlertStatus.COMPLETED, AlertStatus.EXPIRED])
def test_final_state_is_left_alone(status: AlertStatus) -> None:
    alert = alert_of(PRICE_ABOVE_5)
    state, bars = AlertState(rule_hash=alert.rule_hash, status=status), bars_of([6.0, 6.0])
    session = IndicatorService().session(bars)
    result = evaluate_new_bars(alert, state, bars, session, history_until=BEGIN + HOUR, now=BEGIN + HOUR * 2)
    assert (result.state, result.triggers, result.bars_evaluated) == (state, (), 0)
