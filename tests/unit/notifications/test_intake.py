"""Messages from other programs: each field is checked, and the answer comes when they are stored."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from atf.errors import DatabaseUnavailable, InvalidInput, NotFound, UnstorableData
from atf.notifications.intake import Intake, NewNotification, Receipt, message_of
from atf.notifications.message import ACTION, Attachment, OutgoingMessage, Priority

PLAIN = NewNotification(1, "Hello")
PNG = Attachment("chart.png", "image/png", b"png")
MIB = 1024**2


def test_what_is_not_said_is_as_usual() -> None:
    message = message_of(PLAIN)
    assert (message.user_id, message.body, message.title) == (1, "Hello", "Alert")
    assert (message.notification_type, message.priority) == ("alert", Priority.NORMAL)
    assert message.channels is None, "it goes where its user wishes"
    assert (message.scheduled_for, message.attachments) == (None, ())


@pytest.mark.parametrize(
    ("kind", "title"), [("report", "Report"), ("screener", "Screener"), ("trade_2", "Message"), ("a", "Message")]
)
def test_a_title_that_is_missing_says_what_it_is(kind: str, title: str) -> None:
    assert message_of(replace(PLAIN, notification_type=kind)).title == title
    assert message_of(replace(PLAIN, notification_type=kind, title="Mine")).title == "Mine"


def test_what_is_said_is_kept() -> None:
    at = datetime(2027, 1, 5, 9, tzinfo=timezone(timedelta(hours=2)))
    message = message_of(
        replace(
            PLAIN,
            priority="urgent",
            channels=("telegram", "inbox"),
            scheduled_for=at,
            attachments=(PNG,),
            title="T",
        )
    )
    assert (message.priority, message.channels) == (Priority.URGENT, ("telegram", "inbox"))
    assert (message.scheduled_for, message.attachments) == (datetime(2027, 1, 5, 7, tzinfo=UTC), (PNG,))


def test_a_key_is_its_users_own_and_never_one_of_atf() -> None:
    keys = {
        message_of(replace(PLAIN, user_id=user, dedup_key=key)).dedup_key
        for user, key in ((1, "a"), (2, "a"), (1, "b"), (1, "run:7"), (12, "a"), (1, "2:a"))
    }
    assert len(keys) == 6
    assert all(key.startswith("api:") for key in keys)


def test_without_a_key_each_is_another_message() -> None:
    assert message_of(PLAIN).dedup_key != message_of(PLAIN).dedup_key


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("user_id", {"user_id": 0}),
        ("user_id", {"user_id": 2**31}),
        ("message", {"message": ""}),
        ("message", {"message": " \n"}),
        ("message", {"message": "a" * (64 * 1024 + 1)}),
        ("message", {"message": "a\0b"}),
        ("message", {"message": "a\ud800"}),
        ("title", {"title": ""}),
        ("title", {"title": "a" * 256}),
        ("title", {"title": "a\0"}),
        ("priority", {"priority": "low"}),
        ("priority", {"priority": "URGENT"}),
        ("channels", {"channels": ("inbox", "pigeon")}),
        ("channels", {"channels": ("bot",)}),
        ("dedup_key", {"dedup_key": ""}),
        ("dedup_key", {"dedup_key": "a" * 201}),
        ("dedup_key", {"dedup_key": "\0"}),
        ("scheduled_for", {"scheduled_for": datetime(2027, 1, 5)}),  # noqa: DTZ001 - that is what is wrong
        (
            "scheduled_for",
            {"scheduled_for": datetime.max.replace(tzinfo=timezone(timedelta(hours=-3)))},
        ),
        ("scheduled_for", {"scheduled_for": datetime.min.replace(tzinfo=timezone(timedelta(hours=3)))}),
        ("notification_type", {"notification_type": ""}),
        ("notification_type", {"notification_type": "_"}),
        ("notification_type", {"notification_type": "1st"}),
        ("notification_type", {"notification_type": "Report"}),
        ("notification_type", {"notification_type": "a-b"}),
        ("notification_type", {"notification_type": "é"}),
        ("notification_type", {"notification_type": "a" * 65}),
        ("notification_type", {"notification_type": ACTION}),
        ("attachments", {"attachments": (PNG,) * 11}),
        ("attachments", {"attachments": (replace(PNG, content=b"a" * (5 * MIB)), PNG)}),
        ("attachments.name", {"attachments": (replace(PNG, name=""),)}),
        ("attachments.name", {"attachments": (replace(PNG, name="a/b"),)}),
        ("attachments.name", {"attachments": (replace(PNG, name="..\\b"),)}),
        ("attachments.name", {"attachments": (replace(PNG, name=".."),)}),
        ("attachments.name", {"attachments": (replace(PNG, name="a\nb"),)}),
        ("attachments.name", {"attachments": (replace(PNG, name="a" * 256),)}),
        ("attachments.media_type", {"attachments": (replace(PNG, media_type=""),)}),
        ("attachments.media_type", {"attachments": (replace(PNG, media_type="png"),)}),
        ("attachments.media_type", {"attachments": (replace(PNG, media_type="image/png\r\nX: y"),)}),
    ],
)
def test_a_field_that_is_wrong_is_refused_with_its_name(field: str, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        message_of(replace(PLAIN, **changes))
    assert refusal.value.field == field
    assert str(refusal.value).startswith(f"{field}: ")
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    "changes",
    [
        {"message": "a" * 64 * 1024},
        {"title": "a" * 255},
        {"dedup_key": "a" * 200},
        {"notification_type": "a" * 64},
        {"attachments": (replace(PNG, content=b""),) * 10},
        {"attachments": (replace(PNG, content=b"a" * 5 * MIB),)},
        {"attachments": (replace(PNG, name="Ärger und mehr.tar.gz", media_type="text/csv; charset=utf-8"),)},
        {"message": "line\nline\ttab \N{GRINNING FACE}"},
    ],
)
def test_what_is_just_allowed_is_taken(changes: dict[str, Any]) -> None:
    message_of(replace(PLAIN, **changes))


class Store:
    """Stores messages for user 1; another one is not known. Notes what came together."""

    def __init__(self) -> None:
        self.stored: dict[str, OutgoingMessage] = {}
        self.transactions: list[int] = []
        self.error: Exception | None = None

    async def receive(self, messages: Sequence[OutgoingMessage]) -> Mapping[str, Receipt]:
        self.transactions.append(len(messages))
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        if any(message.user_id != 1 for message in messages):
            raise NotFound("there is no such user")
        if any("unstorable" in message.body for message in messages):
            raise UnstorableData("no")
        new = {message.dedup_key for message in messages} - self.stored.keys()
        self.stored |= {message.dedup_key: message for message in messages if message.dedup_key in new}
        return {
            one.dedup_key: Receipt(UUID(int=hash(one.dedup_key) % 2**128), one.dedup_key in new)
            for one in messages
        }


async def test_those_that_come_together_are_stored_together() -> None:
    store = Store()
    intake = Intake(store)
    receipts = await asyncio.gather(*(intake.take(PLAIN) for _ in range(64)))
    assert (store.transactions, len(store.stored)) == ([64], 64)
    assert len({receipt.message_id for receipt in receipts}) == 64
    assert all(receipt.is_new for receipt in receipts)


async def test_a_key_that_comes_twice_at_once_is_stored_once_and_told_to_the_second() -> None:
    store = Store()
    intake = Intake(store)
    mine = replace(PLAIN, dedup_key="k")
    first, second, third = await asyncio.gather(
        intake.take(mine), intake.take(replace(mine, message="other")), intake.take(mine)
    )
    assert (first.is_new, second.is_new, third.is_new) == (True, False, False)
    assert first.message_id == second.message_id == third.message_id
    assert [message.body for message in store.stored.values()] == ["Hello"]
    assert not (await intake.take(mine)).is_new


async def test_one_that_is_refused_is_not_another_s_misfortune_and_costs_few_transactions() -> None:
    store = Store()
    intake = Intake(store)
    given = [replace(PLAIN, user_id=2 if number == 40 else 1) for number in range(64)]
    given[7] = replace(PLAIN, message="unstorable")
    answers = await asyncio.gather(*map(intake.take, given), return_exceptions=True)
    assert [number for number, one in enumerate(answers) if not isinstance(one, Receipt)] == [7, 40]
    assert (type(answers[7]), type(answers[40])) == (UnstorableData, NotFound)
    assert (len(store.stored), len(store.transactions)) == (62, 23)


async def test_what_is_wrong_never_comes_to_the_store() -> None:
    store = Store()
    with pytest.raises(InvalidInput):
        await Intake(store).take(replace(PLAIN, message=""))
    assert store.transactions == []


async def test_a_database_that_is_away_is_asked_once_for_all() -> None:
    store = Store()
    store.error = DatabaseUnavailable("gone")
    intake = Intake(store)
    answers = await asyncio.gather(*(intake.take(PLAIN) for _ in range(64)), return_exceptions=True)
    assert {type(one) for one in answers} == {DatabaseUnavailable}
    assert store.transactions == [64]
