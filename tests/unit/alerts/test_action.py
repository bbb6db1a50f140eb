"""Actions in an alert's configuration: what is taken, what is refused, and with which words."""

from __future__ import annotations

from typing import Any

import pytest

from atf.alerts.action import MOST_ACTIONS, Action, ActionType, shown_url
from atf.alerts.alert import parse_alert
from atf.errors import InvalidAlertRule
from atf.security.limits import LARGEST_PAYLOAD, LONGEST_URL

BOT = {"type": "bot", "bot_id": 7, "command": "start"}
HOOK = {"type": "webhook", "url": "https://example.com/hook"}


def config(*actions: object, **fields: Any) -> dict[str, Any]:
    rule = {"indicator": "price", "operator": ">", "value": 5}
    return {"ticker": "T", "timeframe": "1h", "rule": rule, "actions": list(actions), **fields}


def problems(document: object) -> dict[str, str]:
    """What is wrong, by field."""
    with pytest.raises(InvalidAlertRule) as refused:
        parse_alert(document)
    return {one.field: one.reason for one in refused.value.problems}


def test_actions_are_read_with_their_defaults() -> None:
    late = {**HOOK, "payload": {"side": "buy"}, "when_late": "run"}
    assert parse_alert(config(BOT, late)).actions == (
        Action(ActionType.BOT, {"bot_id": 7, "command": "start"}, {}, runs_late=False),
        Action(ActionType.WEBHOOK, {"url": HOOK["url"]}, {"side": "buy"}, runs_late=True),
    )
    assert parse_alert(config()).actions == ()


def test_a_whole_number_with_a_point_is_the_number_of_a_bot() -> None:
    (action,) = parse_alert(config({**BOT, "bot_id": 7.0})).actions
    assert type(action.target["bot_id"]) is int


def test_an_alert_with_actions_can_be_a_key() -> None:
    alert = parse_alert(config({**BOT, "payload": {"a": [1]}}))
    assert {alert: 1}[parse_alert(config({**BOT, "payload": {"a": [1]}}))] == 1


def test_an_edit_of_actions_is_none_of_the_rule() -> None:
    assert parse_alert(config(BOT)).rule_hash == parse_alert(config(HOOK, BOT)).rule_hash


@pytest.mark.parametrize(
    ("action", "field", "sentence"),
    [
        ({"type": "mail"}, "type", '"mail" is not one of bot, webhook'),
        ({"bot_id": 7}, "type", "is missing"),
        (
            {**BOT, "command": "stat"},
            "command",
            "is not one of start, stop, pause, signal; did you mean 'start'?",
        ),
        ({**BOT, "bot_id": 0}, "bot_id", "less than the minimum of 1"),
        ({**BOT, "bot_id": -7}, "bot_id", "less than the minimum of 1"),
        ({**BOT, "bot_id": 2**31}, "bot_id", "greater than the maximum"),
        ({**BOT, "bot_id": True}, "bot_id", "must be an integer, got true"),
        ({**BOT, "bot_id": "7"}, "bot_id", 'must be an integer, got "7"'),
        ({**BOT, "bot_id": 7.5}, "bot_id", "must be an integer, got 7.5"),
        ({"type": "bot", "command": "stop"}, "bot_id", "is missing: a bot action needs bot_id and command"),
        ({"type": "bot", "bot_id": 7}, "command", "is missing: a bot action needs bot_id and command"),
        (
            {**BOT, "url": "https://h"},
            "url",
            "belongs to a webhook action, and this is a bot action; leave it out",
        ),
        ({**HOOK, "bot_id": 7}, "bot_id", "belongs to a bot action"),
        ({"type": "webhook"}, "url", "is missing: a webhook action needs url"),
        ({**HOOK, "url": 5}, "url", "must be a string, got 5"),
        ({**HOOK, "when_late": "never"}, "when_late", '"never" is not one of skip, run'),
        ({**HOOK, "payload": []}, "payload", "must be an object, got []"),
        ({**HOOK, "payload": {"trigger": 1}}, "payload.trigger", "take another name"),
        ({**HOOK, "payload": {"a": [float("nan")]}}, "payload.a[0]", "must be a finite number"),
        ({**HOOK, "payload": {"a": 10**400}}, "payload.a", "must be a finite number"),
        ({**HOOK, "payload": {"a": "nul \0"}}, "payload.a", "cannot be stored"),
        ({**HOOK, "colour": "red"}, "colour", "unknown field"),
    ],
)
def test_what_is_wrong_is_named_with_its_path(action: object, field: str, sentence: str) -> None:
    found = problems(config(BOT, action))
    assert list(found) == [f"actions[1].{field}"]
    assert sentence in found[f"actions[1].{field}"]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/x",
        "example.com/hook",
        "//other.org/hook",
        "https://",
        "https:///path",
        "https://:443/",
        "http://user@/x",
        "http://h:99999/",
        "http://h:x/",
        "http://h:0/",
        "http://[::1/",
        "http://a..b/",
        "http://exa mple.com/",
        "http://example.com/\n",
        "http:\\\\example.com",
        "http://exämple.com/",
        f"http://{'a' * 64}.com/",
        f"http://h/{'x' * LONGEST_URL}",
        "javascript:alert(1)",
        "",
    ],
)
def test_an_url_that_cannot_be_asked_is_refused_and_not_repeated(url: str) -> None:
    (sentence,) = problems(config({**HOOK, "url": url})).values()
    assert len(url) < 9 or url not in sentence


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "HTTPS://Example.com/a?b=c#d", "http://[::1]:9/x", "https://u:p@host/%20"]
)
def test_urls_of_the_own_machine_and_with_passwords_are_taken(url: str) -> None:
    assert parse_alert(config({**HOOK, "url": url})).actions[0].target == {"url": url}


def test_all_that_is_wrong_is_told_at_once() -> None:
    document = config({"type": "bot"}, {**HOOK, "url": "x"}, {**HOOK, "when_late": 1}, notify={"on": []})
    assert set(problems(document)) == {
        "actions[0].bot_id",
        "actions[0].command",
        "actions[1].url",
        "actions[2].when_late",
        "notify.on",
    }


def test_actions_are_counted_and_measured() -> None:
    assert len(parse_alert(config(*[BOT] * MOST_ACTIONS)).actions) == MOST_ACTIONS
    assert problems(config(*[BOT] * 11)) == {"actions": "has 11 entries, at most 10 are allowed"}
    room = {"a" * 10: ["ü" * 2000] * 4}  # 16,000 bytes and the signs between them
    assert len(parse_alert(config({**BOT, "payload": room})).actions) == 1
    (sentence,) = problems(config({**BOT, "payload": {**room, "b": "x" * 400}})).values()
    assert sentence.endswith(f"bytes as JSON, at most {LARGEST_PAYLOAD} are allowed")


@pytest.mark.parametrize("actions", ["start", {"type": "bot"}, 7, True, [7], [[BOT]], [None]])
def test_actions_of_another_shape_are_refused(actions: object) -> None:
    (field,) = problems({**config(), "actions": actions})
    assert field.startswith("actions")


def test_words_show_no_secrets_of_an_url() -> None:
    secret = {**HOOK, "url": "https://user:pass@example.com:8443/path/token?key=secret#x"}
    bot, hook = parse_alert(config(BOT, secret)).actions
    assert (bot.words, hook.words) == ("start to bot 7", "request to https://example.com:8443")
    assert shown_url("http://[::1]:80/x") == "http://[::1]:80"


def test_a_legacy_job_has_no_actions() -> None:
    legacy = {"symbol": "T", "condition": "price_above", "threshold": 5, "actions": [BOT]}
    assert list(problems(legacy)) == ["actions"]
