"""Channel ``inbox``: the message lies in ATF itself until its reader looks."""

from __future__ import annotations

from typing import Protocol

from atf.notifications.message import Delivery


class InboxStore(Protocol):
    """Where inboxes are stored."""

    async def put_in_inbox(self, delivery: Delivery) -> None:
        """Show a delivery in its user's inbox, once however often it is sent."""
        ...


class InboxChannel:
    """Delivers exactly once: the dedup key is unique in the inbox."""

    name = "inbox"
    is_idempotent = True
    disturbs = False

    def __init__(self, store: InboxStore) -> None:
        self._store = store

    async def send(self, delivery: Delivery) -> str | None:
        """Put the message into the inbox."""
        await self._store.put_in_inbox(delivery)
        return delivery.dedup_key
