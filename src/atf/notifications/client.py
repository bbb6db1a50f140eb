"""NotificationServiceClient: how other services hand messages over.

Where they share the database it writes into the outbox, so that nothing needs to run for that; else it goes by
HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final, Protocol

from atf.errors import TemporaryFailure
from atf.jobs.retry import BackOff
from atf.notifications.intake import NewNotification, Receipt, message_of

_LOGGER = logging.getLogger(__name__)
_BACK_OFF: Final = BackOff(timedelta(seconds=0.5), cap=timedelta(seconds=30))


class NotificationTransport(Protocol):
    """A way to a notification service; an ``Intake`` is one."""

    async def take(self, new: NewNotification) -> Receipt:
        """Hand a message over and return when it is stored. Errors: TemporaryFailure to try again."""
        ...


class NotificationServiceClient:
    """Hands messages over, and tries again as long as it may help; each message is stored once all the same.

    ``tries``: how often at most; ``close`` gives back what the transport holds.
    """

    def __init__(
        self,
        transport: NotificationTransport,
        *,
        tries: int = 4,
        close: Callable[[], object] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._transport = transport
        self._tries = tries
        self._close = close
        self._jitter = jitter

    async def send(self, new: NewNotification) -> Receipt:
        """Hand a message over and return when it is stored.

        Errors: InvalidInput that names the field; NotFound, Unauthenticated, Forbidden; TemporaryFailure after
        the last try: whether it was stored then is not known, and sending it again with its key is safe.
        """
        message_of(new)  # what is wrong with it is said before anything is tried
        if new.dedup_key is not None:
            return await self._hand_over(new)
        receipt = await self._hand_over(replace(new, dedup_key=str(uuid.uuid4())))
        return replace(receipt, is_new=True)  # known to the service only if the answer to a former try was lost

    async def _hand_over(self, keyed: NewNotification) -> Receipt:
        for failures in range(1, self._tries):
            try:
                return await self._transport.take(keyed)
            except TemporaryFailure as exc:
                _LOGGER.warning("a message is not handed over yet, trying again: %s", exc)
                asked = exc.retry_after_seconds or 0.0
                wait = _BACK_OFF.delay(failures, self._jitter()).total_seconds()
                await asyncio.sleep(max(wait, min(asked, _BACK_OFF.cap.total_seconds())))
        return await self._transport.take(keyed)

    async def close(self) -> None:
        """Give back connections."""
        if self._close is not None:
            done = self._close()
            if asyncio.iscoroutine(done):
                await done
