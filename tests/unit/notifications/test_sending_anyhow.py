"""Whatever is written, however sends end, whoever is stopped: nothing is lost, overtakes or is doubled."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.notifications.sending_fakes import (
    FakeChannel,
    MemoryOutbox,
    delivery,
    sending,
    simulated,
    until,
)

from atf.errors import DatabaseUnavailable, PermanentFailure, TemporaryFailure
from atf.notifications.channel import (
    UNLIMITED,
    ChannelLimits,
    ChannelThrottled,
    ChannelUnavailable,
    RecipientMoved,
    RecipientThrottled,
)
from atf.notifications.lanes import line_of
from atf.notifications.letter_sender import DeliveryPolicy
from atf.notifications.message import DeliveryStatus, Priority

POLICY = DeliveryPolicy(timeout=timedelta(seconds=5), retries=50, batch_size=7)
ANSWERS = st.sampled_from(
    [
        TemporaryFailure("busy"),
        ChannelUnavailable("gone"),
        ChannelThrottled("429", retry_after_seconds=3.0),
        RecipientThrottled("429", retry_after_seconds=4.0),
        RecipientMoved("moved", address="-100"),
        PermanentFailure("refused"),
        KeyError("mistake"),
        None,
    ]
)
LIMITS = st.sampled_from(
    [
        UNLIMITED,
        ChannelLimits(concurrency=4),
        ChannelLimits(concurrency=4, per_second=10.0, per_recipient_second=1.0, longest_text=100),
        ChannelLimits(concurrency=2, per_recipient_second=1.0, per_group_minute=20.0, longest_text=60),
    ]
)
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("write"),
            st.integers(1, 3),
            st.sampled_from([Priority.NORMAL, Priority.NORMAL, Priority.HIGH, Priority.URGENT]),
            st.integers(1, 10),
        ),
        st.tuples(st.just("wait"), st.floats(0, 5)),
        st.tuples(st.just("claims fail")),
        st.tuples(st.just("endings fail")),
        st.tuples(st.just("endings take"), st.floats(0, 1)),
        st.tuples(st.just("restart")),
    ),
    max_size=12,
)
ERRORS = st.dictionaries(st.integers(1, 60), st.lists(ANSWERS, min_size=1, max_size=4), max_size=15)


async def play(outbox: MemoryOutbox, channel: FakeChannel, steps: list[tuple[Any, ...]]) -> None:
    """Do the steps with one sender after another, and then let everything be sent."""
    left = list(steps)
    while left:
        async with sending(outbox, channel, policy=POLICY):
            while left and (step := left.pop(0)) != ("restart",):
                await take(step, outbox)
        channel.is_closed = False
    async with sending(outbox, channel, policy=POLICY):
        ended = {DeliveryStatus.SENT, DeliveryStatus.FAILED}
        await until(lambda: set(outbox.statuses.values()) <= ended, within=4 * 3600)


async def take(step: tuple[Any, ...], outbox: MemoryOutbox) -> None:
    match step:
        case ("write", user, priority, count):
            first = len(outbox.rows) + 1
            outbox.put(*(delivery(n, user=user, priority=priority) for n in range(first, first + count)))
        case ("wait", seconds):
            await asyncio.sleep(seconds)
        case ("claims fail",):
            outbox.claim_errors.append(DatabaseUnavailable("gone"))
        case ("endings take", seconds):
            outbox.settle_takes = seconds
        case ("endings fail",):
            outbox.settle_errors.append(DatabaseUnavailable("gone"))


@settings(max_examples=60)
@given(LIMITS, st.booleans(), ERRORS, STEPS)
def test_each_is_accepted_once_and_each_line_in_order(
    limits: ChannelLimits,
    is_idempotent: bool,
    errors: dict[int, list[Exception | None]],
    steps: list[tuple[Any, ...]],
) -> None:
    @simulated
    async def check() -> None:
        outbox = MemoryOutbox()
        channel = FakeChannel(dict(errors), limits=limits, is_idempotent=is_idempotent, takes=0.2)
        await play(outbox, channel, steps)
        accepted = [number for letter in channel.sent for number in letter]
        assert len(accepted) == len(set(accepted)), "one is double"
        refused = {number for number, status in outbox.statuses.items() if status is DeliveryStatus.FAILED}
        assert set(accepted) == outbox.rows.keys() - refused
        by_line: dict[object, list[int]] = defaultdict(list)
        for number in accepted:
            by_line[line_of(outbox.rows[number].delivery)].append(number)
        assert all(line == sorted(line) for line in by_line.values()), "one has overtaken"
        assert channel.most_under_way <= limits.concurrency

    check()
