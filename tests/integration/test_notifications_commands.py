"""``atf notifications settings|list|stats|requeue`` and ``atf telegram link``, as a person meets them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.integration.command_line import CommandLine

from atf.security.tokens import TokenKind, parse_token

DEFAULTS: dict[str, Any] = {
    "language": "en",
    "timezone": "UTC",
    "digest_minutes": None,
    "fallback": None,
    "routes": {},
    "addresses": [],
    "unreachable": [],
}


@pytest.fixture
def atf(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    return CommandLine(tmp_path, database_url, monkeypatch, capsys)


def settings(atf: CommandLine, *words: object) -> dict[str, Any]:
    found: dict[str, Any] = atf.json("notifications", "settings", *words)
    return found


# --- settings ---


def test_what_is_named_is_changed_and_the_rest_stays(atf: CommandLine) -> None:
    assert settings(atf, "show") == DEFAULTS
    told = settings(atf, "set", "--language", "DE", "--timezone", "Europe/Berlin", "--digest", 60)
    assert told == {**DEFAULTS, "language": "de", "timezone": "Europe/Berlin", "digest_minutes": 60}
    assert settings(atf, "set", "--fallback", "email") == {**told, "fallback": "email"}
    assert settings(atf, "set") == settings(atf, "show") == {**told, "fallback": "email"}
    shown = atf("notifications", "settings", "show").out.splitlines()
    assert shown == [
        "language  de",
        "timezone  Europe/Berlin",
        "digest    every 60 minutes",
        "fallback  email",
    ]
    back = settings(atf, "set", "--digest", "off", "--fallback", "none", "--language", "en", "--tz", "UTC")
    assert back == DEFAULTS


def test_routes_are_switched_and_forgotten(atf: CommandLine) -> None:
    routes = settings(atf, "route", "report:email=on", "*:telegram=off")["routes"]
    assert routes == {"*:telegram": False, "report:email": True}
    shown = atf("notifications", "settings", "show").out
    assert "route *:telegram    off\n" in shown
    assert "route report:email  on\n" in shown
    assert settings(atf, "route", "report:email=off")["routes"]["report:email"] is False
    assert settings(atf, "route", "--clear", "note:sms=on")["routes"] == {"note:sms": True}
    assert settings(atf, "route", "--clear")["routes"] == {}


def test_addresses_are_said_and_forgotten_and_where_nothing_arrives_is_shown(atf: CommandLine) -> None:
    settings(atf, "address", "webhook", "https://example.org/atf")
    atf.sql("INSERT INTO user_identities (user_id, kind, value) VALUES (1, 'email', 'ann@example.org')")
    atf.sql("INSERT INTO msg_unreachable (user_id, channel, reason) VALUES (1, 'sms', 'no such number')")
    found = settings(atf, "show")
    assert found["addresses"] == [
        {"channel": "email", "address": "ann@example.org", "is_verified": True},
        {"channel": "webhook", "address": "https://example.org/atf", "is_verified": False},
    ]
    ((unreachable),) = found["unreachable"]
    assert (unreachable["channel"], unreachable["reason"]) == ("sms", "no such number")
    shown = atf("notifications", "settings", "show").out
    assert "unreachable sms  no such number\n" in shown
    assert settings(atf, "address", "sms", "+491701234567")["unreachable"] == [], "it is found out anew"
    assert settings(atf, "address", "webhook")["addresses"] == [
        {"channel": "email", "address": "ann@example.org", "is_verified": True},
        {"channel": "sms", "address": "+491701234567", "is_verified": False},
    ]
    assert atf.refused("notifications", "settings", "address", "webhook") == 'you have no address for "webhook"'


def test_a_wrong_wish_is_one_sentence_and_changes_nothing(atf: CommandLine) -> None:
    before = settings(atf, "route", "report:email=on")
    for words, sentence in [
        (["set", "--language", "fr", "--digest", "60"], "language: must be one of de, en, got 'fr'"),
        (["set", "--digest", "60", "--timezone", "Mars"], "timezone: unknown time zone 'Mars'"),
        (["set", "--language", "de", "--digest", "4"], "digest: must be minutes from 5 to 1440, or off, got '4'"),
        (["set", "--language", "de", "--digest", "1441"], "digest: must be minutes from 5 to 1440, or off"),
        (["set", "--language", "de", "--fallback", "pigeon"], "fallback: must name a channel of inbox, console,"),
        (
            ["route", "*:sms=on", "nonsense"],
            "route: must be TYPE:CHANNEL=on or TYPE:CHANNEL=off, with * for every",
        ),
        (["route", "*:sms=on", "*:pigeon=on"], "route: must name a channel of inbox, console,"),
        (["route", "--clear", "*:inbox=off"], "route: the inbox cannot be switched off"),
        (
            ["address", "telegram", "1"],
            'channel: must be of sms, webhook, got "telegram"; telegram and email are',
        ),
        (["address", "sms", "0170"], "address: must be a telephone number with its country such as +49170"),
        (["address", "webhook", "ftp://x"], "address: must be a URL such as https://example.org/atf, got"),
        (["test", "pigeon"], "channel: must name a channel of inbox, console,"),
        (["set", "--language", "de", "--user", "nobody"], "there is no user 'nobody'; users here: owner"),
    ]:
        assert atf.refused("notifications", "settings", *words).startswith(sentence), words
    assert settings(atf, "show") == before
    assert atf.sql("SELECT count(*) FROM msg_messages") == [(0,)]


def test_a_test_goes_to_its_channel_whatever_is_switched_off(atf: CommandLine) -> None:
    settings(atf, "route", "*:sms=off")
    assert atf("notifications", "settings", "test", "sms").out == "a test message to sms is queued\n"
    assert atf.sql("SELECT channel, status FROM msg_deliveries") == [("sms", "PENDING")]


# --- what became of messages ---


def deliveries(atf: CommandLine) -> None:
    """Messages of the owner's, one a state, and one of somebody else's."""
    atf.sql("INSERT INTO users (name, role) VALUES ('ann', 'trader')")
    for number, (user, kind, title, channel, status) in enumerate(
        [
            (1, "note", "Backup is done", "email", "SENT"),
            (1, "note", "Disk is full", "email", "FAILED"),
            (1, "report", "Daily summary", "sms", "DEAD"),
            (1, "note", "Hello", "inbox", "PENDING"),
            (1, "alert_action", "Action 7", "webhook", "FAILED"),
            (2, "note", "Backup of ann", "email", "FAILED"),
        ],
        1,
    ):
        atf.sql(
            "INSERT INTO msg_messages (user_id, notification_type, title, body, dedup_key) "
            "VALUES (%s, %s, %s, 'The text', %s)",
            user, kind, title, f"key-{number}",
        )  # fmt: skip
        now = datetime.now(UTC)
        atf.sql(
            "INSERT INTO msg_deliveries (message_id, user_id, urgency, channel, dedup_key, status, attempts, "
            "created_at, settled_at, sent_at) VALUES (%s, %s, 2, %s, %s, %s, 4, %s, %s, %s)",
            number, user, channel, f"key-{number}:{channel}", status, now - timedelta(seconds=3),
            None if status == "PENDING" else now, now if status == "SENT" else None,
        )  # fmt: skip


def listed(atf: CommandLine, *words: object) -> list[str]:
    return [one["title"] for one in atf.json("notifications", "list", *words)]


def test_the_list_is_narrowed_by_each_option(atf: CommandLine) -> None:
    deliveries(atf)
    assert listed(atf) == ["Hello", "Daily summary", "Disk is full", "Backup is done"]
    assert listed(atf, "--search", "BACKUP") == ["Backup is done"]
    assert listed(atf, "--search", "the text", "--channel", "email") == ["Disk is full", "Backup is done"]
    assert listed(atf, "--status", "DEAD") == listed(atf, "--type", "report") == ["Daily summary"]
    assert listed(atf, "--actions") == listed(atf, "--channel", "webhook") == ["Action 7"]
    assert listed(atf, "--limit", 1) == ["Hello"]
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert (listed(atf, "--since", soon), len(listed(atf, "--until", soon))) == ([], 4)
    assert listed(atf, "--user", "ann") == ["Backup of ann"]
    table = atf("notifications", "list", "--search", "disk").out
    assert [word in table for word in ("Disk is full", "FAILED", "Hello")] == [True, True, False]
    words = ("notifications", "list", "--since", "2027-01-02", "--until", "2027-01-01")
    assert atf.refused(*words) == "--since: must be earlier than --until"
    assert atf.refused("notifications", "list", "--since", "x").startswith("--since: must be a time such as")


def test_figures_are_of_oneself_or_for_administrators_of_everybody(atf: CommandLine) -> None:
    assert atf.json("notifications", "stats") == []
    deliveries(atf)
    atf.sql("INSERT INTO msg_channels (channel, failures, error, paused_until) "
            "VALUES ('email', 3, 'away', '2099-01-01Z')")  # fmt: skip
    found = {one["channel"]: one for one in atf.json("notifications", "stats")}
    email = found["email"]
    assert (email["sent"], email["failed"], email["dead"], email["pending"]) == (1, 1, 0, 0)
    assert (email["failures"], email["error"], email["paused_until"]) == (3, "away", "2099-01-01T00:00:00Z")
    assert 3 <= email["median_seconds"] <= email["p95_seconds"] < 60
    assert (found["sms"]["dead"], found["inbox"]["pending"]) == (1, 1)
    everybody = {one["channel"]: one for one in atf.json("notifications", "stats", "--everybody")}
    assert everybody["email"]["failed"] == 2
    table = atf("notifications", "stats", "--hours", 1).out
    assert [word in table for word in ("email", "2099-01-01 00:00:00Z")] == [True, True]
    atf.sql("UPDATE msg_deliveries SET settled_at = now() - interval '2 hours' WHERE channel = 'sms'")
    assert "sms" not in [one["channel"] for one in atf.json("notifications", "stats", "--hours", 1)]
    refused = atf.refused("notifications", "stats", "--everybody", "--user", "ann")
    assert refused == "ann may only see and change what is ann's own"
    assert atf("notifications", "stats", "--hours", 0).status == 2


def test_what_failed_is_queued_again_as_far_as_it_is_named(atf: CommandLine) -> None:
    deliveries(atf)
    pending = "SELECT id FROM msg_deliveries WHERE status = 'PENDING' AND id <> 4 ORDER BY 1"
    assert atf("notifications", "requeue", 2).out == "1 deliveries are queued again\n"
    assert atf.sql(pending) == [(2,)]
    assert atf.refused("notifications", "requeue", 2).startswith("you have no delivery 2 ")
    assert atf.refused("notifications", "requeue", 6).startswith("you have no delivery 6 "), "it is ann's"
    assert atf.refused("notifications", "requeue", 1).startswith("you have no delivery 1 "), "it was sent"
    assert atf("notifications", "requeue", "--channel", "email").out == "0 deliveries are queued again\n"
    assert atf("notifications", "requeue", "--all").out == "1 deliveries are queued again\n"
    assert atf("notifications", "requeue", 5).out == "1 deliveries are queued again\n", "an action, by its id"
    assert atf.sql(pending) == [(2,), (3,), (5,)]
    for words in ([], [3, "--all"], ["--all", "--channel", "sms"], [3, "--channel", "sms"]):
        assert atf.refused("notifications", "requeue", *words) == "requeue: name one of ID, --channel and --all"


# --- telegram ---


def test_a_link_is_made_that_the_bot_understands_and_no_text_of_it_is_stored(atf: CommandLine) -> None:
    atf.sql("INSERT INTO users (name, role) VALUES ('eve', 'viewer')")
    made = atf.json("telegram", "link", "--user", "eve")
    word, _, token = made["command"].partition(" ")
    assert word == "/start"
    assert parse_token(token, TokenKind.LINK) is not None
    left = datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=14) < left <= timedelta(minutes=15)
    first, second = atf("telegram", "link").out.splitlines()
    assert first.startswith("send this to the bot, once, until 20")
    assert first.endswith("Z:")
    assert parse_token(second.removeprefix("/start "), TokenKind.LINK) is not None
    assert atf.sql("SELECT user_id, purpose FROM one_time_links ORDER BY 1") == [(1, "link"), (2, "link")]
    stored = str(atf.sql("SELECT t::text FROM one_time_links t UNION ALL SELECT a::text FROM audit_log a"))
    assert token not in stored
    assert token.rpartition("_")[2] not in stored
    assert (
        atf.refused("telegram", "link", "--user", "nobody") == "there is no user 'nobody'; users here: eve, owner"
    )
