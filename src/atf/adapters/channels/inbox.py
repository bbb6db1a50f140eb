"""Channel ``inbox``: the message lies in ATF itself until its reader looks."""

from __future__ import annotations

from typing import Protocol

from atf.notifications.channel import ChannelLimits, Letter, Reach, TextForm


class InboxStore(Protocol):
    """Where inboxes are stored."""

    async def put_in_inbox(self, user_id: int, dedup_key: str) -> None:
        """Show the message of a delivery in its user's inbox, once however often it is sent.

        Errors: PermanentFailure if this user has no delivery of this key.
        """
        ...


class InboxChannel:
    """Delivers exactly once: the dedup key is unique in the inbox."""

    is_idempotent = True
    disturbs = False
    reach = Reach.SHARED
    form = TextForm.PLAIN
    limits = ChannelLimits(concurrency=4)

    def __init__(self, store: InboxStore, name: str = "inbox") -> None:
        self.name = name
        self._store = store

    async def send(self, letter: Letter) -> str | None:
        """Put the message into the inbox. Errors: those of the store."""
        await self._store.put_in_inbox(letter.recipient.user_id, letter.dedup_key)
        return letter.dedup_key

    async def close(self) -> None:
        """Do nothing: the store is somebody else's."""
