"""ChannelSender: the one who sends on a channel, as long as its lease lives; it drains what is due into it.

::

    take the channel ─▶ claim ─▶ lanes ─▶ letter ─▶ send ─▶ settle
                          ▲                           │
                          └── outage: all is given back, and the channel is left alone for a while

At least once: a kill between a channel's acceptance and our commit sends again, with the same key. So there are
never more letters under way than the channel's concurrency, and one is under way until its commit.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from atf.errors import TemporaryFailure
from atf.jobs.claim_loop import ClaimLoop, Waiter
from atf.jobs.lease import Lease
from atf.jobs.run import WorkerId
from atf.lifecycle import Progress
from atf.notifications.channel import Channel, Recipient
from atf.notifications.circuit import Circuit
from atf.notifications.lanes import Lanes, Line, Parcel, line_of
from atf.notifications.letter_sender import DeliveryPolicy, Desk, Ending, LetterSender
from atf.notifications.message import CODE, Delivery
from atf.notifications.outbox import ChannelPause
from atf.notifications.rate_limit import RateLimits
from atf.notifications.settling import Settler
from atf.pause_points import pause_point

_LOGGER = logging.getLogger(__name__)
_LONGEST_GOODBYE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class _Station:
    """What a channel's sender works with; it lasts from one shift to the next."""

    channel: Channel
    desk: Desk
    policy: DeliveryPolicy
    progress: Progress
    circuit: Circuit
    rates: RateLimits
    letters: LetterSender
    jitter: Callable[[], float]


class ChannelSender:
    """Sends on one channel, whenever it can be had."""

    def __init__(
        self,
        channel: Channel,
        desk: Desk,
        lease: Lease,
        waiter: Waiter,
        *,
        policy: DeliveryPolicy,
        progress: Progress,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._channel = channel
        self._desk = desk
        self._lease = lease
        self._waiter = waiter
        self._circuit = Circuit()
        letters = LetterSender(channel, desk, self._circuit, policy, jitter)
        rates = RateLimits(channel.limits)
        self._station = _Station(channel, desk, policy, progress, self._circuit, rates, letters, jitter)
        self._loop = ClaimLoop(desk.outbox, lease, waiter, poll=policy.poll, progress=progress, jitter=jitter)

    async def run(self) -> None:
        """Send until cancelled; whatever goes wrong is logged and tried again."""
        try:
            await self._loop.run(self._round, failure=f"sending on {self._channel.name} failed")
        finally:
            await self._channel.close()

    async def _round(self) -> bool:
        """Send all that is due, if this is the channel's sender and the channel is not paused."""
        sender_id = await self._lease.acquire()
        taken = await self._desk.outbox.take_channel(sender_id, self._channel.name)
        if isinstance(taken, ChannelPause):
            self._circuit.adopt(taken.failures, taken.remaining.total_seconds(), taken.error, time.monotonic())
        if taken is False or not self._circuit.may_send(time.monotonic()):
            return False
        work = _Shift(self._station, sender_id).work(self._waiter, self._lease)
        return await self._lease.guard(asyncio.create_task(work))


@dataclass(slots=True)
class _TriedAgain:
    """A delivery that those of its line must not overtake; ``is_recorded``: that the database knows."""

    delivery_id: int
    is_recorded: bool = False


class _Shift:
    """One round of work under one lease: from the first claim until nothing is due, or the channel is paused."""

    def __init__(self, station: _Station, sender_id: WorkerId) -> None:
        self._channel = station.channel
        self._desk = station.desk
        self._sender_id = sender_id
        self._letters = station.letters
        self._circuit = station.circuit
        self._policy = station.policy
        self._progress = station.progress
        self._settler = Settler(station.desk.outbox, sender_id, jitter=station.jitter)
        self._lanes = Lanes(station.rates, station.letters.fitting)
        self._tried_again: dict[Line, _TriedAgain] = {}
        self._under_way = 0
        self._has_changed = asyncio.Event()
        self._may_be_more = True
        self._looks_again_at = float("-inf")

    async def work(self, waiter: Waiter, lease: Lease) -> bool:
        """Send what is due; return whether there was anything. What is under way ends before this does.

        If the database is away, that takes as long as the lease lives: else it would be sent once more.
        """
        patience: float | None = None
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(self._settler.run()), group.create_task(self._listen(waiter))]
                try:
                    return await self._send_due(group)
                except asyncio.CancelledError:
                    patience = min(_LONGEST_GOODBYE_SECONDS, lease.seconds_left)
                    raise
                finally:
                    await self._let_end(patience)
                    for helper in helpers:
                        helper.cancel()
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _send_due(self, group: asyncio.TaskGroup) -> bool:
        found = False
        while True:
            if self._is_open:
                if self._wants_more():
                    found |= await self._claim()
                while (parcel := self._next()) is not None:
                    group.create_task(self._carry(parcel))
            else:
                await self._give_back()
            if self._under_way or len(self._lanes):
                await self._something_happens()
            elif not (self._may_be_more and self._is_open):
                return found

    async def _let_end(self, seconds: float | None) -> None:
        """Wait for what is under way, as nobody would know any more whether it went."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._under_way:
                    await self._has_changed.wait()
                    self._has_changed.clear()

    async def _listen(self, waiter: Waiter) -> None:
        while True:
            if await waiter.wait(self._policy.poll.total_seconds()):
                self._may_be_more = True
                self._has_changed.set()

    def _wants_more(self) -> bool:
        if len(self._lanes) >= self._most_held:
            return False
        has_room = 2 * len(self._lanes) < self._policy.batch_size
        return (self._may_be_more and has_room) or time.monotonic() >= self._looks_again_at

    @property
    def _most_held(self) -> int:
        """A bound for those who wait for their recipients' limits; others must get past them."""
        return 20 * self._policy.batch_size

    async def _claim(self) -> bool:
        self._tried_again = {line: one for line, one in self._tried_again.items() if not one.is_recorded}
        limit, crowded = self._policy.batch_size, self._lanes.crowded
        self._looks_again_at = time.monotonic() + self._policy.poll.total_seconds()
        self._may_be_more = False
        claimed = await self._desk.outbox.claim(
            self._sender_id, self._channel.name, limit, disturbs=self._channel.disturbs, crowded=crowded
        )
        # Of those who were crowded there may be more as soon as there is room.
        self._may_be_more |= len(claimed) == limit or bool(crowded)
        if claimed:
            await pause_point("outbox.before_send")
            users = {one.user_id for one in claimed}
            recipients = await self._desk.addresses.recipients(self._channel.name, users)
            too_early = [one.id for one in claimed if self._is_too_early(one)]
            kept = [one for one in claimed if one.id not in too_early]
            self._lanes.add(((one, _recipient(one, recipients)) for one in kept), time.monotonic())
            if too_early:
                await self._settler.settle((), too_early)
        self._progress.mark()
        return bool(claimed)

    def _is_too_early(self, delivery: Delivery) -> bool:
        """Whether one before it is tried again, which the database did not know yet when it answered."""
        before = self._tried_again.get(line_of(delivery))
        return before is not None and before.delivery_id < delivery.id

    @property
    def _is_open(self) -> bool:
        return self._circuit.may_send(time.monotonic())

    @property
    def _may_begin(self) -> bool:
        """Whether one more letter may be under way."""
        return self._is_open and self._under_way < self._circuit.width(self._channel.limits.concurrency)

    def _next(self) -> Parcel | None:
        parcel = self._lanes.next(time.monotonic(), self._letters.suspects) if self._may_begin else None
        if parcel is not None:
            self._under_way += 1
        return parcel

    async def _something_happens(self) -> None:
        """Wait until a letter has ended, something has come, or a recipient may get the next letter."""
        now = time.monotonic()
        if self._looks_again_at <= now:  # nothing more is wanted now
            self._looks_again_at = now + self._policy.poll.total_seconds()
        until = self._looks_again_at
        next_at = self._lanes.next_at() if self._may_begin else None
        if next_at is not None:
            until = min(until, next_at)
        try:
            async with asyncio.timeout(max(0.0, until - now)):
                await self._has_changed.wait()
        except TimeoutError:
            return
        self._has_changed.clear()

    async def _give_back(self) -> None:
        """Give back what is not under way; in the end say for everybody that the channel is paused."""
        held = self._lanes.take_all()
        if held:
            await self._settler.settle((), [one.id for one in held])
        if not self._under_way:
            remaining = timedelta(seconds=self._circuit.opens_at - time.monotonic())
            await self._note(ChannelPause(self._circuit.failures, remaining, self._circuit.error))

    async def _note(self, pause: ChannelPause | None) -> None:
        """Say what has become of the channel; if the database is away, what is under way goes on all the same."""
        try:
            await self._desk.outbox.note_pause(self._sender_id, self._channel.name, pause)
        except (TemporaryFailure, OSError) as exc:
            _LOGGER.warning("the pause of channel %s is not noted: %s", self._channel.name, exc)

    async def _carry(self, parcel: Parcel) -> None:
        """Send one letter and have recorded what came of it."""
        was_out = self._circuit.failures
        try:
            ending = await self._letters.send(parcel)
            await pause_point("outbox.after_send")
            await self._record(parcel, ending)
            if was_out and not self._circuit.failures:
                await self._note(None)
        finally:
            self._under_way -= 1
            self._has_changed.set()
        self._may_be_more |= not ending.is_over
        self._progress.mark()  # a round of many slow sends is no standstill

    async def _record(self, parcel: Parcel, ending: Ending) -> None:
        """Have recorded what came of a letter; what must not overtake one that is tried again is given back."""
        tried_again, held_up = _TriedAgain(parcel.deliveries[0].id), []
        if ending.moved_to is not None:
            await self._move(parcel, ending.moved_to)
        if ending.paused_until is not None:
            self._lanes.pause(parcel, ending.paused_until, time.monotonic())
        if not ending.is_over:
            self._tried_again[line_of(parcel.deliveries[0])] = tried_again
            held_up = self._lanes.take_line(parcel) if ending.moved_to is None else self._lanes.take_lane(parcel)
        if self._channel.is_idempotent:  # a copy would not show, so the next one need not wait for the commit
            self._finish(parcel)
        await self._settler.settle(ending.settled, [one.id for one in held_up])
        tried_again.is_recorded = True
        if not self._channel.is_idempotent:
            self._finish(parcel)

    async def _move(self, parcel: Parcel, address: str) -> None:
        """Remember a recipient's new address; if the database is away, the next letter is told of it again."""
        try:
            await self._desk.addresses.moved(self._channel.name, parcel.recipient, address)
        except (TemporaryFailure, OSError) as exc:
            _LOGGER.warning("the address of user %d is not noted: %s", parcel.recipient.user_id, exc)

    def _finish(self, parcel: Parcel) -> None:
        """Let the recipient have the next letter."""
        self._lanes.finished(parcel, time.monotonic())
        self._has_changed.set()


def _recipient(delivery: Delivery, known: Mapping[int, Recipient]) -> Recipient:
    """Return who gets a delivery; a code goes to the address that it is to prove."""
    recipient = known[delivery.user_id]
    if delivery.notification_type != CODE:
        return recipient
    return replace(recipient, address=str(delivery.payload.get("to", "")))
