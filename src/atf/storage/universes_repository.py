"""Universes in the database: memberships by owner, name and date."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import Conflict, NotFound, shown
from atf.market.universes import (
    EVERYBODY,
    Change,
    Listing,
    Membership,
    UniverseSummary,
    change_between,
    changes_of,
    checked_name,
    checked_symbols,
    listing_on,
    members_on,
    universe_in_use,
    unknown_universe,
    versions_of,
    with_list,
)
from atf.storage.audit_repository import record_doing
from atf.storage.database import Database

_LOCK: Final = text(
    "SELECT pg_advisory_xact_lock(hashtextextended('market_universes ' || :user_id || ' ' || :name, 0))"
)
_OF_OWNER: Final = text(
    "SELECT symbol, valid_from, valid_to FROM market_universes WHERE user_id = :user_id AND name = :name"
)
# Ids of users begin at 1 and everybody is 0, so that the highest owner is the user's own, if there is one.
_SEEN: Final = text(
    """
    SELECT symbol, valid_from, valid_to FROM market_universes
    WHERE name = :name AND user_id = (
        SELECT max(user_id) FROM market_universes WHERE name = :name AND user_id IN (0, :user_id))
    """
)
_NAMES: Final = text("SELECT DISTINCT name FROM market_universes WHERE user_id IN (0, :user_id)")
_DELETE: Final = text(
    """
    DELETE FROM market_universes u
    USING unnest(CAST(:symbols AS text[]), CAST(:begins AS date[])) AS gone (symbol, day)
    WHERE u.user_id = :user_id AND u.name = :name AND u.symbol = gone.symbol AND u.valid_from = gone.day
    """
)
_WRITE: Final = text(
    """
    INSERT INTO market_universes (user_id, name, symbol, valid_from, valid_to, source)
    SELECT :user_id, :name, given.*, :source
    FROM unnest(CAST(:symbols AS text[]), CAST(:begins AS date[]), CAST(:ends AS date[])) AS given
    ON CONFLICT (user_id, name, symbol, valid_from)
    DO UPDATE SET valid_to = EXCLUDED.valid_to, source = EXCLUDED.source, loaded_at = now()
    """
)
_LIST: Final = text(
    """
    SELECT name, user_id,
           count(*) FILTER (WHERE valid_from <= :day AND (valid_to IS NULL OR valid_to > :day)) AS symbols,
           min(valid_from) AS first_on, max(greatest(valid_from, valid_to)) AS newest_on
    FROM market_universes WHERE user_id IN (0, :user_id) GROUP BY name, user_id ORDER BY name, user_id
    """
)
# A screener that lists its symbols itself needs no universe. Data jobs of users who have their own of this name
# do not need everybody's.
_USING: Final = text(
    """
    SELECT s.id, s.name FROM job_schedules s
    WHERE s.deleted_at IS NULL AND :user_id IN (0, s.user_id)
      AND (s.job_type = 'screener' AND s.task_params ->> 'screener_set' = :name AND NOT s.task_params ? 'tickers'
        OR s.job_type = 'data_processing' AND s.task_params ->> 'universe' = :name
          AND (:user_id <> 0 OR NOT EXISTS (
            SELECT 1 FROM market_universes u WHERE u.name = :name AND u.user_id = s.user_id AND u.user_id <> 0)))
    ORDER BY s.id
    """
)
_DELETE_ALL: Final = text("DELETE FROM market_universes WHERE user_id = :user_id AND name = :name")


class PostgresUniverses:
    """The table of universes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def members(self, user_id: int | None, name: str, on: date) -> Sequence[str]:
        """Return the symbols of a day, sorted. A user's own universe hides everybody's of the same name.

        Errors: NotFound with near names, or with the first date if the universe begins later.
        """
        return list((await self.listing(user_id, name, on)).symbols)

    async def listing(self, user_id: int | None, name: str, on: date) -> Listing:
        """Return the symbols of a day with the dates of their list. Errors: as ``members``."""
        memberships = await self._seen(user_id, name)
        found = listing_on(memberships, on)
        if found is None:
            first = min(each.valid_from for each in memberships)
            raise NotFound(f"universe '{name}' begins on {first}; nothing is known of {on}")
        if not found.symbols:
            raise NotFound(f"universe '{name}' has no symbols on {on}")
        return found

    async def load(self, user_id: int, name: str, symbols: Sequence[str], on: date, *, source: str) -> Change:
        """Store a list as of a date, in force until the next version that is there; all of it or nothing.

        The same list for the same date changes nothing, and rows that stay the same keep their source.

        Errors: InvalidInput for a name or symbols that cannot be.
        """
        owner = {"user_id": user_id, "name": checked_name(name)}
        wanted = checked_symbols(symbols)
        async with self._database.transaction() as connection:
            # Two lists at once would each be compared with what was there before both.
            await connection.execute(_LOCK, {**owner, "user_id": str(user_id)})
            before = _memberships(await connection.execute(_OF_OWNER, owner))
            after = with_list(before, wanted, on)
            await _replace(connection, owner, set(before), set(after), source)
            await record_doing(connection, "universe.load", "universe", name, user_id)
        until = min((day for day in versions_of(before) if day > on), default=None)
        return change_between(members_on(before, on), frozenset(wanted), on, until)

    async def delete(self, user_id: int, name: str) -> int:
        """Delete all versions of an owner's universe; return how many there were.

        Errors: NotFound if this owner has none of that name; Conflict that names the schedules which use it.
        """
        owner = {"user_id": user_id, "name": name}
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK, {**owner, "user_id": str(user_id)})
            found = _memberships(await connection.execute(_OF_OWNER, owner))
            if found and (using := (await connection.execute(_USING, owner)).all()):
                raise Conflict(universe_in_use(name, [(row.id, row.name) for row in using]))
            await connection.execute(_DELETE_ALL, owner)
            if found:
                await record_doing(connection, "universe.delete", "universe", name, user_id)
        if not found:
            await self._seen(user_id, name)  # says that nobody has one, if that is so
            raise NotFound(f"the universe {shown(name)} is everybody's; delete it with --for-everybody")
        return len(versions_of(found))

    async def list_universes(self, user_id: int | None, on: date) -> Sequence[UniverseSummary]:
        """Return the user's universes and everybody's, by name; a user's own comes after everybody's."""
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_LIST, {"user_id": user_id or EVERYBODY, "day": on})).all()
        return [UniverseSummary(**row._mapping) for row in rows]

    async def history(self, user_id: int | None, name: str) -> Sequence[Change]:
        """Return all versions, oldest first. Errors: NotFound with near names."""
        return changes_of(await self._seen(user_id, name))

    async def _seen(self, user_id: int | None, name: str) -> Sequence[Membership]:
        values = {"user_id": user_id or EVERYBODY, "name": name}
        async with self._database.transaction() as connection:
            found = _memberships(await connection.execute(_SEEN, values))
            if found:
                return found
            names = (await connection.execute(_NAMES, {"user_id": values["user_id"]})).scalars().all()
        raise NotFound(unknown_universe(name, names))


async def _replace(
    connection: AsyncConnection,
    owner: dict[str, Any],
    before: set[Membership],
    after: set[Membership],
    source: str,
) -> None:
    """Write the difference alone; a membership that only got another end is written in place of the old one."""
    kept = {(each.symbol, each.valid_from) for each in after}
    gone = [each for each in before - after if (each.symbol, each.valid_from) not in kept]
    new = sorted(after - before, key=lambda each: (each.symbol, each.valid_from))
    if gone:
        await connection.execute(_DELETE, {**owner, **_columns(gone, with_ends=False)})
    if new:
        await connection.execute(_WRITE, {**owner, **_columns(new, with_ends=True), "source": source})


def _columns(memberships: Sequence[Membership], *, with_ends: bool) -> dict[str, Any]:
    ends = {"ends": [each.valid_to for each in memberships]} if with_ends else {}
    begins = [each.valid_from for each in memberships]
    return {"symbols": [each.symbol for each in memberships], "begins": begins, **ends}


def _memberships(rows: Iterable[Any]) -> list[Membership]:
    return [Membership(row.symbol, row.valid_from, row.valid_to) for row in rows]
