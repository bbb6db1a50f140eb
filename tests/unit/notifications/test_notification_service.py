import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from atf.errors import DatabaseUnavailable, OutcomeUnknown, PermanentFailure, TemporaryFailure
from atf.jobs.lease import Holder, Lease
from atf.jobs.run import WorkerId
from atf.notifications.background_service import BackgroundNotificationService, DeliveryPolicy, Settled
from atf.notifications.message import Delivery, DeliveryStatus, OutgoingMessage

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
SENT, FAILED, PENDING, DEAD = (
    DeliveryStatus.SENT,
    DeliveryStatus.FAILED,
    DeliveryStatus.PENDING,
    DeliveryStatus.DEAD,
)


def delivery(number: int, channel: str = "phone", attempts: int = 1) -> Delivery:
    return Delivery(
        id=number,
        message_id=number,
        user_id=1,
        channel=channel,
        attempts=attempts,
        dedup_key=f"key-{number}:{channel}",
        notification_type="alert",
        title="Alert",
        body="body",
        payload={},
        created_at=NOON,
    )


class FakeOutbox:
    """Hands out deliveries claim by claim and notes what becomes of them."""

    def __init__(self, *claims: Sequence[Delivery] | Exception) -> None:
        self.claims = deque(claims)
        self.settled: list[Settled] = []
        self.groups: list[list[int]] = []
        self.settle_errors: deque[Exception] = deque()
        self.two_settled = asyncio.Event()
        self.released = 0
        self.claimed: list[tuple[tuple[str, ...], int]] = []
        self.disturbing: list[tuple[str, ...]] = []
        self.keys: set[str] = set()

    async def add(self, messages: Sequence[OutgoingMessage]) -> int:
        new = {message.dedup_key for message in messages} - self.keys
        self.keys |= new
        return len(new)

    async def claim(
        self, sender_id: WorkerId, channels: Sequence[str], limit: int, *, disturbing: Sequence[str] = ()
    ) -> Sequence[Delivery]:
        self.claimed.append((tuple(channels), limit))
        self.disturbing.append(tuple(disturbing))
        claimed = self.claims.popleft() if self.claims else []
        if isinstance(claimed, Exception):
            raise claimed
        return claimed

    async def settle(self, sender_id: WorkerId, settled: Sequence[Settled]) -> None:
        if self.settle_errors:
            raise self.settle_errors.popleft()
        self.groups.append([one.delivery.id for one in settled])
        self.settled += settled
        if len(self.settled) >= 2:
            self.two_settled.set()

    async def release_held(self, sender_id: WorkerId) -> int:
        self.released += 1
        return 0

    def outcomes(self) -> dict[int, DeliveryStatus]:
        return {one.delivery.id: one.status for one in self.settled}


class FakeChannel:
    """Accepts everything except deliveries for which it has an error; ``None`` there means no answer ever."""

    def __init__(
        self,
        name: str = "phone",
        errors: dict[int, Exception | None] | None = None,
        *,
        is_idempotent: bool = False,
        disturbs: bool = True,
    ) -> None:
        self.name = name
        self.is_idempotent = is_idempotent
        self.disturbs = disturbs
        self.errors = errors or {}
        self.tried: list[int] = []
        self.hanging = asyncio.Event()

    async def send(self, delivery: Delivery) -> str | None:
        self.tried.append(delivery.id)
        if delivery.id in self.errors:
            error = self.errors[delivery.id]
            if error is None:
                self.hanging.set()
                await asyncio.Event().wait()
            else:
                raise error
        return f"id-{delivery.id}"


class FakeLeases:
    def __init__(self) -> None:
        self.removed: list[WorkerId] = []

    async def register(self, holder: Holder, lease: timedelta) -> None: ...

    async def renew(self, worker_id: WorkerId, lease: timedelta) -> bool:
        return True

    async def remove(self, worker_id: WorkerId) -> None:
        self.removed.append(worker_id)


class FakeWaiter:
    def __init__(self) -> None:
        self.idle = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        self.idle.set()
        return await asyncio.Event().wait()


def service_of(
    outbox: FakeOutbox, channels: Sequence[FakeChannel], waiter: FakeWaiter, policy: DeliveryPolicy | None = None
) -> BackgroundNotificationService:
    lease = Lease(FakeLeases(), name="n", types=["channel:phone"], length=timedelta(hours=1))
    return BackgroundNotificationService(outbox, channels, lease, waiter, policy=policy, jitter=lambda: 0.0)


@asynccontextmanager
async def delivering(
    outbox: FakeOutbox, *channels: FakeChannel, policy: DeliveryPolicy | None = None
) -> AsyncIterator[None]:
    """A running service, from when it is first idle."""
    waiter = FakeWaiter()
    task = asyncio.create_task(service_of(outbox, channels, waiter, policy).process_notifications())
    try:
        async with asyncio.timeout(5):
            await waiter.idle.wait()
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_delivered_in_order_within_a_channel() -> None:
    outbox, phone = FakeOutbox([delivery(1), delivery(2), delivery(3)], [delivery(4)]), FakeChannel()
    async with delivering(outbox, phone):
        assert phone.tried == [1, 2, 3, 4]
        assert [(one.status, one.provider_message_id) for one in outbox.settled] == [
            (SENT, f"id-{number}") for number in (1, 2, 3, 4)
        ]


async def test_only_own_channels_are_claimed() -> None:
    outbox = FakeOutbox()
    async with delivering(outbox, FakeChannel("a"), FakeChannel("b"), policy=DeliveryPolicy(batch_size=9)):
        assert outbox.claimed == [(("a", "b"), 9)]


async def test_quiet_hours_hold_only_the_channels_that_disturb_people() -> None:
    outbox = FakeOutbox()
    async with delivering(outbox, FakeChannel("phone"), FakeChannel("bot", disturbs=False)):
        assert outbox.disturbing == [("phone",)]


async def test_each_send_is_recorded_before_the_next_one_begins() -> None:
    """A kill then repeats the send under way and no other."""
    outbox, phone = FakeOutbox([delivery(1), delivery(2), delivery(3)]), FakeChannel(errors={3: None})
    task = asyncio.create_task(service_of(outbox, [phone], FakeWaiter()).process_notifications())
    async with asyncio.timeout(5):
        await phone.hanging.wait()
    assert outbox.groups == [[1], [2]]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_idempotent_channel_is_recorded_in_groups() -> None:
    outbox = FakeOutbox([delivery(number) for number in range(1, 6)])
    phone = FakeChannel(is_idempotent=True)
    async with delivering(outbox, phone, policy=DeliveryPolicy(settle_group=2)):
        assert outbox.groups == [[1, 2], [3, 4], [5]]


async def test_permanent_failure_is_not_tried_again() -> None:
    outbox = FakeOutbox([delivery(1), delivery(2)])
    async with delivering(outbox, FakeChannel(errors={1: PermanentFailure("blocked")})):
        assert outbox.outcomes() == {1: FAILED, 2: SENT}
        assert outbox.settled[0].error == "blocked"


@pytest.mark.parametrize(
    "error",
    [TemporaryFailure("busy"), OSError("no route"), OutcomeUnknown("cut off"), UnicodeError("cannot be shown")],
)
async def test_other_failures_are_tried_again_later(error: Exception) -> None:
    outbox = FakeOutbox([delivery(1), delivery(2)])
    async with delivering(outbox, FakeChannel(errors={1: error})):
        assert outbox.outcomes() == {1: PENDING, 2: SENT}
        assert outbox.settled[0].retry_in == timedelta(seconds=1)
        assert str(error) in (outbox.settled[0].error or "")


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 1), (2, 2), (3, 4)])
async def test_wait_doubles_with_each_try(attempts: int, seconds: int) -> None:
    outbox = FakeOutbox([delivery(1, attempts=attempts)])
    async with delivering(outbox, FakeChannel(errors={1: TemporaryFailure("busy")})):
        assert outbox.settled[0].retry_in == timedelta(seconds=seconds)


@pytest.mark.parametrize(("asked", "seconds"), [(120.0, 120), (0.5, 1), (None, 1)])
async def test_channel_that_asks_for_more_time_gets_it(asked: float | None, seconds: int) -> None:
    outbox = FakeOutbox([delivery(1)])
    throttled = TemporaryFailure("429", retry_after_seconds=asked)
    async with delivering(outbox, FakeChannel(errors={1: throttled})):
        assert outbox.settled[0].retry_in == timedelta(seconds=seconds)


async def test_no_answer_in_time_is_a_temporary_failure() -> None:
    outbox = FakeOutbox([delivery(1), delivery(2)])
    policy = DeliveryPolicy(timeout=timedelta(milliseconds=20))
    async with delivering(outbox, FakeChannel(errors={1: None}), policy=policy):
        assert outbox.outcomes() == {1: PENDING, 2: SENT}
        assert outbox.settled[0].error == "no answer within 0.02 s"


@pytest.mark.parametrize(("attempts", "status"), [(3, PENDING), (4, DEAD)])
async def test_dead_after_the_last_retry(attempts: int, status: DeliveryStatus) -> None:
    outbox = FakeOutbox([delivery(1, attempts=attempts)])
    async with delivering(
        outbox, FakeChannel(errors={1: TemporaryFailure("busy")}), policy=DeliveryPolicy(retries=3)
    ):
        assert outbox.outcomes() == {1: status}


async def test_channel_that_hangs_does_not_hold_up_the_deliveries_of_another() -> None:
    outbox = FakeOutbox([delivery(1), delivery(2, "mail"), delivery(3), delivery(4, "mail")])
    phone, mail = FakeChannel(errors={1: None}), FakeChannel("mail")
    task = asyncio.create_task(service_of(outbox, [phone, mail], FakeWaiter()).process_notifications())
    async with asyncio.timeout(5):
        await phone.hanging.wait()
        await outbox.two_settled.wait()
    assert outbox.outcomes() == {2: SENT, 4: SENT}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_mistake_in_a_channel_costs_one_delivery_and_one_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    outbox = FakeOutbox([delivery(1), delivery(2), delivery(3, "mail")])
    async with delivering(outbox, FakeChannel(errors={1: KeyError("x")}), FakeChannel("mail")):
        assert outbox.outcomes() == {1: PENDING, 2: SENT, 3: SENT}
        assert [record.levelname for record in caplog.records] == ["ERROR"]


async def test_what_was_sent_is_not_forgotten_when_the_database_is_away_for_a_moment() -> None:
    outbox, phone = FakeOutbox([delivery(1), delivery(2)]), FakeChannel()
    outbox.settle_errors.extend([DatabaseUnavailable("gone"), OSError("no route")])
    async with delivering(outbox, phone):
        assert phone.tried == [1, 2]
        assert outbox.outcomes() == {1: SENT, 2: SENT}
        assert outbox.released == 0


async def test_lane_that_cannot_record_its_sends_does_not_cut_off_the_others() -> None:
    """Deliveries under way in another lane would be handed back and sent a second time."""
    outbox = FakeOutbox([delivery(1), delivery(2, "mail"), delivery(3, "mail")])
    outbox.settle_errors.append(PermanentFailure("refused"))
    mail = FakeChannel("mail")
    async with delivering(outbox, FakeChannel(), mail):
        assert mail.tried == [2, 3]
        assert outbox.outcomes() == {2: SENT, 3: SENT}
        assert outbox.released == 1  # and what the broken lane holds is given back afterwards


async def test_failed_round_gives_back_before_the_next_claim() -> None:
    outbox = FakeOutbox(DatabaseUnavailable("gone"), [delivery(1)])
    async with delivering(outbox, FakeChannel()):
        assert (outbox.released, outbox.outcomes()) == (1, {1: SENT})


async def test_stop_hands_back_what_is_held() -> None:
    outbox, phone = FakeOutbox([delivery(1), delivery(2)]), FakeChannel(errors={1: None})
    task = asyncio.create_task(service_of(outbox, [phone], FakeWaiter()).process_notifications())
    async with asyncio.timeout(5):
        await phone.hanging.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (outbox.released, outbox.settled, phone.tried) == (1, [], [1])


async def test_queueing_the_same_key_again_stores_nothing() -> None:
    service = service_of(FakeOutbox(), [FakeChannel()], FakeWaiter())
    message = OutgoingMessage(1, "note", "title", "body", "key-1", ("phone",))
    assert await service.queue_notification(message)
    assert not await service.queue_notification(message)
