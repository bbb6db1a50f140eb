"""What administrators do in a chat, that nobody else does it, and what others are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.telegram_desk import PATIENCE, Talker, TelegramDesk, running_bot, telegram_desk

from atf.settings import Settings
from atf.storage.database import Database
from atf.testing.telegram_api.commands import seen_commands
from atf.testing.telegram_messages import Message

CLOSED = "ATF is being worked on. Please try again later; nothing is done until then."


@pytest.fixture
async def desk(tmp_path: Path, database_url: str, database: Database) -> AsyncIterator[TelegramDesk]:
    async with telegram_desk(tmp_path, database_url, database) as found:
        yield found


async def agreed(talker: Talker, words: str) -> str:
    """Say something, agree to the question, and return the answer."""
    return (await talker.press_for("Yes", await talker.ask(words))).text


async def waiting(desk: TelegramDesk, name: str) -> Talker:
    """Somebody who has applied."""
    talker = await desk.join(name, "trader")
    await desk.rows.change("UPDATE users SET is_active = false, approved_at = NULL WHERE name = :name", name=name)
    return talker


async def test_nobody_but_administrators_gets_in(desk: TelegramDesk) -> None:
    refused = "only administrators may do this"
    for talker in (desk.ann, desk.eve):
        for words in ("", " users", " broadcast hello", " maintenance on", " approve eve", " health"):
            assert await talker.say(f"/admin{words}") == refused
    shown = await desk.ann.ask("/info")
    await desk.ann.chat.press("admin users", message=shown, is_stale=True)
    await desk.ann.chat.until(lambda: shown.text == refused, within=PATIENCE)
    assert "/admin" not in await desk.ann.say("/help")
    question = await desk.owner.ask("/admin role ann viewer")
    yes = str(question.buttons[0][0].data)
    foreign = await desk.ann.chat.press(yes, message=await desk.ann.ask("/info"), is_stale=True)
    await desk.ann.chat.until_answered(foreign)
    assert await desk.rows.value("SELECT role FROM users WHERE name = 'ann'") == "trader"


async def test_a_question_to_who_is_no_administrator_any_more_does_nothing(desk: TelegramDesk) -> None:
    question = await desk.owner.ask("/admin role eve trader")
    await desk.rows.change("UPDATE users SET role = 'viewer' WHERE name = 'owner'")
    answer = await desk.owner.press_for("Yes", question)
    assert answer.text == "only administrators may do this"
    assert await desk.rows.value("SELECT role FROM users WHERE name = 'eve'") == "viewer"


async def test_users_are_listed_and_who_waits_is_let_in_and_told(desk: TelegramDesk) -> None:
    zoe = await waiting(desk, "zoe")
    overview = await desk.owner.ask("/admin")
    assert overview.labels == [["Users", "Who waits"], ["Health", "Maintenance on"]]
    listed = await desk.owner.press_for("Users", overview)
    assert "Users: 4" in listed.text
    assert "zoe trader, waits to be let in" in listed.text
    listed = await desk.owner.press_for("Who waits", listed)
    assert listed.labels == [["Approve zoe", "Reject zoe"]]
    question = await desk.owner.press_for("Approve zoe", listed)
    assert question.text == "Let zoe in, as a trader?"
    answer = await desk.owner.press_for("Yes", question)
    assert answer.text == "zoe is in, and is told so."
    told = await zoe.chat.next_message(within=PATIENCE)
    assert "You are in" in told.text
    assert "User: zoe" in await zoe.say("/info")
    assert await desk.owner.say("/admin pending") == "Nobody waits to be let in."
    assert await desk.owner.say("/admin approve zoe") == "zoe is in already"
    assert await desk.rows.column(
        "SELECT actor || ' ' || origin FROM audit_log WHERE object_type = 'user' AND actor <> 'atf' "
        "AND action LIKE 'user.%'"
    ) == ["owner telegram"]


async def test_who_waits_is_rejected_and_nobody_else(desk: TelegramDesk) -> None:
    zoe = await waiting(desk, "zoe")
    assert await agreed(desk.owner, "/admin reject zoe") == "zoe is rejected."
    assert "disabled" in await desk.owner.say("/admin users")
    await zoe.chat.say("/info")
    assert "does not wait to be let in" in await desk.owner.say("/admin reject ann")
    assert "User: ann" in await desk.ann.say("/info")
    assert await agreed(desk.owner, "/admin approve zoe") == "zoe is in, and is told so."


async def test_roles_and_limits_are_set_after_a_question(desk: TelegramDesk) -> None:
    question = await desk.owner.ask("/admin role ANN viewer")
    assert question.text == "Make ann, now a trader, a viewer?"
    assert (await desk.owner.press_for("No", question)).text == "All right, nothing was changed."
    assert await agreed(desk.owner, "/admin role ann viewer") == "ann is a viewer now."
    assert "Role: viewer" in await desk.ann.say("/info")
    assert await agreed(desk.owner, "/admin setlimit ann alerts 5") == "alerts of ann: 5."
    assert await agreed(desk.owner, "/admin setlimit ann runs_per_day 0") == "runs_per_day of ann: 0."
    assert "alerts 5, runs_per_day 0" in await desk.owner.say("/admin users")
    assert await agreed(desk.owner, "/admin setlimit ann alerts default") == "alerts of ann: default."
    assert "only active administrator" in await agreed(desk.owner, "/admin role owner trader")
    for words, expected in [
        ("role ann", "needs the name of a user and a role"),
        ("role ann boss", "must be one of admin, trader, viewer"),
        ("role nobody viewer", "there is no user 'nobody'; users here: ann, eve, owner"),
        ("setlimit ann beer 5", "one of schedules, alerts, runs_per_day, cpu_seconds, memory_mib"),
        ("setlimit ann alerts many", "alerts: must be a number, got many"),
        ("setlimit ann alerts -1", "alerts: must be a number, got -1"),
        ("setlimit ann alerts 99999999999", "must be from 0 to"),
        ("setlimit ann", "needs the name of a user, one of"),
        ("approve", "needs the name of one user"),
        ("approve a b", "needs the name of one user"),
        ("approve *_[x](y)", "there is no user '*_[x](y)'"),
        ("dance", "these are no words for administrators"),
        ("users two", "must be a number, got two"),
        ("maintenance maybe", "needs on, with a text if you want, or off"),
    ]:
        assert expected in await desk.owner.say(f"/admin {words}"), words


async def test_everybody_is_told_what_is_broadcast_as_it_was_written(desk: TelegramDesk) -> None:
    await desk.rows.change(
        "INSERT INTO msg_preferences (user_id, language) SELECT id, 'de' FROM users WHERE name = 'eve'"
    )
    await waiting(desk, "zoe")
    words = "*bold* _it_ [x](http://evil)\n`code` \\ . !\nשלום \u202eevil"
    question = await desk.owner.ask(f"/admin broadcast {words}")
    shown = words.replace("\u202e", "")
    assert question.text == f"Send this to 3 people?\n{shown}"
    pressed = await desk.owner.press("Yes", question)
    await desk.owner.chat.until(lambda: question.text == "It is on its way to 3 people.")
    for talker, title in (
        (desk.ann, "A message from your administrators"),
        (desk.eve, "Eine Nachricht der Administration"),
        (desk.owner, "A message from your administrators"),
    ):
        told: Message = await talker.chat.next_message(within=PATIENCE)
        assert title in told.text
        assert shown in told.text
    replayed = await desk.owner.chat.replay(pressed)
    await desk.owner.chat.until_answered(replayed)
    assert await desk.rows.value("SELECT count(*) FROM msg_messages") == 3
    found = await desk.rows.all("SELECT actor, detail FROM audit_log WHERE action = 'message.broadcast'")
    assert [tuple(row) for row in found] == [("owner", "to 3 users")]


async def test_texts_that_are_too_long_or_empty_are_refused(desk: TelegramDesk) -> None:
    assert "is too long; at most 3,000 characters" in await desk.owner.say(f"/admin broadcast {'x' * 4000}")
    assert "is too long; at most 500 characters" in await desk.owner.say(f"/admin maintenance on {'x' * 501}")
    assert "needs a text" in await desk.owner.say("/admin broadcast")
    assert "needs a text" in await desk.owner.say("/admin announce \u202e\u200b")
    long = "😀." * 1500
    assert "on its way to 3 people" in await agreed(desk.owner, f"/admin broadcast {long}")
    await desk.ann.chat.until(
        lambda: sum(m.text.count("😀.") for m in desk.ann.chat.messages) == 1500, within=PATIENCE
    )
    assert await desk.rows.value("SELECT count(*) FROM msg_messages") == 3


async def test_announcements_wait_in_inboxes_and_digests(desk: TelegramDesk) -> None:
    await desk.ann.say("/settings digest 60")
    assert "into the inboxes of 3 people" in (await desk.owner.ask("/admin announce New: charts")).text
    assert "on its way to 3 people" in await agreed(desk.owner, "/admin announce New: charts")
    found = await desk.rows.all(
        "SELECT u.name, d.channel FROM msg_deliveries d JOIN users u ON u.id = d.user_id ORDER BY 1, 2"
    )
    assert [tuple(row) for row in found] == [
        ("ann", "inbox"),
        ("ann", "telegram"),
        ("eve", "inbox"),
        ("owner", "inbox"),
    ]
    assert "User: ann" in await desk.ann.say("/info")


async def test_maintenance_answers_all_but_administrators_with_one_sentence(
    desk: TelegramDesk, tmp_path: Path, database_url: str
) -> None:
    settings = await desk.ann.ask("/settings")
    question = await desk.ann.ask("/unlink")
    asked = await desk.owner.ask("/admin maintenance on")
    assert CLOSED in asked.text
    assert "Maintenance is on." in (await desk.owner.press_for("Yes", asked)).text
    for words in ("/info", "/alerts", "/help", "hello", "/status", "/nonsense"):
        assert await desk.ann.say(words) == CLOSED
    pressed = await desk.ann.press("Test", settings)
    assert pressed.answer is not None
    assert (pressed.answer.text, pressed.answer.is_alert) == (CLOSED, True)
    assert "Maintenance is on" in await desk.owner.say("/status")
    assert "User: owner" in await desk.owner.say("/info")
    said = await agreed(desk.owner, "/admin maintenance on Back at *noon* _UTC_\nSee you.")
    assert "Maintenance is on." in said
    assert await desk.eve.say("/info") == "Back at *noon* _UTC_\nSee you."
    assert (await desk.stranger.say("/info")).startswith("Hello. This bot serves people who are known here.")
    assert await desk.stranger.say("/start abc") == "Back at *noon* _UTC_\nSee you."
    assert await desk.rows.value("SELECT text FROM telegram_maintenance") == "Back at *noon* _UTC_\nSee you."
    assert "Maintenance is off." in await agreed(desk.owner, "/admin maintenance off")
    assert "was off already" in await agreed(desk.owner, "/admin maintenance off")
    assert "User: ann" in await desk.ann.say("/info")
    answer = await desk.ann.press_for("No", question)  # which was asked before, and is still there
    assert answer.text == "All right, nothing was changed."
    assert await desk.rows.column(
        "SELECT action FROM audit_log WHERE action LIKE 'maintenance.%' ORDER BY id"
    ) == [
        "maintenance.begin",
        "maintenance.begin",
        "maintenance.end",
    ]


async def test_maintenance_lets_no_answer_and_no_stranger_through_but_every_administrator(
    tmp_path: Path, database_url: str, database: Database
) -> None:
    async with telegram_desk(tmp_path, database_url, database, telegram_registration="approval") as desk:
        dora = await desk.join("dora", "admin")
        question = await desk.ann.ask("/unlink")
        assert "Send it now" in await desk.eve.say("/feedback")
        await agreed(desk.owner, "/admin maintenance on")
        pressed = await desk.ann.press("Yes", question)
        assert pressed.answer is not None
        assert (pressed.answer.text, pressed.answer.is_alert) == (CLOSED, True)
        assert await desk.eve.say("which is the answer to feedback") == CLOSED
        assert await desk.stranger.say("/register sam@example.org") == CLOSED
        assert await desk.rows.value("SELECT count(*) FROM msg_messages") == 0
        assert await desk.rows.value("SELECT count(*) FROM user_identities WHERE kind = 'telegram'") == 4
        assert "User: dora" in await dora.say("/info")
        await desk.rows.change("UPDATE users SET role = 'trader' WHERE name = 'owner'")
        assert await desk.owner.say("/info") == CLOSED, "who is no administrator any more"
        assert "Maintenance is off." in await agreed(dora, "/admin maintenance off")
        assert (await desk.ann.press_for("Yes", question)).text == "This Telegram account is not linked any more."


async def test_maintenance_holds_across_a_restart(tmp_path: Path, database_url: str, database: Database) -> None:
    async with telegram_desk(tmp_path, database_url, database) as desk:
        await agreed(desk.owner, "/admin maintenance on")
        telegram = desk.telegram
        settings = Settings(
            home=tmp_path,
            database_url=database_url,
            telegram_token=telegram.token,
            telegram_api_url=telegram.url,
            notifications_port=0,
        )
        async with running_bot(settings):
            assert await desk.ann.say("/info") == CLOSED


async def test_administrators_have_a_menu_of_their_own_once_they_say_so(desk: TelegramDesk) -> None:
    assert "admin" not in menu(desk, desk.owner)
    await desk.owner.say("/start")
    await desk.owner.chat.until(lambda: "admin" in menu(desk, desk.owner), within=PATIENCE)
    await desk.ann.say("/start")
    await desk.ann.say("/admin")
    assert list(menu(desk, desk.ann))[:2] == ["start", "help"]
    assert "admin" not in menu(desk, desk.ann)
    dora = await desk.join("dora", "admin", language_code="de")
    await dora.say("/admin")
    await dora.chat.until(lambda: "admin" in menu(desk, dora), within=PATIENCE)
    assert menu(desk, dora)["admin"] == "Benutzer, Nachrichten an alle, Wartung"


def menu(desk: TelegramDesk, talker: Talker) -> dict[str, str]:
    """The commands that Telegram shows somebody, with their lines."""
    found = seen_commands(desk.telegram, talker.chat, talker.person)
    return {one["command"]: one["description"] for one in found}
