"""Users with passwords, and what tests look at of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Final

import pytest
from tests.integration.conftest import Rows

from atf.bootstrap.accounts import build_accounts
from atf.errors import Unauthenticated
from atf.security.accounts_service import AccountsService
from atf.security.audit import AuditEntry, AuditFilter, AuditOutcome
from atf.security.caller import Origin, Stranger
from atf.security.credentials_service import CredentialsService
from atf.security.identities_service import IdentitiesService
from atf.security.password import HashCost, Passwords
from atf.security.role import Role
from atf.security.session import SignedIn
from atf.security.tokens_service import TokensService
from atf.security.user import User
from atf.storage.audit_repository import PostgresAuditLog
from atf.storage.credentials_repository import PostgresCredentials
from atf.storage.database import Database
from atf.storage.identities_repository import PostgresIdentities
from atf.storage.tokens_repository import PostgresTokens
from atf.storage.users_repository import PostgresUsers

CHEAP: Final = HashCost(memory_kib=8, passes=1)
RIGHT: Final = "correct horse battery"
WRONG: Final = "wrong horse battery"
HOME: Final = Stranger(Origin.API, "203.0.113.7")
ELSEWHERE: Final = Stranger(Origin.API, "198.51.100.9")


@dataclass
class House:
    """A database with its services; ann, a trader, has a password."""

    database: Database
    ann: User

    @cached_property
    def accounts(self) -> AccountsService:
        return build_accounts(self.database, Passwords(CHEAP))

    @property
    def log(self) -> PostgresAuditLog:
        return PostgresAuditLog(self.database)

    @property
    def users(self) -> PostgresUsers:
        return PostgresUsers(self.database)

    @property
    def credentials(self) -> CredentialsService:
        return CredentialsService(PostgresCredentials(self.database), Passwords(CHEAP), self.log)

    @property
    def tokens(self) -> TokensService:
        return TokensService(PostgresTokens(self.database))

    @property
    def identities(self) -> IdentitiesService:
        return IdentitiesService(PostgresIdentities(self.database), self.log)

    async def sign_in(self, stranger: Stranger = HOME) -> SignedIn:
        return await self.accounts.sign_in("ann", RIGHT, stranger)

    async def refused(self, name: str, password: str, stranger: Stranger = HOME) -> str:
        """What is told to whom a sign-in is refused."""
        with pytest.raises(Unauthenticated) as refusal:
            await self.accounts.sign_in(name, password, stranger)
        return str(refusal.value)

    async def fail(self, times: int, stranger: Stranger = HOME) -> None:
        for _ in range(times):
            await self.refused("ann", WRONG, stranger)

    async def is_let_in(self, token: str) -> bool:
        try:
            caller = await self.accounts.authenticate(token, HOME)
        except Unauthenticated:
            return False
        return caller.name == "ann"

    async def refusals(self, action: str) -> list[AuditEntry]:
        """What the audit log has of refusals, oldest first."""
        wanted = AuditFilter(action=action, outcome=AuditOutcome.REFUSED)
        return [*reversed(await self.log.entries(wanted, limit=1000))]

    async def reasons(self, action: str) -> list[str | None]:
        return [entry.detail for entry in await self.refusals(action)]

    async def whole_log(self) -> str:
        return str(await self.log.entries(AuditFilter(), limit=1000))


async def a_house(database: Database) -> House:
    ann = await PostgresUsers(database).add("ann", Role.TRADER)
    house = House(database, ann)
    await house.credentials.replace_password(ann.id, RIGHT)
    return house


async def later(rows: Rows, by: timedelta, *columns: str) -> None:
    """Let time pass for stored instants, such as ``session_tokens.expires_at``."""
    for column in columns:
        table, _, name = column.partition(".")
        await rows.change(f"UPDATE {table} SET {name} = {name} - CAST(:by AS interval)", by=by)


def spoilt(token: str) -> str:
    """The token with another last character."""
    return token[:-1] + ("A" if token[-1] != "A" else "B")
