"""The one who sends on a channel: what it sends when, what it records, and what it gives back."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest
from tests.unit.notifications.sending_fakes import (
    FakeChannel,
    MemoryOutbox,
    delivery,
    sending,
    simulated,
    until,
)

from atf.errors import DatabaseUnavailable, OutcomeUnknown, PermanentFailure, TemporaryFailure
from atf.lifecycle import Progress
from atf.notifications.background_service import BackgroundNotificationService
from atf.notifications.channel import ChannelLimits, ChannelThrottled, ChannelUnavailable
from atf.notifications.circuit import Circuit
from atf.notifications.letter_sender import DeliveryPolicy
from atf.notifications.message import DeliveryStatus, OutgoingMessage, Priority
from atf.notifications.sending_metrics import SendingMetrics

SENT, FAILED, PENDING, DEAD = (
    DeliveryStatus.SENT,
    DeliveryStatus.FAILED,
    DeliveryStatus.PENDING,
    DeliveryStatus.DEAD,
)
WIDE = ChannelLimits(concurrency=4)


@simulated
async def test_delivered_in_order_and_as_soon_as_it_is_written() -> None:
    outbox, phone = MemoryOutbox(delivery(1), delivery(2), delivery(3)), FakeChannel()
    async with sending(outbox, phone):
        await until(lambda: phone.tried == [1, 2, 3])
        outbox.put(delivery(4))
        await until(lambda: outbox.are_all(SENT), within=0.5)
        assert phone.tried == [1, 2, 3, 4]
        assert [one.provider_message_id for one in outbox.settled] == ["id-1", "id-2", "id-3", "id-4"]


@simulated
async def test_what_nobody_told_of_is_found_at_the_next_poll() -> None:
    outbox, phone = MemoryOutbox(), FakeChannel()
    async with sending(outbox, phone, policy=DeliveryPolicy(poll=timedelta(seconds=7))):
        await until(lambda: outbox.claims)
        outbox.on_change = lambda: None
        outbox.put(delivery(1))
        await until(lambda: outbox.are_all(SENT), within=7.1)


@simulated
async def test_what_comes_while_an_empty_claim_is_answered_does_not_wait_for_the_next_poll() -> None:
    class SlowOutbox(MemoryOutbox):
        async def claim(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            claimed = await super().claim(*args, **kwargs)
            await asyncio.sleep(0.5)
            return claimed

    outbox, phone = SlowOutbox(), FakeChannel()
    async with sending(outbox, phone, policy=DeliveryPolicy(poll=timedelta(seconds=60))):
        await until(lambda: outbox.claims)
        outbox.put(delivery(1))
        await until(lambda: outbox.are_all(SENT), within=5)


@pytest.mark.parametrize("disturbs", [True, False])
@simulated
async def test_its_own_channel_is_claimed_in_batches_and_holds_as_it_disturbs(disturbs: bool) -> None:
    outbox = MemoryOutbox()
    async with sending(outbox, FakeChannel(disturbs=disturbs), policy=DeliveryPolicy(batch_size=9)):
        await until(lambda: outbox.claims)
        assert outbox.claims[0] == ("phone", 9, disturbs)


@simulated
async def test_nothing_is_claimed_while_the_channel_is_another_sender_s() -> None:
    outbox = MemoryOutbox(delivery(1))
    outbox.taken = False
    async with sending(outbox, FakeChannel()):
        await asyncio.sleep(60)
        assert outbox.claims == []
        outbox.taken = True
        await until(lambda: outbox.are_all(SENT))


@simulated
async def test_each_send_is_recorded_before_the_next_one_begins() -> None:
    """A kill then repeats the send under way and no other."""
    outbox, phone = MemoryOutbox(delivery(1), delivery(2), delivery(3)), FakeChannel({3: None})
    async with sending(outbox, phone):
        await until(lambda: phone.tried == [1, 2, 3])
        assert outbox.transactions == [[1], [2]]


@simulated
async def test_never_more_is_under_way_than_the_channel_takes_at_once_and_it_counts_until_the_commit() -> None:
    outbox = MemoryOutbox(*(delivery(number, user=number) for number in range(1, 21)))
    phone = FakeChannel(limits=WIDE, takes=1.0)
    outbox.settle_errors.extend([DatabaseUnavailable("gone")] * 3)
    async with sending(outbox, phone):
        await until(lambda: phone.sent)
        await asyncio.sleep(0.05)
        assert len(phone.tried) == 4, "nothing is recorded yet"
        await until(lambda: outbox.are_all(SENT))
        assert phone.most_under_way == 4
        assert len(outbox.transactions) == 5, "those that ended together are recorded together"


@simulated
async def test_a_recipient_gets_one_letter_at_a_time_whatever_the_channel_takes_at_once() -> None:
    outbox = MemoryOutbox(*(delivery(number, user=number % 2) for number in range(1, 9)))
    phone = FakeChannel(limits=WIDE, takes=1.0)
    async with sending(outbox, phone):
        await until(lambda: outbox.are_all(SENT))
        assert (phone.most_under_way, phone.tried) == (2, [1, 2, 3, 4, 5, 6, 7, 8])


@simulated
async def test_where_a_copy_does_not_show_the_next_letter_does_not_wait_for_the_commit() -> None:
    outbox = MemoryOutbox(*(delivery(number) for number in range(1, 6)))
    phone = FakeChannel(is_idempotent=True, limits=WIDE)
    outbox.settle_errors.extend([DatabaseUnavailable("gone")] * 3)
    async with sending(outbox, phone):
        await until(lambda: phone.sent == [(1,), (2,), (3,), (4,)], within=0.1)
        assert outbox.transactions == []
        await until(lambda: outbox.are_all(SENT))


@simulated
async def test_permanent_failure_is_not_tried_again() -> None:
    outbox = MemoryOutbox(delivery(1), delivery(2))
    phone = FakeChannel({1: PermanentFailure("blocked")})
    async with sending(outbox, phone):
        await until(lambda: outbox.statuses == {1: FAILED, 2: SENT})
        await asyncio.sleep(300)
        assert (phone.tried, outbox.settled[0].error) == ([1, 2], "blocked")


@pytest.mark.parametrize(
    "error",
    [TemporaryFailure("busy"), OSError("no route"), OutcomeUnknown("cut off"), UnicodeError("cannot be shown")],
)
@simulated
async def test_other_failures_are_tried_again_later_and_others_do_not_wait_for_that(error: Exception) -> None:
    outbox = MemoryOutbox(delivery(1), delivery(2, user=2))
    phone = FakeChannel({1: [error]})
    async with sending(outbox, phone):
        await until(lambda: outbox.are_all(SENT))
        assert phone.tried == [1, 2, 1]
        assert str(error) in (outbox.settled[0].error or "")


@simulated
async def test_what_is_behind_one_that_is_tried_again_waits_for_it_unless_it_is_more_or_less_urgent() -> None:
    urgent, high = delivery(3, priority=Priority.URGENT), delivery(4, priority=Priority.HIGH)
    outbox = MemoryOutbox(delivery(1), delivery(2), delivery(5, lane="another"))
    phone = FakeChannel({1: [TemporaryFailure("busy"), TemporaryFailure("busy")]})
    async with sending(outbox, phone):
        await until(lambda: phone.tried == [1, 5])
        outbox.put(urgent, high)
        await until(lambda: outbox.are_all(SENT))
        assert phone.tried == [1, 5, 3, 4, 1, 1, 2]


@pytest.mark.parametrize("is_idempotent", [False, True])
@simulated
async def test_what_was_claimed_while_one_before_it_failed_does_not_overtake_it(is_idempotent: bool) -> None:
    """The database did not know of the failure when it answered the claim."""

    class SlowOutbox(MemoryOutbox):
        slow = False

        async def claim(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            claimed = await super().claim(*args, **kwargs)
            await asyncio.sleep(1.0 if self.slow else 0.0)
            return claimed

    outbox = SlowOutbox(delivery(1), delivery(9, user=2))
    phone = FakeChannel({1: [TemporaryFailure("busy")]}, takes=0.5, is_idempotent=is_idempotent)
    async with sending(outbox, phone):
        await until(lambda: phone.under_way)
        outbox.slow = True
        outbox.put(delivery(2))
        await until(lambda: outbox.settled)
        outbox.slow = False
        await until(lambda: outbox.are_all(SENT))
        assert [number for number in phone.tried if number != 9] == [1, 1, 2]


@pytest.mark.parametrize("is_idempotent", [False, True])
@simulated
async def test_what_is_claimed_before_a_failure_is_recorded_does_not_overtake_it(is_idempotent: bool) -> None:
    outbox = MemoryOutbox(delivery(1), delivery(9, user=2))
    phone = FakeChannel({1: [TemporaryFailure("busy")]}, takes=0.1, is_idempotent=is_idempotent)
    outbox.settle_takes = 1.0
    async with sending(outbox, phone):
        await until(lambda: phone.letters and not phone.under_way)
        outbox.put(delivery(2))
        await until(lambda: outbox.are_all(SENT))
        assert [number for number in phone.tried if number != 9] == [1, 1, 2]


@pytest.mark.parametrize(("asked", "seconds"), [(120.0, 120), (0.5, 1), (None, 1), (1e9, 3600)])
@simulated
async def test_channel_that_asks_for_more_time_gets_it(asked: float | None, seconds: int) -> None:
    outbox = MemoryOutbox(delivery(1))
    async with sending(outbox, FakeChannel({1: TemporaryFailure("429", retry_after_seconds=asked)})):
        await until(lambda: outbox.settled)
        assert outbox.settled[0].retry_in == timedelta(seconds=seconds)


@pytest.mark.parametrize(("before", "status"), [(2, PENDING), (3, DEAD)])
@simulated
async def test_dead_after_the_last_retry(before: int, status: DeliveryStatus) -> None:
    outbox = MemoryOutbox(delivery(1, attempts=before))
    async with sending(outbox, FakeChannel({1: TemporaryFailure("busy")}), policy=DeliveryPolicy(retries=3)):
        await until(lambda: outbox.settled)
        assert outbox.statuses == {1: status}


@simulated
async def test_one_that_hangs_holds_up_nobody_else() -> None:
    outbox = MemoryOutbox(delivery(1), *(delivery(number, user=2) for number in range(2, 9)))
    async with sending(outbox, FakeChannel({1: None}, limits=WIDE)):
        await until(lambda: [outbox.statuses[number] for number in range(2, 9)] == [SENT] * 7, within=1)
        assert outbox.statuses[1] is DeliveryStatus.SENDING


@simulated
async def test_mistake_in_a_channel_costs_one_delivery_a_try_and_is_told_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    outbox = MemoryOutbox(delivery(1), delivery(2, user=2))
    async with sending(outbox, FakeChannel({1: [KeyError("x")]})):
        await until(lambda: outbox.are_all(SENT))
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@simulated
async def test_what_was_sent_is_not_forgotten_when_the_database_is_away_for_a_moment() -> None:
    outbox, phone = MemoryOutbox(delivery(1), delivery(2)), FakeChannel()
    outbox.settle_errors.extend([DatabaseUnavailable("gone"), OSError("no route")])
    async with sending(outbox, phone):
        await until(lambda: outbox.are_all(SENT))
        assert phone.tried == [1, 2]
        assert outbox.released == 0


@simulated
async def test_what_was_sent_is_not_forgotten_when_a_claim_finds_the_database_away() -> None:
    outbox, phone = MemoryOutbox(delivery(1)), FakeChannel(takes=5.0)
    async with sending(outbox, phone):
        await until(lambda: phone.under_way)
        outbox.claim_errors.append(DatabaseUnavailable("gone"))
        outbox.settle_errors.extend([DatabaseUnavailable("gone")] * 60)
        outbox.put(delivery(2))
        await until(lambda: outbox.are_all(SENT))
        assert phone.tried == [1, 2]


@simulated
async def test_what_cannot_be_recorded_is_given_back_at_once() -> None:
    outbox, phone = MemoryOutbox(delivery(1), delivery(2, user=2)), FakeChannel({2: [None]}, limits=WIDE)
    outbox.settle_errors.append(PermanentFailure("refused"))
    async with sending(outbox, phone):
        await until(lambda: outbox.released, within=1)
        await until(lambda: outbox.are_all(SENT))
        assert outbox.released == 1


@simulated
async def test_failed_round_gives_back_before_the_next_claim() -> None:
    outbox = MemoryOutbox(delivery(1))
    outbox.claim_errors.append(DatabaseUnavailable("gone"))
    async with sending(outbox, FakeChannel()):
        await until(lambda: outbox.are_all(SENT))
        assert outbox.released == 1


@simulated
async def test_stop_lets_what_is_under_way_end_and_hands_back_the_rest() -> None:
    outbox, phone = MemoryOutbox(delivery(1), delivery(2)), FakeChannel(takes=3.0)
    async with sending(outbox, phone) as made:
        await until(lambda: phone.under_way)
        await made.stop()
        assert (outbox.statuses, phone.tried, phone.is_closed) == ({1: SENT, 2: PENDING}, [1], True)
        assert (outbox.released, made.leases.removed) == (1, made.leases.names)


@simulated
async def test_stop_does_not_wait_for_ever_for_what_hangs() -> None:
    outbox, phone = MemoryOutbox(delivery(1), delivery(2)), FakeChannel({1: None})
    async with sending(outbox, phone) as made:
        await until(lambda: phone.under_way)
        async with asyncio.timeout(10.5):
            await made.stop()
        assert (outbox.statuses, phone.is_closed) == ({1: PENDING, 2: PENDING}, True)


@simulated
async def test_whose_lease_is_lost_stops_sending_at_once_and_goes_on_under_another_name() -> None:
    outbox, phone = MemoryOutbox(delivery(1)), FakeChannel({1: [None]})
    async with sending(outbox, phone, lease=timedelta(seconds=60)) as made:
        await until(lambda: phone.under_way)
        made.leases.alive = False
        await until(lambda: len(made.leases.names) == 2)
        await until(lambda: outbox.are_all(SENT))
        assert phone.tried == [1, 1]


@pytest.mark.parametrize(
    "reason",
    [
        dict.fromkeys(range(1, 300)),
        {1: ChannelUnavailable("gone"), 2: ChannelUnavailable("gone"), **dict.fromkeys(range(3, 300))},
        {1: ChannelThrottled("429", retry_after_seconds=50.0), **dict.fromkeys(range(2, 300))},
    ],
)
@simulated
async def test_who_waits_for_something_else_does_not_spin(reason: dict[int, Exception | None]) -> None:
    """Whether there is no room for more, or an outage: nobody looks more often than the poll says."""
    asked, may_send = 0, Circuit.may_send

    def counted(circuit: Circuit, now: float) -> bool:
        nonlocal asked
        asked += 1
        assert asked < 1000, "it spins"
        return may_send(circuit, now)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Circuit, "may_send", counted)
        outbox = MemoryOutbox(*(delivery(number, user=number) for number in range(1, 300)))
        phone = FakeChannel(reason, limits=WIDE)
        async with sending(outbox, phone, policy=DeliveryPolicy(batch_size=10, timeout=timedelta(seconds=100))):
            await asyncio.sleep(60)
        assert asked < 1000, "it spins"


@simulated
async def test_a_letter_says_all_that_the_delivery_does() -> None:
    given = delivery(1, priority=Priority.HIGH, payload={"n": 1})
    outbox, phone = MemoryOutbox(given), FakeChannel()
    async with sending(outbox, phone):
        await until(lambda: outbox.are_all(SENT))
        (letter,) = phone.letters
        assert (letter.dedup_key, letter.notification_type, letter.title) == ("key-1:phone", "alert", "Alert")
        assert (letter.text, letter.priority, letter.payload) == ("1", Priority.HIGH, {"n": 1})
        assert (letter.recipient.user_id, letter.recipient.address) == (1, "chat-1")


async def test_queueing_the_same_key_again_stores_nothing() -> None:
    service = BackgroundNotificationService(MemoryOutbox(), [], SendingMetrics(), Progress())
    message = OutgoingMessage(1, "note", "title", "body", "key-1", ("phone",))
    assert await service.queue_notification(message)
    assert not await service.queue_notification(message)
