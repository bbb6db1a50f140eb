"""Schedules in a chat: lists, cards, what can be done, and what cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.integration.telegram_desk import PATIENCE, Talker, TelegramDesk, telegram_desk

from atf.storage.database import Database

HELLO = 'add notification me 0 9 * * 1-5 {"message": "hello"}'


@pytest.fixture
async def desk(tmp_path: Path, database_url: str, database: Database) -> AsyncIterator[TelegramDesk]:
    async with telegram_desk(tmp_path, database_url, database) as found:
        yield found


async def added(talker: Talker, words: str) -> str:
    """Add a schedule and return its number."""
    said = await talker.say(f"/schedules {words}")
    assert said.startswith("Schedule "), said
    return said.split()[1]


async def test_a_schedule_is_added_looked_at_and_handled_by_buttons(desk: TelegramDesk) -> None:
    assert (await desk.ann.say("/schedules")).startswith("You have no schedules.")
    await desk.ann.say("/timezone Europe/Berlin")
    card = await desk.ann.ask(f"/schedules {HELLO}")
    assert "is added." in card.text
    assert "0 9 * * 1-5 Europe/Berlin" in card.text
    assert '{"message": "hello"}' in card.text
    assert card.labels == [["Pause", "Run now", "Delete"], ["My schedules"]]
    card = await desk.ann.press_for("Pause", card)
    assert "Next run: paused" in card.text
    assert "Europe/Berlin" in card.text
    card = await desk.ann.press_for("Resume", card)
    assert "Next run: paused" not in card.text
    assert "CET" in card.text or "CEST" in card.text
    card = await desk.ann.press_for("Run now", card)
    assert "runs now, as run" in card.text
    card = await desk.ann.press_for("Look", card)
    assert "Status: waits" in card.text
    assert await desk.rows.statuses() == {"PENDING": 1}
    assert len(desk.ann.chat.messages) == 3  # presses have made no new ones
    listed = await desk.ann.ask("/schedules")
    assert "Your schedules: 1" in listed.text
    card = await desk.ann.press_for(listed.labels[0][0], listed)
    question = await desk.ann.press_for("Delete", card)
    assert question.text.startswith("Delete schedule")
    answer = await desk.ann.press_for("Yes", question)
    assert "is deleted" in answer.text
    assert await desk.rows.value("SELECT count(*) FROM job_schedules WHERE deleted_at IS NULL") == 0


async def test_long_lists_have_pages_that_are_turned_in_place(desk: TelegramDesk) -> None:
    await desk.rows.change(
        "INSERT INTO schedule_groups (cron, timezone, next_fire_at) VALUES ('0 9 * * *', 'UTC', now())"
    )
    await desk.rows.change(
        """
        INSERT INTO job_schedules (user_id, name, job_type, target, task_params, cron, timezone, group_id,
                                   misfire_policy, effective_from)
        SELECT u.id, 'n' || n, 'backup', 'all', '{}', '0 9 * * *', 'UTC', g.id, 'skip', now()
        FROM users u, schedule_groups g, generate_series(1, 25) n WHERE u.name = 'ann'
        """
    )
    listed = await desk.ann.ask("/schedules")
    assert "page 1 of 3" in listed.text
    assert "n10" in listed.text
    assert "n11" not in listed.text
    listed = await desk.ann.press_for("Next ›", listed)
    assert "page 2 of 3" in listed.text
    listed = await desk.ann.press_for("Next ›", listed)
    assert "n25" in listed.text
    assert listed.labels[-1] == ["‹ Previous"]
    assert "page 3 of 3" in await desk.ann.say("/schedules page 999")
    assert "page 1 of 3" in await desk.ann.say("/schedules page 0")
    assert "must be a number" in await desk.ann.say("/schedules page two")


async def test_names_and_crons_are_told_apart(desk: TelegramDesk) -> None:
    for words, name, cron in [
        ("add backup all 0 9 * * 1-5", "backup all", "0 9 * * 1-5"),
        ("add backup all */10 0 9 * * mon", "backup all", "*/10 0 9 * * mon"),
        ("add backup all every night 30 2 * * *", "every night", "30 2 * * *"),
        ("add backup all “top 10” 30 2 * * *", "top 10", "30 2 * * *"),
    ]:
        number = await added(desk.ann, words)
        (row,) = await desk.rows.all("SELECT name, cron FROM job_schedules WHERE id = :id", id=int(number))
        assert (row.name, row.cron) == (name, cron)


async def test_what_is_wrong_is_said_with_what_is_allowed(desk: TelegramDesk) -> None:
    for words, expected in [
        ("add backup all 0 9 * *", "expected 5 or 6 fields, got 4. A cron has 5 fields, or 6 with seconds first"),
        ("add backup all 61 9 * * *", "Allowed are *, numbers, lists 1,15, ranges 1-5, steps */10"),
        ("add backup all", "needs a type, a target and a cron"),
        ("add dance all 0 9 * * *", "job_type: "),
        ("add report nonsense 0 9 * * *", "is not one of daily_summary"),
        ('add notification me 0 9 * * * {"message": }', "must be a JSON object in braces"),
        ("add notification me 0 9 * * *", "task_params"),
        ("dance 1", "these are no words for schedules"),
        ("pause", "these are no words for schedules"),
        ("one", "must be a number, got one"),
    ]:
        assert expected in await desk.ann.say(f"/schedules {words}")
    assert await desk.rows.column("SELECT id FROM job_schedules") == []


async def test_what_nothing_here_can_do_is_said_so(desk: TelegramDesk) -> None:
    said = await desk.ann.say("/schedules add report daily_summary 0 9 * * *")
    assert "nothing in this installation does such jobs yet" in said


async def test_viewers_look_and_change_nothing(desk: TelegramDesk) -> None:
    assert (await desk.eve.say("/schedules")).startswith("You have no schedules.")
    for words in (HELLO, "pause 1", "delete 1", "run 1"):
        assert "eve is a viewer, and only users of the role" in await desk.eve.say(f"/schedules {words}")


async def test_what_belongs_to_others_is_as_if_it_were_not_there(desk: TelegramDesk) -> None:
    number = await added(desk.ann, HELLO)
    card = await desk.ann.ask(f"/schedules {number}")
    missing = await desk.owner.say("/schedules 4711")
    assert missing == "there is no schedule 4711"
    for words in (number, f"pause {number}", f"run {number}", f"delete {number}"):
        assert await desk.owner.say(f"/schedules {words}") == f"there is no schedule {number}"
    foreign = await desk.owner.chat.press(f"schedules delete {number}", message=card, is_stale=True)
    await desk.owner.chat.until_answered(foreign)
    assert (await desk.owner.chat.next_message(within=PATIENCE)).text == f"there is no schedule {number}"
    assert "there is no schedule 9" in await desk.owner.say("/schedules 999999999999999999")
    assert "must be a number" in await desk.owner.say("/schedules 9999999999999999999")
    assert await desk.rows.value("SELECT enabled FROM job_schedules") is True


async def test_a_deletion_is_confirmed_once_and_by_whom_it_was_asked(desk: TelegramDesk) -> None:
    first, second = await added(desk.ann, HELLO), await added(desk.ann, HELLO)
    question = await desk.ann.ask(f"/schedules delete {first}")
    yes = str(question.buttons[0][0].data)
    other = await desk.eve.chat.press(yes, message=await desk.eve.ask("/info"), is_stale=True)
    await desk.eve.chat.until_answered(other)
    assert other.answer is not None
    assert "answered already, or is too old" in other.answer.text
    pressed = await desk.ann.press("Yes", question)
    await desk.ann.chat.until(lambda: "is deleted" in question.text)
    await desk.ann.ask(f"/schedules delete {second}")
    replayed = await desk.ann.chat.replay(pressed)
    await desk.ann.chat.until_answered(replayed)
    assert await desk.rows.column("SELECT id FROM job_schedules WHERE deleted_at IS NULL") == [int(second)]


async def test_names_with_tricks_read_as_they_are(desk: TelegramDesk) -> None:
    number = await added(desk.ann, 'add backup all "*bold* [x](http://evil) `c`" 0 9 * * *')
    card = await desk.ann.ask(f"/schedules {number}")
    assert "*bold* [x](http://evil) `c`" in card.text
    assert "http://evil" not in [entity.get("url") for entity in card.entities]
    assert "printable" in await desk.ann.say('/schedules add backup all "a\u202eb" 0 9 * * *')
    long = await desk.ann.say(f"/schedules add backup {'x' * 4000} 0 9 * * *")
    assert "target: must have 1 to 255 printable characters" in long
