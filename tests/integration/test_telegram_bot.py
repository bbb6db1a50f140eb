"""What the bot says to whom: people who are known, people who are not, and what nobody may say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.integration.conftest import Eventually
from tests.integration.telegram_desk import PATIENCE, TelegramDesk, telegram_desk

from atf.bootstrap.client import open_client
from atf.settings import Settings
from atf.storage.database import Database


@pytest.fixture
async def desk(tmp_path: Path, database_url: str, database: Database) -> AsyncIterator[TelegramDesk]:
    async with telegram_desk(tmp_path, database_url, database) as found:
        yield found


async def test_a_stranger_gets_one_polite_answer_and_then_nothing(desk: TelegramDesk) -> None:
    assert (await desk.stranger.say("hello")).startswith("Hello. This bot serves people who are known here.")
    for words in ("/help", "/alerts", "/info", "/register sam@example.org", "hello?"):
        await desk.stranger.chat.say(words)
    assert "User: ann" in await desk.ann.say("/info")  # so that all before it were handled
    await wait_until_ended(desk)
    assert len(desk.stranger.chat.messages) == 1
    assert await desk.rows.value("SELECT count(*) FROM audit_log WHERE actor = '(stranger)'") == 0


async def test_a_link_from_the_settings_makes_a_stranger_known_once(
    desk: TelegramDesk, tmp_path: Path, database_url: str
) -> None:
    async with open_client(Settings(home=tmp_path, database_url=database_url), "ann") as client:
        link = await client.credentials.make_account_link(client.user_id)
    short = link.token.text.removeprefix("atf_link_")
    assert len(short) <= 64  # what Telegram takes behind ?start=
    assert (await desk.stranger.say(f"/start {short}")).startswith("This Telegram account is linked.")
    assert "User: ann" in await desk.stranger.say("/info")
    assert "does not hold" in await desk.eve.say(f"/start {short}")


async def test_what_is_not_understood_is_answered_with_where_help_is(desk: TelegramDesk) -> None:
    for words in ("/nonsense", "what?", "/", "//", "/start@SomebodyElsesBot"):
        assert await desk.ann.say(words) == "I do not know that command. /help lists those there are."
    assert "/settings" in await desk.ann.say("/help")
    assert (await desk.ann.say("/help settings")).startswith("/settings")
    assert "there is no command admin for you" in await desk.ann.say("/help admin")


async def test_each_command_leaves_a_line_in_the_audit_log(desk: TelegramDesk) -> None:
    await desk.ann.say("/info")
    await desk.ann.say("/timezone Nowhere/Land")
    await wait_until_ended(desk)
    found = await desk.rows.all(
        "SELECT actor, origin, address, object_id, outcome, detail FROM audit_log "
        "WHERE action = 'telegram.command' ORDER BY id"
    )
    assert [(one.actor, one.origin, one.object_id, one.outcome) for one in found] == [
        ("ann", "telegram", "/info", "done"),
        ("ann", "telegram", "/timezone", "refused"),
    ]
    assert found[0].address == f"telegram:{desk.ann.chat.chat_id}"
    assert "Nowhere/Land" in found[1].detail


async def test_settings_are_shown_changed_and_edited_in_place(desk: TelegramDesk) -> None:
    message = await desk.ann.ask("/settings")
    assert "Digest: each message at once" in message.text
    message = await desk.ann.press_for("Digest each hour", message)
    assert "Digest: every 60 minutes" in message.text
    message = await desk.ann.press_for("✓ Report", message)
    assert "report: telegram off" in message.text
    assert await desk.rows.column("SELECT is_on FROM msg_routes") == [False]
    assert "must name a channel" in await desk.ann.say("/settings fallback pigeon")
    assert (await desk.ann.say("/settings what now")).endswith("[test CHANNEL]")
    assert len(desk.ann.chat.messages) == 3  # presses have made no new ones


async def test_the_bot_speaks_the_language_of_its_person(desk: TelegramDesk) -> None:
    message = await desk.ann.ask("/language")
    assert message.labels == [["German"], ["English"]]
    message = await desk.ann.press_for("German", message)
    assert message.text == "Ab jetzt ist die Sprache Deutsch."
    assert await desk.ann.say("/unsinn") == "Diesen Befehl gibt es nicht. /help zeigt alle."
    assert "must be one of de, en" in await desk.ann.say("/language tlh")


async def test_until_one_chooses_it_is_the_language_that_one_has_at_telegram(desk: TelegramDesk) -> None:
    otto = await desk.join("otto", "viewer", language_code="de-AT")
    assert "Sprache: Deutsch" in await otto.say("/info")
    assert "Zeitzone ist ab jetzt" in await otto.say("/timezone Europe/Vienna")
    assert "Sprache: Deutsch" in await otto.say("/settings digest 60")
    assert await desk.rows.column("SELECT language FROM msg_preferences") == [None]
    assert (await otto.say("/language en")).startswith("From now on I speak English")
    assert "Time zone: Europe/Vienna" in await otto.say("/settings digest off")
    assert await desk.rows.column("SELECT language FROM msg_preferences") == ["en"]


async def test_a_command_that_needs_words_waits_for_them(desk: TelegramDesk) -> None:
    assert (await desk.ann.say("/feedback")).endswith("Send it now, without a slash.")
    assert "administrators have it" in await desk.ann.say("_bold_ *claims* [here](x) \\ `")
    told = await desk.owner.chat.next_message(within=PATIENCE)
    assert "_bold_ *claims* [here](x) \\ `" in told.text
    assert await desk.ann.say("and more") == "I do not know that command. /help lists those there are."


async def test_a_question_is_answered_once_and_by_whom_it_was_put_to(desk: TelegramDesk) -> None:
    question = await desk.ann.ask("/unlink")
    yes = str(question.buttons[0][0].data)
    foreign = await desk.eve.chat.press(yes, message=await desk.eve.ask("/info"), is_stale=True)
    await desk.eve.chat.until_answered(foreign)
    assert foreign.answer is not None
    assert foreign.answer.text == "This question was answered already, or is too old. Nothing was done."
    message = await desk.ann.press_for("No", question)
    assert message.text == "All right, nothing was changed."
    question = await desk.ann.ask("/unlink")
    pressed = await desk.ann.press("Yes", question)
    await desk.ann.chat.until(lambda: question.text == "This Telegram account is not linked any more.")
    assert await desk.rows.value("SELECT count(*) FROM user_identities WHERE kind = 'telegram'") == 2
    replayed = await desk.ann.chat.replay(pressed)  # by who is nobody now
    await desk.ann.chat.until_answered(replayed)
    assert replayed.answer is not None
    assert replayed.answer.text == ""


async def test_nothing_but_plain_words_of_a_person_is_a_command(desk: TelegramDesk) -> None:
    await desk.ann.chat.forward("/unlink", desk.eve.person)
    await desk.ann.chat.send_document(b"x", "x.txt", caption="/unlink")
    message = await desk.ann.ask("/info")
    assert len(desk.ann.chat.messages) == 1
    assert "User: ann" in message.text
    await desk.telegram.send_update({"edited_message": {"message_id": 1}})
    assert "User: ann" in await desk.ann.say("/info")


async def test_a_group_hears_nothing_unless_groups_are_on(desk: TelegramDesk) -> None:
    group = desk.telegram.group(members=[desk.ann.person])
    await group.say("/info", by=desk.ann.person)
    assert "User: ann" in await desk.ann.say("/info")
    assert group.messages == []


async def test_an_update_that_comes_twice_is_answered_once(desk: TelegramDesk) -> None:
    await desk.ann.say("/info")
    (update_id,) = await desk.rows.column("SELECT update_id FROM telegram_updates")
    person = {"id": desk.ann.chat.chat_id, "is_bot": False, "first_name": "Ann"}
    await desk.telegram.send_update(
        {
            "update_id": update_id,
            "message": {
                "message_id": 99,
                "date": 1,
                "text": "/info",
                "from": person,
                "chat": {"id": desk.ann.chat.chat_id, "type": "private"},
            },
        }
    )
    assert "Time zone" in await desk.ann.say("/settings")
    assert [message.text.split("\n")[0] for message in desk.ann.chat.messages] == [
        "User: ann",
        "How you are told",
    ]


async def still_open(desk: TelegramDesk) -> list[int]:
    return await desk.rows.column("SELECT update_id FROM telegram_updates WHERE ended_at IS NULL")


async def test_a_token_that_telegram_revokes_stops_the_bot_alone(
    desk: TelegramDesk, eventually: Eventually
) -> None:
    desk.telegram.revoke_token()
    await desk.telegram.until(lambda: any(one.code == 401 for one in desk.telegram.refused))
    await desk.rows.change(
        "WITH m AS (INSERT INTO msg_messages (user_id, notification_type, title, body, dedup_key) "
        "VALUES (1, 'note', 'Still', 'here', 'k') RETURNING id) "
        "INSERT INTO msg_deliveries (message_id, user_id, urgency, channel, dedup_key) "
        "SELECT id, 1, 2, 'inbox', 'k:inbox' FROM m"
    )
    await desk.rows.change("DO $$ BEGIN PERFORM pg_notify('atf_outbox', ''); END $$")

    async def is_sent() -> bool:
        return bool(await desk.rows.value("SELECT status FROM msg_deliveries") == "SENT")

    await eventually(is_sent)
    desk.telegram.restore_token()
    assert "User: ann" in await desk.ann.say("/info")


async def wait_until_ended(desk: TelegramDesk) -> None:
    """Wait until all that was heard is answered."""
    await desk.telegram.until_polled()
    while await still_open(desk):
        await desk.telegram.until_polled()


async def test_pushed_updates_are_taken_from_telegram_alone_and_once(
    tmp_path: Path, database_url: str, database: Database
) -> None:
    """By the port that the process listens on, as a proxy would pass it on."""
    async with telegram_desk(
        tmp_path, database_url, database, telegram_webhook_url="https://atf.example.org"
    ) as desk:
        (endpoints,) = await desk.rows.column("SELECT endpoints FROM service_registry")
        own = endpoints["notify"].removesuffix("/api/notify")
        async with httpx.AsyncClient(trust_env=False) as stranger:
            refused = await stranger.post(f"{own}/telegram/webhook", json={"update_id": 1})
        assert (refused.status_code, refused.json()["detail"]) == (401, "only Telegram may push updates here")
        assert "User: ann" in await desk.ann.say("/info")
        assert "User: eve" in await desk.eve.say("/info")
        assert len(desk.ann.chat.messages) == 1
