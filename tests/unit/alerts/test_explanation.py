"""What a person is told about one bar."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.alert_traces import ABOVE_5, BEGIN, HOUR, alert_of, bars_of, traced

from atf.alerts.explanation import as_json, as_text, reason
from atf.alerts.rearming import Rearming, rearm_words, span_words

HYSTERESIS = {"type": "hysteresis", "threshold": 0.2}
BELOW_9 = {"indicator": "price", "operator": "<", "value": 9}
BOTH = {"operator": "and", "conditions": [ABOVE_5, BELOW_9]}
EITHER = {"operator": "or", "conditions": [ABOVE_5, BELOW_9]}


def told(rule: dict[str, Any], closes: list[float | None], **fields: Any) -> str:
    """The last bar, explained."""
    alert = alert_of(rule, **fields)
    return as_text(alert, traced(alert, bars_of(closes)).bars[-1])


def test_a_trigger_is_told_in_one_look() -> None:
    assert told(ABOVE_5, [4, 6], rearm=HYSTERESIS) == (
        "T 1h, bar of 2027-03-01 01:00Z, closed 2027-03-01 02:00Z\n"
        "Triggered, for the 1st time.\n"
        "\n"
        "true     close > 5   (close = 6; re-arms at close <= 4)\n"
        "\n"
        "gate      open → closed, opens when close <= 4\n"
        "status    ARMED → TRIGGERED"
    )


@pytest.mark.parametrize(
    ("rule", "closes", "rearm", "sentence"),
    [
        (ABOVE_5, [4], {"type": "edge"}, "Not triggered: the rule is false."),
        (ABOVE_5, [None], {"type": "edge"}, "Not triggered: the rule is unknown, as a value is missing."),
        (
            ABOVE_5,
            [6, 6],
            {"type": "edge"},
            "Not triggered: the rule is true, but the gate is closed: "
            "the rule was not false since the last trigger.",
        ),
        (
            ABOVE_5,
            [6, 4.5, 6],
            HYSTERESIS,
            "Not triggered: the rule is true, but the gate is closed: "
            "the value has not moved away from its level far enough since the last trigger.",
        ),
        (
            ABOVE_5,
            [6],
            {"type": "crossing"},
            "Not triggered: the rule is true, but the gate is closed: "
            "the value was not on the other side of its level since the last trigger, or never yet.",
        ),
        (
            ABOVE_5,
            [4, 6],
            {"type": "persistence", "bars": 3},
            "Not triggered: the rule is true on 1 of 3 bars in a row.",
        ),
        (
            ABOVE_5,
            [6, 6],
            {"type": "cooldown", "cooldown": 86400},
            "Not triggered: the rule is true, but the cooldown lasts until 2027-03-02 01:00Z.",
        ),
    ],
)
def test_what_kept_it_from_firing_is_one_sentence(
    rule: dict[str, Any], closes: list[float | None], rearm: dict[str, Any], sentence: str
) -> None:
    assert told(rule, closes, rearm=rearm).splitlines()[1] == sentence


def test_a_preview_says_would_have() -> None:
    alert = alert_of(ABOVE_5)
    fired, silent = traced(alert, bars_of([6, 6])).bars
    assert reason(alert, fired, is_preview=True) == "It would have triggered."
    assert reason(alert, silent, is_preview=True).startswith("It would not have triggered: the rule is true, but")
    assert as_json(alert, fired, is_preview=True)["preview"] is True


@pytest.mark.parametrize(
    ("rule", "rearm", "opens"),
    [
        (BOTH, HYSTERESIS, "close <= 4 or close >= 10.8"),
        (EITHER, HYSTERESIS, "close <= 4 and close >= 10.8"),
        (BOTH, {"type": "crossing"}, "close < 5 or close > 9"),
        ({"operator": "not", "conditions": [BELOW_9]}, HYSTERESIS, "close <= 7.2"),
        (ABOVE_5, {"type": "edge"}, "the rule is false"),
        (
            {"operator": "not", "conditions": [{**ABOVE_5, "operator": "crosses_above"}]},
            HYSTERESIS,
            "close crosses above 5",
        ),
    ],
)
def test_it_says_what_opens_the_gate(rule: dict[str, Any], rearm: dict[str, Any], opens: str) -> None:
    alert = alert_of(rule, rearm=rearm)
    values = tuple(level for level in (6.0, 5.0, 6.0, 9.0))[: len(alert.operands)]
    if rule == {"operator": "not", "conditions": [BELOW_9]}:
        values = (10.0, 9.0)
    assert Rearming(alert, values).opens_at() == opens


def test_each_leaf_says_where_it_re_arms_and_whether_it_is_there() -> None:
    alert = alert_of(BOTH, rearm=HYSTERESIS)
    first, second = as_json(alert, traced(alert, bars_of([6, 4])).bars[-1])["rule"]["conditions"]
    assert (first["rearms_at"], first["has_moved_away"]) == ("close <= 4", True)
    assert (second["rearms_at"], second["has_moved_away"]) == ("close >= 10.8", False)
    unknown = as_json(alert, traced(alert, bars_of([None])).bars[-1])["rule"]["conditions"][0]
    assert (unknown["rearms_at"], unknown["has_moved_away"]) == ("close <= 4", None)


@given(
    st.lists(st.sampled_from([3.0, 4.0, 5.0, 6.0, 9.0, 10.8, 11.0]), min_size=1, max_size=12),
    st.sampled_from(
        [HYSTERESIS, {"type": "crossing"}, {"type": "hysteresis", "threshold": 1, "unit": "absolute"}]
    ),
    st.sampled_from([ABOVE_5, BELOW_9, {"indicator": "price", "operator": "outside", "value": [4, 9]}]),
)
def test_what_is_said_about_moving_away_is_what_the_gate_does(
    closes: list[float], rearm: dict[str, Any], rule: dict[str, Any]
) -> None:
    alert = alert_of(rule, rearm=rearm)
    for bar in traced(alert, bars_of(closes)).bars:
        assert as_json(alert, bar)["rule"]["has_moved_away"] == (bar.band == -1)


def test_what_is_left_of_counting_and_of_a_cooldown_is_said() -> None:
    counting = told(ABOVE_5, [4, 6], rearm={"type": "persistence", "bars": 3})
    assert "count     1 of 3 bars, 2 more true bars to go" in counting
    cooling = told(ABOVE_5, [6, 6], rearm={"type": "cooldown", "cooldown": 5400})
    assert "cooldown  until 2027-03-01 02:30Z, 30 min more" in cooling
    over = told(ABOVE_5, [6, 4, 4, 4], rearm={"type": "cooldown", "cooldown": 5400})
    assert "cooldown  until 2027-03-01 02:30Z, which is over" in over
    alert = alert_of(ABOVE_5, rearm={"type": "persistence", "bars": 3, "cooldown": 7200})
    bars = traced(alert, bars_of([4, 6, 6, 6])).bars
    assert as_json(alert, bars[1])["bars_left"] == 2
    assert as_json(alert, bars[3])["cooldown_left_seconds"] == 7200
    assert as_json(alert, bars[3])["opens_at"] == "the rule is false"


def test_a_tree_is_drawn_with_its_sides() -> None:
    rule = {"operator": "or", "conditions": [{**ABOVE_5, "operator": "crosses_above"}, BOTH]}
    assert told(rule, [4, 6]).splitlines()[3:9] == [
        "true     or",
        "├─ true     close crosses above 5   (close = 6, side below → above)",
        "└─ true     and",
        "   ├─ true     close > 5   (close = 6)",
        "   └─ true     close < 9   (close = 6)",
        "",
    ]


def test_history_and_the_end_are_told() -> None:
    alert = alert_of({**ABOVE_5, "operator": "crosses"}, options={"expires_at": (BEGIN + HOUR).isoformat()})
    first, second = traced(alert, bars_of([4, 6]), history=1).bars
    assert reason(alert, first) == "Not triggered: the bar closed before the alert began to watch."
    assert reason(alert, second) == "Not triggered: the alert is EXPIRED."


@pytest.mark.parametrize(
    ("rearm", "words"),
    [
        ({"type": "edge"}, "each time it becomes true"),
        ({"type": "simple"}, "on every bar on which it is true"),
        (HYSTERESIS, "each time it becomes true after the value was 20 % away from its level"),
        (
            {"type": "hysteresis", "threshold": 3, "unit": "absolute"},
            "each time it becomes true after the value was 3 away from its level",
        ),
        ({"type": "crossing"}, "each time it becomes true after the value was on the other side"),
        ({"type": "cooldown", "cooldown": 90000}, "while it is true, at most once in 1 d 1 h"),
        (
            {"type": "persistence", "bars": 3, "cooldown": 60},
            "each time it becomes true, after 3 true bars in a row, at most once in 1 min",
        ),
    ],
)
def test_rearming_is_said_in_words(rearm: dict[str, Any], words: str) -> None:
    assert rearm_words(alert_of(ABOVE_5, rearm=rearm).rearm) == words


def test_spans_have_their_two_largest_units() -> None:
    assert [span_words(HOUR * 0), span_words(HOUR * 24_001), span_words(HOUR / 120)] == [
        "0 s",
        "1,000 d 1 h",
        "30 s",
    ]
