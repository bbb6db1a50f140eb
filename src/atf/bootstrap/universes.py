"""What the commands about universes and fundamentals need: files on one side, the tables on the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

from atf.adapters.providers.fundamental_files import read_fundamentals
from atf.adapters.providers.universe_files import read_symbols
from atf.bootstrap import rights
from atf.bootstrap.client import known_caller
from atf.bootstrap.database import open_database
from atf.bootstrap.market import build_market_clock
from atf.errors import InvalidInput, NotFound
from atf.market.fundamentals import Fundamentals
from atf.market.symbols import canonical
from atf.market.universes import EVERYBODY, Change, Listing, UniverseSummary, checked_name
from atf.security.caller import Caller, Origin
from atf.security.gate import gated
from atf.settings import Settings
from atf.storage.audit_repository import PostgresAuditLog
from atf.storage.fundamentals_repository import PostgresFundamentals
from atf.storage.universes_repository import PostgresUniverses
from atf.storage.users_repository import PostgresUsers

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LoadedFundamentals:
    """What came of a file; ``repeated`` counts rows that a later one of the same symbol and day replaced."""

    rows: int
    repeated: int


@dataclass(frozen=True, slots=True)
class UniversesClient:
    """Universes and fundamentals as one user sees them; ``today`` is the day of market time."""

    caller: Caller
    today: date
    universes: PostgresUniverses
    fundamentals: PostgresFundamentals

    @property
    def user_id(self) -> int:
        """Whose universes these are."""
        return self.caller.user_id

    async def load(self, name: str, path: Path, on: date | None, *, for_everybody: bool) -> Change:
        """Store the symbols of a file as of a date, today if none is given.

        Errors: InvalidInput that names what is wrong, with nothing stored.
        """
        checked_name(name)
        symbols = await _read(path, read_symbols)
        owner = EVERYBODY if for_everybody else self.user_id
        return await self.universes.load(owner, name, symbols, on or self.today, source=path.name)

    async def members(self, name: str, on: date | None) -> Sequence[str]:
        """Return the symbols of a day. Errors: NotFound."""
        return await self.universes.members(self.user_id, name, on or self.today)

    async def listing(self, name: str, on: date | None) -> Listing:
        """Return the symbols of a day with the dates of their list. Errors: NotFound."""
        return await self.universes.listing(self.user_id, name, on or self.today)

    async def delete(self, name: str, *, for_everybody: bool) -> int:
        """Delete a universe with all its versions; return how many. Errors: NotFound; Conflict if it is used."""
        return await self.universes.delete(EVERYBODY if for_everybody else self.user_id, name)

    async def described(self, name: str, on: date | None) -> Mapping[str, Fundamentals | None]:
        """Return the symbols of a day, each with what was known of it then. Errors: NotFound."""
        day = on or self.today
        members = await self.universes.members(self.user_id, name, day)
        known = await self.fundamentals.newest(members, day)
        return {symbol: known.get(symbol) for symbol in members}

    async def listed(self) -> Sequence[UniverseSummary]:
        """Return the user's universes and everybody's, with the number of symbols of today."""
        return await self.universes.list_universes(self.user_id, self.today)

    async def history(self, name: str) -> Sequence[Change]:
        """Return the versions of a universe, oldest first. Errors: NotFound."""
        return await self.universes.history(self.user_id, name)

    async def load_fundamentals(self, path: Path, as_of: date | None) -> LoadedFundamentals:
        """Store the fundamentals of a file, all or none. Errors: InvalidInput that names what is wrong."""
        found = await _read(path, lambda each: read_fundamentals(each, self.today, as_of=as_of))
        return LoadedFundamentals(await self.fundamentals.load(found.rows, source=path.name), found.repeated)

    async def fundamentals_of(self, symbol: str) -> Sequence[Fundamentals]:
        """Return all that is known of a symbol, oldest first. Errors: NotFound if that is nothing."""
        found = await self.fundamentals.of(canonical(symbol))
        if not found:
            raise NotFound(f"no fundamentals of {canonical(symbol)}; get some with `atf fundamentals fetch`")
        return found


@asynccontextmanager
async def open_universes(settings: Settings, user: str = "owner") -> AsyncIterator[UniversesClient]:
    """Open the configured database as a user. Errors: NotFound if there is no such user."""
    async with open_database(settings) as database:
        caller, log = await known_caller(PostgresUsers(database), user, Origin.CLI), PostgresAuditLog(database)
        today = (await (await build_market_clock(database)).now()).date()
        yield UniversesClient(
            caller,
            today,
            gated(PostgresUniverses(database), caller, rights.UNIVERSES, log),
            gated(PostgresFundamentals(database), caller, rights.FUNDAMENTALS, log),
        )


async def _read(path: Path, read: Callable[[Path], T]) -> T:
    try:
        return await asyncio.to_thread(read, path)
    except OSError as exc:
        raise InvalidInput(f"{path} cannot be read: {exc.strerror}", field="FILE") from exc
