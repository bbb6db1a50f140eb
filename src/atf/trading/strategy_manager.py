"""StrategyManager: the one that loads bots' configurations, and that starts, watches and ends bots.

It decides which bots run; what each of them holds is for its recovery to find out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from atf.errors import (
    AtfError,
    ConfigurationError,
    Conflict,
    DatabaseUnavailable,
    InvalidInput,
    TransactionConflict,
)
from atf.notifications.client import NotificationServiceClient
from atf.notifications.intake import NewNotification
from atf.trading.base_trading_bot import BotFailed
from atf.trading.books import BotEvent, BotTaken
from atf.trading.bot import Bot, BotStatus, DesiredState, TradingState, is_to_start
from atf.trading.bot_config import parse_bot_config
from atf.trading.broker import VenueUnavailable
from atf.trading.crash_marker import CrashMarker
from atf.trading.order import BotId
from atf.trading.recovery import PositionMismatch
from atf.trading.restarts import Restarts, is_stale
from atf.trading.service_store import GivenCommand, Session, TradingStore
from atf.trading.session_life import is_alive
from atf.trading.strategy_instance import Recycle, StrategyInstance, TradingHouse

_LOGGER = logging.getLogger(__name__)
_TO_COME_UP: Final = timedelta(seconds=30)
"""How long a start waits for its bots; one that has not come up by then is waiting for its venue."""


_DATABASE_PAUSE: Final = 1.0


@dataclass(frozen=True, slots=True)
class ManagerIntervals:
    """How often what is done: ``heartbeat`` written, ``poll`` of the database, ``reconcile`` of running bots.

    ``restart``: how long the first start after a failure waits; the next ones wait longer.
    """

    heartbeat: timedelta = timedelta(seconds=60)
    poll: timedelta = timedelta(seconds=30)
    reconcile: timedelta = timedelta(minutes=5)
    restart: timedelta = timedelta(seconds=1)


@dataclass(slots=True, eq=False)
class _Managed:
    """A bot that is run: its row as it was loaded, its task, and its present life."""

    bot: Bot
    restarts: Restarts = field(default_factory=Restarts)
    task: asyncio.Task[None] | None = None
    instance: StrategyInstance | None = None
    ending: BotStatus | None = BotStatus.STOPPED
    """What it is when its task is cancelled; None: nothing that may be written down."""


class StrategyManager:
    """Runs the bots of one service."""

    def __init__(
        self,
        house: TradingHouse,
        session: Session,
        marker: CrashMarker,
        notifier: NotificationServiceClient,
        intervals: ManagerIntervals | None = None,
    ) -> None:
        self._house = house
        self._session = session
        self._marker = marker
        self._notifier = notifier
        self._intervals = intervals or ManagerIntervals()
        self._bots: dict[BotId, _Managed] = {}
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
        ups = [self._begin(managed) for managed in self._bots.values()]
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
        await self._notifier.close()
        for error in endings:
            if isinstance(error, BaseException):
                raise error
        await self._store.end_session(self._session.node_id)

    async def abandon(self) -> None:
        """End all processes at once and write nothing down: the bots may belong to another service by now."""
        await self.stop_monitoring()
        await asyncio.gather(*(self._end(one, None) for one in list(self._bots.values())))

    # --- one bot ---

    async def _take_on(self, bot: Bot) -> bool:
        if not await self._store.claim(bot.id, self._session.node_id, self._former):
            _LOGGER.info("bot %d (%s) is run by another service", bot.id, bot.name)
            return False
        self._bots[bot.id] = _Managed(bot)
        self._given_up.discard(bot.id)
        return True

    def _begin(self, managed: _Managed) -> asyncio.Future[None]:
        """Start a bot and return what is done when it runs for the first time, or has failed."""
        is_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def up() -> None:
            if not is_up.done():
                is_up.set_result(None)

        managed.task = asyncio.create_task(self._supervise(managed, up), name=f"bot-{managed.bot.id}")
        managed.task.add_done_callback(lambda _: up())
        return is_up

    async def _supervise(self, managed: _Managed, up: Callable[[], None]) -> None:
        """Run a bot life after life, until it is ended, or has failed too often."""
        while True:
            try:
                await self._one_life(managed, up)
            except asyncio.CancelledError:
                if managed.ending is not None:
                    await asyncio.shield(self._note(managed, managed.ending, error=None))
                raise
            except Recycle as exc:
                _LOGGER.info("bot %d gets a fresh process: %s", managed.bot.id, exc)
                continue
            except BotTaken as exc:
                _LOGGER.error("bot %d is let go: %s", managed.bot.id, exc)
                self._bots.pop(managed.bot.id, None)  # it is taken again when nobody else has it any more
                return
            except (PositionMismatch, InvalidInput, ConfigurationError) as exc:
                await self._give_up(managed, exc)
                return
            except (DatabaseUnavailable, TransactionConflict) as exc:  # no failure of the bot's
                _LOGGER.warning("bot %d waits for the database: %s", managed.bot.id, exc)
                await asyncio.sleep(_DATABASE_PAUSE)
            except Exception as exc:  # noqa: BLE001 - whatever a bot does, it must not touch the others
                if not await self._may_go_on(managed, exc):
                    return
            finally:
                managed.instance = None
                up()

    async def _one_life(self, managed: _Managed, up: Callable[[], None]) -> None:
        await asyncio.sleep(managed.restarts.pause(self._intervals.restart).total_seconds())
        config = parse_bot_config(managed.bot.config)
        instance = StrategyInstance(managed.bot, config, self._house, hands_state=self._hands_state)
        managed.instance = instance

        async def on_running() -> None:
            managed.restarts = managed.restarts.after_start(self._house.clock.now())
            await self._note(managed, BotStatus.RUNNING, error=None)
            up()

        await instance.run(on_running)

    async def _may_go_on(self, managed: _Managed, error: Exception) -> bool:
        _LOGGER.warning("bot %d failed: %s", managed.bot.id, error, exc_info=_surprise(error))
        restarts = managed.restarts.after_failure()
        if restarts is None:
            await self._give_up(managed, error)
            return False
        managed.restarts = restarts
        await self._note_patiently(managed, BotStatus.STARTING, error)
        return True

    async def _give_up(self, managed: _Managed, error: Exception) -> None:
        _LOGGER.error("bot %d is given up: %s", managed.bot.id, error)
        await self._note_patiently(managed, BotStatus.ERROR, error)
        bot = managed.bot
        with suppress(AtfError):  # it stands in the bot's history all the same
            await self._notifier.send(
                NewNotification(
                    user_id=bot.user_id,
                    message=f"Bot {bot.name} has stopped: {error}",
                    title=f"Bot {bot.name} stopped",
                    notification_type="bot",
                    priority="urgent",
                )
            )
        self._bots.pop(bot.id, None)
        self._given_up.add(bot.id)

    async def _note_patiently(self, managed: _Managed, status: BotStatus, error: Exception) -> None:
        """Write down what became of a bot, however long the database takes to answer."""
        while True:
            try:
                return await self._note(managed, status, error=error)
            except (DatabaseUnavailable, TransactionConflict) as exc:
                _LOGGER.warning("bot %d: its status is not stored yet: %s", managed.bot.id, exc)
            await asyncio.sleep(_DATABASE_PAUSE)

    async def _note(self, managed: _Managed, status: BotStatus, *, error: Exception | None) -> None:
        event = BotEvent(
            str(status), str(error) if error else f"the bot is {status}", "error" if error else "info"
        )
        await self._store.note_status(
            managed.bot.id,
            self._session.node_id,
            status,
            error=None if error is None else str(error),
            error_count=managed.restarts.count,
            events=[event],
        )

    async def _end(self, managed: _Managed, ending: BotStatus | None) -> None:
        managed.ending = ending
        self._bots.pop(managed.bot.id, None)
        if managed.task is not None:
            managed.task.cancel()
            with suppress(asyncio.CancelledError):
                await managed.task

    async def _restart(self, managed: _Managed, bot: Bot) -> None:
        """End a bot and begin it anew as it is stored now; its count of failures goes with it."""
        await self._end(managed, BotStatus.STARTING)
        if await self._take_on(bot):
            fresh = self._bots[bot.id]
            fresh.restarts = managed.restarts
            self._begin(fresh)

    # --- chores ---

    async def _heartbeat_once(self) -> None:
        now, interval = self._house.clock.now(), self._intervals.heartbeat
        beats = []
        for managed in list(self._bots.values()):
            beat = None if managed.instance is None else managed.instance.beat()
            if managed.instance is None or beat is None:
                continue
            if managed.instance.is_running and is_stale(beat.at, now, interval):
                managed.instance.fail(BotFailed(f"no progress since {beat.at:%Y-%m-%d %H:%M:%S} UTC"))
            elif managed.instance.is_running:
                managed.restarts = managed.restarts.after_health(now, interval)
            beats.append(replace(beat, error_count=managed.restarts.count))
        await self._store.beat(self._session.node_id, beats)

    async def _reconcile_once(self) -> None:
        for one in self.strategy_instances:
            try:
                await one.check_positions()
            except PositionMismatch as exc:
                one.fail(exc)
            except (VenueUnavailable, Conflict) as exc:
                _LOGGER.info("bot %d: positions are not compared now: %s", one.bot.id, exc)

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
        for command in await self._store.commands():
            await self._obey(command)
        stored = {bot.id: bot for bot in await self._store.bots(self._user_id)}
        for managed in list(self._bots.values()):
            await self._follow(managed, stored.get(managed.bot.id))
        self._given_up &= {bot.id for bot in stored.values() if bot.desired_state is DesiredState.RUNNING}
        for bot in stored.values():
            if bot.id not in self._bots and self._is_to_start_now(bot) and await self._take_on(bot):
                self._begin(self._bots[bot.id])

    def _is_to_start_now(self, bot: Bot) -> bool:
        """Whether somebody wants a bot that does not run here to do so."""
        is_wanted = bot.status is not BotStatus.ERROR and is_to_start(bot, after_crash=False)
        if is_wanted and bot.id in self._left_out and bot.updated_at == self._left_out[bot.id]:
            return False
        self._left_out.pop(bot.id, None)
        return is_wanted

    async def _follow(self, managed: _Managed, stored: Bot | None) -> None:
        """Do to a running bot what its row says by now."""
        if stored is None or stored.desired_state is DesiredState.STOPPED:
            await self._end(managed, BotStatus.STOPPED)
        elif stored.status is BotStatus.DISABLED:
            await self._end(managed, BotStatus.DISABLED)
        elif stored.version != managed.bot.version:
            await self._restart(managed, stored)
        elif stored.trading_state is not managed.bot.trading_state:
            self._set_trading_state(managed, stored.trading_state)

    def _set_trading_state(self, managed: _Managed, state: TradingState) -> None:
        managed.bot = replace(managed.bot, trading_state=state)
        if managed.instance is not None:
            managed.instance.set_trading_state(state)

    async def _obey(self, command: GivenCommand) -> None:
        """Do what somebody, such as an alert, wants of a bot, or leave it to the service that runs the bot."""
        managed = self._bots.get(command.bot_id)
        if not command.is_allowed:
            outcome = "refused: there is no such bot"
        elif command.command in _WISHES:
            is_done = await self._store.wish(command.bot_id, command.command)
            outcome = "done" if is_done else "refused: the bot is disabled or halted"
        elif managed is None and command.node_id not in (None, self._session.node_id):
            return
        elif managed is None:
            outcome = "refused: the bot does not run"
        elif command.command == "restart":
            await self._restart(managed, managed.bot)
            outcome = "done"
        elif command.command == "reconcile":
            outcome = await self._reconcile(managed)
        else:
            outcome = f"refused: no strategy takes a {command.command} yet"
        await self._store.finish_command(command.id, outcome)

    async def _reconcile(self, managed: _Managed) -> str:
        if managed.instance is None:
            return "refused: the bot does not run"
        try:
            await managed.instance.check_positions()
        except PositionMismatch as exc:
            managed.instance.fail(exc)
            return str(exc)
        except (VenueUnavailable, Conflict) as exc:
            return f"not compared: {exc}"
        return "matched"


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


_EXPECTED: Final = (AtfError, OSError)
_WISHES: Final = frozenset({"start", "stop", "pause", "resume"})
"""Commands that change what is wished of a bot; the next look into the database does it."""


def _surprise(error: Exception) -> Exception | None:
    return None if isinstance(error, _EXPECTED) else error
