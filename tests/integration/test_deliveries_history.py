"""What became of messages: listed and searched, counted by channel, sent once more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.sending import deliver

from atf.errors import NotFound, PermanentFailure, TemporaryFailure
from atf.notifications.channel import ChannelUnavailable
from atf.notifications.history import ChannelStatistics, DeliveryFilter
from atf.notifications.message import ACTION, DeliveryStatus, OutgoingMessage
from atf.security.caller import Caller, Origin, acting
from atf.security.role import Role
from atf.storage.database import Database
from atf.storage.deliveries_repository import PostgresDeliveries
from atf.storage.notifications_repository import PostgresOutbox
from atf.testing.inbox import InMemoryInbox

if TYPE_CHECKING:
    from tests.integration.conftest import Rows


@pytest.fixture
def outbox(database: Database) -> PostgresOutbox:
    return PostgresOutbox(database)


@pytest.fixture
def history(database: Database) -> PostgresDeliveries:
    return PostgresDeliveries(database)


def a_message(key: str, *channels: str, user_id: int = 1, kind: str = "note", **changes: Any) -> OutgoingMessage:
    given = {"title": f"Title {key}", "body": f"Body {key}", **changes}
    return OutgoingMessage(user_id, kind, dedup_key=key, channels=channels or ("phone",), **given)


async def keys(history: PostgresDeliveries, user_id: int = 1, **wanted: Any) -> list[str]:
    return [one.dedup_key for one in await history.list_deliveries(DeliveryFilter(user_id, **wanted))]


# --- listed ---


async def test_the_list_is_of_one_user_newest_first_and_in_pages(
    history: PostgresDeliveries, outbox: PostgresOutbox, rows: Rows
) -> None:
    await rows.change("INSERT INTO users (name, role) VALUES ('ann', 'viewer')")
    await outbox.add([a_message(f"{n}") for n in range(7)])
    await outbox.add([a_message("hers", user_id=2)])
    assert await keys(history) == [f"{n}:phone" for n in (6, 5, 4, 3, 2, 1, 0)]
    assert await keys(history, user_id=2) == ["hers:phone"]
    page = await history.list_deliveries(DeliveryFilter(1, limit=3))
    assert [one.dedup_key for one in page] == ["6:phone", "5:phone", "4:phone"]
    assert await keys(history, limit=3, before_id=page[-1].id) == ["3:phone", "2:phone", "1:phone"]


async def test_the_list_is_narrowed_by_all_that_is_said(
    database: Database, history: PostgresDeliveries, outbox: PostgresOutbox
) -> None:
    await outbox.add([a_message("a", "phone", "inbox"), a_message("b", kind="report")])
    await outbox.add([a_message("c", "webhook", kind=ACTION, payload={"url": "x"})])
    await deliver(database, InMemoryInbox("phone", [PermanentFailure("no")]))
    assert await keys(history, channel="phone") == ["b:phone", "a:phone"]
    assert await keys(history, notification_type="report") == ["b:phone"]
    assert await keys(history, status=DeliveryStatus.FAILED) == ["a:phone"]
    assert await keys(history, status=DeliveryStatus.FAILED, channel="inbox") == []
    assert await keys(history, actions=True) == ["c:webhook"]
    assert await keys(history, channel="webhook") == ["c:webhook"]
    assert "c:webhook" not in await keys(history)


async def test_the_list_is_narrowed_by_when_it_was_written(
    history: PostgresDeliveries, outbox: PostgresOutbox, rows: Rows
) -> None:
    await outbox.add([a_message("old"), a_message("new")])
    at = datetime(2026, 1, 5, tzinfo=UTC)
    await rows.change("UPDATE msg_deliveries SET created_at = :at WHERE dedup_key = 'old:phone'", at=at)
    assert await keys(history, since=at, until=at + timedelta(microseconds=1)) == ["old:phone"]
    assert await keys(history, until=at) == []
    assert await keys(history, since=at + timedelta(microseconds=1)) == ["new:phone"]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("TITLE A", ["a:phone"]),
        ("body", ["percent:phone", "b:phone", "a:phone"]),
        ("100%", ["percent:phone"]),
        ("%", ["percent:phone"]),
        ("_", ["percent:phone"]),
        ("\\", ["percent:phone"]),
        ("'; --", []),
        ("ÄRGER", ["percent:phone"]),
    ],
)
async def test_a_search_finds_parts_of_title_and_text_literally(
    history: PostgresDeliveries, outbox: PostgresOutbox, search: str, found: list[str]
) -> None:
    odd = a_message("percent", body="body 100% a_b c\\d ärger")
    await outbox.add([a_message("a"), a_message("b"), odd])
    assert await keys(history, search=search) == found


async def test_a_record_tells_all_that_is_known(
    database: Database, history: PostgresDeliveries, outbox: PostgresOutbox
) -> None:
    at = datetime(2036, 1, 5, 9, tzinfo=UTC)
    await outbox.add([a_message("a", "phone", "email", scheduled_for=at), a_message("b", "email")])
    await deliver(database, InMemoryInbox("email", [TemporaryFailure("busy")]))
    tried, _, planned = await history.list_deliveries(DeliveryFilter(1))
    assert (tried.status, tried.attempts, tried.error) == (DeliveryStatus.PENDING, 1, "busy")
    assert (planned.status, planned.scheduled_for, planned.held_until) == (DeliveryStatus.PENDING, at, None)


# --- statistics ---


async def statistics(history: PostgresDeliveries, user_id: int | None = None) -> dict[str, ChannelStatistics]:
    return {one.channel: one for one in await history.statistics(user_id, 24)}


async def test_figures_tell_what_went_over_each_channel_and_what_waits(
    database: Database, history: PostgresDeliveries, outbox: PostgresOutbox, rows: Rows
) -> None:
    await rows.change("INSERT INTO users (name, role) VALUES ('ann', 'viewer')")
    assert await statistics(history) == {}
    await outbox.add([a_message(f"{n}", "phone") for n in range(4)])
    await outbox.add([a_message("hers", user_id=2)])
    await outbox.add([a_message("old", "email"), a_message("mail", "email"), a_message("held", "email")])
    await rows.change("UPDATE msg_deliveries SET created_at = now() - interval '10 s' WHERE channel = 'phone'")
    await deliver(database, InMemoryInbox("phone", [PermanentFailure("no")]))
    await rows.change("UPDATE msg_deliveries SET status = 'DEAD', settled_at = now() WHERE dedup_key = '3:phone'")
    await rows.change(
        "UPDATE msg_deliveries SET next_attempt_at = '2036-01-01', held_until = '2036-01-01' "
        "WHERE dedup_key = 'held:email'"
    )
    await rows.change(
        "UPDATE msg_deliveries SET created_at = now() - interval '1 hour' WHERE dedup_key = 'old:email'"
    )
    found = await statistics(history)
    phone, email = found["phone"], found["email"]
    assert (phone.sent, phone.failed, phone.dead, phone.pending, phone.held) == (3, 1, 1, 0, 0)
    assert (email.sent, email.failed, email.dead, email.pending, email.held) == (0, 0, 0, 3, 1)
    assert phone.median_seconds is not None
    assert phone.p95_seconds is not None
    assert 10 <= phone.median_seconds <= phone.p95_seconds < 60
    assert (phone.oldest_seconds, email.median_seconds) == (None, None)
    assert email.oldest_seconds is not None
    assert 3600 <= email.oldest_seconds < 3700
    hers = await statistics(history, 2)
    assert (hers["phone"].sent, "email" in hers) == (1, False)


async def test_figures_tell_of_an_outage(
    database: Database, history: PostgresDeliveries, outbox: PostgresOutbox
) -> None:
    await outbox.add([a_message("a")])
    await deliver(database, InMemoryInbox("phone", [ChannelUnavailable("gone")]))
    phone = (await statistics(history))["phone"]
    assert (phone.failures, phone.error, phone.pending) == (1, "gone", 1)
    assert phone.paused_until is not None


async def test_figures_of_long_ago_are_not_counted(
    database: Database, history: PostgresDeliveries, outbox: PostgresOutbox, rows: Rows
) -> None:
    await outbox.add([a_message("a"), a_message("b")])
    await deliver(database, InMemoryInbox("phone"))
    await rows.change(
        "UPDATE msg_deliveries SET settled_at = now() - interval '25 hours' WHERE dedup_key = 'a:phone'"
    )
    assert (await statistics(history))["phone"].sent == 1


# --- sent once more ---


async def test_what_failed_is_sent_once_more_as_if_it_were_new(
    database: Database, history: PostgresDeliveries, outbox: PostgresOutbox, rows: Rows
) -> None:
    await outbox.add([a_message("a"), a_message("b")])
    await deliver(database, InMemoryInbox("phone", [PermanentFailure("no"), PermanentFailure("no")]))
    (failed, _) = reversed(await history.list_deliveries(DeliveryFilter(1, channel="phone")))
    assert await history.requeue(1, delivery_id=failed.id) == 1
    found = await rows.all("SELECT status, attempts, error, settled_at, waits FROM msg_deliveries ORDER BY id")
    assert tuple(found[0]) == ("PENDING", 0, None, None, False)
    assert found[1].status == "FAILED"
    phone = InMemoryInbox("phone")
    await deliver(database, phone)
    assert phone.keys == ["a:phone"]
    with pytest.raises(NotFound, match="no delivery"):
        await history.requeue(1, delivery_id=failed.id)


async def test_all_of_a_channel_are_sent_once_more_but_for_actions(
    database: Database, history: PostgresDeliveries, outbox: PostgresOutbox, rows: Rows
) -> None:
    await rows.change("INSERT INTO users (name, role) VALUES ('ann', 'viewer')")
    await outbox.add([a_message("a"), a_message("b"), a_message("mail", "email"), a_message("hers", user_id=2)])
    await outbox.add([a_message("act", "phone", kind=ACTION, payload={"url": "x", "alert_id": 1})])
    no = PermanentFailure("no")
    await deliver(database, InMemoryInbox("phone", [no] * 4), InMemoryInbox("email", [no]))
    assert await history.requeue(1, channel="phone") == 2
    assert await history.requeue(1, channel="phone") == 0
    pending = "SELECT dedup_key FROM msg_deliveries WHERE status = 'PENDING' AND channel <> 'inbox' ORDER BY 1"
    assert await rows.column(pending) == ["a:phone", "b:phone"]
    assert await history.requeue(1) == 1
    (action,) = await history.list_deliveries(DeliveryFilter(1, actions=True))
    assert await history.requeue(1, delivery_id=action.id) == 1
    assert await rows.column(pending) == ["a:phone", "act:phone", "b:phone", "mail:email"]


async def test_nobody_sends_another_s_once_more(
    database: Database, history: PostgresDeliveries, outbox: PostgresOutbox, rows: Rows
) -> None:
    await rows.change("INSERT INTO users (name, role) VALUES ('ann', 'viewer')")
    await outbox.add([a_message("a")])
    await deliver(database, InMemoryInbox("phone", [PermanentFailure("no")]))
    (failed,) = await history.list_deliveries(DeliveryFilter(1, channel="phone"))
    with pytest.raises(NotFound):
        await history.requeue(2, delivery_id=failed.id)
    assert await history.requeue(2) == 0
    assert await rows.value("SELECT status FROM msg_deliveries WHERE channel = 'phone'") == "FAILED"


async def test_it_wakes_the_senders_and_stands_in_the_audit_log(
    database: Database, history: PostgresDeliveries, outbox: PostgresOutbox, rows: Rows
) -> None:
    await outbox.add([a_message("a")])
    await deliver(database, InMemoryInbox("phone", [PermanentFailure("no")]))
    async with await database.connect() as connection:
        await connection.execute("LISTEN atf_outbox")
        with acting(Caller(1, "owner", Role.ADMIN, Origin.CLI)):
            await history.requeue(1, channel="phone")
        (told,) = [one.channel async for one in connection.notifies(timeout=10, stop_after=1)]
    assert told == "atf_outbox"
    (entry,) = await rows.all(
        "SELECT actor, object_id, owner_id FROM audit_log WHERE action = 'delivery.requeue'"
    )
    assert tuple(entry) == ("owner", "phone", 1)
