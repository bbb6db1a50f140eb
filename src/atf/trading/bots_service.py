"""What users do with bots: add, change, start, stop, pause, delete, look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar
from uuid import uuid4

from atf.errors import Conflict, InvalidInput, NotFound, shown
from atf.jobs.field_checks import LARGEST_COUNT, require_integer, require_text
from atf.jobs.schema_validator import require_storable
from atf.security.limits import LONGEST_DEDUP_KEY
from atf.trading import bot_control
from atf.trading.bot import Bot, BotStatus
from atf.trading.bot_checks import BotChecks, Review
from atf.trading.bot_config import parse_bot_config
from atf.trading.bot_control import Act
from atf.trading.bot_records import (
    BotRecordStore,
    BotVersion,
    CommandRecord,
    EquityPoint,
    EventRecord,
    FillRecord,
    OrderRecord,
    PositionRecord,
    RecordFilter,
    TradeRecord,
)
from atf.trading.bot_store import BotStore, ConfigEdit, NewBot
from atf.trading.config_changes import Difference, differences, merged
from atf.trading.order import BotId

T = TypeVar("T")
Wanted = RecordFilter | None
MOST_ROWS: Final = 10_000
_LARGEST_ID: Final = 2**63 - 1
_RESTART: Final = "restart"


class BotsService:
    """Bots as users see them; every refusal leaves everything as it was."""

    def __init__(self, store: BotStore, records: BotRecordStore, checks: BotChecks | None = None) -> None:
        self._bots = store
        self._records = records
        self._checks = checks or BotChecks()

    async def add(self, user_id: int, new: NewBot) -> Bot:
        """Store a bot; it does not run before it is started.

        Errors: InvalidInput that names each field; Conflict if the user has a bot of that name, or as many as
                allowed.
        """
        require_text(new.name, "name")
        _require_note(new.note)
        await self._checks.review(new.config)
        return await self._bots.add(user_id, new)

    async def validate(self, user_id: int, config: object) -> Review:  # noqa: ARG002 - whose, for the gate
        """Check a configuration without storing it. Errors: InvalidInput with all that is wrong."""
        return await self._checks.review(config)

    async def get(self, user_id: int, bot_id: int) -> Bot:
        """Return a bot. Errors: NotFound."""
        bot = await self._bots.get(user_id, _possible(bot_id))
        return _found(bot, bot_id)

    async def list_bots(
        self, user_id: int, status: BotStatus | None = None, *, after_id: int = 0, limit: int = MOST_ROWS
    ) -> Sequence[Bot]:
        """Return the user's bots, oldest first: those with a larger id than ``after_id``."""
        require_integer(after_id, "after_id", 0, _LARGEST_ID)
        require_integer(limit, "limit", 1, MOST_ROWS)
        return await self._bots.list_bots(user_id, status, after_id=after_id, limit=limit)

    async def edit(self, user_id: int, bot_id: int, edit: ConfigEdit) -> Bot:
        """Store another version of the configuration; one that says the same is none.

        Errors: InvalidInput that names each field; Conflict if somebody else changed it first, or if
                the bot holds or has orders of what it would not trade any more.
        """
        _require_note(edit.note)
        known = await self.get(user_id, bot_id)
        _require_version(known, edit.version)
        return await self._store(known, _wanted(known, edit), edit.note)

    async def versions(self, user_id: int, bot_id: int, wanted: Wanted = None) -> Sequence[BotVersion]:
        """Return the versions of the configuration, newest first; their numbers are the ids. Errors: NotFound."""
        return await self._rows(user_id, bot_id, self._records.versions, wanted)

    async def diff(self, user_id: int, bot_id: int, before: int, after: int) -> list[Difference]:
        """Return what differs between two versions, by path. Errors: NotFound."""
        bot = await self.get(user_id, bot_id)
        one, other = await self._version(bot, before), await self._version(bot, after)
        return differences(one.config, other.config)

    async def rollback(
        self, user_id: int, bot_id: int, version: int, *, note: str = "", known_version: int | None = None
    ) -> Bot:
        """Store an old version's configuration as the newest one.

        Errors: NotFound; InvalidInput if it would be refused today; Conflict as for ``edit``.
        """
        _require_note(note)
        known = await self.get(user_id, bot_id)
        _require_version(known, known_version)
        old = await self._version(known, version)
        return await self._store(known, old.config, note or f"back to version {version}")

    async def start(self, user_id: int, bot_id: int) -> Act:
        """Wish that a bot runs; its errors are forgiven. Errors: NotFound; Conflict if it is disabled."""
        return await self._act(user_id, bot_id, bot_control.start)

    async def stop(self, user_id: int, bot_id: int) -> Act:
        """Wish that a bot does not run, over any restart of the service. Errors: NotFound."""
        return await self._act(user_id, bot_id, bot_control.stop)

    async def pause(self, user_id: int, bot_id: int) -> Act:
        """Let a bot only close what it holds. Errors: NotFound; Conflict if it is halted."""
        return await self._act(user_id, bot_id, bot_control.pause)

    async def resume(self, user_id: int, bot_id: int) -> Act:
        """Let a paused or halted bot trade again. Errors: NotFound."""
        return await self._act(user_id, bot_id, bot_control.resume)

    async def enable(self, user_id: int, bot_id: int) -> Act:
        """Allow that a bot is started. Errors: NotFound."""
        return await self._act(user_id, bot_id, bot_control.enable)

    async def disable(self, user_id: int, bot_id: int) -> Act:
        """See that nothing starts a bot until it is enabled. Errors: NotFound; Conflict while it runs."""
        return await self._act(user_id, bot_id, bot_control.disable)

    async def rename(self, user_id: int, bot_id: int, name: str) -> Act:
        """Give a bot another name. Errors: NotFound; InvalidInput; Conflict if another bot has it."""
        require_text(name, "name")
        return await self._act(user_id, bot_id, partial(bot_control.rename, name=name))

    async def restart(self, user_id: int, bot_id: int, dedup_key: str | None = None) -> CommandRecord:
        """Tell a bot that runs to begin anew; a restart that waits, or had this key, is not asked for twice.

        Errors: NotFound; Conflict if the bot does not run; InvalidInput for a key that is too long.
        """
        key = f"bot-{bot_id}-{_RESTART}-{uuid4()}"
        if dedup_key is not None:
            key = f"user-{user_id}-bot-{bot_id}-{_require_key(dedup_key)}"
        made = await self._bots.command(
            user_id, _possible(bot_id), bot_control.require_restartable, _RESTART, key
        )
        return _found(made, bot_id)

    async def delete(self, user_id: int, bot_id: int, *, force: bool = False) -> Bot:
        """Delete a bot; what it did stays on record.

        ``force``: though it holds something that nobody looks after any more.

        Errors: NotFound; Conflict while it runs, or holds something.
        """
        allow = partial(bot_control.require_deletable, force=force)
        return _found(await self._bots.delete(user_id, _possible(bot_id), allow), bot_id)

    async def events(self, user_id: int, bot_id: int, wanted: Wanted = None) -> Sequence[EventRecord]:
        """Return what happened to a bot, newest first. Errors: NotFound."""
        return await self._rows(user_id, bot_id, self._records.events, wanted)

    async def orders(self, user_id: int, bot_id: int, wanted: Wanted = None) -> Sequence[OrderRecord]:
        """Return a bot's orders, newest first. Errors: NotFound."""
        return await self._rows(user_id, bot_id, self._records.orders, wanted)

    async def fills(self, user_id: int, bot_id: int, wanted: Wanted = None) -> Sequence[FillRecord]:
        """Return the executions of a bot's orders, newest first. Errors: NotFound."""
        return await self._rows(user_id, bot_id, self._records.fills, wanted)

    async def positions(self, user_id: int, bot_id: int, wanted: Wanted = None) -> Sequence[PositionRecord]:
        """Return a bot's positions, newest first. Errors: NotFound."""
        return await self._rows(user_id, bot_id, self._records.positions, wanted)

    async def trades(self, user_id: int, bot_id: int, wanted: Wanted = None) -> Sequence[TradeRecord]:
        """Return a bot's trades, newest first. Errors: NotFound."""
        return await self._rows(user_id, bot_id, self._records.trades, wanted)

    async def equity(
        self, user_id: int, bot_id: int, *, before: datetime | None = None, limit: int = 50
    ) -> Sequence[EquityPoint]:
        """Return what a bot was worth at its bars, newest first. Errors: NotFound."""
        require_integer(limit, "limit", 1, MOST_ROWS)
        bot = await self.get(user_id, bot_id)
        return await self._records.equity(bot.id, before, limit)

    async def _act(self, user_id: int, bot_id: int, decide: Callable[[Bot], Act]) -> Act:
        return _found(await self._bots.act(user_id, _possible(bot_id), decide), bot_id)

    async def _rows(
        self,
        user_id: int,
        bot_id: int,
        read: Callable[[BotId, RecordFilter], Awaitable[Sequence[T]]],
        wanted: Wanted,
    ) -> Sequence[T]:
        wanted = wanted or RecordFilter()
        require_integer(wanted.limit, "limit", 1, MOST_ROWS)
        if wanted.before_id is not None:
            require_integer(wanted.before_id, "before_id", 0, _LARGEST_ID)
        bot = await self.get(user_id, bot_id)
        return await read(bot.id, wanted)

    async def _version(self, bot: Bot, version: int) -> BotVersion:
        is_possible = 0 < version <= LARGEST_COUNT
        found = await self._records.version(bot.id, version) if is_possible else None
        if found is None:
            raise NotFound(f"bot {bot.id} has no version {version}; its newest is {bot.version}")
        return found

    async def _store(self, known: Bot, config: Mapping[str, Any], note: str) -> Bot:
        await self._checks.review(config)
        if not differences(known.config, config):
            return known
        bot_control.require_kept(known, await self._held(known.id), parse_bot_config(config).symbols)
        stored = await self._bots.store_config(known, config, note)
        if stored is None:
            raise _changed_meanwhile(known)
        return stored

    async def _held(self, bot_id: BotId) -> set[str]:
        """Return the symbols of what is open."""
        what = RecordFilter(limit=MOST_ROWS, only_open=True)
        held = {one.symbol for one in await self._records.positions(bot_id, what)}
        return held | {one.symbol for one in await self._records.orders(bot_id, what)}


def _possible(bot_id: int) -> BotId:
    """Return a number as a bot's; what can be none is nobody's."""
    return BotId(bot_id if 0 < bot_id <= LARGEST_COUNT else 0)


def _found(found: T | None, bot_id: int) -> T:
    if found is None:
        raise NotFound(f"there is no bot {bot_id}")
    return found


def _wanted(known: Bot, edit: ConfigEdit) -> Mapping[str, Any]:
    if (edit.config is None) == (edit.patch is None):
        raise InvalidInput("give either a whole configuration or a patch", field="config")
    if edit.config is not None:
        return edit.config
    if not isinstance(edit.patch, Mapping):
        raise InvalidInput(f"must be a JSON object, got {shown(edit.patch)}", field="patch")
    require_storable(edit.patch)
    return merged(known.config, edit.patch)


def _require_version(known: Bot, version: int | None) -> None:
    if version not in (None, known.version):
        raise _changed_meanwhile(known)


def _changed_meanwhile(known: Bot) -> Conflict:
    return Conflict(f"bot {known.id} has been changed by somebody else meanwhile; look at it again")


def _require_note(note: object) -> None:
    if note != "":
        require_text(note, "note")


def _require_key(key: str) -> str:
    require_text(key, "dedup_key")
    if len(key) > LONGEST_DEDUP_KEY:
        raise InvalidInput(f"must have at most {LONGEST_DEDUP_KEY} characters", field="dedup_key")
    return key
