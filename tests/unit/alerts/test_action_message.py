"""What a trigger's actions are in the outbox."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.alert_traces import seen_bar

from atf.alerts.action_message import action_messages
from atf.alerts.alert import Alert, parse_alert
from atf.alerts.alert_message import compose
from atf.alerts.trigger import Trigger
from atf.notifications.message import ACTION, OutgoingMessage

BAR = datetime(2027, 3, 1, 14, tzinfo=UTC)
IN_TIME = Trigger(
    bar_time=BAR,
    number=3,
    bar={"open": 1.0, "high": 1.0, "low": 1.0, "close": 151.0, "volume": 1.0},
    readings={"close": 151.0},
    value=151.0,
    threshold=150.0,
    is_late=False,
    late_at=BAR + timedelta(hours=3),
    seen=seen_bar(BAR),
)
LATE = replace(IN_TIME, is_late=True)
URL = "https://user:pass@example.com/path-secret?key=query-secret"


def alert(**more: Any) -> Alert:
    actions = [
        {"type": "bot", "bot_id": 7, "command": "signal", "payload": {"side": "buy"}, **more},
        {"type": "webhook", "url": URL, **more},
    ]
    rule = {"indicator": "price", "operator": ">", "value": 150}
    return parse_alert({"ticker": "AAPL", "timeframe": "1h", "rule": rule, "actions": actions})


def messages(found: Alert, trigger: Trigger = IN_TIME, refusal: str | None = None) -> list[OutgoingMessage]:
    return action_messages(9, 2, "breakout", found, trigger, refusal)


def test_each_action_is_one_message_with_the_triggers_key_and_its_number() -> None:
    found = messages(alert())
    key = compose(9, 2, "breakout", alert(), IN_TIME).dedup_key
    assert [one.dedup_key for one in found] == [f"{key}:1", f"{key}:2"]
    assert [one.delivery_key(channel) for one in found for channel in one.channels or ()] == [
        f"{key}:1:bot",
        f"{key}:2:webhook",
    ]
    assert [(one.channels, one.notification_type, one.user_id) for one in found] == [
        (("bot",), ACTION, 2),
        (("webhook",), ACTION, 2),
    ]


def test_it_carries_the_triggers_payload_and_its_own() -> None:
    bot, hook = messages(alert())
    trigger = compose(9, 2, "breakout", alert(), IN_TIME).payload
    assert bot.payload == {
        "alert_id": 9,
        "bot_id": 7,
        "command": "signal",
        "tell": ["inbox"],
        "late_at": "2027-03-01T17:00:00+00:00",
        "body": {"side": "buy", "trigger": trigger},
    }
    assert (hook.payload["url"], hook.payload["body"]) == (URL, {"trigger": trigger})


def test_what_people_read_of_it_has_no_secrets() -> None:
    _, hook = messages(alert())
    assert (hook.title, hook.body) == ("Action 2 of alert breakout", "request to https://example.com")
    assert "secret" not in json.dumps([hook.title, hook.body, hook.dedup_key])


def test_late_actions_are_recorded_and_not_sent_unless_they_are_to_run_late() -> None:
    assert [one.refusal is None for one in messages(alert(), LATE)] == [False, False]
    assert "when_late is skip" in (messages(alert(), LATE)[0].refusal or "")
    late = messages(alert(when_late="run"), LATE)
    assert [(one.refusal, one.payload["late_at"]) for one in late] == [(None, None), (None, None)]
    assert late[0].payload["body"]["trigger"]["late"] is True


@pytest.mark.parametrize("trigger", [IN_TIME, LATE])
def test_who_may_not_act_is_told_so_first(trigger: Trigger) -> None:
    assert {one.refusal for one in messages(alert(when_late="run"), trigger, "not allowed")} == {"not allowed"}
    assert {one.refusal for one in messages(alert(), trigger, "not allowed")} == {"not allowed"}


def test_an_alert_without_actions_does_nothing() -> None:
    plain = parse_alert(
        {"ticker": "T", "timeframe": "1h", "rule": {"indicator": "price", "operator": ">", "value": 1}}
    )
    assert messages(plain) == []
