"""The demo: real prices through the real scheduler, worker, evaluator, database and notification queue.

It prepares a replay in a database of its own, starts the processes, looks on until all is done, and says
whether every stage was passed. Killed at any instant and started again, it goes on where it was.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from atf.bootstrap.demo import Replay, ReplayCounts, find_replay, open_counts, prepare_replay
from atf.bootstrap.home_lock import only_one
from atf.demo.dataset import load_dataset
from atf.demo.demo_alerts import CHANNELS, demo_alerts
from atf.demo.demo_bots import demo_bots
from atf.demo.summary import Summary, summarise
from atf.demo.view import View
from atf.errors import TemporaryFailure
from atf.market.bars import Timeframe
from atf.services.supervisor.supervisor import ChildCommand, Supervisor
from atf.settings import Settings

ONCE_SESSIONS: Final = 500
_LOOK_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """A replay and how many sessions it has."""

    replay: Replay
    sessions: int


def plan_demo(settings: Settings, *, sessions: int | None) -> DemoPlan:
    """Return the plan for the newest ``sessions`` sessions of the data, None for all.

    With a bot's token the alerts go to Telegram, too.
    """
    channels = (*CHANNELS, "telegram") if settings.telegram_token else CHANNELS
    bars = load_dataset()
    days: list[datetime] = sorted({run.time_at(i) for run in bars.values() for i in range(len(run))})
    replayed = days if sessions is None else days[-sessions:]
    alerts = [alert for series in sorted(bars) for alert in demo_alerts(series.symbol, channels)]
    length = Timeframe.D1.length
    replay = Replay(bars, Timeframe.D1, replayed[0], replayed[-1] + length, alerts, demo_bots())
    return DemoPlan(replay, len(replayed))


async def run_demo(settings: Settings, plan: DemoPlan, view: View) -> Summary:
    """Replay the plan and return its summary.

    Errors: Conflict if a demo runs already; ChildGaveUp if a process cannot be kept alive.
    """
    with only_one(settings.home, "demo"):
        began = time.monotonic()
        position = await find_replay(settings)
        if position is None or position.is_finished or position.begins_at != plan.replay.begins_at:
            view.say("preparing: a database of its own, five shares' prices, thirty alerts, three bots on paper")
            link = await prepare_replay(settings, plan.replay)
            if settings.telegram_token:
                view.say(f"to get the messages at Telegram send this to your bot: {link}")
        else:
            view.say(f"going on at {position.now_at:%Y-%m-%d}, where the last demo was stopped")
        counts = await _replay(settings, plan, view)
        seconds = time.monotonic() - began
        return summarise(counts, sessions=plan.sessions, alerts=len(plan.replay.alerts), seconds=seconds)


async def _replay(settings: Settings, plan: DemoPlan, view: View) -> ReplayCounts:
    async with open_counts(settings) as source:
        supervisor = Supervisor(_children(settings), shutdown_timeout=timedelta(seconds=10))
        starting = asyncio.create_task(supervisor.start())
        watching = asyncio.create_task(_ended(supervisor, starting))
        try:
            while True:
                try:
                    counts = await source.count()
                except TemporaryFailure:  # the database was killed; whoever looks first starts it again
                    counts = None
                if counts is not None:
                    view.update(counts, plan.sessions)
                    if _is_done(counts):
                        return counts
                done, _ = await asyncio.wait({watching}, timeout=_LOOK_SECONDS)
                if done:
                    watching.result()
        finally:
            await asyncio.shield(supervisor.stop())
            await asyncio.wait({starting, watching})


async def _ended(supervisor: Supervisor, starting: asyncio.Task[None]) -> None:
    await starting
    await supervisor.wait_ended()


def _is_done(counts: ReplayCounts) -> bool:
    """The last session is reached before its runs are made: what is due counts as well as what is stored."""
    unfinished = {"PENDING", "RUNNING", "SENDING"}
    return (
        counts.now_at >= counts.ends_at
        and not counts.is_due
        and not counts.bots_behind
        and not unfinished & set(counts.runs)
        and not unfinished & set(counts.deliveries)
    )


def _children(settings: Settings) -> list[ChildCommand]:
    environment = {
        "ATF_HOME": str(settings.home),
        "ATF_PG_ALLOW_NOBODY": "true",
        "ATF_POLL_INTERVAL": "1",
        "SCHEDULER_STARTUP_DELAY": "0",
        "ATF_CONFIG": "none",  # a file could name another database
        "ATF_DATABASE_URL": "",
        "SCHEDULER_DATABASE_URL": "",
    }
    notifications = "telegram" if settings.telegram_token else "notifications"
    commands = {
        "notifications": (notifications, "start"),
        "worker": ("worker", "start"),
        "trading": ("trading", "start", "--poll-interval", "1"),
        "scheduler": ("scheduler", "start"),
    }
    return [
        ChildCommand(name, arguments, settings.home / f"{name}.log", environment)
        for name, arguments in commands.items()
    ]
