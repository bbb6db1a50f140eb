"""What a channel's answer to a letter means for its deliveries, its recipient, and the channel."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.notifications.sending_fakes import (
    PHOTO,
    FakeChannel,
    MemoryAddresses,
    MemoryOutbox,
    delivery,
    simulated,
)

from atf.errors import DatabaseUnavailable, PermanentFailure, TemporaryFailure, TransactionConflict
from atf.notifications.channel import (
    ChannelThrottled,
    ChannelUnavailable,
    Reach,
    Recipient,
    RecipientMoved,
    RecipientThrottled,
    RecipientUnreachable,
)
from atf.notifications.circuit import Circuit
from atf.notifications.lanes import Parcel
from atf.notifications.letter_sender import DeliveryPolicy, Desk, Ending, LetterSender
from atf.notifications.message import DeliveryStatus
from atf.testing.letters import PlainWriter


class Office:
    """A sender of letters on one channel."""

    def __init__(self, channel: FakeChannel) -> None:
        self.circuit = Circuit()
        self.outbox = MemoryOutbox()
        self.desk = Desk(self.outbox, MemoryAddresses(), PlainWriter())
        self.sender = LetterSender(
            channel, self.desk, self.circuit, DeliveryPolicy(timeout=timedelta(seconds=30)), lambda: 1.0
        )

    async def send(self, *numbers: int, user: int = 1, **changes: Any) -> Ending:
        deliveries = tuple(delivery(number, user=user, **changes) for number in numbers)
        return await self.sender.send(Parcel((user, ""), Recipient(user, f"chat-{user}"), deliveries))


def said(ending: Ending) -> list[tuple[DeliveryStatus, bool]]:
    return [(one.status, one.counts) for one in ending.settled]


@simulated
async def test_an_accepted_letter_is_sent_and_all_that_it_is_made_of() -> None:
    office, channel = Office(FakeChannel()), FakeChannel()
    office = Office(channel)
    ending = await office.send(1, 2, 3)
    assert said(ending) == [(DeliveryStatus.SENT, True)] * 3
    assert [one.provider_message_id for one in ending.settled] == ["id-1"] * 3
    assert (ending.is_over, ending.paused_until, ending.moved_to) == (True, None, None)


@simulated
async def test_a_digest_has_a_key_and_a_type_of_its_own_and_the_same_one_every_time() -> None:
    channel = FakeChannel()
    office = Office(channel)
    for numbers in ((1, 2), (1, 2), (1, 3), (4,)):
        await office.send(*numbers, payload={"n": 1})
    first, again, other, alone = channel.letters
    assert (first.notification_type, first.payload, first.text) == ("digest", {}, "Alert: 1\nAlert: 2")
    assert first.dedup_key == again.dedup_key != other.dedup_key
    assert first.dedup_key.startswith("digest:")
    assert (alone.notification_type, alone.payload, alone.dedup_key) == ("alert", {"n": 1}, "key-4:phone")


@simulated
async def test_an_outage_costs_no_try_and_breaks_the_circuit() -> None:
    office = Office(FakeChannel({1: ChannelUnavailable("gone", retry_after_seconds=20.0)}))
    ending = await office.send(1, 2, attempts=99)
    assert said(ending) == [(DeliveryStatus.PENDING, False)] * 2
    assert (ending.is_over, office.circuit.failures, office.circuit.error) == (False, 1, "gone")
    assert not office.circuit.may_send(19.9)


@simulated
async def test_a_channel_that_asks_to_wait_is_paused_and_not_out_of_order() -> None:
    office = Office(
        FakeChannel({1: ChannelThrottled("429", retry_after_seconds=20.0), 2: ChannelThrottled("429")})
    )
    assert said(await office.send(1)) == [(DeliveryStatus.PENDING, False)]
    assert (office.circuit.failures, office.circuit.may_send(19.9), office.circuit.may_send(20.1)) == (
        0,
        False,
        True,
    )
    office.circuit.opens_at = 0.0
    await office.send(2)
    assert (office.circuit.may_send(0.9), office.circuit.may_send(1.1)) == (False, True)


@pytest.mark.parametrize(("asked", "seconds"), [(7.0, 7.0), (None, 1.0), (1e9, 3600.0)])
@simulated
async def test_a_recipient_who_asks_to_wait_costs_no_try_and_pauses_nobody_else(
    asked: float | None, seconds: float
) -> None:
    office = Office(FakeChannel({1: RecipientThrottled("429", retry_after_seconds=asked)}))
    ending = await office.send(1)
    assert said(ending) == [(DeliveryStatus.PENDING, False)]
    assert ending.paused_until == pytest.approx(seconds, abs=0.001)
    assert (office.circuit.failures, office.circuit.may_send(0.001)) == (0, True)


@simulated
async def test_a_recipient_who_has_moved_gets_it_at_once_and_is_not_followed_for_ever() -> None:
    office = Office(FakeChannel({1: RecipientMoved("moved", address="-100")}))
    ending = await office.send(1)
    assert (said(ending), ending.moved_to) == ([(DeliveryStatus.PENDING, True)], "-100")
    assert (ending.settled[0].retry_in, office.circuit.failures) == (timedelta(0), 0)
    ending = await office.send(1, attempts=3)
    assert (said(ending), ending.moved_to) == ([(DeliveryStatus.DEAD, True)], "-100")


@pytest.mark.parametrize("error", [PermanentFailure("too long"), RecipientUnreachable("blocked")])
@simulated
async def test_what_is_refused_for_good_says_nothing_of_the_channel(error: PermanentFailure) -> None:
    office = Office(FakeChannel({1: error}))
    ending = await office.send(1)
    assert (said(ending), ending.is_over) == ([(DeliveryStatus.FAILED, True)], True)
    assert ending.settled[0].unreachable is isinstance(error, RecipientUnreachable)
    assert office.circuit.failures == 0


@simulated
async def test_files_are_read_when_the_letter_goes_and_only_where_there_are_any() -> None:
    channel = FakeChannel()
    office = Office(channel)
    await office.send(1)
    await office.send(2, has_attachments=True)
    assert [letter.attachments for letter in channel.letters] == [(), (PHOTO,)]
    assert office.outbox.files_read == [2]


@pytest.mark.parametrize("error", [DatabaseUnavailable("gone"), TransactionConflict("undone")])
@simulated
async def test_trouble_of_the_database_costs_no_try_and_is_no_outage_of_the_channel(error: Exception) -> None:
    office = Office(FakeChannel({2: error}))
    office.outbox.file_errors.append(error)
    for ending in (await office.send(1, has_attachments=True, attempts=99), await office.send(2, attempts=99)):
        assert said(ending) == [(DeliveryStatus.PENDING, False)]
        assert ending.paused_until == pytest.approx(1.0, abs=0.001)
    assert office.circuit.failures == 0


@simulated
async def test_an_outage_is_a_letter_s_own_when_three_others_have_gone_since_it_met_one() -> None:
    office = Office(FakeChannel({1: ChannelUnavailable("answered 500")}))
    counted = []
    for number in range(10, 20):
        (settled,) = (await office.send(1)).settled
        counted.append(settled.counts)
        await office.send(number)
    assert counted == [False, False, False, True, False, False, True, False, False, True]


@simulated
async def test_a_provider_that_comes_and_goes_uses_up_nobody_s_tries() -> None:
    away = ChannelUnavailable("answered 503")
    office = Office(FakeChannel(dict.fromkeys(range(101), away)))
    for number in range(1, 101):
        for letter in (0, number, 1000 + number, 2000 + number):
            (settled,) = (await office.send(letter)).settled
            assert not (settled.counts and settled.status is DeliveryStatus.PENDING)


@simulated
async def test_no_answer_to_anybody_is_an_outage() -> None:
    office = Office(FakeChannel({1: None}))
    ending = await office.send(1)
    assert (said(ending), office.circuit.failures) == ([(DeliveryStatus.PENDING, False)], 1)
    assert ending.settled[0].error == office.circuit.error == "no answer within 30 s"


@simulated
async def test_no_answer_while_others_get_one_is_the_letter_s_own_trouble() -> None:
    office = Office(FakeChannel({1: None}, takes=1.0))
    slow = asyncio.create_task(office.send(1))
    await asyncio.sleep(1.0)
    await office.send(2, user=2)
    assert (said(await slow), office.circuit.failures) == ([(DeliveryStatus.PENDING, True)], 0)


@simulated
async def test_an_answer_before_it_was_sent_proves_nothing() -> None:
    office = Office(FakeChannel({1: None}))
    await office.send(2)
    await asyncio.sleep(1.0)
    assert (said(await office.send(1)), office.circuit.failures) == ([(DeliveryStatus.PENDING, False)], 1)


@simulated
async def test_where_each_recipient_is_a_machine_of_its_own_no_answer_is_the_letter_s_own_trouble() -> None:
    office = Office(FakeChannel({1: None}, reach=Reach.EACH))
    assert (said(await office.send(1)), office.circuit.failures) == ([(DeliveryStatus.PENDING, True)], 0)


@simulated
async def test_a_letter_that_cannot_be_written_costs_its_own_try() -> None:
    class Clumsy(PlainWriter):
        def write(self, *given: Any) -> Any:
            raise KeyError("x")

    office = Office(FakeChannel())
    office.sender._writer = Clumsy()
    assert said(await office.send(1)) == [(DeliveryStatus.PENDING, True)]


@simulated
async def test_an_accepted_letter_ends_an_outage() -> None:
    office = Office(FakeChannel({1: ChannelUnavailable("gone")}))
    await office.send(1)
    await office.send(2)
    assert (office.circuit.failures, office.circuit.error) == (0, "")


@simulated
async def test_each_outcome_is_counted() -> None:
    errors: dict[int, Exception | list[Exception | None] | None] = {
        1: ChannelUnavailable("gone"),
        2: TemporaryFailure("busy"),
        3: PermanentFailure("no"),
    }
    office = Office(FakeChannel(errors))
    for numbers in ((1,), (2,), (3,), (4, 5)):
        await office.send(*numbers)
    await office.send(2, attempts=3)
    metrics = office.desk.metrics.of("phone")
    assert metrics.outcomes == {"postponed": 1, "retried": 1, "failed": 1, "sent": 2, "dead": 1}
    assert (metrics.letters, metrics.failures) == (5, 0)
