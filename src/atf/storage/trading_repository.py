"""What the trading service reads and writes of bots, sessions and commands, as SQL."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from atf.errors import ConfigurationError
from atf.notifications.message import OutgoingMessage
from atf.storage.database import Database
from atf.storage.message_adding import add_messages
from atf.trading.books import BotEvent
from atf.trading.bot import Bot, BotStatus, DesiredState, TradingState
from atf.trading.order import BotId
from atf.trading.service_store import Beat, GivenCommand, Session

_INSTALLATION: Final = text("SELECT id FROM trading_installation")
_UNCLEAN: Final = text(
    """
    SELECT node_id, host, pid, boot_id, started_at FROM trading_sessions
    WHERE host = :host AND ended_cleanly_at IS NULL AND recovered_at IS NULL ORDER BY id DESC
    """
)
_BEGIN: Final = text(
    "INSERT INTO trading_sessions (node_id, host, pid, boot_id) VALUES (:node_id, :host, :pid, :boot_id)"
)
# A session that was recovered from is no crash any more; its own column tells it from one that ended cleanly.
_RECOVERED: Final = text(
    "UPDATE trading_sessions SET recovered_at = now() WHERE node_id = ANY(CAST(:former AS text[]))"
)
_END: Final = text("UPDATE trading_sessions SET ended_cleanly_at = now() WHERE node_id = :node_id")
_BOTS: Final = text(
    """
    SELECT id, user_id, name, config, version, desired_state, status, trading_state, started_at, last_heartbeat,
           error_count, last_error, current_balance, total_pnl, node_id, extra_metadata, created_at, updated_at
    FROM trading_bots WHERE deleted_at IS NULL AND (CAST(:user_id AS int) IS NULL OR user_id = :user_id)
    ORDER BY id
    """
)
_CLAIM: Final = text(
    """
    UPDATE trading_bots b SET node_id = :node_id, status = 'starting', updated_at = now()
    WHERE id = :bot_id AND deleted_at IS NULL AND desired_state = 'running' AND status <> 'disabled'
      AND (node_id IS NULL OR node_id = :node_id OR node_id = ANY(CAST(:former AS text[]))
           OR NOT EXISTS (SELECT FROM workers w WHERE w.worker_id = b.node_id AND w.lease_expires_at > now()))
    RETURNING id
    """
)
# Whoever takes a bot makes the books of whoever had it stale: nothing that is still under way there is stored.
# By two, as the next revision would look to the other one like its own change, committed.
_TAKE_BOOK: Final = text("UPDATE trading_bot_states SET revision = revision + 2 WHERE bot_id = :bot_id")
_STATUS: Final = text(
    """
    UPDATE trading_bots b
    SET status = CASE WHEN b.status = 'disabled' THEN b.status ELSE g.status END,
        last_error = CASE WHEN g.error IS NULL AND g.status = 'starting' THEN b.last_error ELSE g.error END,
        error_count = g.error_count,
        started_at = CASE WHEN g.status = 'running' THEN now() ELSE b.started_at END,
        last_heartbeat = CASE WHEN g.status = 'running' THEN now() ELSE b.last_heartbeat END,
        node_id = CASE WHEN g.status IN ('starting', 'running') THEN b.node_id END,
        updated_at = now()
    FROM (SELECT CAST(:bot_id AS int) AS id, CAST(:status AS text) AS status, CAST(:error AS text) AS error,
                 CAST(:error_count AS int) AS error_count) g
    WHERE b.id = g.id AND b.node_id = :node_id
    """
)
_EVENT: Final = text(
    """
    INSERT INTO trading_bot_events (bot_id, kind, level, text, details)
    VALUES (:bot_id, :kind, :level, :text, CAST(:details AS jsonb))
    """
)
_BEAT: Final = text(
    """
    UPDATE trading_bots b
    SET last_heartbeat = r.at, current_balance = r.balance, total_pnl = r.total_pnl,
        error_count = r.error_count, extra_metadata = b.extra_metadata || jsonb_build_object('vitals', r.vitals),
        updated_at = now()
    FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
        bot_id int, at timestamptz, balance numeric, total_pnl numeric, error_count int, vitals jsonb)
    WHERE b.id = r.bot_id AND b.node_id = :node_id
    """
)
_COMMANDS: Final = text(
    """
    SELECT c.id, c.bot_id, c.command, c.payload, c.source, b.node_id,
           b.id IS NOT NULL AND (b.user_id = c.user_id OR u.role = 'admin') AS is_allowed
    FROM trading_bot_commands c JOIN users u ON u.id = c.user_id
    LEFT JOIN trading_bots b ON b.id = c.bot_id AND b.deleted_at IS NULL
    WHERE c.accepted_at IS NULL ORDER BY c.id LIMIT 500
    """
)
_WISH: Final = text(
    """
    UPDATE trading_bots
    SET desired_state = CASE g.command WHEN 'start' THEN 'running' WHEN 'stop' THEN 'stopped'
                        ELSE desired_state END,
        trading_state = CASE g.command WHEN 'pause' THEN 'REDUCING' WHEN 'resume' THEN 'ACTIVE'
                        ELSE trading_state END,
        error_count = CASE WHEN g.command = 'start' AND status = 'error' THEN 0 ELSE error_count END,
        status = CASE WHEN g.command = 'start' AND status = 'error' THEN 'stopped' ELSE status END,
        updated_at = now()
    FROM (SELECT CAST(:command AS text) AS command) g
    WHERE id = :bot_id AND status <> 'disabled' AND NOT (g.command = 'pause' AND trading_state = 'HALTED')
    RETURNING id
    """
)
_ASK: Final = text(
    """
    WITH asked AS (
        INSERT INTO trading_bot_commands (dedup_key, bot_id, user_id, command, payload, source)
        VALUES (gen_random_uuid()::text, :bot_id, :user_id, :command, '{}', 'command line') RETURNING id)
    SELECT pg_notify('atf_bots', '') FROM asked
    """
)
_FINISH: Final = text(
    "UPDATE trading_bot_commands SET accepted_at = now(), outcome = :outcome WHERE id = :command_id"
)
_POSITIONS: Final = text(
    """
    SELECT id, symbol, direction, qty_open, avg_price, status, realized_pnl FROM trading_positions
    WHERE bot_id = :bot_id AND status = 'open' ORDER BY id
    """
)
_TRADES: Final = text(
    """
    SELECT id, symbol, entry_price, entry_time, status, size FROM trading_trades
    WHERE bot_id = :bot_id AND status = 'open' ORDER BY id
    """
)


class PostgresTradingStore:
    """Bots and sessions in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def installation(self) -> str:
        """Return what names this installation in the names of its orders."""
        async with self._database.transaction() as connection:
            found = (await connection.execute(_INSTALLATION)).scalar()
        if found is None:
            raise ConfigurationError("the database has no installation id: `atf db migrate` makes it")
        return str(found)

    async def unclean_sessions(self, host: str) -> Sequence[Session]:
        """Return the sessions on a machine that began, never ended and were not recovered from."""
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_UNCLEAN, {"host": host})).all()
        return [Session(row.node_id, row.host, row.pid, row.boot_id, row.started_at) for row in rows]

    async def begin_session(self, session: Session) -> None:
        """Write down that a service runs from now on."""
        values = {
            "node_id": session.node_id,
            "host": session.host,
            "pid": session.pid,
            "boot_id": session.boot_id,
        }
        async with self._database.transaction() as connection:
            await connection.execute(_BEGIN, values)

    async def note_recovered(self, former: Collection[str]) -> None:
        """Write down that everything is recovered, so that former sessions are no crash any more."""
        async with self._database.transaction() as connection:
            await connection.execute(_RECOVERED, {"former": list(former)})

    async def end_session(self, node_id: str) -> None:
        """Write down that a service has ended as it should."""
        async with self._database.transaction() as connection:
            await connection.execute(_END, {"node_id": node_id})

    async def bots(self, user_id: int | None = None) -> Sequence[Bot]:
        """Return the bots of a user, or of everybody, without deleted ones."""
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_BOTS, {"user_id": user_id})).all()
        return [_bot(row) for row in rows]

    async def claim(self, bot_id: BotId, node_id: str, former: Collection[str]) -> bool:
        """Take a bot, unless a living service has it or nobody wants it to run any more. Return whether."""
        values = {"bot_id": bot_id, "node_id": node_id, "former": list(former)}
        async with self._database.transaction() as connection:
            if (await connection.execute(_CLAIM, values)).first() is None:
                return False
            await connection.execute(_TAKE_BOOK, {"bot_id": bot_id})
        return True

    async def note_status(
        self,
        bot_id: BotId,
        node_id: str,
        status: BotStatus,
        *,
        error: str | None,
        error_count: int,
        events: Sequence[BotEvent],
        messages: Sequence[OutgoingMessage] = (),
    ) -> None:
        """Write down what a bot does now, with which news and messages; one that has ended belongs to nobody.

        One that another service has taken meanwhile is left as it is.
        """
        values = {
            "bot_id": bot_id,
            "node_id": node_id,
            "status": status,
            "error": error,
            "error_count": error_count,
        }
        async with self._database.transaction() as connection:
            is_ours = (await connection.execute(_STATUS, values)).rowcount
            if is_ours:
                for event in events:
                    await _add_event(connection, bot_id, event)
                await add_messages(connection, messages)

    async def beat(self, node_id: str, beats: Sequence[Beat]) -> None:
        """Write down how a service's bots are, all in one statement."""
        if not beats:
            return
        rows = json.dumps([asdict(one) for one in beats], default=str)
        async with self._database.transaction() as connection:
            await connection.execute(_BEAT, {"node_id": node_id, "rows": rows})

    async def commands(self) -> Sequence[GivenCommand]:
        """Return what is wanted of bots and not done yet, in order."""
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_COMMANDS)).all()
        return [
            GivenCommand(
                row.id, BotId(row.bot_id), row.command, row.payload, row.source, row.is_allowed, row.node_id
            )
            for row in rows
        ]

    async def wish(self, bot_id: BotId, command: str) -> bool:
        """Let a bot be as somebody wishes; return False if it is disabled or halted, which only a person ends."""
        async with self._database.transaction() as connection:
            found = await connection.execute(_WISH, {"bot_id": bot_id, "command": command})
            return found.first() is not None

    async def finish_command(self, command_id: int, outcome: str) -> None:
        """Write down what became of a command."""
        async with self._database.transaction() as connection:
            await connection.execute(_FINISH, {"command_id": command_id, "outcome": outcome})

    async def ask(self, bot: Bot, command: str) -> None:
        """Want something of a running bot now."""
        values = {"bot_id": bot.id, "user_id": bot.user_id, "command": command}
        async with self._database.transaction() as connection:
            await connection.execute(_ASK, values)

    async def recovered(self, bot_id: BotId) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Return open positions and trades in the shape that a strategy's configuration has them in."""
        async with self._database.transaction() as connection:
            positions = (await connection.execute(_POSITIONS, {"bot_id": bot_id})).all()
            trades = (await connection.execute(_TRADES, {"bot_id": bot_id})).all()
        return {
            "_recovered_positions": [
                {
                    "id": row.id,
                    "symbol": row.symbol,
                    "direction": row.direction,
                    "qty_open": float(row.qty_open),
                    "avg_price": float(row.avg_price),
                    "status": row.status,
                    "realized_pnl": float(row.realized_pnl),
                }
                for row in positions
            ],
            "_recovered_trades": [
                {
                    "id": row.id,
                    "symbol": row.symbol,
                    "entry_price": float(row.entry_price),
                    "entry_time": row.entry_time.isoformat().replace("+00:00", "Z"),
                    "status": row.status,
                    "size": float(row.size),
                }
                for row in trades
            ],
        }


async def _add_event(connection: AsyncConnection, bot_id: BotId, event: BotEvent) -> None:
    values = {
        "bot_id": bot_id,
        "kind": event.kind,
        "level": event.level,
        "text": event.text,
        "details": json.dumps(dict(event.details), default=str),
    }
    await connection.execute(_EVENT, values)


def _bot(row: Row[Any]) -> Bot:
    return Bot(
        id=BotId(row.id),
        user_id=row.user_id,
        name=row.name,
        config=row.config,
        version=row.version,
        desired_state=DesiredState(row.desired_state),
        status=BotStatus(row.status),
        trading_state=TradingState(row.trading_state),
        started_at=row.started_at,
        last_heartbeat=row.last_heartbeat,
        error_count=row.error_count,
        last_error=row.last_error,
        current_balance=row.current_balance,
        total_pnl=row.total_pnl,
        node_id=row.node_id,
        extra_metadata=row.extra_metadata,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
