"""Where users are reached: what the senders need of the store of addresses."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from atf.notifications.channel import Recipient


class AddressBook(Protocol):
    """The addresses of users, by channel."""

    async def recipients(self, channel: str, user_ids: Collection[int]) -> Mapping[int, Recipient]:
        """Return all of these users with their address, which is empty if none is known."""
        ...

    async def moved(self, channel: str, recipient: Recipient, address: str) -> None:
        """Remember another address of a recipient, in place of the one that it had."""
        ...
