"""Accounts, wired: who signs in, and the link by which the owner of a new installation gets a first password."""

from __future__ import annotations

from datetime import UTC
from typing import Final

from atf.bootstrap.database import open_database
from atf.clock import SystemClock
from atf.security.accounts_service import AccountsService
from atf.security.one_time import Link, LinkPurpose
from atf.security.password import Passwords
from atf.security.tokens import new_token
from atf.settings import Settings
from atf.storage.accounts_repository import PostgresAccounts
from atf.storage.audit_repository import PostgresAuditLog
from atf.storage.credentials_repository import PostgresCredentials
from atf.storage.database import Database

_OWNER: Final = "owner"
"""The user that the first migration makes, without a password."""


def build_accounts(database: Database, passwords: Passwords) -> AccountsService:
    """Return the service that finds out who somebody is; one a process, as its passwords limit what is hashed."""
    return AccountsService(PostgresAccounts(database), passwords, PostgresAuditLog(database), SystemClock())


async def told_at_first_start(settings: Settings) -> str | None:
    """Open the database for ``first_start_sentence``."""
    async with open_database(settings) as database:
        return await first_start_sentence(database, settings)


async def first_start_sentence(database: Database, settings: Settings) -> str | None:
    """Return how the owner gets a first password; None if there is one, or a link for one that still holds.

    What is stored is the link's hash, so that it cannot be told a second time.
    """
    token = new_token(LinkPurpose.SETUP.token_kind)
    link = await PostgresCredentials(database).add_first_link(_OWNER, token)
    return None if link is None else f"set the {_OWNER}'s password: {link_sentence(link, settings)}"


def link_sentence(link: Link, settings: Settings) -> str:
    """Return a link as it is told, with until when it holds."""
    until = f"{link.expires_at.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
    return f"{link.url(settings.public_url)} (holds once, until {until})"
