"""Where users are reached, with the secrets that some addresses need."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from atf.bootstrap.secrets import build_secrets
from atf.errors import NotFound
from atf.notifications.addresses import AddressBook
from atf.notifications.channel import Recipient
from atf.security.secret_box import SealBroken
from atf.security.secrets_service import SecretsService
from atf.settings import Settings
from atf.storage.addresses_repository import PostgresAddresses
from atf.storage.database import Database

_LOGGER = logging.getLogger(__name__)
SECRETS: Final[Mapping[str, str]] = {"webhook": "notify.webhook", "apprise": "notify.apprise"}
"""Which of a user's secrets belongs to the address of a channel."""


class SecretAddressBook:
    """Addresses of the table, and what of the user's secrets belongs to them."""

    def __init__(self, addresses: AddressBook, secrets: SecretsService) -> None:
        self._addresses = addresses
        self._secrets = secrets

    async def recipients(self, channel: str, user_ids: Collection[int]) -> Mapping[int, Recipient]:
        """Return all of these users with their address, which is empty if none is known."""
        found = await self._addresses.recipients(channel, user_ids)
        name = SECRETS.get(channel)
        if name is None:
            return found
        return {user_id: await self._with_secret(user_id, one, name) for user_id, one in found.items()}

    async def moved(self, channel: str, recipient: Recipient, address: str) -> None:
        """Remember another address of a recipient, in place of the one that it had."""
        await self._addresses.moved(channel, recipient, address)

    async def _with_secret(self, user_id: int, recipient: Recipient, name: str) -> Recipient:
        try:
            return replace(recipient, secret=await self._secrets.reveal(user_id, name))
        except NotFound:
            return recipient
        except SealBroken as exc:  # what went out without it would not be what the user wants; others are served
            _LOGGER.error("user %d is not reached: the secret %s: %s", user_id, name, exc)
            return replace(recipient, address="")


def build_address_book(settings: Settings, database: Database) -> SecretAddressBook:
    """Return where users are reached."""
    return SecretAddressBook(PostgresAddresses(database), build_secrets(settings, database))
