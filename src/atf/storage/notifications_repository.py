"""The outbox and the inbox: messages stored, claimed by the one sender of a channel, settled fenced."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import psycopg
from sqlalchemy import text

from atf.clock import Clock
from atf.errors import InvariantViolation, NotFound, PermanentFailure, shown
from atf.jobs.run import WorkerId
from atf.notifications.intake import Receipt
from atf.notifications.message import Attachment, Delivery, OutgoingMessage
from atf.notifications.outbox import ChannelPause, Settled
from atf.notifications.sending_metrics import ChannelDepth
from atf.storage import delivery_claims, delivery_endings
from atf.storage.database import Database
from atf.storage.message_adding import add_messages, receive_messages

_PUT_IN_INBOX: Final = text(
    """
    WITH delivered AS (
        SELECT user_id, message_id, dedup_key FROM msg_deliveries
        WHERE dedup_key = :dedup_key AND user_id = :user_id),
    shown AS (
        INSERT INTO msg_inbox (user_id, message_id, dedup_key) SELECT * FROM delivered d
        WHERE NOT EXISTS (SELECT FROM msg_inbox i WHERE i.message_id = d.message_id)  -- by web and by inbox
        ON CONFLICT (dedup_key) DO NOTHING)
    SELECT count(*) FROM delivered
    """
)


class PostgresOutbox:
    """Messages and deliveries. A ``clock`` other than the database's is for tests."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock

    async def add(self, messages: Sequence[OutgoingMessage]) -> int:
        """Store messages with their deliveries; return how many were new."""
        async with self._database.transaction() as connection:
            return await add_messages(connection, messages)

    async def receive(self, messages: Sequence[OutgoingMessage]) -> Mapping[str, Receipt]:
        """Store messages; return a receipt by dedup key, also of those that were there.

        Errors: NotFound if a user is not known; nothing is stored then.
        """
        try:
            async with self._database.transaction() as connection:
                return await receive_messages(connection, messages)
        except InvariantViolation as exc:
            refusal = exc.__cause__
            if not isinstance(getattr(refusal, "orig", refusal), psycopg.errors.ForeignKeyViolation):
                raise
            raise NotFound("there is no such user: user_id names nobody here") from exc

    async def take_channel(self, sender_id: WorkerId, channel: str) -> ChannelPause | bool:
        """Become the one sender of a channel, if nobody whose lease is alive is; True if one is it already."""
        async with self._database.transaction() as connection:
            return await delivery_claims.take_channel(connection, sender_id, channel)

    async def claim(
        self,
        sender_id: WorkerId,
        channel: str,
        limit: int,
        *,
        disturbs: bool = False,
        crowded: Collection[tuple[int, int]] = (),
    ) -> Sequence[Delivery]:
        """Take due deliveries in one statement, if the sender's lease is alive and the channel is its own.

        What is to wait is put back in the same transaction, so no kill lets it look claimed; if that is all there
        was, what is due behind it is taken.
        """
        now = None if self._clock is None else self._clock.now()
        while True:
            async with self._database.transaction() as connection:
                claimed, was_due = await delivery_claims.claim(
                    connection, sender_id, channel, limit, disturbs=disturbs, crowded=crowded, now=now
                )
            if claimed or not was_due:
                return claimed

    async def attachments(self, message_id: int) -> Sequence[Attachment]:
        """Return the files that go with a message, in their order."""
        async with self._database.transaction() as connection:
            return await delivery_claims.attachments(connection, message_id)

    async def settle(
        self, sender_id: WorkerId, settled: Sequence[Settled], untouched: Collection[int] = ()
    ) -> None:
        """Record how tries ended, and give back what was not tried; what was taken away is left alone."""
        now = None if self._clock is None else self._clock.now()
        async with self._database.transaction() as connection:
            await delivery_endings.settle(connection, sender_id, settled, untouched, now)

    async def note_pause(self, sender_id: WorkerId, channel: str, pause: ChannelPause | None) -> None:
        """Say for everybody that the channel is paused, or that it works again."""
        async with self._database.transaction() as connection:
            await delivery_claims.note_pause(connection, sender_id, channel, pause)

    async def depth(self) -> Mapping[str, ChannelDepth]:
        """Return what waits, by channel."""
        async with self._database.transaction() as connection:
            return await delivery_claims.depth(connection)

    async def release_held(self, sender_id: WorkerId) -> int:
        """Give back all deliveries and channels that this sender still holds."""
        async with self._database.transaction() as connection:
            return await delivery_endings.release_held(connection, sender_id)

    async def put_in_inbox(self, user_id: int, dedup_key: str) -> None:
        """Show a delivery in its user's inbox, once however often it is sent.

        Errors: PermanentFailure if this user has no delivery of this key.
        """
        async with self._database.transaction() as connection:
            values = {"user_id": user_id, "dedup_key": dedup_key}
            found = (await connection.execute(_PUT_IN_INBOX, values)).scalar_one()
        if not found:
            raise PermanentFailure(f"user {user_id} has no delivery {shown(dedup_key)}")
