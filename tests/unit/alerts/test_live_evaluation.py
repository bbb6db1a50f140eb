"""Alerts on bars that are still forming: what fires, what is kept until the close, and what is not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.alert_steps import evaluated, looked_at

from atf.alerts.alert import Alert, fresh_state, parse_alert
from atf.alerts.state import AlertState, Gate
from atf.alerts.state import AlertStatus as S
from atf.alerts.trigger import Trigger
from atf.market.bars import Bars

BEGIN = datetime(2027, 3, 1, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
LONG_AGO = BEGIN - timedelta(days=1)
ABOVE_5: dict[str, Any] = {"indicator": "price", "operator": ">", "value": 5}
CROSSES_5 = {**ABOVE_5, "operator": "crosses_above"}
Price = float | None

EDGE, SIMPLE, CROSSING = {"type": "edge"}, {"type": "simple"}, {"type": "crossing"}
HYSTERESIS = {"type": "hysteresis", "threshold": 1, "unit": "absolute"}


def live(rule: dict[str, Any] = ABOVE_5, rearm: dict[str, Any] = EDGE, **options: Any) -> Alert:
    config = {"ticker": "T", "timeframe": "1h", "rule": rule, "rearm": rearm}
    return parse_alert({**config, "options": {"evaluate_on": "live", **options}})


def bar(index: int, price: Price) -> Bars:
    value = math.nan if price is None else price
    return Bars.from_rows([(BEGIN + HOUR * index, value, value, value, value, 1.0)])


class Watch:
    """An alert that is looked at again and again; each time only its stored state goes on."""

    def __init__(self, alert: Alert, state: AlertState | None = None) -> None:
        self.alert = alert
        self.state = state or fresh_state(alert, LONG_AGO)
        self.triggers: list[Trigger] = []
        self.closed = Bars.empty()

    @property
    def index(self) -> int:
        """Which bar is forming."""
        return len(self.closed)

    def see(self, price: Price, minute: float) -> bool:
        """Look at the forming bar; return whether it triggered."""
        now = BEGIN + HOUR * self.index + MINUTE * minute
        return self._take(looked_at(self.alert, self.state, self.closed, bar(self.index, price), now))

    def close(self, price: Price) -> bool:
        """Let the bar close; return whether that triggered."""
        self.closed = self.closed.followed_by(bar(self.index, price))
        return self._take(evaluated(self.alert, self.state, self.closed, BEGIN + HOUR * self.index))

    def _take(self, found: Any) -> bool:
        self.state = found.state
        self.triggers += found.triggers
        return bool(found.triggers)

    def play(self, *bars: Sequence[Price]) -> list[tuple[int, bool]]:
        """Let bars form and close, the last price of each; return which fired, and whether before the close."""
        for forming in bars:
            for number, price in enumerate(forming[:-1], start=1):
                self.see(price, 10 * number)
            self.close(forming[-1])
        return self.fired

    @property
    def fired(self) -> list[tuple[int, bool]]:
        return [((one.bar_time - BEGIN) // HOUR, one.live_at is not None) for one in self.triggers]


EARLY, LATE = True, False


@pytest.mark.parametrize(
    ("rearm", "bars", "fired", "gate", "status"),
    [
        # It fires while it forms; the close is true or false.
        (EDGE, [[4], [6, 6]], [(1, EARLY)], Gate.CLOSED, S.TRIGGERED),
        (EDGE, [[4], [6, 4]], [(1, EARLY)], Gate.OPEN, S.ARMED),
        (EDGE, [[4], [6, None]], [(1, EARLY)], Gate.CLOSED, S.TRIGGERED),
        (EDGE, [[4], [6, 4], [6, 6]], [(1, EARLY), (2, EARLY)], Gate.CLOSED, S.TRIGGERED),
        (EDGE, [[4], [6, 6], [6, 6]], [(1, EARLY)], Gate.CLOSED, S.TRIGGERED),
        # True, false and true again within one bar is one trigger.
        (EDGE, [[4], [6, 4, 6, 4, 6]], [(1, EARLY)], Gate.CLOSED, S.TRIGGERED),
        (SIMPLE, [[4], [6, 4, 6, 7, 6]], [(1, EARLY)], Gate.OPEN, S.ARMED),
        (SIMPLE, [[4], [6, 6], [6, 6], [4, 6]], [(1, EARLY), (2, EARLY), (3, LATE)], Gate.OPEN, S.ARMED),
        # What is false for a moment does not open the gate before the close.
        (EDGE, [[6], [4, 6, 6], [4, 4], [6, 6]], [(0, LATE), (3, EARLY)], Gate.CLOSED, S.TRIGGERED),
        (HYSTERESIS, [[6], [4, 6, 4.5], [6, 4], [6, 6]], [(0, LATE), (3, EARLY)], Gate.CLOSED, S.TRIGGERED),
        (CROSSING, [[6], [4, 6, 6], [4, 4], [6, 6]], [(3, EARLY)], Gate.CLOSED, S.TRIGGERED),
        # Bars are counted as they close; the forming one is the last of them.
        (
            {"type": "persistence", "bars": 3},
            [[6, 6], [6, 6], [4, 6, 4, 6]],
            [(2, EARLY)],
            Gate.CLOSED,
            S.TRIGGERED,
        ),
        ({"type": "persistence", "bars": 3}, [[6], [6], [6, 4], [6]], [(2, EARLY)], Gate.OPEN, S.PENDING),
        (
            {"type": "simple", "bars": 2},
            [[6], [6, 6], [6, 6], [6, 6]],
            [(1, EARLY), (3, EARLY)],
            Gate.OPEN,
            S.ARMED,
        ),
        # With a cooldown a trigger ends the count all the same, also if the close is unknown.
        (
            {"type": "simple", "bars": 2, "cooldown": 4000},
            [[6], [6, 6], [6]],
            [(1, EARLY)],
            Gate.OPEN,
            S.PENDING,
        ),
        ({"type": "simple", "bars": 2}, [[6], [6, None], [6, 6]], [(1, EARLY)], Gate.OPEN, S.PENDING),
        # Nothing is known of the forming bar.
        (EDGE, [[4], [None, 6]], [(1, LATE)], Gate.CLOSED, S.TRIGGERED),
    ],
)  # fmt: skip
def test_each_type_fires_once_a_bar_and_goes_on_from_the_close(
    rearm: dict[str, Any], bars: list[list[Price]], fired: list[tuple[int, bool]], gate: Gate, status: S
) -> None:
    watch = Watch(live(rearm=rearm))
    assert watch.play(*bars) == fired
    assert (watch.state.gate, watch.state.status) == (gate, status)


def test_of_a_trigger_before_the_close_only_these_are_kept() -> None:
    watch = Watch(live(CROSSES_5, {"type": "edge", "cooldown": 600}))
    watch.play([4])
    before = watch.state
    assert watch.see(6, 17)
    now = BEGIN + HOUR + 17 * MINUTE
    assert watch.state == replace(
        before,
        gate=Gate.CLOSED,
        cooldown_until=now + timedelta(minutes=10),
        last_trigger_bar=BEGIN + HOUR,
        trigger_count=1,
        status=S.COOLDOWN,
    )
    (trigger,) = watch.triggers
    assert (trigger.live_at, trigger.is_late, trigger.number) == (now, False, 1)
    assert (trigger.bar_time, trigger.value, trigger.bar["close"]) == (BEGIN + HOUR, 6.0, 6.0)


def test_a_bar_on_which_nothing_fires_changes_nothing_before_its_close() -> None:
    watch = Watch(live({**ABOVE_5, "operator": "crosses_below"}, {"type": "crossing"}))
    watch.play([4])
    before = watch.state
    assert not watch.see(6, 5)
    assert watch.state == before


def test_the_side_of_an_event_moves_with_the_close_and_not_before() -> None:
    watch = Watch(live(CROSSES_5, SIMPLE))
    # Above at first, below at the close, and above again on the next bar: that is crossed from below both times.
    assert watch.play([4], [6, 4], [6, 6], [6, 6]) == [(1, EARLY), (2, EARLY)]
    assert watch.state.sides == {"0": "above"}


def test_an_event_may_fire_at_the_close_though_it_did_not_before() -> None:
    assert Watch(live(CROSSES_5)).play([4], [4, 5, 6]) == [(1, LATE)]


def test_a_live_cooldown_runs_on_the_clock_and_its_end_is_included() -> None:
    watch = Watch(live(rearm={"type": "cooldown", "cooldown": 3600}))
    watch.play([4])
    assert watch.see(6, 30)
    watch.close(6)
    assert not watch.see(6, 29)
    assert watch.see(6, 30)


def test_a_cooldown_of_a_closed_bar_holds_for_the_forming_one() -> None:
    watch = Watch(live(rearm={"type": "cooldown", "cooldown": 300}))
    watch.play([6])
    assert [watch.see(6, minute) for minute in (1, 4, 5, 6)] == [False, False, True, False]


def test_the_last_trigger_that_is_allowed_ends_the_alert_at_once() -> None:
    watch = Watch(live(rearm=SIMPLE, max_triggers=2))
    watch.play([6])
    assert watch.see(6, 1)
    assert watch.state.status is S.COMPLETED
    assert not watch.see(6, 2)
    assert not watch.close(6)
    assert watch.state.last_bar == BEGIN


def test_an_alert_expires_by_the_clock_within_a_bar() -> None:
    watch = Watch(live(expires_at=(BEGIN + 90 * MINUTE).isoformat()))
    watch.play([4])
    seen = [(watch.see(price, minute), watch.state.status) for price, minute in ((4, 30), (6, 31))]
    assert seen == [(False, S.ARMED), (False, S.EXPIRED)]


def test_at_the_instant_of_its_expiry_it_still_fires() -> None:
    watch = Watch(live(expires_at=(BEGIN + 90 * MINUTE).isoformat()))
    watch.play([4])
    assert watch.see(6, 30)


def test_an_alert_made_within_a_bar_fires_on_it_as_the_bar_has_not_closed_yet() -> None:
    alert = live()
    watch = Watch(alert, fresh_state(alert, BEGIN + HOUR + 20 * MINUTE))
    watch.close(6)
    assert watch.fired == []
    assert not watch.see(6, 20)
    assert watch.see(6, 21)


def test_an_event_of_a_new_alert_is_told_by_the_sides_of_its_history() -> None:
    alert = live(CROSSES_5)
    watch = Watch(alert, fresh_state(alert, BEGIN + HOUR + 20 * MINUTE))
    watch.close(4)
    assert watch.see(6, 21)


def test_the_very_first_bar_may_fire_while_it_forms() -> None:
    assert Watch(live()).see(6, 1)
    assert not Watch(live(CROSSES_5)).see(6, 1)


def test_indicators_read_the_forming_bar_behind_the_closed_ones() -> None:
    average = {"indicator": "sma", "params": {"period": 3}, "operator": ">", "value": 5}
    watch = Watch(live(average))
    watch.play([4], [4])
    assert not watch.see(7, 5)
    assert watch.see(7.5, 6)
    assert watch.triggers[0].value == pytest.approx((4 + 4 + 7.5) / 3)


def test_a_forming_bar_behind_a_hole_is_not_looked_at() -> None:
    """The alert has evaluated a bar that is not among those at hand."""
    alert = live()
    watch = Watch(alert, replace(fresh_state(alert, LONG_AGO), last_bar=BEGIN + HOUR))
    watch.closed = bar(0, 4)
    found = looked_at(alert, watch.state, watch.closed, bar(2, 6), BEGIN + HOUR * 2 + MINUTE)
    assert found.triggers == ()


# --- whatever is seen before the close ---

prices = st.sampled_from([None, 3.0, 4.0, 4.5, 5.0, 6.0, 7.0])
histories = st.lists(st.lists(prices, min_size=1, max_size=5), min_size=1, max_size=8)
rearms = st.sampled_from(
    [
        SIMPLE,
        EDGE,
        CROSSING,
        HYSTERESIS,
        {"type": "edge", "cooldown": 5400},
        {"type": "simple", "bars": 2},
        {"type": "simple", "bars": 2, "cooldown": 5400},
        {"type": "cooldown", "cooldown": 1800},
        {"type": "persistence", "bars": 2},
        {"type": "persistence", "bars": 2, "cooldown": 9000},
        {"type": "crossing", "bars": 2},
    ]
)
rules = st.sampled_from(
    [
        ABOVE_5,
        CROSSES_5,
        {"indicator": "price", "operator": "crosses", "value": {"indicator": "sma", "params": {"period": 2}}},
        {"indicator": "price", "operator": "enters", "value": [4, 5.5]},
        {"operator": "not", "conditions": [ABOVE_5]},
        {"operator": "or", "conditions": [CROSSES_5, {"indicator": "change_pct", "operator": ">", "value": 20}]},
    ]
)
limits = st.sampled_from([{}, {"max_triggers": 2}, {"expires_at": "2027-03-01T04:30:00Z"}])


@given(rules, rearms, limits, histories)
def test_what_is_seen_before_the_close_changes_only_what_a_trigger_may(
    rule: dict[str, Any], rearm: dict[str, Any], options: dict[str, Any], bars: list[list[Price]]
) -> None:
    watch, closes = Watch(live(rule, rearm, **options)), Watch(live(rule, rearm, **options))
    for forming in bars:
        watch.play(forming)
        closes.play(forming[-1:])
        state, other = watch.state, closes.state
        assert len({time for time, _ in watch.fired}) == len(watch.triggers) == state.trigger_count
        if not any(early for _, early in watch.fired):
            assert state == other
        elif not (state.status.is_final or other.status.is_final):
            assert (state.sides, state.last_bar, state.data_status) == (
                other.sides,
                other.last_bar,
                other.data_status,
            )


@dataclass
class Oracle:
    """The semantics once more, for ``price > 5``, as one would write them for one alert."""

    rearm: dict[str, Any]
    is_open: bool
    count: int = 0
    cooldown_until: int = -1  # minutes, as all times here: an end is included, which fractions would miss
    last_trigger: int = -1

    def rearms(self, price: float) -> bool:
        match self.rearm["type"]:
            case "simple" | "cooldown":
                return True
            case "hysteresis":
                return price <= 4
            case "crossing":
                return price < 5
            case _:
                return price <= 5

    def judge(self, index: int, price: Price, minute: int, *, closes: bool) -> bool:
        is_open, count, fires = self.is_open, self.count, False
        if price is not None:
            is_open = is_open or self.rearms(price)
            count = count + 1 if price > 5 and is_open else 0
            is_due = price > 5 and count >= self.rearm.get("bars", 1) and minute >= self.cooldown_until
            fires = is_due and self.last_trigger != index
        if closes and (fires or self.last_trigger == index):
            count = 0
        if closes:
            self.is_open, self.count = is_open, count
        if fires:
            self.is_open = self.rearm["type"] in ("simple", "cooldown")
            self.cooldown_until = minute + self.rearm.get("cooldown", 0) // 60
            self.last_trigger = index
        return fires


@given(rearms, histories)
@example({"type": "edge", "cooldown": 5400}, [[6.0, 3.0], [None, None, None, 6.0, None]])
def test_live_alerts_decide_as_the_semantics_say(rearm: dict[str, Any], bars: list[list[Price]]) -> None:
    watch, oracle = Watch(live(rearm=rearm)), Oracle(rearm, is_open=rearm["type"] != "crossing")
    for index, forming in enumerate(bars):
        for number, price in enumerate(forming[:-1], start=1):
            expected = oracle.judge(index, price, 60 * index + 10 * number, closes=False)
            assert watch.see(price, 10 * number) == expected
        assert watch.close(forming[-1]) == oracle.judge(index, forming[-1], 60 * (index + 1), closes=True)
        assert (watch.state.gate is Gate.OPEN, watch.state.count) == (oracle.is_open, oracle.count)
