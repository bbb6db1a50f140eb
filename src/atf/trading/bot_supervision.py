"""SupervisedBot: one bot of a service, life after life, until it is ended, given up, or another service has it.

::

    life ─▶ ended by the manager ─▶ its status is written down
      ▲ └─▶ failed ─▶ pause ─┐└─▶ failed too often ─▶ given up, its owner is told
      └──────────────────────┘
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final

from atf.errors import (
    AtfError,
    ConfigurationError,
    Conflict,
    DatabaseUnavailable,
    InvalidInput,
    TransactionConflict,
    storable,
)
from atf.notifications.message import OutgoingMessage, Priority
from atf.trading.base_trading_bot import BotFailed
from atf.trading.books import BotEvent, BotTaken
from atf.trading.bot import Bot, BotStatus, TradingState
from atf.trading.bot_config import parse_bot_config
from atf.trading.broker import VenueUnavailable
from atf.trading.recovery import PositionMismatch
from atf.trading.restarts import Restarts, is_stale
from atf.trading.service_store import Beat
from atf.trading.strategy_instance import Recycle, StrategyInstance, TradingHouse

_LOGGER = logging.getLogger(__name__)
_DATABASE_PAUSE: Final = 1.0
_EXPECTED: Final = (AtfError, OSError)
MATCHED: Final = "matched"
"""The outcome of a comparison that has found nothing."""


class Departure(Enum):
    """Why a bot has left by itself."""

    GIVEN_UP = auto()
    TAKEN = auto()
    """Another service has it; it is taken again when nobody has it any more."""


@dataclass(frozen=True, slots=True)
class Supervision:
    """What the supervision of all bots of a service shares.

    ``first_pause``: before the first start after a failure; the next ones wait longer. ``hands_state``: whether
    strategies are told what their bots hold. ``on_departure``: called when a bot has left by itself.
    """

    house: TradingHouse
    node_id: str
    first_pause: timedelta
    hands_state: bool
    on_departure: Callable[[SupervisedBot, Departure], None]


class SupervisedBot:
    """A bot that is run: its row as it was loaded, its failures, and its present life."""

    def __init__(self, bot: Bot, common: Supervision, restarts: Restarts | None = None) -> None:
        self.bot = bot
        self.restarts = restarts or Restarts()
        self.instance: StrategyInstance | None = None
        self._common = common
        self._task: asyncio.Task[None] | None = None
        self._ending: BotStatus | None = BotStatus.STOPPED

    def begin(self) -> asyncio.Future[None]:
        """Start it and return what is done when it runs for the first time, or has failed."""
        is_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def up() -> None:
            if not is_up.done():
                is_up.set_result(None)

        self._task = asyncio.create_task(self._live(up), name=f"bot-{self.bot.id}")
        self._task.add_done_callback(lambda _: up())
        return is_up

    async def end(self, ending: BotStatus | None) -> None:
        """End it and write down what it is then; None: nothing may be written down, it may be another's by now.

        Errors: those of the database.
        """
        self._ending = ending
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def set_trading_state(self, state: TradingState) -> None:
        """Let it trade so from its next order on."""
        self.bot = replace(self.bot, trading_state=state)
        if self.instance is not None:
            self.instance.set_trading_state(state)

    def beat(self, now: datetime, interval: timedelta) -> Beat | None:
        """Return how it is, None if it has no life now; one without progress for too long is ended as failed."""
        beat = None if self.instance is None else self.instance.beat()
        if self.instance is None or beat is None:
            return None
        if self.instance.is_running and is_stale(beat.at, now, interval):
            self.instance.fail(BotFailed(f"no progress since {beat.at:%Y-%m-%d %H:%M:%S} UTC"))
        elif self.instance.is_running:
            self.restarts = self.restarts.after_health(now, interval)
        return replace(beat, error_count=self.restarts.count)

    async def compare_positions(self) -> str:
        """Compare books and venue and return the outcome in words; what differs ends this life for good."""
        instance = self.instance
        if instance is None:
            return "refused: the bot does not run"
        try:
            await instance.check_positions()
        except PositionMismatch as exc:
            instance.fail(exc)
            return str(exc)
        except (VenueUnavailable, Conflict) as exc:
            return f"not compared: {exc}"
        return MATCHED

    # --- life after life ---

    async def _live(self, up: Callable[[], None]) -> None:
        while True:
            try:
                await self._one_life(up)
            except asyncio.CancelledError:
                if self._ending is not None:
                    await asyncio.shield(self._note(self._ending, error=None))
                raise
            except Recycle as exc:
                _LOGGER.info("bot %d gets a fresh process: %s", self.bot.id, exc)
            except BotTaken as exc:
                _LOGGER.error("bot %d is let go: %s", self.bot.id, exc)
                return self._common.on_departure(self, Departure.TAKEN)
            except (PositionMismatch, InvalidInput, ConfigurationError) as exc:
                return await self._give_up(exc)
            except (DatabaseUnavailable, TransactionConflict) as exc:  # no failure of the bot's
                _LOGGER.warning("bot %d waits for the database: %s", self.bot.id, exc)
                await asyncio.sleep(_DATABASE_PAUSE)
            except Exception as exc:  # noqa: BLE001 - whatever a bot does, it must not touch the others
                if not await self._may_go_on(exc):
                    return None
            finally:
                self.instance = None
                up()

    async def _one_life(self, up: Callable[[], None]) -> None:
        common = self._common
        await asyncio.sleep(self.restarts.pause(common.first_pause).total_seconds())
        config = parse_bot_config(self.bot.config)
        self.instance = StrategyInstance(self.bot, config, common.house, hands_state=common.hands_state)

        async def on_running() -> None:
            self.restarts = self.restarts.after_start(common.house.clock.now())
            await self._note(BotStatus.RUNNING, error=None)
            up()

        await self.instance.run(on_running)

    async def _may_go_on(self, error: Exception) -> bool:
        surprise = None if isinstance(error, _EXPECTED) else error
        _LOGGER.warning("bot %d failed: %s", self.bot.id, error, exc_info=surprise)
        restarts = self.restarts.after_failure()
        if restarts is None:
            await self._give_up(error)
            return False
        self.restarts = restarts
        await self._note_patiently(BotStatus.STARTING, error)
        return True

    async def _give_up(self, error: Exception) -> None:
        _LOGGER.error("bot %d is given up: %s", self.bot.id, error)
        bot = self.bot
        message = OutgoingMessage(
            bot.user_id,
            "bot",
            f"Bot {bot.name} stopped",
            storable(f"Bot {bot.name} has stopped: {error}"),
            dedup_key=f"bot-{bot.id}-stopped-{uuid.uuid4()}",
            channels=None,
            priority=Priority.URGENT,
        )
        await self._note_patiently(BotStatus.ERROR, error, [message])
        self._common.on_departure(self, Departure.GIVEN_UP)

    async def _note_patiently(
        self, status: BotStatus, error: Exception, messages: Sequence[OutgoingMessage] = ()
    ) -> None:
        """Write down what became of it, however long the database takes to answer."""
        while True:
            try:
                return await self._note(status, error=error, messages=messages)
            except (DatabaseUnavailable, TransactionConflict) as exc:
                _LOGGER.warning("bot %d: its status is not stored yet: %s", self.bot.id, exc)
            await asyncio.sleep(_DATABASE_PAUSE)

    async def _note(
        self, status: BotStatus, *, error: Exception | None, messages: Sequence[OutgoingMessage] = ()
    ) -> None:
        told = None if error is None else storable(str(error))  # it may be a strategy's own words
        event = BotEvent(str(status), told or f"the bot is {status}", "info" if error is None else "error")
        await self._common.house.store.note_status(
            self.bot.id,
            self._common.node_id,
            status,
            error=told,
            error_count=self.restarts.count,
            events=[event],
            messages=messages,
        )
