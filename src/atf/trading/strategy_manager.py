"""StrategyManager: the one that loads bots' configurations, and that starts, watches and ends bots.

It decides which bots run; what each of them holds is for its recovery to find out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from atf.errors import AtfError
from atf.trading.bot import Bot, BotStatus, DesiredState, is_to_start
from atf.trading.bot_commands import BotCommands
from atf.trading.bot_supervision import MATCHED, Departure, SupervisedBot, Supervision
from atf.trading.crash_marker import CrashMarker
from atf.trading.order import BotId
from atf.trading.restarts import Restarts
from atf.trading.service_store import Session, TradingStore
from atf.trading.session_life import is_alive
from atf.trading.strategy_instance import StrategyInstance, TradingHouse

_LOGGER = logging.getLogger(__name__)
_TO_COME_UP: Final = timedelta(seconds=30)
"""How long a start waits for its bots; one that has not come up by then is waiting for its venue."""


@dataclass(frozen=True, slots=True)
class ManagerIntervals:
    """How often what is done: ``heartbeat`` written, ``poll`` of the database, ``reconcile`` of running bots.

    ``restart``: how long the first start after a failure waits; the next ones wait longer.
    """

    heartbeat: timedelta = timedelta(seconds=60)
    poll: timedelta = timedelta(seconds=30)
    reconcile: timedelta = timedelta(minutes=5)
    restart: timedelta = timedelta(seconds=1)


class StrategyManager:
    """Runs the bots of one service."""

    def __init__(
        self,
        house: TradingHouse,
        session: Session,
        marker: CrashMarker,
        intervals: ManagerIntervals | None = None,
    ) -> None:
        self._house = house
        self._session = session
        self._marker = marker
        self._intervals = intervals or ManagerIntervals()
        self._bots: dict[BotId, SupervisedBot] = {}
        self._commands = BotCommands(house.store, session.node_id, self._bots, self._restart)
        self._user_id: int | None = None
        self._former: frozenset[str] = frozenset()
        self._given_up: set[BotId] = set()
        self._left_out: dict[BotId, datetime | None] = {}
        """Bots that did not run before the crash, as they were: they start when somebody says so."""
        self._chores: list[asyncio.Task[None]] = []
        self._woken = asyncio.Event()
        self._hands_state = True
        self.crash_recovery = False

    @property
    def _store(self) -> TradingStore:
        return self._house.store

    @property
    def strategy_instances(self) -> Sequence[StrategyInstance]:
        """The bots that live now."""
        return [one.instance for one in self._bots.values() if one.instance is not None]

    @property
    def running(self) -> int:
        """How many bots run."""
        return sum(one.is_running for one in self.strategy_instances)

    @property
    def wanted(self) -> int:
        """How many bots are to run here, those that have failed too often among them."""
        return len(self._bots) + len(self._given_up)

    # --- start ---

    async def load_strategies_from_db(self, user_id: int | None = None, resume_mode: bool = True) -> bool:
        """Load the bots that are to run; return whether the last service was killed.

        After a crash they are those that ran; else, and always without ``resume_mode``, all that nobody has
        stopped or disabled. Bots that another living service has are left to it.
        """
        self._user_id = user_id
        unclean = await self._store.unclean_sessions(self._session.host)
        self._former = frozenset(one.node_id for one in unclean if not is_alive(one))
        is_crash = self._marker.is_there or bool(self._former)
        self.crash_recovery = resume_mode and is_crash
        self._hands_state = resume_mode
        _tell_mode(is_crash=is_crash, resume_mode=resume_mode)
        await self._store.begin_session(self._session)
        for bot in await self._store.bots(user_id):
            if is_to_start(bot, after_crash=self.crash_recovery):
                await self._take_on(bot)
            elif is_to_start(bot, after_crash=False):
                self._left_out[bot.id] = bot.updated_at
        before = "that ran before the crash" if self.crash_recovery else "that are enabled"
        _LOGGER.info("found %d bots %s", len(self._bots), before)
        return self.crash_recovery

    async def start_all_strategies(self) -> None:
        """Start all that is loaded, and return when each runs or has failed: then recovery is over.

        A bot that waits for its venue holds up nothing for longer than a moment: it goes on by itself.
        """
        ups = [one.begin() for one in self._bots.values()]
        if ups:
            await asyncio.wait(ups, timeout=_TO_COME_UP.total_seconds())
        await self._store.note_recovered(self._former)
        self._marker.write(self._session)

    async def start_monitoring(self) -> None:
        """Write heartbeats, find bots that make no progress, and compare positions now and then."""
        self._chores += [
            asyncio.create_task(_forever(self._heartbeat_once, self._intervals.heartbeat)),
            asyncio.create_task(_forever(self._reconcile_once, self._intervals.reconcile)),
        ]

    async def start_db_polling(self) -> None:
        """Follow what people change in the database: wishes, configurations, commands."""
        self._chores.append(asyncio.create_task(self._poll_forever()))

    def wake(self) -> None:
        """Look into the database now: somebody says that something has changed."""
        self._woken.set()

    # --- end ---

    async def stop_monitoring(self) -> None:
        """End the chores; bots go on."""
        for chore in self._chores:
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        self._chores.clear()
        await self._commands.close()

    async def shutdown(self) -> None:
        """End all bots, remember that each was stopped, and remove the marker if all of that worked.

        Errors: those of the database; then the next start sees a crash.
        """
        _LOGGER.info("shutting down: %d bots are stopped", len(self._bots))
        try:
            await self._stop_everything()
        except Exception:
            _LOGGER.warning("shutdown with errors: the crash marker stays, and the next start recovers")
            raise
        self._marker.remove()
        _LOGGER.info("shutdown complete")

    async def _stop_everything(self) -> None:
        """Stop all that can be stopped, whatever of it fails."""
        await self.stop_monitoring()
        endings = await asyncio.gather(
            *(self._end(one, BotStatus.STOPPED) for one in list(self._bots.values())), return_exceptions=True
        )
        await self._house.processes.close()
        for error in endings:
            if isinstance(error, BaseException):
                raise error
        await self._store.end_session(self._session.node_id)

    async def abandon(self) -> None:
        """End all processes at once and write nothing down: the bots may belong to another service by now."""
        await self.stop_monitoring()
        await asyncio.gather(*(self._end(one, None) for one in list(self._bots.values())))

    # --- one bot ---

    async def _take_on(self, bot: Bot, restarts: Restarts | None = None) -> SupervisedBot | None:
        """Take a bot that no living service has; None if one has it."""
        if not await self._store.claim(bot.id, self._session.node_id, self._former):
            _LOGGER.info("bot %d (%s) is run by another service", bot.id, bot.name)
            return None
        taken = self._bots[bot.id] = SupervisedBot(bot, self._supervision(), restarts)
        self._given_up.discard(bot.id)
        return taken

    def _supervision(self) -> Supervision:
        return Supervision(
            self._house,
            self._session.node_id,
            self._intervals.restart,
            self._hands_state,
            self._on_departure,
        )

    def _on_departure(self, one: SupervisedBot, why: Departure) -> None:
        self._bots.pop(one.bot.id, None)
        if why is Departure.GIVEN_UP:
            self._given_up.add(one.bot.id)

    async def _end(self, one: SupervisedBot, ending: BotStatus | None) -> None:
        self._bots.pop(one.bot.id, None)
        await one.end(ending)

    async def _restart(self, one: SupervisedBot, stored: Bot | None = None) -> None:
        """End a bot and begin it anew as it is stored now; its count of failures goes with it."""
        await self._end(one, BotStatus.STARTING)
        taken = await self._take_on(stored or one.bot, one.restarts)
        if taken is not None:
            taken.begin()

    # --- chores ---

    async def _heartbeat_once(self) -> None:
        now, interval = self._house.clock.now(), self._intervals.heartbeat
        beats = [one.beat(now, interval) for one in self._bots.values()]
        await self._store.beat(self._session.node_id, [beat for beat in beats if beat is not None])

    async def _reconcile_once(self) -> None:
        await asyncio.gather(*(self._compare(one) for one in self._bots.values()))

    async def _compare(self, one: SupervisedBot) -> None:
        outcome = await one.compare_positions()
        if outcome != MATCHED:
            _LOGGER.info("bot %d: %s", one.bot.id, outcome)

    async def _poll_forever(self) -> None:
        while True:
            try:
                await self._poll_once()
            except AtfError as exc:
                _LOGGER.warning("the bots are not looked at now: %s", exc)
            except Exception:
                _LOGGER.exception("the bots are not looked at now")
            self._woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._intervals.poll.total_seconds()):
                    await self._woken.wait()

    async def _poll_once(self) -> None:
        await self._commands.obey()
        stored = {bot.id: bot for bot in await self._store.bots(self._user_id)}
        for one in list(self._bots.values()):
            await self._follow(one, stored.get(one.bot.id))
        self._given_up &= {bot.id for bot in stored.values() if bot.desired_state is DesiredState.RUNNING}
        for bot in stored.values():
            if bot.id not in self._bots and self._is_to_start_now(bot) and (taken := await self._take_on(bot)):
                taken.begin()

    def _is_to_start_now(self, bot: Bot) -> bool:
        """Whether somebody wants a bot that does not run here to do so."""
        is_wanted = bot.status is not BotStatus.ERROR and is_to_start(bot, after_crash=False)
        if is_wanted and bot.id in self._left_out and bot.updated_at == self._left_out[bot.id]:
            return False
        self._left_out.pop(bot.id, None)
        return is_wanted

    async def _follow(self, one: SupervisedBot, stored: Bot | None) -> None:
        """Do to a running bot what its row says by now."""
        if stored is None or stored.desired_state is DesiredState.STOPPED:
            await self._end(one, BotStatus.STOPPED)
        elif stored.status is BotStatus.DISABLED:
            await self._end(one, BotStatus.DISABLED)
        elif stored.version != one.bot.version:
            await self._restart(one, stored)
        elif stored.trading_state is not one.bot.trading_state:
            one.set_trading_state(stored.trading_state)


async def _forever(work: Callable[[], Coroutine[Any, Any, None]], interval: timedelta) -> None:
    while True:
        await asyncio.sleep(interval.total_seconds())
        try:
            await work()
        except AtfError as exc:
            _LOGGER.warning("%s is put off: %s", work.__name__.strip("_"), exc)
        except Exception:  # a chore that ends unseen would leave bots unwatched
            _LOGGER.exception("%s is put off", work.__name__.strip("_"))


def _tell_mode(*, is_crash: bool, resume_mode: bool) -> None:
    if is_crash:
        _LOGGER.warning("unclean shutdown detected: the last trading service was killed")
    else:
        _LOGGER.info("clean startup detected")
    if not resume_mode:
        _LOGGER.warning("forced normal startup: strategies are told nothing of what their bots hold")
    elif is_crash:
        _LOGGER.warning("crash recovery mode: resuming the bots that ran")
    else:
        _LOGGER.info("normal startup: loading all bots that are enabled")
