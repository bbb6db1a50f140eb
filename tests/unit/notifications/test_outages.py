"""A channel that is out of order: nothing is lost, nothing is used up, and it is found out soon when it works."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise

import pytest
from tests.unit.notifications.sending_fakes import (
    FakeChannel,
    MemoryAddresses,
    MemoryOutbox,
    delivery,
    sending,
    simulated,
    until,
)

from atf.errors import DatabaseUnavailable, TemporaryFailure
from atf.notifications.channel import (
    ChannelLimits,
    ChannelThrottled,
    ChannelUnavailable,
    Letter,
    RecipientMoved,
    RecipientThrottled,
)
from atf.notifications.letter_sender import DeliveryPolicy
from atf.notifications.message import DeliveryStatus, Priority
from atf.notifications.outbox import ChannelPause

SENT, PENDING = DeliveryStatus.SENT, DeliveryStatus.PENDING
WIDE = ChannelLimits(concurrency=4)


class Outage(FakeChannel):
    """A provider that is away until it is told to come back."""

    def __init__(
        self, *, limits: ChannelLimits = WIDE, error: type[TemporaryFailure] = ChannelUnavailable
    ) -> None:
        super().__init__(limits=limits, takes=0.1)
        self.is_away = True
        self.error = error

    async def send(self, letter: Letter) -> str | None:
        accepted = await super().send(letter)
        if self.is_away:
            self.sent.pop()
            raise self.error("gone")
        return accepted


def many(count: int = 40) -> MemoryOutbox:
    return MemoryOutbox(*(delivery(number, user=number) for number in range(1, count + 1)))


@simulated
async def test_an_outage_gives_everything_back_uses_up_no_try_and_is_noted_once() -> None:
    outbox, phone = many(), Outage()
    async with sending(outbox, phone):
        await until(lambda: outbox.pauses)
        assert outbox.are_all(PENDING)
        assert {row.delivery.attempts for row in outbox.rows.values()} == {0}
        (pause,) = outbox.pauses
        assert pause is not None
        assert (pause.failures, pause.error) == (1, "gone")
        assert timedelta(0) < pause.remaining <= timedelta(seconds=1)
        assert len(phone.tried) == 4, "what was under way, and nothing after that"


@simulated
async def test_during_an_outage_one_letter_at_a_time_is_tried_after_growing_pauses() -> None:
    outbox, phone = many(), Outage()
    async with sending(outbox, phone):
        await asyncio.sleep(600)
        probes = phone.at[4:]
        assert 60 < len(probes) < 120, "with pauses of 6 seconds in the end, a tenth of what they may be"
        assert min(later - earlier for earlier, later in pairwise(probes)) > 0.1
        assert max(later - earlier for earlier, later in pairwise(probes)) < 30
        assert max(one.attempts for one in (row.delivery for row in outbox.rows.values())) == 0


@simulated
async def test_the_first_letter_that_is_accepted_ends_it_for_all() -> None:
    outbox, phone = many(), Outage()
    async with sending(outbox, phone):
        await until(lambda: len(outbox.pauses) == 3)
        phone.is_away, tried, phone.most_under_way = False, len(phone.tried), 0
        await until(lambda: outbox.are_all(SENT), within=5)
        assert phone.at[tried + 1] - phone.at[tried] >= 0.1, "one probe, and only then the others"
        assert phone.most_under_way == 4
        assert outbox.pauses[-1] is None
        assert sorted(phone.sent) == [(number,) for number in range(1, 41)]


@simulated
async def test_nothing_begins_after_an_outage_was_found_while_claiming() -> None:
    class SlowOutbox(MemoryOutbox):
        slow = False

        async def claim(self, *args, **kwargs):  # type: ignore[no-untyped-def]
            claimed = await super().claim(*args, **kwargs)
            await asyncio.sleep(0.3 if self.slow else 0.0)
            return claimed

    outbox, phone = SlowOutbox(delivery(1)), Outage(error=ChannelThrottled)
    async with sending(outbox, phone):
        await until(lambda: phone.under_way)
        outbox.slow = True
        outbox.put(*(delivery(number, user=number) for number in range(2, 9)))
        await until(lambda: outbox.pauses)
        assert phone.tried == [1]


@simulated
async def test_a_sender_goes_on_with_the_pause_that_another_one_has_noted() -> None:
    outbox, phone = many(), FakeChannel(limits=WIDE)
    outbox.taken = ChannelPause(5, timedelta(seconds=20), "gone")
    async with sending(outbox, phone):
        await asyncio.sleep(19)
        assert phone.tried == []
        outbox.taken = True
        await until(lambda: outbox.are_all(SENT), within=3)
        assert phone.at[1] > phone.at[0], "one at first"
        assert outbox.pauses == [None]


@simulated
async def test_a_channel_that_asks_to_wait_is_left_alone_that_long() -> None:
    outbox, phone = many(8), FakeChannel({1: [ChannelThrottled("429", retry_after_seconds=20.0)]}, limits=WIDE)
    async with sending(outbox, phone):
        await until(lambda: outbox.are_all(SENT))
        assert max(phone.at[:4]) < 0.1
        assert 20 <= min(phone.at[4:]) < 22
        assert {row.delivery.attempts for row in outbox.rows.values()} == {1}


@simulated
async def test_a_recipient_who_asks_to_wait_is_left_alone_that_long_and_nobody_else() -> None:
    outbox = MemoryOutbox(delivery(1), delivery(2), delivery(3, user=2))
    phone = FakeChannel({1: [RecipientThrottled("429", retry_after_seconds=20.0)]})
    async with sending(outbox, phone):
        await until(lambda: outbox.statuses == {1: PENDING, 2: PENDING, 3: SENT}, within=1)
        outbox.put(delivery(4, lane="another"))
        await until(lambda: outbox.are_all(SENT))
        assert (phone.tried[:2], sorted(phone.tried[2:])) == ([1, 3], [1, 2, 4])
        assert phone.tried.index(2) > phone.tried.index(1, 1)
        assert 20 <= phone.at[2] < 22
        assert outbox.rows[1].delivery.attempts == 1


@simulated
async def test_a_recipient_who_has_moved_gets_everything_at_the_new_address_and_in_order() -> None:
    class Moved(FakeChannel):
        async def send(self, letter: Letter) -> str | None:
            if letter.recipient.address == "chat-1":
                raise RecipientMoved("moved", address="-100")
            return await super().send(letter)

    outbox, phone, addresses = MemoryOutbox(*map(delivery, range(1, 6))), Moved(), MemoryAddresses()
    async with sending(outbox, phone, addresses=addresses):
        await until(lambda: outbox.are_all(SENT))
        assert phone.sent == [(number,) for number in range(1, 6)]
        assert {letter.recipient.address for letter in phone.letters} == {"-100"}
        assert [row.delivery.attempts for row in outbox.rows.values()] == [2, 1, 1, 1, 1]


@simulated
async def test_a_new_address_that_cannot_be_noted_now_is_noted_later() -> None:
    class Forgetful(MemoryAddresses):
        failures = 2

        async def moved(self, *given) -> None:  # type: ignore[no-untyped-def]
            if self.failures:
                self.failures -= 1
                raise DatabaseUnavailable("gone")
            await super().moved(*given)

    class Moved(FakeChannel):
        async def send(self, letter: Letter) -> str | None:
            if letter.recipient.address == "chat-1":
                raise RecipientMoved("moved", address="-100")
            return await super().send(letter)

    outbox, phone = MemoryOutbox(delivery(1), delivery(2, user=2)), Moved(takes=1.0, limits=WIDE)
    async with sending(outbox, phone, addresses=Forgetful()):
        await until(lambda: outbox.are_all(SENT))
        assert (sorted(phone.tried), outbox.released) == ([1, 2], 0)


@simulated
async def test_one_letter_that_always_hangs_while_others_go_is_given_up_and_is_no_outage() -> None:
    outbox, phone = many(3), FakeChannel({1: None}, limits=WIDE, takes=1.0)
    policy = DeliveryPolicy(timeout=timedelta(seconds=30), retries=2)
    async with sending(outbox, phone, policy=policy):
        for number in range(4, 60):
            await asyncio.sleep(3)
            outbox.put(delivery(number, user=number))
        assert outbox.statuses[1] is DeliveryStatus.DEAD
        assert (outbox.pauses, phone.tried.count(1)) == ([], 3)


@simulated
async def test_how_often_letters_may_go_is_not_forgotten_when_nothing_is_due_for_a_while() -> None:
    outbox = MemoryOutbox()
    phone = FakeChannel(limits=ChannelLimits(per_recipient_second=1.0))
    async with sending(outbox, phone):
        for number in range(1, 6):
            outbox.put(delivery(number))
            await until(lambda: outbox.are_all(SENT))
        gaps = [later - earlier for earlier, later in pairwise(phone.at)]
        assert min(gaps) >= 0.999


@pytest.mark.parametrize("is_noted", [True, False])
@simulated
async def test_a_pause_that_cannot_be_noted_holds_all_the_same(is_noted: bool) -> None:
    class Mute(MemoryOutbox):
        async def note_pause(self, *given) -> None:  # type: ignore[no-untyped-def]
            if not is_noted:
                raise DatabaseUnavailable("gone")

    outbox, phone = Mute(*(delivery(number, user=number) for number in range(1, 9))), Outage()
    async with sending(outbox, phone):
        await asyncio.sleep(5)
        assert outbox.released == 0
        phone.is_away = False
        await until(lambda: outbox.are_all(SENT), within=10)


@pytest.mark.parametrize("priority", [Priority.NORMAL, Priority.URGENT])
@pytest.mark.parametrize("error", [ChannelUnavailable("answered 500"), None])
@simulated
async def test_one_letter_that_the_provider_never_takes_stops_the_others_only_for_a_moment(
    error: Exception | None, priority: Priority
) -> None:
    outbox = MemoryOutbox(delivery(1, priority=priority), *(delivery(n, user=n) for n in range(2, 60)))
    phone = FakeChannel({1: error})
    async with sending(outbox, phone, policy=DeliveryPolicy(timeout=timedelta(seconds=5), retries=2)):
        await until(lambda: len(phone.sent) == 58, within=20)
        for number in range(100, 130):
            outbox.put(delivery(number, user=number))
            await asyncio.sleep(10)
        assert outbox.statuses[1] is DeliveryStatus.DEAD, "it has used up its own tries"
        assert len(phone.sent) == 88


@simulated
async def test_an_outage_that_comes_back_uses_up_no_try_of_who_meets_it_first() -> None:
    outbox, phone = many(4), Outage()
    async with sending(outbox, phone):
        for first in range(5, 45, 4):
            phone.is_away = True
            outbox.put(*(delivery(n, user=n) for n in range(first, first + 4)))
            await until(lambda: len(outbox.pauses) and outbox.pauses[-1] is not None)
            assert max(row.delivery.attempts for row in outbox.rows.values() if row.status is PENDING) == 0
            phone.is_away = False
            await until(lambda: outbox.are_all(SENT))
