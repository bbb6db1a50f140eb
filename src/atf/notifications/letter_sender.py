"""LetterSender: makes a letter of deliveries, gives it to the channel, and says what the answer means."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, Protocol

from atf.errors import DatabaseUnavailable, PermanentFailure, TemporaryFailure, TransactionConflict
from atf.notifications.addresses import AddressBook
from atf.notifications.channel import (
    Channel,
    ChannelThrottled,
    ChannelUnavailable,
    Letter,
    Reach,
    Recipient,
    RecipientMoved,
    RecipientThrottled,
    TextForm,
)
from atf.notifications.circuit import Circuit
from atf.notifications.endings import LONGEST_WAIT, failed_try, postponed
from atf.notifications.lanes import Parcel
from atf.notifications.letter_writer import Written
from atf.notifications.message import Delivery, DeliveryStatus
from atf.notifications.outbox import Outbox, Settled
from atf.notifications.sending_metrics import SendingMetrics

_LOGGER = logging.getLogger(__name__)
_DIGEST: Final = "digest"
_USUAL_PAUSE: Final = 1.0
"""Seconds, where a channel asks to wait and does not say for how long."""
_ENOUGH_OTHERS: Final = 3
"""So many other letters in a row show that the channel works, and that the trouble is one letter's own."""


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """Time-outs and retries of a delivery; ``batch_size``: deliveries claimed at once."""

    timeout: timedelta = timedelta(seconds=30)
    retries: int = 3
    batch_size: int = 100
    poll: timedelta = timedelta(seconds=1)


class Writer(Protocol):
    """Writes what letters say; a ``LetterWriter`` is one."""

    def write(
        self, deliveries: Sequence[Delivery], recipient: Recipient, channel_name: str, form: TextForm
    ) -> Written:
        """Return the words for one delivery, or for several together; never fails for what a delivery says."""
        ...

    def fitting(
        self,
        deliveries: Sequence[Delivery],
        recipient: Recipient,
        channel_name: str,
        form: TextForm,
        longest_text: int,
    ) -> int:
        """Return how many deliveries, from the first one on, fit into a letter together; at least one."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """What senders share: where deliveries come from, where users are reached, who writes the words."""

    outbox: Outbox
    addresses: AddressBook
    writer: Writer
    metrics: SendingMetrics = field(default_factory=SendingMetrics)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a letter ended: what is recorded of its deliveries, and what it says of the recipient.

    ``paused_until``: when the recipient takes something again, monotonic; ``moved_to``: another address.
    """

    settled: Sequence[Settled]
    paused_until: float | None = None
    moved_to: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether the recipient may get what is behind."""
        return all(one.status is not DeliveryStatus.PENDING for one in self.settled)


class LetterSender:
    """Sends letters on one channel; several at the same time.

    ``circuit`` hears of outages, and of the end of one.
    """

    def __init__(
        self,
        channel: Channel,
        desk: Desk,
        circuit: Circuit,
        policy: DeliveryPolicy,
        jitter: Callable[[], float],
    ) -> None:
        self._channel = channel
        self._outbox = desk.outbox
        self._writer = desk.writer
        self._metrics = desk.metrics.of(channel.name)
        self._circuit = circuit
        self._policy = policy
        self._jitter = jitter
        self._succeeded_at = float("-inf")
        self._gone = 0
        self._suspects: dict[int, int] = {}

    @property
    def suspects(self) -> Collection[int]:
        """The deliveries that found the channel out of order: it may be because of what they are.

        Others go first, until enough of them have gone to tell.
        """
        return [one for one, gone in self._suspects.items() if not self._is_proved(gone)]

    async def send(self, parcel: Parcel) -> Ending:
        """Send a letter and return how it ended, whatever the channel does but being cancelled."""
        began_at = time.monotonic()
        try:
            letter = await self._letter(parcel)
            async with asyncio.timeout(self._policy.timeout.total_seconds()):
                accepted = await self._channel.send(letter)
        except Exception as exc:  # noqa: BLE001 - whatever a channel raises must not keep its siblings from going
            ending = self._failed(parcel, exc, began_at)
        else:
            self._succeeded_at = time.monotonic()
            self._gone += 1
            self._circuit.succeeded()
            ending = Ending([Settled(one, DeliveryStatus.SENT, accepted) for one in parcel.deliveries])
        if ending.is_over:
            self._suspects.pop(parcel.deliveries[0].id, None)
        self._count(ending.settled)
        return ending

    def fitting(self, recipient: Recipient, deliveries: Sequence[Delivery]) -> int:
        """Return how many deliveries, from the first one on, fit into one letter of the channel."""
        channel = self._channel
        return self._writer.fitting(
            deliveries, recipient, channel.name, channel.form, channel.limits.longest_text
        )

    def _failed(self, parcel: Parcel, error: Exception, began_at: float) -> Ending:
        now, asked = time.monotonic(), _asked(error)
        match error:
            case TimeoutError():
                return self._timed_out(parcel, began_at)
            case ChannelUnavailable():
                return self._unavailable(parcel, error, began_at)
            case ChannelThrottled():
                self._circuit.pause(now, asked)
                return _postponed(parcel, error)
            case RecipientThrottled() | DatabaseUnavailable() | TransactionConflict():
                return _postponed(parcel, error, paused_until=now + asked)
            case RecipientMoved():
                return self._moved(parcel, error)
            case _:
                return self._failed_try(parcel, error)

    def _timed_out(self, parcel: Parcel, began_at: float) -> Ending:
        """A time-out is the letter's own only where others went meanwhile, else the provider hangs."""
        error = TemporaryFailure(f"no answer within {self._policy.timeout.total_seconds():g} s")
        if self._channel.reach is Reach.EACH or self._succeeded_at > began_at:
            return self._failed_try(parcel, error)
        return self._unavailable(parcel, error, began_at)

    def _unavailable(self, parcel: Parcel, error: TemporaryFailure, began_at: float) -> Ending:
        """It is the channel's trouble, unless enough others have gone since this letter met an outage before.

        Else one letter that the provider cannot take would stop all others for ever. If a letter meets an outage
        for the first time, the count begins again: a provider that comes and goes uses up nobody's tries.
        """
        first = parcel.deliveries[0].id
        if first not in self._suspects:
            self._gone = 0
            self._suspects = dict.fromkeys((*self._suspects, first), 0)
        if self._is_proved(self._suspects[first]):
            self._suspects[first] = self._gone
            return self._failed_try(parcel, error)
        self._break(error, began_at)
        return _postponed(parcel, error)

    def _is_proved(self, found_at: int) -> bool:
        """Whether enough others have gone since."""
        return self._gone - found_at >= _ENOUGH_OTHERS

    def _moved(self, parcel: Parcel, error: RecipientMoved) -> Ending:
        """It goes to the new address at once; that it is a try ends a tour whose address cannot be remembered."""
        tried = self._failed_try(parcel, error).settled
        return Ending([replace(one, retry_in=timedelta(0)) for one in tried], moved_to=error.address)

    def _failed_try(self, parcel: Parcel, error: Exception) -> Ending:
        if not isinstance(error, TemporaryFailure | PermanentFailure):
            ids = [one.id for one in parcel.deliveries]
            _LOGGER.error("channel %s failed on deliveries %s", self._channel.name, ids, exc_info=error)
        retries, jitter = self._policy.retries, self._jitter()
        return Ending([failed_try(one, error, retries=retries, jitter=jitter) for one in parcel.deliveries])

    def _break(self, error: TemporaryFailure, began_at: float) -> None:
        if not self._circuit.failures:
            _LOGGER.warning("channel %s is out of order, its messages wait: %s", self._channel.name, error)
        self._circuit.failed(
            time.monotonic(),
            str(error),
            began_at=began_at,
            asked=error.retry_after_seconds,
            jitter=self._jitter(),
        )

    async def _letter(self, parcel: Parcel) -> Letter:
        first, several = parcel.deliveries[0], len(parcel.deliveries) > 1
        # Files are read when they go: of all that is claimed they would not fit into the memory.
        files = await self._outbox.attachments(first.message_id) if first.has_attachments else ()
        written = self._writer.write(parcel.deliveries, parcel.recipient, self._channel.name, self._channel.form)
        return Letter(
            recipient=parcel.recipient,
            dedup_key=_digest_key(parcel.deliveries) if several else first.dedup_key,
            notification_type=_DIGEST if several else first.notification_type,
            title=written.title,
            text=written.text,
            formatted=written.formatted,
            priority=first.priority,
            attachments=tuple(files),
            payload={} if several else first.payload,
        )

    def _count(self, endings: Sequence[Settled]) -> None:
        self._metrics.letters += 1
        self._metrics.failures = self._circuit.failures
        now = datetime.now(UTC)
        for one in endings:
            self._metrics.outcomes[_outcome(one)] += 1
            if one.status is DeliveryStatus.SENT:
                waited = (now - one.delivery.created_at).total_seconds()
                self._metrics.latency.observe(max(0.0, waited))


def _postponed(parcel: Parcel, error: Exception, *, paused_until: float | None = None) -> Ending:
    return Ending([postponed(one, error) for one in parcel.deliveries], paused_until)


def _asked(error: Exception) -> float:
    seconds = error.retry_after_seconds if isinstance(error, TemporaryFailure) else None
    return _USUAL_PAUSE if seconds is None else min(seconds, LONGEST_WAIT.total_seconds())


def _outcome(settled: Settled) -> str:
    if settled.status is not DeliveryStatus.PENDING:
        return settled.status.lower()
    return "retried" if settled.counts else "postponed"


def _digest_key(deliveries: Sequence[Delivery]) -> str:
    """Return a key that the same deliveries always have."""
    keys = "\n".join(one.dedup_key for one in deliveries)
    return f"{_DIGEST}:{sha256(keys.encode()).hexdigest()[:32]}"
