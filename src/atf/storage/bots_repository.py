"""Bots as users change them. Every change wakes the trading service."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import Conflict
from atf.security.user import Quotas
from atf.storage.audit_repository import record_doing
from atf.storage.database import Database
from atf.storage.quotas import take_bot
from atf.storage.stored_document import snapshot_of
from atf.trading.bot import Bot, BotStatus, DesiredState, TradingState
from atf.trading.bot_control import Act, Held
from atf.trading.bot_records import CommandRecord
from atf.trading.bot_store import NewBot
from atf.trading.order import BotId

_BOT: Final = """
    id, user_id, name, config, version, desired_state, status, trading_state, started_at, last_heartbeat,
    error_count, last_error, current_balance, total_pnl, node_id, extra_metadata, created_at, updated_at
"""
_ADD: Final = text(
    f"""
    INSERT INTO trading_bots (user_id, name, config) VALUES (:user_id, :name, CAST(:config AS jsonb))
    ON CONFLICT (user_id, name) WHERE deleted_at IS NULL DO NOTHING RETURNING {_BOT}
    """
)
_ADD_VERSION: Final = text(
    """
    INSERT INTO trading_bot_versions (bot_id, version, config, note, changed_by)
    SELECT id, version, config, :note, current_setting('atf.actor') FROM trading_bots WHERE id = :bot_id
    """
)
_GET: Final = text(
    f"SELECT {_BOT} FROM trading_bots WHERE id = :bot_id AND user_id = :user_id AND deleted_at IS NULL"
)
_LOCK: Final = text(f"{_GET.text} FOR NO KEY UPDATE")
_LIST: Final = text(
    f"""
    SELECT {_BOT} FROM trading_bots
    WHERE user_id = :user_id AND deleted_at IS NULL AND id > :after_id
      AND (CAST(:status AS text) IS NULL OR status = :status)
    ORDER BY id LIMIT :limit
    """
)
_CONFIGURE: Final = text(
    f"""
    UPDATE trading_bots SET config = CAST(:config AS jsonb), version = version + 1, updated_at = now()
    WHERE id = :bot_id AND version = :version AND deleted_at IS NULL RETURNING {_BOT}
    """
)
_ACT: Final = text(
    f"""
    UPDATE trading_bots
    SET name = :name, desired_state = :desired_state, status = :status, trading_state = :trading_state,
        error_count = :error_count, last_error = :last_error, updated_at = now()
    WHERE id = :bot_id RETURNING {_BOT}
    """
)
_DELETE: Final = text(
    "UPDATE trading_bots SET deleted_at = now(), desired_state = 'stopped', updated_at = now() WHERE id = :bot_id"
)
_HELD: Final = text(
    """
    SELECT ARRAY(SELECT symbol FROM trading_positions WHERE bot_id = :bot_id AND status = 'open' ORDER BY symbol),
           (SELECT count(*) FROM trading_orders
            WHERE bot_id = :bot_id AND status NOT IN ('filled', 'cancelled', 'rejected', 'lost'))
    """
)
_COMMAND: Final = "id, bot_id, command, dedup_key, created_at, accepted_at, outcome"
_KNOWN_COMMAND: Final = text(
    f"""
    SELECT {_COMMAND} FROM trading_bot_commands
    WHERE dedup_key = :dedup_key OR bot_id = :bot_id AND command = :command AND accepted_at IS NULL
    ORDER BY dedup_key = :dedup_key DESC, id LIMIT 1
    """
)
_ADD_COMMAND: Final = text(
    f"""
    INSERT INTO trading_bot_commands (dedup_key, bot_id, user_id, command, payload, source)
    VALUES (:dedup_key, :bot_id, :user_id, :command, '{{}}', 'user:' || current_setting('atf.actor'))
    RETURNING {_COMMAND}
    """
)
_TELL: Final = text(
    """
    INSERT INTO trading_bot_events (bot_id, kind, level, text, details)
    VALUES (:bot_id, :kind, 'info', :text, jsonb_build_object('by', current_setting('atf.actor')))
    """
)
_WAKE: Final = text("SELECT pg_notify('atf_bots', '')")


class PostgresBots:
    """The bots of all users."""

    def __init__(self, database: Database, quotas: Quotas | None = None) -> None:
        self._database = database
        self._quotas = quotas or Quotas()

    async def add(self, user_id: int, new: NewBot) -> Bot:
        """Store a stopped bot with its first version.

        Errors: Conflict if the user has one of that name, or as many as allowed.
        """
        values = {"user_id": user_id, "name": new.name, "config": json.dumps(new.config)}
        async with self._database.transaction() as connection:
            await take_bot(connection, user_id, self._quotas)
            row = (await connection.execute(_ADD, values)).first()
            if row is None:
                raise _taken(new.name)
            await _add_version(connection, row.id, new.note)
            await _tell(connection, row.id, "added", "is added")
        return _bot(row)

    async def get(self, user_id: int, bot_id: BotId) -> Bot | None:
        """Return a bot of the user that is not deleted."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_GET, {"user_id": user_id, "bot_id": bot_id})).first()
        return None if row is None else _bot(row)

    async def list_bots(
        self, user_id: int, status: BotStatus | None, *, after_id: int, limit: int
    ) -> Sequence[Bot]:
        """Return the user's bots that are not deleted, oldest first."""
        values = {"user_id": user_id, "status": status, "after_id": after_id, "limit": limit}
        async with self._database.transaction() as connection:
            return [_bot(row) for row in await connection.execute(_LIST, values)]

    async def store_config(self, known: Bot, config: Mapping[str, Any], note: str) -> Bot | None:
        """Store another version; None, and nothing is changed, if the bot is no longer the known version."""
        values = {"bot_id": known.id, "version": known.version, "config": json.dumps(config)}
        async with self._database.transaction() as connection:
            row = (await connection.execute(_CONFIGURE, values)).first()
            if row is None:
                return None
            await _add_version(connection, row.id, note)
            await _tell(connection, row.id, "edited", f"has version {row.version}{f': {note}' if note else ''}")
        return _bot(row)

    async def act(self, user_id: int, bot_id: BotId, decide: Callable[[Bot], Act]) -> Act | None:
        """Let a decision see the bot as it is, locked, and store what it makes of it; None if there is no bot.

        Errors: what the decision raises; Conflict if it gives the name of another bot.
        """
        async with self._database.transaction() as connection:
            known = await _locked(connection, user_id, bot_id)
            if known is None:
                return None
            act = decide(known)
            if act.bot == known:
                return act
            changed = await _store(connection, act.bot)
            await _tell(connection, bot_id, "told", act.text)
            if _in_audit_log(changed) == _in_audit_log(known):
                await record_doing(connection, f"bot.{act.word}", "bot", str(bot_id), user_id)
        return replace(act, bot=changed)

    async def command(
        self, user_id: int, bot_id: BotId, allow: Callable[[Bot], None], command: str, dedup_key: str
    ) -> CommandRecord | None:
        """Tell a bot to do something once: a key that was used, or a command that waits, is not added again."""
        values = {"user_id": user_id, "bot_id": bot_id, "command": command, "dedup_key": dedup_key}
        async with self._database.transaction() as connection:
            known = await _locked(connection, user_id, bot_id)
            if known is None:
                return None
            row = (await connection.execute(_KNOWN_COMMAND, values)).first()
            if row is None or row.dedup_key != dedup_key:
                allow(known)
            if row is None:
                row = (await connection.execute(_ADD_COMMAND, values)).one()
                await _tell(connection, bot_id, "told", f"is to {command}")
                await record_doing(connection, f"bot.{command}", "bot", str(bot_id), user_id)
        return CommandRecord(**row._mapping)

    async def delete(self, user_id: int, bot_id: BotId, allow: Callable[[Bot, Held], None]) -> Bot | None:
        """Take a bot out of sight; its history stays. Errors: what ``allow`` raises."""
        async with self._database.transaction() as connection:
            known = await _locked(connection, user_id, bot_id)
            if known is None:
                return None
            symbols, orders = (await connection.execute(_HELD, {"bot_id": bot_id})).one()
            allow(known, Held(tuple(symbols), orders))
            await connection.execute(_DELETE, {"bot_id": bot_id})
            await _tell(connection, bot_id, "deleted", "is deleted")
        return known


async def _locked(connection: AsyncConnection, user_id: int, bot_id: BotId) -> Bot | None:
    """Return a bot that nobody else changes within this transaction."""
    row = (await connection.execute(_LOCK, {"user_id": user_id, "bot_id": bot_id})).first()
    return None if row is None else _bot(row)


async def _store(connection: AsyncConnection, bot: Bot) -> Bot:
    values = {
        "bot_id": bot.id,
        "name": bot.name,
        "desired_state": bot.desired_state,
        "status": bot.status,
        "trading_state": bot.trading_state,
        "error_count": bot.error_count,
        "last_error": bot.last_error,
    }
    try:
        return _bot((await connection.execute(_ACT, values)).one())
    except IntegrityError as exc:
        raise _taken(bot.name) from exc


async def _add_version(connection: AsyncConnection, bot_id: int, note: str) -> None:
    await connection.execute(_ADD_VERSION, {"bot_id": bot_id, "note": note})


async def _tell(connection: AsyncConnection, bot_id: int, kind: str, what: str) -> None:
    """Keep for people what has been done, and wake the trading service with the commit."""
    await connection.execute(_TELL, {"bot_id": bot_id, "kind": kind, "text": what})
    await connection.execute(_WAKE)


def _in_audit_log(bot: Bot) -> tuple[object, ...]:
    """What the table's own trigger records of a change."""
    return bot.name, bot.desired_state, bot.trading_state


def _taken(name: str) -> Conflict:
    return Conflict(f"there is a bot '{name}' already; give this one another name")


def _bot(row: Row[Any]) -> Bot:
    return Bot(
        **{
            **row._mapping,
            "config": snapshot_of(row.config),
            "desired_state": DesiredState(row.desired_state),
            "status": BotStatus(row.status),
            "trading_state": TradingState(row.trading_state),
        }
    )
