"""How sends end on a real outbox: recipients who wait, move or are gone, and the channel to fall back to."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.sending import deliver

from atf.errors import PermanentFailure, TemporaryFailure
from atf.jobs.run import WorkerId
from atf.notifications.channel import Letter, RecipientMoved, RecipientThrottled, RecipientUnreachable
from atf.notifications.message import ACTION, DeliveryStatus, OutgoingMessage
from atf.notifications.outbox import Settled
from atf.storage.addresses_repository import PostgresAddresses
from atf.storage.database import Database
from atf.storage.notifications_repository import PostgresOutbox
from atf.storage.preferences_repository import PostgresPreferences
from atf.testing.inbox import InMemoryInbox

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

DELIVERIES = "SELECT channel, status, attempts, error, waits FROM msg_deliveries ORDER BY id"


def a_message(key: str = "a", *channels: str, user_id: int = 1, **changes: Any) -> OutgoingMessage:
    return OutgoingMessage(user_id, "note", "Title", f"Body {key}", key, channels or ("telegram",), **changes)


@pytest.fixture
def outbox(database: Database) -> PostgresOutbox:
    return PostgresOutbox(database)


async def found(rows: Rows) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await rows.all(DELIVERIES)]


def phone(*failures: Exception, name: str = "telegram") -> InMemoryInbox:
    return InMemoryInbox(name, failures)


# --- recipients ---


async def test_a_recipient_who_asks_to_wait_is_left_alone_that_long_and_no_try_is_used(
    database: Database, outbox: PostgresOutbox, rows: Rows
) -> None:
    await outbox.add([a_message("a"), a_message("b")])
    telegram = phone(RecipientThrottled("429", retry_after_seconds=600.0))
    await deliver(database, telegram)
    assert await found(rows) == [
        ("telegram", "PENDING", 0, "429", True),
        ("telegram", "PENDING", 0, None, False),
    ]
    waits = await rows.value("SELECT next_attempt_at - now() FROM msg_deliveries WHERE waits")
    assert timedelta(minutes=9) < waits <= timedelta(minutes=10)
    await deliver(database, telegram)
    assert telegram.received == []


@pytest.mark.parametrize("kind", ["address", "identity"])
async def test_a_recipient_who_has_moved_is_remembered_at_the_new_address(
    database: Database, outbox: PostgresOutbox, rows: Rows, kind: str
) -> None:
    if kind == "address":
        await PostgresAddresses(database).set_address(1, "telegram", "100")
    else:
        await rows.change("INSERT INTO user_identities (user_id, kind, value) VALUES (1, 'telegram', '100')")

    class Group(InMemoryInbox):
        async def send(self, letter: Letter) -> str | None:
            if letter.recipient.address == "100":
                raise RecipientMoved("it is a supergroup now", address="-100200")
            return await super().send(letter)

    await outbox.add([a_message("a"), a_message("b")])
    telegram = Group("telegram")
    await deliver(database, telegram)
    assert [letter.text for letter in telegram.received] == ["Body a", "Body b"]
    assert {letter.recipient.address for letter in telegram.received} == {"-100200"}
    assert await rows.column("SELECT attempts FROM msg_deliveries ORDER BY id") == [2, 1]
    assert [one.address for one in await PostgresAddresses(database).addresses_of(1)] == ["-100200"]


async def test_an_address_that_is_another_user_s_by_now_is_not_taken_and_not_asked_for_ever(
    database: Database, outbox: PostgresOutbox, rows: Rows
) -> None:
    await rows.change("INSERT INTO users (name, role) VALUES ('ann', 'viewer')")
    await rows.change(
        "INSERT INTO user_identities (user_id, kind, value) "
        "VALUES (1, 'telegram', '100'), (2, 'telegram', '-200')"
    )
    await outbox.add([a_message("a")])
    moved = [RecipientMoved("moved", address="-200") for _ in range(9)]
    telegram = phone(*moved)
    await deliver(database, telegram)
    assert len(telegram.failures) == 5, "four tries"
    assert [(row[0], row[1]) for row in await found(rows)] == [("telegram", "DEAD"), ("inbox", "PENDING")]
    assert await rows.column("SELECT value FROM user_identities ORDER BY user_id") == ["100", "-200"]


async def test_who_cannot_be_reached_any_more_is_told_of_until_something_is_taken_again(
    database: Database, outbox: PostgresOutbox, rows: Rows
) -> None:
    addresses = PostgresAddresses(database)
    await outbox.add([a_message("a"), a_message("b")])
    blocked = RecipientUnreachable("the bot was blocked")
    await deliver(database, phone(blocked, RecipientUnreachable("still blocked")))
    (gone,) = await addresses.unreachable(1)
    assert (gone.channel, gone.reason) == ("telegram", "still blocked")
    await outbox.add([a_message("c")])
    await deliver(database, phone(PermanentFailure("too long")))
    assert len(await addresses.unreachable(1)) == 1, "a refusal is no acceptance"
    await outbox.add([a_message("d")])
    await deliver(database, phone(name="email"))
    assert len(await addresses.unreachable(1)) == 1
    await deliver(database, phone())
    assert await addresses.unreachable(1) == []


async def test_a_new_address_is_tried_as_if_nothing_had_been(
    database: Database, outbox: PostgresOutbox, rows: Rows
) -> None:
    addresses = PostgresAddresses(database)
    await outbox.add([a_message("a")])
    await deliver(database, phone(RecipientUnreachable("blocked")))
    await addresses.set_address(1, "sms", "+491701234567")
    assert len(await addresses.unreachable(1)) == 1
    await addresses.set_address(1, "telegram", "200")
    assert await addresses.unreachable(1) == []


async def test_recipients_are_all_with_address_language_and_zone(database: Database, rows: Rows) -> None:
    addresses, preferences = PostgresAddresses(database), PostgresPreferences(database)
    await rows.change("INSERT INTO users (name, role) VALUES ('ann', 'viewer'), ('bob', 'viewer')")
    await rows.change(
        "INSERT INTO user_identities (user_id, kind, value, verified_at) "
        "VALUES (1, 'telegram', '1', now()), (2, 'telegram', '2', now()), (2, 'email', 'x', now())"
    )
    await addresses.set_address(1, "telegram", "set")
    await preferences.change(1, language="de", timezone="Europe/Berlin")
    found = await addresses.recipients("telegram", [1, 2, 3])
    assert {user: (one.address, one.language, one.timezone) for user, one in found.items()} == {
        1: ("set", "de", "Europe/Berlin"),
        2: ("2", "en", "UTC"),
        3: ("", "en", "UTC"),
    }


# --- the fallback ---


async def failing(database: Database, channel: str, error: Exception) -> None:
    await deliver(database, InMemoryInbox(channel, [error]))


@pytest.mark.parametrize("fallback", [None, "email"])
@pytest.mark.parametrize("error", [PermanentFailure("no"), RecipientUnreachable("blocked")])
async def test_what_failed_for_good_goes_to_the_fallback(
    database: Database, outbox: PostgresOutbox, rows: Rows, fallback: str | None, error: Exception
) -> None:
    await PostgresPreferences(database).change(1, fallback=fallback)
    await outbox.add([a_message("a")])
    await failing(database, "telegram", error)
    assert await found(rows) == [
        ("telegram", "FAILED", 1, str(error), False),
        (fallback or "inbox", "PENDING", 0, None, False),
    ]
    inbox = InMemoryInbox(fallback or "inbox")
    await deliver(database, inbox)
    assert [letter.text for letter in inbox.received] == ["Body a"]


async def test_what_is_dead_goes_to_the_fallback_and_what_is_tried_again_does_not(
    database: Database, outbox: PostgresOutbox, rows: Rows
) -> None:
    await outbox.add([a_message("a")])
    for tries in range(1, 4):
        await failing(database, "telegram", TemporaryFailure("busy"))
        assert await found(rows) == [("telegram", "PENDING", tries, "busy", True)]
        await rows.change("UPDATE msg_deliveries SET next_attempt_at = now()")
    await failing(database, "telegram", TemporaryFailure("busy"))
    assert await found(rows) == [
        ("telegram", "DEAD", 4, "busy", False),
        ("inbox", "PENDING", 0, None, False),
    ]


async def test_a_fallback_that_fails_too_is_the_end(
    database: Database, outbox: PostgresOutbox, rows: Rows
) -> None:
    await PostgresPreferences(database).change(1, fallback="email")
    await outbox.add([a_message("a")])
    await failing(database, "telegram", PermanentFailure("no"))
    await failing(database, "email", PermanentFailure("no such mailbox"))
    assert [(row[0], row[1]) for row in await found(rows)] == [("telegram", "FAILED"), ("email", "FAILED")]


async def test_a_message_falls_back_once_whichever_channels_fail_and_never_to_where_it_is_already(
    database: Database, outbox: PostgresOutbox, rows: Rows
) -> None:
    await outbox.add([a_message("a", "telegram", "sms"), a_message("b", "telegram", "inbox")])
    await deliver(
        database, phone(PermanentFailure("no"), PermanentFailure("no")), phone(PermanentFailure("no"), name="sms")
    )
    assert sorted((row[0], row[1]) for row in await found(rows)) == [
        ("inbox", "PENDING"),
        ("inbox", "PENDING"),
        ("sms", "FAILED"),
        ("telegram", "FAILED"),
        ("telegram", "FAILED"),
    ]


async def test_a_fallback_that_has_failed_already_is_not_tried_again(
    database: Database, outbox: PostgresOutbox, rows: Rows
) -> None:
    await PostgresPreferences(database).change(1, fallback="sms")
    await outbox.add([a_message("a", "telegram", "sms")])
    await failing(database, "sms", PermanentFailure("no"))
    await failing(database, "telegram", PermanentFailure("no"))
    assert sorted((row[0], row[1]) for row in await found(rows)) == [("sms", "FAILED"), ("telegram", "FAILED")]


async def test_actions_fall_back_to_nothing(database: Database, outbox: PostgresOutbox, rows: Rows) -> None:
    action = OutgoingMessage(
        1, ACTION, "Action 1", "stop", "a", ("webhook",), payload={"alert_id": 7, "url": "https://example.org"}
    )
    await outbox.add([action])
    await failing(database, "webhook", PermanentFailure("no"))
    failed = await rows.all(
        "SELECT d.channel, m.notification_type FROM msg_deliveries d JOIN msg_messages m ON m.id = d.message_id "
        "WHERE m.notification_type = 'alert_action'"
    )
    assert [tuple(row) for row in failed] == [("webhook", ACTION)]


async def test_what_was_taken_away_meanwhile_falls_back_to_nothing(outbox: PostgresOutbox, rows: Rows) -> None:
    await outbox.add([a_message("a")])
    sender = await rows.worker("sender")
    await outbox.take_channel(sender, "telegram")
    (claimed,) = await outbox.claim(sender, "telegram", 10, disturbs=True)
    await outbox.release_held(sender)
    for name in (sender, WorkerId("nobody")):
        await outbox.settle(name, [Settled(claimed, DeliveryStatus.FAILED, error="late", unreachable=True)])
    assert await found(rows) == [("telegram", "PENDING", 0, None, False)]
    assert await rows.value("SELECT count(*) FROM msg_unreachable") == 0


async def test_a_whole_transaction_of_endings_is_recorded_each_as_it_was(
    outbox: PostgresOutbox, rows: Rows
) -> None:
    await outbox.add([a_message(f"{n}") for n in range(6)])
    sender = await rows.worker("sender")
    await outbox.take_channel(sender, "telegram")
    claimed = await outbox.claim(sender, "telegram", 10, disturbs=True)
    await outbox.settle(
        sender,
        [
            Settled(claimed[0], DeliveryStatus.SENT, "p-1"),
            Settled(claimed[1], DeliveryStatus.FAILED, error="blocked", unreachable=True),
            Settled(claimed[2], DeliveryStatus.DEAD, error="busy"),
            Settled(claimed[3], DeliveryStatus.PENDING, error="429", counts=False),
            Settled(claimed[4], DeliveryStatus.PENDING, error="busy", retry_in=timedelta(hours=1)),
        ],
        [claimed[5].id],
    )
    assert await found(rows) == [
        ("telegram", "SENT", 1, None, False),
        ("telegram", "FAILED", 1, "blocked", False),
        ("telegram", "DEAD", 1, "busy", False),
        ("telegram", "PENDING", 0, "429", True),
        ("telegram", "PENDING", 1, "busy", True),
        ("telegram", "PENDING", 0, None, False),
        ("inbox", "PENDING", 0, None, False),
        ("inbox", "PENDING", 0, None, False),
    ]
    assert await rows.column("SELECT reason FROM msg_unreachable") == ["blocked"]
