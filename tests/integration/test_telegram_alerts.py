"""Alerts in a chat: made of a line, listed, changed by words and by buttons; and whose they are."""

from __future__ import annotations

import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.integration.bar_folder import write_bars
from tests.integration.telegram_desk import PATIENCE, Talker, TelegramDesk, telegram_desk

from atf.alerts.alert import parse_alert
from atf.alerts.alerts_service import NewAlert
from atf.bootstrap.client import open_client
from atf.market.bars import Timeframe
from atf.notifications.foreign_text import one_line
from atf.settings import Settings
from atf.storage.database import Database
from atf.testing.telegram_messages import Message

RULE = {"ticker": "AAPL", "timeframe": "1d", "rule": {"indicator": "price", "operator": ">", "value": 150}}
ACTIONS = ("pause", "resume", "snooze", "unsnooze", "ack", "delete", "explain", "chart")


@pytest.fixture
async def desk(tmp_path: Path, database_url: str, database: Database) -> AsyncIterator[TelegramDesk]:
    write_bars(tmp_path, "AAPL", Timeframe.D1, [100 + day * 7 % 60 for day in range(120)])
    write_bars(tmp_path, "AAPL", Timeframe.M1, [100, 101])
    async with telegram_desk(tmp_path, database_url, database, telegram_groups=True) as found:
        yield found
        assert not [one for one in found.telegram.refused if one.method.startswith("send")]


Store = Callable[[str, int], Awaitable[None]]


@pytest.fixture
def store(tmp_path: Path, database_url: str) -> Store:
    """Stores alerts of a user, also of one who may not."""

    async def work(name: str, count: int) -> None:
        async with open_client(Settings(home=tmp_path, database_url=database_url)) as admin:
            user = await admin.users.get_user(name)
            for _ in range(count):
                await admin.alerts.add(user.id, NewAlert(RULE))

    return work


async def test_an_alert_is_made_of_one_line(desk: TelegramDesk) -> None:
    await desk.ann.say("/timezone Europe/Berlin")
    made = await desk.ann.ask("/alert AAPL 1d > 150, cooldown 5m, max 3")
    assert made.text.split("\n")[:6] == [
        "I watch it from now on.",
        "Alert 1: AAPL 1d",
        "AAPL 1d: close > 150",
        "Status: armed",
        "Fires: each time it becomes true, at most once in 5 min",
        "Tells: telegram, inbox",
    ]
    assert "Ends: after 3 triggers" in made.text
    assert "Next look:" in made.text
    assert "1:00\u00a0AM" in made.text or "2:00\u00a0AM" in made.text  # the bar closes at 00:00Z
    assert made.labels == [
        ["Pause", "Snooze 1 h", "Snooze 1 day"],
        ["Acknowledge", "Explain", "Chart"],
        ["Delete", "My alerts"],
    ]
    assert (await desk.ann.say("/alert")).endswith("Send it now, without a slash.")
    assert "Tells: email\n" in await desk.ann.say("AAPL > 150, notify email")
    stored = await desk.rows.all(
        "SELECT u.name, s.* FROM job_schedules s JOIN users u ON u.id = s.user_id ORDER BY id"
    )
    assert [(one.name, one.cron, one.timezone) for one in stored] == [
        ("AAPL 1d", "0 0 * * *", "UTC"),
        ("AAPL 1m", "* * * * *", "UTC"),
    ]
    assert [one.task_params["notify"] for one in stored] == [
        {"channels": ["telegram", "inbox"]},
        {"channels": ["email"]},
    ]
    await desk.rows.change("UPDATE users SET alerts_limit = 2 WHERE name = 'ann'")
    assert "a user may have 2 alerts here" in await desk.ann.say("/alert AAPL 1d > 5")
    assert len(await numbers(desk)) == 2


async def test_a_line_that_cannot_be_read_shows_where(desk: TelegramDesk) -> None:
    answer = await desk.ann.ask("/alert AAPL 1h: rsi(14) crosess above 50")
    assert "column 18: found 'crosess', did you mean 'crosses'?" in answer.text
    assert "AAPL 1h: rsi(14) crosess above 50\n                 ^^^^^^^" in answer.text
    assert [one["type"] for one in answer.entities] == ["pre", "code"]
    assert answer.text.endswith("Like this: /alert LINE")
    answer = await desk.ann.ask("/alert NOPE 1d > 5")
    assert "unknown ticker 'NOPE' at 1d" in answer.text
    assert "NOPE 1d > 5\n^^^^" in answer.text
    answer = await desk.ann.ask(f"/alert AAPL 1d: {'close > 5 and ' * 20}rsii > 7")
    picture = answer.text.split("\n")[1:3]
    assert [picture[0][at] for at, mark in enumerate(picture[1]) if mark == "^"] == list("rsii")
    assert max(map(len, picture)) <= 36  # so that a telephone does not break the lines
    for words in ("AAPL", "> 5", "1", "AAPL 1d > 5, notify pigeon", "x" * 4080, "AAPL\u200b\u202e > *5*"):
        assert "Like this: /alert LINE" in await desk.ann.say(f"/alert {words}")
    assert await numbers(desk) == []


async def test_alerts_are_listed_newest_first_and_turned_in_place(desk: TelegramDesk, store: Store) -> None:
    assert (await desk.ann.say("/alerts")).startswith("You have no alerts.")
    await store("ann", 23)
    listed = await desk.ann.ask("/alerts")
    assert listed.text.startswith("Your alerts: 23\n23 · AAPL 1d · close > 150 · armed\n22 · ")
    assert listed.text.endswith("page 1 of 3")
    assert listed.labels == [["23", "22", "21", "20", "19"], ["18", "17", "16", "15", "14"], ["Next ›"]]
    listed = await desk.ann.press_for("Next ›", listed)
    assert listed.labels[-1] == ["‹ Previous", "Next ›"]
    listed = await desk.ann.press_for("Next ›", listed)
    assert listed.labels == [["3", "2", "1"], ["‹ Previous"]]
    shown = await desk.ann.press_for("2", listed)
    assert shown.text.startswith("Alert 2: AAPL 1d\n")
    listed = await desk.ann.press_for("My alerts", shown)
    assert listed.text.endswith("page 1 of 3")
    assert len(desk.ann.chat.messages) == 2  # presses have made no new ones
    assert (await desk.ann.say("/alerts page 999999999999")).endswith("page 3 of 3")
    assert (await desk.ann.say("/alerts page 0")).endswith("page 1 of 3")
    assert await desk.ann.say("/alerts page -1") == "page: must be a number, got -1"


async def test_buttons_change_an_alert_where_it_is_shown(desk: TelegramDesk, store: Store) -> None:
    await store("ann", 1)
    await trigger(desk, 1)
    shown = await desk.ann.ask("/alerts 1")
    await desk.ann.press_for("Pause", shown)
    assert shown.text.startswith("Alert 1 is paused.")
    assert "Status: paused\n" in shown.text
    assert shown.text.endswith("Next look: –")
    await desk.ann.press_for("Resume", shown)
    assert "Status: armed\n" in shown.text
    await desk.ann.press_for("Snooze 1 h", shown)
    assert "Status: armed, quiet until" in shown.text
    assert timedelta(minutes=59) < await quiet(desk) <= timedelta(hours=1)
    assert shown.labels[0] == ["Pause", "End snooze"]
    await desk.ann.press_for("End snooze", shown)
    assert await desk.rows.column("SELECT muted_until FROM alert_states") == [None]
    await desk.ann.press_for("Snooze 1 day", shown)
    assert timedelta(hours=23) < await quiet(desk) <= timedelta(days=1)
    assert "(acknowledged)" not in shown.text
    await desk.ann.press_for("Acknowledge", shown)
    assert shown.text.startswith("1 trigger of alert 1 is acknowledged.")
    assert "(acknowledged)" in shown.text
    await desk.ann.press_for("Explain", shown)
    assert "close > 150" in shown.text
    assert "pre" in [one["type"] for one in shown.entities]
    assert shown.labels == [["Alert 1", "Chart"]]
    await desk.ann.press("Chart", shown)
    picture = await desk.ann.chat.next_message(within=PATIENCE)
    assert picture.photo is not None
    assert "It would have triggered 14 times on 120 bars" in picture.text


async def test_an_alert_is_deleted_once_its_person_has_said_yes(desk: TelegramDesk, store: Store) -> None:
    await store("ann", 2)
    shown = await desk.ann.ask("/alerts 1")
    await desk.ann.press_for("Delete", shown)
    assert shown.text == "Delete alert 1 (AAPL 1d: close > 150)?"
    await desk.ann.press_for("No", shown)
    assert await numbers(desk) == [1, 2]
    question = await desk.ann.ask("/alerts delete 1")
    pressed = await desk.ann.press("Yes", question)
    await desk.ann.chat.until(lambda: question.text.startswith("Alert 1 is deleted."), within=PATIENCE)
    assert await numbers(desk) == [2]
    await desk.ann.chat.replay(pressed)
    assert await desk.ann.say("/alerts 1") == "there is no alert 1"
    assert await desk.ann.say("/alerts delete 1") == "there is no alert 1"
    assert await numbers(desk) == [2]


async def test_words_do_what_buttons_do(desk: TelegramDesk, store: Store) -> None:
    await store("ann", 1)
    for words, answer in {
        "pause 1": "Alert 1 is paused.",
        "PAUSE 1": "Alert 1 is paused.",
        "resume 1": "Alert 1 watches again",
        "snooze 1 2h": "Alert 1 is quiet until",
        "snooze 1 30d": "Alert 1 is quiet until",
        "unsnooze 1": "Alert 1 tells you of its triggers again.",
        "ack 1": "There was nothing new to acknowledge at alert 1.",
        "explain 1": "Alert 1: AAPL 1d",
    }.items():
        assert (await desk.ann.say(f"/alerts {words}")).startswith(answer)
    for span in ("14m", "31d", "0h", "-2h", "99999d", "2", "h", "２h", "1h x", "1.5h"):
        assert "must be from 15m to 30d" in await desk.ann.say(f"/alerts snooze 1 {span}")
    assert "bar of 2020" not in await desk.ann.say("/alerts explain 1")
    assert "no closed bar of AAPL 1d is open at 2020-01-05" in await desk.ann.say("/alerts explain 1 2020-01-05")
    assert "must be a time such as" in await desk.ann.say("/alerts explain 1 yesterday")
    for words in ("pause", "nonsense", "nonsense 1", "pause 1 2", "1 pause", "page", "page 1 2"):
        assert "alerts: these are no words for alerts\nLike this:" in await desk.ann.say(f"/alerts {words}")
    for word in ("-1", "+1", "1.5", "1e9", "9" * 30, "１"):
        assert (await desk.ann.say(f"/alerts {word}")).startswith("alert: must be a number")
    for word in ("0", "2", "9" * 18):
        assert await desk.ann.say(f"/alerts {word}") == f"there is no alert {word}"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # the calendars' own
async def test_a_card_tells_what_was_seen_last(desk: TelegramDesk, store: Store) -> None:
    await store("ann", 1)
    await trigger(desk, 1)
    (rule_hash,) = await desk.rows.column("SELECT rule_hash FROM alert_triggers")
    kept = b"\x01" + struct.pack("<d", 149.5) + b"\x00"
    await desk.rows.change(
        "UPDATE alert_states SET rule_hash = :rule_hash, last_seen = :kept, last_bar = '2026-01-05 00:00Z', "
        "history_until = '2026-01-05 00:00Z', "
        "trigger_count = 1, status = 'TRIGGERED', gate = 'closed'",
        rule_hash=rule_hash,
        kept=kept,
    )
    await desk.ann.say("/timezone America/New_York")
    card = await desk.ann.say("/alerts 1")
    assert "Status: triggered, not ready again yet" in card
    assert "no new bars arrive" in card  # nobody evaluates here, and the bar is long ago
    assert "Last trigger: no. 1, on the bar of Jan 5, 2026\n" in card  # whatever the clock in New York shows
    assert "Last value: close = 149.5 on the bar of Jan 5, 2026\n" in card
    await desk.ann.press_for("German", await desk.ann.ask("/language"))
    card = await desk.ann.say("/alerts 1")
    assert "Letzter Wert: close = 149,5, Kerze vom 05.01.2026" in card


async def test_alerts_of_others_are_as_if_there_were_none(desk: TelegramDesk, store: Store) -> None:
    await store("ann", 1)
    before = await snapshot(desk)
    for talker in (desk.owner, desk.eve):
        own = await talker.ask("/alerts")
        assert own.text.startswith("You have no alerts.")
        for words in ("1", "2", *(f"{action} {number}" for action in ACTIONS for number in (1, 2))):
            told = await pressed_elsewhere(talker, f"alerts {words}", await talker.ask("/info"))
            assert is_as_if_none(told.text, words), words
    group = desk.telegram.group(members=[desk.ann.person, desk.owner.person])
    await group.say("/alerts@ExampleLoggerBot 1", by=desk.ann.person)
    shown = await group.next_message(within=PATIENCE)
    assert shown.text.startswith("Alert 1: AAPL 1d")
    for button in ("Pause", "Delete"):
        query = await group.press(
            f"alerts {button.lower()} 1", message=shown, by=desk.owner.person, is_stale=True
        )
        await group.until_answered(query)
        await group.until(lambda: shown.text == "there is no alert 1", within=PATIENCE)
    await desk.stranger.chat.press("alerts delete 1", message=await desk.ann.ask("/info"), is_stale=True)
    await desk.ann.say("/info")
    assert await snapshot(desk) == before


async def test_a_viewer_looks_and_changes_nothing(desk: TelegramDesk, store: Store) -> None:
    await store("eve", 1)
    before = await snapshot(desk)
    refusal = "eve is a viewer, and only users of the role"
    assert (await desk.eve.say("/alert AAPL 1d > 5")).startswith(refusal)
    assert (await desk.eve.say("/alert what is this")).startswith(refusal)
    for action in ("pause", "resume", "snooze", "unsnooze", "ack", "delete"):
        assert (await desk.eve.say(f"/alerts {action} 1")).startswith(refusal)
    shown = await desk.eve.ask("/alerts 1")
    assert shown.labels == [["Explain", "Chart"], ["My alerts"]]
    assert (await desk.eve.say("/alerts explain 1")).startswith("Alert 1: AAPL 1d")
    assert await snapshot(desk) == before
    refused = await desk.rows.value(
        "SELECT count(*) FROM audit_log WHERE action = 'telegram.command' AND outcome = 'refused'"
    )
    assert refused == 8


NAMES = (
    "*bold* _it_ [x](http://e.org) `code` ||s|| \\ > # + - = { } . ! ~",
    "\u202eevil\u2066 \u200bhid\u200bden\ufeff\nnext\r ",
    "```\n`\\` end",
    "x" * 255,
    "\U0001f680" * 255,
    "\u0627\u0644\u0633\u0639\u0631 " * 40,
    "{ $id } { close } %s",
    "\u200b",
)


async def test_names_of_any_kind_are_shown_as_they_are(
    desk: TelegramDesk, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    await store("ann", 10)
    for name in NAMES:
        await desk.rows.change("UPDATE job_schedules SET name = :name", name=name)
        for words in ("", "1", "explain 1", "delete 1"):
            message = await desk.ann.ask(f"/alerts {words}".strip())
            assert one_line(name)[:12] in message.text
            assert_is_well_formed(message)
    assert (await desk.ann.say("/alerts chart 1")).startswith("This installation draws no charts")


async def test_texts_of_any_kind_go_into_alerts_and_do_nothing_to_answers(desk: TelegramDesk) -> None:
    hostile = "*b* _i_ [x](http://e.org) ` \u202e \u200b {close}"
    made = await desk.ann.ask(f'/alert AAPL 1d > 150, message "{hostile}"')
    assert_is_well_formed(made)
    (found,) = await desk.rows.column("SELECT task_params FROM job_schedules")
    assert found["notify"]["message_template"] == hostile
    rule = " and ".join(["close > 12345.678"] * 90)
    assert_is_well_formed(await desk.ann.ask(f"/alert AAPL 1d: {rule}"))
    explained = await desk.ann.ask("/alerts explain 2")
    assert_is_well_formed(explained)
    assert explained.text.endswith("…")
    assert len(explained.text) > 3000  # as many lines as fit
    picture = await desk.ann.ask("/alerts chart 2")
    assert picture.photo is not None
    assert len(picture.text) <= 1024
    for words in ("*" * 4090, "\u202e" * 300, "AAPL 1d > \u200b5 `", "\U0001f680" * 2040, "AAPL\n1d\n>\n5\n```"):
        assert_is_well_formed(await desk.ann.ask(f"/alert {words}"))


def assert_is_well_formed(message: Message) -> None:
    """See that it was not sent anew without a format, and that the only format is ours."""
    assert message.parse_mode == "MarkdownV2"
    assert len(message.text.encode("utf-16-le")) // 2 <= 4096
    assert not set("\u202e\u2066\u200b\ufeff\r") & set(message.text)
    kinds = {str(one["type"]) for one in message.entities}
    assert kinds <= {"bold", "code", "pre", "url", "bot_command", "hashtag", "mention"}


async def test_an_alert_that_was_broken_by_hand_is_shown_as_such(desk: TelegramDesk, store: Store) -> None:
    await store("ann", 2)
    await desk.rows.change("UPDATE job_schedules SET task_params = '{\"ticker\": 5}' WHERE id = 1")
    assert "1 · AAPL 1d · cannot be read" in await desk.ann.say("/alerts")
    assert "Its configuration cannot be read" in await desk.ann.say("/alerts 1")
    assert "Its configuration cannot be read" in await desk.ann.say("/alerts chart 1")
    assert "stored unchecked" in await desk.ann.say("/alerts explain 1")
    assert (await desk.ann.say("/alerts delete 1")) == "Delete alert 1 (AAPL 1d)?"


async def trigger(desk: TelegramDesk, number: int) -> None:
    await desk.rows.change(
        "INSERT INTO alert_triggers "
        "(schedule_id, user_id, rule_hash, bar_time, trigger_number, dedup_key, readings) "
        "SELECT id, user_id, :rule_hash, '2026-01-05 00:00Z', 1, 'key', '{\"close\": 151}' "
        "FROM job_schedules WHERE id = :id",
        id=number,
        rule_hash=parse_alert(RULE).rule_hash,
    )


async def numbers(desk: TelegramDesk) -> list[int]:
    return await desk.rows.column("SELECT id FROM job_schedules WHERE deleted_at IS NULL ORDER BY id")


async def quiet(desk: TelegramDesk) -> timedelta:
    found = await desk.rows.value("SELECT muted_until - now() FROM alert_states")
    assert isinstance(found, timedelta)
    return found


async def snapshot(desk: TelegramDesk) -> list[list[Mapping[str, Any]]]:
    return [
        await desk.rows.column(f"SELECT to_jsonb(t) FROM {table} t ORDER BY t::text")
        for table in ("job_schedules", "alert_states", "alert_triggers")
    ]


async def pressed_elsewhere(talker: Talker, data: str, message: Message) -> Message:
    """Press a button that an app still shows, or that somebody has made up."""
    versions = len(message.versions)
    query = await talker.chat.press(data, message=message, is_stale=True)
    await talker.chat.until_answered(query)
    await talker.chat.until(lambda: len(message.versions) > versions, within=PATIENCE)
    return message


def is_as_if_none(text: str, words: str) -> bool:
    """Whether an answer tells the same of a number of somebody else's as of one that nobody has."""
    number = words.rpartition(" ")[2]
    return text in (
        f"there is no alert {number}",
        "eve is a viewer, and only users of the role admin or trader may edit",
    )
