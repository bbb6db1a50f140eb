"""Quiet hours on a real outbox: what is held waits, goes out once when they end, and costs nothing meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text
from tests.sending import Waiter, deliver, running, sender_on

from atf.errors import TemporaryFailure
from atf.jobs.run import WorkerId
from atf.notifications.history import DeliveryFilter
from atf.notifications.letter_sender import DeliveryPolicy
from atf.notifications.message import DeliveryStatus, OutgoingMessage, Priority
from atf.notifications.quiet_hours import QuietHours, parse_days, parse_quiet_hours
from atf.storage.database import Database
from atf.storage.deliveries_repository import PostgresDeliveries
from atf.storage.notifications_repository import PostgresOutbox
from atf.storage.quiet_hours_repository import PostgresQuietHours
from atf.testing.clocks import FakeClock
from atf.testing.inbox import InMemoryInbox

if TYPE_CHECKING:
    from tests.integration.conftest import Eventually, Rows

# After the present, as what is stored is due at the database's own time. 6 March 2036 is a Thursday.
EVENING = datetime.fromisoformat("2036-03-06T21:00:00Z")
NIGHT = datetime.fromisoformat("2036-03-06T23:00:00Z")
MORNING = datetime.fromisoformat("2036-03-07T07:00:00Z")
JUST = timedelta(microseconds=1)
PHONE = ("phone",)


def hours(begins: str = "22:00", ends: str = "07:00", zone: str = "UTC", days: str = "mon-sun") -> QuietHours:
    return parse_quiet_hours(begins, ends, zone, parse_days(days))


class Sender:
    """A running sender that looks at the outbox when it is told to."""

    def __init__(self, waiter: Waiter, channel: InMemoryInbox) -> None:
        self.waiter = waiter
        self.received = channel.received

    async def look(self) -> list[str]:
        """Let it do what there is to do; the bodies that its channel has been given so far."""
        await self.waiter.look()
        return [letter.text for letter in self.received]


class House:
    """A user with quiet hours, an outbox, and a clock that the test moves."""

    def __init__(self, database: Database, rows: Rows) -> None:
        self.clock = FakeClock(NIGHT)
        self.outbox = PostgresOutbox(database, self.clock)
        self.quiet = PostgresQuietHours(database)
        self.database = database
        self.rows = rows

    async def write(self, *bodies: str, channels: tuple[str, ...] = PHONE, **changes: Any) -> None:
        user_id = changes.pop("user_id", 1)
        for body in bodies:
            key = f"{user_id}:{body}"
            await self.outbox.add([OutgoingMessage(user_id, "note", "Title", body, key, channels, **changes)])

    @asynccontextmanager
    async def sender(self, channel: InMemoryInbox | None = None, *, batch: int = 100) -> AsyncIterator[Sender]:
        """A running sender, from when it is first idle."""
        channel = channel or InMemoryInbox("phone", disturbs=True)
        waiter, policy = Waiter(), DeliveryPolicy(batch_size=batch)
        sender = sender_on(self.database, channel, waiter, clock=self.clock, policy=policy)
        async with running(sender, waiter):
            yield Sender(waiter, channel)

    async def claim(self, name: str = "sender") -> list[str]:
        """The bodies that one who sends to phones takes, ten at most."""
        return [delivery.body for delivery in await self.outbox.claim(WorkerId(name), "phone", 10, disturbs=True)]

    async def claimer(self) -> None:
        """Let ``claim`` be the one who sends to phones."""
        assert await self.outbox.take_channel(await self.rows.worker("sender"), "phone") is True

    async def deliveries(self) -> list[tuple[str, int, datetime | None]]:
        found = await self.rows.all("SELECT status, attempts, held_until FROM msg_deliveries ORDER BY id")
        return [(row.status, row.attempts, row.held_until) for row in found]


async def two_wait(rows: Rows) -> bool:
    """Whether two sessions of this database wait for locks."""
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return int(await rows.value(waiting)) == 2


@pytest.fixture
async def house(database: Database, rows: Rows) -> House:
    made = House(database, rows)
    await made.quiet.set(1, hours())
    return made


async def test_what_comes_at_night_waits_without_an_attempt_and_goes_out_in_order_in_the_morning(
    house: House,
) -> None:
    await house.write("a", "b", "c")
    async with house.sender() as sender:
        assert await sender.look() == []
        assert await house.deliveries() == [("PENDING", 0, MORNING)] * 3
        house.clock.at = MORNING - JUST
        assert await sender.look() == []
        house.clock.at = MORNING
        assert await sender.look() == ["a", "b", "c"]
        assert await house.deliveries() == [("SENT", 1, None)] * 3


async def test_by_day_nothing_waits(house: House) -> None:
    house.clock.at = EVENING
    await house.write("a")
    async with house.sender() as sender:
        assert await sender.look() == ["a"]


async def test_what_is_urgent_passes_and_what_is_high_does_not(house: House) -> None:
    await house.write("normal")
    await house.write("high", priority=Priority.HIGH)
    await house.write("urgent", priority=Priority.URGENT)
    async with house.sender() as sender:
        assert await sender.look() == ["urgent"]
        house.clock.at = MORNING
        assert await sender.look() == ["urgent", "high", "normal"]


async def test_a_channel_that_disturbs_nobody_is_not_held(house: House) -> None:
    await house.write("a", channels=("phone", "bot", "inbox"))
    phone, bot = InMemoryInbox("phone", disturbs=True), InMemoryInbox("bot", disturbs=False)
    inbox = InMemoryInbox("inbox", disturbs=False)
    await deliver(house.database, phone, bot, inbox, clock=house.clock)
    assert (phone.keys, bot.keys, inbox.keys) == ([], ["1:a:bot"], ["1:a:inbox"])


async def test_one_user_s_night_is_not_another_s(house: House, rows: Rows) -> None:
    await rows.change("INSERT INTO users (name, role) VALUES ('second', 'viewer')")
    await house.write("mine")
    await house.write("theirs", user_id=2)
    async with house.sender() as sender:
        assert await sender.look() == ["theirs"]


async def test_a_retry_that_comes_to_be_due_at_night_waits_for_the_morning(house: House) -> None:
    house.clock.at = NIGHT.replace(hour=21, minute=59, second=59)
    await house.write("a")
    phone = InMemoryInbox("phone", [TemporaryFailure("busy")], disturbs=True)
    async with house.sender(phone) as sender:
        assert await house.deliveries() == [("PENDING", 1, None)]
        house.clock.at = NIGHT
        assert await sender.look() == []
        assert await house.deliveries() == [("PENDING", 1, MORNING)]
        house.clock.at = MORNING
        assert await sender.look() == ["a"]
        assert await house.deliveries() == [("SENT", 2, None)]


async def test_the_morning_is_that_of_the_user_s_clock_also_on_the_day_on_which_it_is_changed(
    house: House,
) -> None:
    """Berlin has 07:00 at 05:00Z on 30 March 2036, and had it at 06:00Z the day before."""
    await house.quiet.set(1, hours(zone="Europe/Berlin"))
    house.clock.at = datetime.fromisoformat("2036-03-29T23:30:00Z")
    await house.write("a")
    async with house.sender() as sender:
        house.clock.at = datetime.fromisoformat("2036-03-30T04:59:59Z")
        assert await sender.look() == []
        house.clock.at = datetime.fromisoformat("2036-03-30T05:00:00Z")
        assert await sender.look() == ["a"]


async def test_quiet_hours_that_are_cleared_let_go_of_what_they_hold(house: House) -> None:
    await house.write("a", "b")
    async with house.sender() as sender:
        assert await sender.look() == []
        assert await house.quiet.clear(1)
        assert await sender.look() == ["a", "b"]
    assert not await house.quiet.clear(1)


@pytest.mark.parametrize(
    ("changed", "end"),
    [
        (hours(ends="23:30"), "2036-03-06T23:30:00Z"),
        (hours(ends="09:00"), "2036-03-07T09:00:00Z"),
        (hours(zone="America/New_York", begins="17:00"), "2036-03-07T12:00:00Z"),
        (hours(), "2036-03-07T07:00:00Z"),
    ],
)
async def test_quiet_hours_that_are_changed_hold_until_their_new_end(
    house: House, changed: QuietHours, end: str
) -> None:
    await house.write("a")
    async with house.sender() as sender:
        await house.quiet.set(1, changed)
        assert await sender.look() == []
        house.clock.at = datetime.fromisoformat(end) - JUST
        assert await sender.look() == []
        house.clock.at = datetime.fromisoformat(end)
        assert await sender.look() == ["a"]


@pytest.mark.parametrize("changed", [hours("23:30"), hours(days="sat"), hours(zone="Asia/Tokyo")])
async def test_quiet_hours_that_do_not_hold_now_any_more_let_go(house: House, changed: QuietHours) -> None:
    await house.write("a")
    async with house.sender() as sender:
        assert await sender.look() == []
        await house.quiet.set(1, changed)
        assert await sender.look() == ["a"]


async def test_a_change_wakes_the_senders_and_leaves_other_users_alone(house: House, rows: Rows) -> None:
    await rows.change("INSERT INTO users (name, role) VALUES ('second', 'viewer')")
    await house.quiet.set(2, hours())
    await house.write("mine")
    await house.write("theirs", user_id=2)
    async with house.sender() as sender:
        connection = await house.database.connect()
        async with connection:
            await connection.execute("LISTEN atf_outbox")
            await house.quiet.clear(2)
            (told,) = [one.channel async for one in connection.notifies(timeout=10, stop_after=1)]
        assert told == "atf_outbox"
        assert await house.deliveries() == [("PENDING", 0, MORNING), ("PENDING", 0, None)]
        assert await sender.look() == ["theirs"]


async def test_a_sender_that_is_stopped_and_started_again_loses_and_doubles_nothing(house: House) -> None:
    await house.write("a", "b")
    async with house.sender() as sender:
        assert await sender.look() == []
    await house.write("c")
    house.clock.at = MORNING
    async with house.sender() as sender:
        assert await sender.look() == ["a", "b", "c"]
        assert await sender.look() == ["a", "b", "c"]


async def test_two_senders_touch_nothing_that_is_held_and_look_once_a_poll(house: House, rows: Rows) -> None:
    await house.write(*(f"{n:02}" for n in range(20)))
    async with house.sender() as first, house.sender() as second:
        before = await rows.all("SELECT xmin::text, * FROM msg_deliveries ORDER BY id")
        rounds = [first.waiter.waits, second.waiter.waits]
        statements: list[str] = []
        engine = house.database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
        for _ in range(5):
            await first.look()
            await second.look()
        assert [first.waiter.waits, second.waiter.waits] == [rounds[0] + 5, rounds[1] + 5]
        assert len(statements) == 15, "an idle look is two statements, and one of who has not the channel"
        assert await rows.all("SELECT xmin::text, * FROM msg_deliveries ORDER BY id") == before
        house.clock.at = MORNING
        await asyncio.gather(first.look(), second.look())
        assert [letter.text for letter in first.received] == [f"{n:02}" for n in range(20)]
        assert second.received == []


async def test_what_is_due_behind_more_than_a_batch_of_held_ones_is_reached_at_once(
    house: House, rows: Rows
) -> None:
    await house.write(*(f"{n:02}" for n in range(25)))
    await house.write("urgent", priority=Priority.URGENT)
    await house.claimer()
    assert await house.claim() == ["urgent"]
    assert await house.claim() == []
    assert len(await house.deliveries()) == 26


async def test_order_is_kept_also_of_what_nobody_looked_at_during_the_night(house: House) -> None:
    """Else it would be due before what was held, and go out first where there is more than a batch."""
    held, unseen = [f"{n:02}" for n in range(10)], [f"{n:02}" for n in range(10, 20)]
    await house.write(*held)
    async with house.sender(batch=5) as sender:
        assert await sender.look() == []
    await house.write(*unseen)
    await house.rows.change(
        "UPDATE msg_deliveries SET next_attempt_at = :at WHERE held_until IS NULL",
        at=MORNING - timedelta(hours=1),
    )
    house.clock.at = MORNING + timedelta(minutes=1)
    async with house.sender(batch=5) as sender:
        assert await sender.look() == [*held, *unseen]
    assert await house.deliveries() == [("SENT", 1, None)] * 20


async def test_order_is_kept_when_hours_are_cleared_before_some_were_looked_at(house: House) -> None:
    await house.write("a", "b", "c")
    async with house.sender(batch=2) as sender:
        assert await sender.look() == []
        await house.write("d", "e")
        await house.quiet.clear(1)
        assert await sender.look() == ["a", "b", "c", "d", "e"]


async def test_a_claim_that_meets_a_change_decides_by_what_is_changed(
    house: House, rows: Rows, eventually: Eventually
) -> None:
    await house.write("a")
    await house.claimer()
    async with house.database.transaction() as connection:
        await connection.execute(text("DELETE FROM msg_quiet_hours"))
        claim = asyncio.create_task(house.claim())
        await eventually(rows.somebody_waits_for_a_lock)
    assert await claim == ["a"]


async def test_a_change_that_meets_a_claim_waits_for_it_and_lets_go_of_what_it_held(
    house: House, rows: Rows, eventually: Eventually
) -> None:
    """What held by the old hours, and was not yet to be seen when the change looked, would wait till morning."""
    await house.write("a", "b")
    await house.claimer()
    async with house.database.transaction() as connection:
        await connection.execute(text("SELECT FROM msg_quiet_hours FOR UPDATE"))
        claim = asyncio.create_task(house.claim())
        await eventually(rows.somebody_waits_for_a_lock)
        change = asyncio.create_task(house.quiet.clear(1))
        await eventually(lambda: two_wait(rows))
    await change
    assert await claim or await house.claim() == ["a", "b"]


async def test_a_change_and_a_claim_of_what_was_held_do_not_wait_for_each_other(
    house: House, rows: Rows, eventually: Eventually
) -> None:
    await house.write("a", "b")
    await house.claimer()
    assert await house.claim() == []
    house.clock.at = MORNING
    async with house.database.transaction() as connection:
        await connection.execute(text("SELECT FROM msg_quiet_hours FOR UPDATE"))
        change = asyncio.create_task(house.quiet.clear(1))
        await eventually(rows.somebody_waits_for_a_lock)
        claim = asyncio.create_task(house.claim())
        await eventually(lambda: two_wait(rows))
    await change
    assert await claim == ["a", "b"]


async def test_hours_that_cannot_be_read_hold_nothing_and_are_told_of(
    house: House, rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await rows.change("UPDATE msg_quiet_hours SET timezone = 'Mars/Olympus'")
    await house.write("a")
    async with house.sender() as sender:
        assert await sender.look() == ["a"]
    assert any("unknown time zone 'Mars/Olympus'" in record.message for record in caplog.records)


async def test_the_list_shows_until_when_a_delivery_is_held_and_not_afterwards(house: House, rows: Rows) -> None:
    await house.write("a")
    await house.claimer()
    assert await house.claim() == []

    async def shown() -> list[tuple[DeliveryStatus, datetime | None]]:
        found = await PostgresDeliveries(house.database, house.clock).list_deliveries(DeliveryFilter(1))
        return [(record.status, record.held_until) for record in found]

    assert await shown() == [(DeliveryStatus.PENDING, MORNING)]
    house.clock.at = MORNING
    assert await shown() == [(DeliveryStatus.PENDING, None)]


async def test_the_status_tells_the_hours_and_how_many_deliveries_wait(house: House, rows: Rows) -> None:
    status = await house.quiet.status(1)
    assert (status.hours, status.held) == (hours(), 0)
    some = hours("12:15", "13:45", "Asia/Tokyo", "mon,wed-fri")
    await house.quiet.set(1, some)
    assert (await house.quiet.status(1)).hours == some
    await house.quiet.set(1, hours())
    await house.write("a", "b")
    await house.claimer()
    assert await house.claim() == []
    assert (await house.quiet.status(1)).held == 2
    await house.quiet.clear(1)
    cleared = await house.quiet.status(1)
    assert (cleared.hours, cleared.quiet_until, cleared.held) == (None, None, 0)


async def test_the_database_refuses_hours_that_are_none(house: House, rows: Rows) -> None:
    for wrong in ("ends = begins", "days = '{}'", "days = '{mon,someday}'"):
        with pytest.raises(Exception, match="violates check constraint"):
            await rows.change(f"UPDATE msg_quiet_hours SET {wrong}")
