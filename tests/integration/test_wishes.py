"""What users and programs wish of messages, on a real outbox: digests, times, files, and where they go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from tests.sending import Waiter, deliver, running, sender_on

from atf.errors import TemporaryFailure
from atf.notifications.channel import ChannelLimits
from atf.notifications.message import ACTION, Attachment, OutgoingMessage, Priority
from atf.notifications.quiet_hours import parse_days, parse_quiet_hours
from atf.storage.addresses_repository import PostgresAddresses
from atf.storage.database import Database
from atf.storage.notifications_repository import PostgresOutbox
from atf.storage.preferences_repository import PostgresPreferences
from atf.storage.quiet_hours_repository import PostgresQuietHours
from atf.testing.clocks import FakeClock
from atf.testing.inbox import InMemoryInbox

if TYPE_CHECKING:
    from tests.integration.conftest import Eventually, Rows

# After the present, as what is stored is due at the database's own time.
TEN_TO = datetime.fromisoformat("2036-03-06T11:50:00Z")
NOON = datetime.fromisoformat("2036-03-06T12:00:00Z")
JUST = timedelta(microseconds=1)
MINUTE = timedelta(minutes=1)


class House:
    """A user with wishes, an outbox, a phone, and a clock that the test moves."""

    def __init__(self, database: Database, rows: Rows) -> None:
        self.clock = FakeClock(TEN_TO)
        self.database = database
        self.rows = rows
        self.outbox = PostgresOutbox(database, self.clock)
        self.preferences = PostgresPreferences(database)
        self.phone = InMemoryInbox("phone", disturbs=True)
        self.waiter = Waiter()

    async def write(self, *bodies: str, channels: tuple[str, ...] | None = ("phone",), **changes: Any) -> None:
        await self.outbox.add(
            [OutgoingMessage(1, "note", "Title", body, body, channels, **changes) for body in bodies]
        )

    @asynccontextmanager
    async def sender(self, phone: InMemoryInbox | None = None) -> AsyncIterator[None]:
        self.phone, self.waiter = phone or self.phone, Waiter()
        async with running(sender_on(self.database, self.phone, self.waiter, clock=self.clock), self.waiter):
            yield

    async def look(self, at: datetime | None = None) -> list[str]:
        """The texts that the phone has by then."""
        self.clock.at = at or self.clock.at
        await self.waiter.look()
        return [letter.text for letter in self.phone.received]

    async def held_until(self) -> list[datetime | None]:
        return await self.rows.column("SELECT held_until FROM msg_deliveries ORDER BY id")


@pytest.fixture
def house(database: Database, rows: Rows) -> House:
    return House(database, rows)


# --- digests ---


async def test_what_is_not_urgent_is_held_until_the_next_multiple_and_then_goes_in_order(house: House) -> None:
    await house.preferences.change(1, digest=30 * MINUTE)
    await house.write("a", "b")
    await house.write("high", priority=Priority.HIGH)
    await house.write("urgent", priority=Priority.URGENT)
    async with house.sender():
        assert await house.look() == ["urgent"]
        assert await house.held_until() == [NOON, NOON, NOON, None]
        assert await house.rows.column(
            "SELECT DISTINCT attempts FROM msg_deliveries WHERE status = 'PENDING'"
        ) == [0]
        await house.write("c")
        assert await house.look(NOON - JUST) == ["urgent"]
        assert await house.look(NOON) == ["urgent", "high", "a", "b", "c"]


async def test_a_limited_channel_gets_what_was_held_as_one_letter(house: House) -> None:
    await house.preferences.change(1, digest=30 * MINUTE)
    await house.write(*"abcdefgh")
    limits = ChannelLimits(per_recipient_second=1.0, longest_text=1000)
    async with house.sender(InMemoryInbox("phone", disturbs=True, limits=limits)):
        assert await house.look() == []
        await house.look(NOON)
        (letter,) = house.phone.received
        assert letter.notification_type == "digest"
        assert letter.text.splitlines() == [f"Title: {one}" for one in "abcdefgh"]
        assert await house.rows.column("SELECT DISTINCT status FROM msg_deliveries") == ["SENT"]


async def test_the_multiple_is_that_of_the_user_s_clock(house: House) -> None:
    await house.preferences.change(1, digest=timedelta(hours=6), timezone="Asia/Kolkata")
    await house.write("a")
    async with house.sender():
        assert await house.held_until() == [datetime.fromisoformat("2036-03-06T12:30:00Z")]


async def test_what_was_held_for_a_digest_once_is_not_held_for_another(house: House) -> None:
    await house.preferences.change(1, digest=30 * MINUTE)
    await house.write("a")
    async with house.sender(InMemoryInbox("phone", [TemporaryFailure("busy")], disturbs=True)):
        assert await house.look(NOON) == []
        assert await house.look(NOON + MINUTE) == ["a"]


@pytest.mark.parametrize(("digest", "texts"), [(None, ["a"]), (5 * MINUTE, []), (30 * MINUTE, [])])
async def test_a_change_of_the_wish_decides_anew(
    house: House, digest: timedelta | None, texts: list[str]
) -> None:
    await house.preferences.change(1, digest=20 * MINUTE)
    await house.write("a")
    async with house.sender():
        assert await house.held_until() == [NOON]
        house.clock.at = datetime.fromisoformat("2036-03-06T11:52:00Z")
        await house.preferences.change(1, digest=digest)
        assert await house.look() == texts
        if digest is not None:
            end = datetime.fromisoformat("2036-03-06T11:55:00Z") if digest == 5 * MINUTE else NOON
            assert await house.held_until() == [end]
            assert await house.look(end) == ["a"]


async def test_a_change_wakes_the_senders(house: House) -> None:
    await house.preferences.change(1, digest=30 * MINUTE)
    await house.write("a")
    async with house.sender(), await house.database.connect() as connection:
        await connection.execute("LISTEN atf_outbox")
        await house.preferences.change(1, digest=None)
        (told,) = [one.channel async for one in connection.notifies(timeout=10, stop_after=1)]
    assert told == "atf_outbox"


async def test_a_change_that_meets_a_claim_waits_for_it_and_lets_go_of_what_it_held(
    house: House, rows: Rows, eventually: Eventually
) -> None:
    await house.preferences.change(1, digest=30 * MINUTE)
    await house.write("a")
    sender = await rows.worker("sender")
    await house.outbox.take_channel(sender, "phone")
    async with house.database.transaction() as connection:
        await connection.execute(text("SELECT FROM msg_preferences FOR UPDATE"))
        claim = asyncio.create_task(house.outbox.claim(sender, "phone", 10, disturbs=True))
        await eventually(rows.somebody_waits_for_a_lock)
        change = asyncio.create_task(house.preferences.change(1, digest=None))
    await change
    taken = await claim or await house.outbox.claim(sender, "phone", 10, disturbs=True)
    assert [one.body for one in taken] == ["a"]


async def test_of_quiet_hours_and_a_digest_the_quiet_hours_hold_and_then_nothing_does(house: House) -> None:
    await house.preferences.change(1, digest=30 * MINUTE)
    await PostgresQuietHours(house.database).set(
        1, parse_quiet_hours("11:00", "13:10", "UTC", parse_days("mon-sun"))
    )
    await house.write("a")
    async with house.sender():
        end = datetime.fromisoformat("2036-03-06T13:10:00Z")
        assert await house.held_until() == [end]
        assert await house.look(end) == ["a"]


async def test_channels_that_disturb_nobody_wait_for_no_digest(house: House) -> None:
    await house.preferences.change(1, digest=30 * MINUTE)
    await house.write("a", channels=("phone", "inbox"))
    inbox = InMemoryInbox("inbox")
    await deliver(house.database, house.phone, inbox, clock=house.clock)
    assert (house.phone.keys, inbox.keys) == ([], ["a:inbox"])


# --- scheduled ---


async def test_what_is_scheduled_is_not_sent_before(house: House, database: Database) -> None:
    await house.write("later", scheduled_for=NOON)
    await house.write("now")
    async with house.sender():
        assert await house.look(NOON - JUST) == ["now"]
        assert await house.look(NOON) == ["now", "later"]


async def test_a_time_in_the_past_is_now_and_overtakes_nobody(house: House) -> None:
    await house.write(*(f"{n:02}" for n in range(20)))
    await house.write("past", scheduled_for=datetime(2001, 1, 1, tzinfo=UTC))
    sender = await house.rows.worker("sender")
    await house.outbox.take_channel(sender, "phone")
    claimed = await house.outbox.claim(sender, "phone", 5, disturbs=True)
    assert [one.body for one in claimed] == ["00", "01", "02", "03", "04"]


# --- attachments ---


async def test_files_arrive_as_they_were_given_and_in_their_order(house: House) -> None:
    files = (
        Attachment("chart.png", "image/png", bytes(range(256)) * 1000),
        Attachment("empty.txt", "text/plain", b""),
        Attachment("Ärger.csv", "text/csv", b"a,b"),
    )
    await house.write("with", attachments=files)
    await house.write("without")
    await house.write("one", attachments=files[:1])
    async with house.sender():
        assert [(letter.text, letter.attachments) for letter in house.phone.received] == [
            ("with", files),
            ("without", ()),
            ("one", files[:1]),
        ]


async def test_files_of_a_message_that_was_stored_already_are_not_added(house: House) -> None:
    await house.write("a")
    await house.write("a", attachments=(Attachment("a.txt", "text/plain", b"a"),))
    assert await house.rows.value("SELECT count(*) FROM msg_attachments") == 0


# --- routes ---


async def channels(house: House) -> list[str]:
    return await house.rows.column("SELECT channel FROM msg_deliveries ORDER BY channel")


async def test_a_type_that_is_switched_off_is_not_sent_there(house: House) -> None:
    await house.preferences.set_route(1, "note", "phone", is_on=False)
    await house.write("a", channels=("phone", "email"))
    assert await channels(house) == ["email"]


async def test_where_all_is_switched_off_the_inbox_has_it(house: House) -> None:
    for channel in ("phone", "inbox"):
        await house.preferences.set_route(1, "*", channel, is_on=False)
    await house.write("a", channels=("phone",))
    await house.write("b", channels=("inbox",))
    assert await channels(house) == ["inbox", "inbox"]


async def test_a_type_that_is_switched_on_again_is_sent_whatever_holds_for_every_type(house: House) -> None:
    await house.preferences.set_route(1, "*", "phone", is_on=False)
    await house.preferences.set_route(1, "note", "phone", is_on=True)
    await house.write("a")
    assert await channels(house) == ["phone"]
    await house.preferences.clear_routes(1)
    await house.preferences.set_route(1, "*", "phone", is_on=False)
    await house.write("b", channels=("phone", "email"))
    assert await channels(house) == ["email", "phone"]


async def test_what_asks_for_nothing_goes_to_the_inbox_and_to_what_the_user_has(house: House, rows: Rows) -> None:
    await house.write("a", channels=None)
    assert await channels(house) == ["inbox"]
    await rows.change(
        "INSERT INTO user_identities (user_id, kind, value) VALUES (1, 'telegram', '1'), (1, 'email', 'x')"
    )
    await house.write("b", channels=None)
    assert await channels(house) == ["inbox", "inbox", "telegram"]
    await PostgresAddresses(house.database).set_address(1, "sms", "+491701234567")
    for channel in ("sms", "email", "webhook"):
        await house.preferences.set_route(1, "note", channel, is_on=True)
    await house.write("c", channels=None)
    assert (await channels(house))[1:] == ["inbox", "inbox", "inbox", "sms", "telegram"]


async def test_what_goes_nowhere_is_stored_for_its_key_alone(house: House) -> None:
    await house.preferences.set_route(1, "*", "phone", is_on=True)
    nowhere = OutgoingMessage(1, "note", "Title", "a", "a", ())
    await house.outbox.add([nowhere, OutgoingMessage(1, "note", "Title", "b", "b", ("phone",))])
    assert await house.rows.column("SELECT dedup_key FROM msg_deliveries") == ["b:phone"]
    assert await house.outbox.add([nowhere]) == 0
    await house.write("a")
    assert await channels(house) == ["phone"]


async def test_what_an_alert_makes_happen_goes_where_it_was_sent(house: House) -> None:
    await house.preferences.set_route(1, "*", "webhook", is_on=False)
    await house.preferences.set_route(1, ACTION, "webhook", is_on=False)
    await house.outbox.add([OutgoingMessage(1, ACTION, "T", "b", "k", ("webhook",), payload={"url": "x"})])
    assert await channels(house) == ["webhook"]


async def test_one_user_s_wishes_are_not_another_s(house: House, rows: Rows) -> None:
    await rows.change("INSERT INTO users (name, role) VALUES ('ann', 'viewer')")
    await house.preferences.set_route(1, "*", "phone", is_on=False)
    both = [OutgoingMessage(user, "note", "T", "b", f"k{user}", ("phone",)) for user in (1, 2)]
    await house.outbox.add(both)
    found = await rows.all("SELECT user_id, channel FROM msg_deliveries ORDER BY user_id")
    assert [tuple(row) for row in found] == [(1, "inbox"), (2, "phone")]
