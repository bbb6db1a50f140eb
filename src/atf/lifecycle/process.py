"""How a process runs: until SIGTERM, Ctrl-C, the end of whoever started it, or the end of its service."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from atf.lifecycle.progress import Progress
from atf.lifecycle.sd_notify import SystemdNotifier
from atf.lifecycle.service import Service

LIFELINE_VARIABLE: Final = "ATF_LIFELINE_FD"
"""Names an inherited pipe whose other end the starter holds: its end means that the starter has died."""

OpenService = Callable[[], AbstractAsyncContextManager[Service]]


def run_process(open_service: OpenService, *, progress: Progress | None = None) -> None:
    """Run a service until the process is told to stop; then stop it and close what was opened for it.

    ``progress`` is what systemd's watchdog goes by; without it a process that lives counts as well.

    Errors: what made the service fail.
    """
    spare_what_stays()
    asyncio.run(_run(open_service, progress))


def spare_what_stays() -> None:
    """Let the garbage collector not look again at what is there now: modules, and what a service has begun with.

    A full collection of them takes 60 to 130 ms, during which the event loop stands still.
    """
    gc.collect()
    gc.freeze()


async def _run(open_service: OpenService, progress: Progress | None) -> None:
    notifier = SystemdNotifier()
    main = asyncio.create_task(_serve(open_service, notifier), name="main")
    watchdog = asyncio.create_task(_feed_watchdog(notifier, progress))
    _stop_on_signals(main, notifier)
    try:
        await asyncio.wait({main})
    finally:
        watchdog.cancel()
        await asyncio.wait({watchdog})
    if not main.cancelled():
        main.result()


async def _serve(open_service: OpenService, notifier: SystemdNotifier) -> None:
    notifier.status("starting")
    async with open_service() as service:
        loop = asyncio.get_running_loop()
        reloads: set[asyncio.Task[None]] = set()

        def reload() -> None:
            task = asyncio.create_task(_reload(service, notifier))
            reloads.add(task)
            task.add_done_callback(reloads.discard)

        loop.add_signal_handler(signal.SIGHUP, reload)
        try:
            await service.start()
            spare_what_stays()
            notifier.ready()
            notifier.status("running")
            await service.wait_ended()
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
            await asyncio.shield(service.stop())


async def _reload(service: Service, notifier: SystemdNotifier) -> None:
    notifier.reloading()
    await service.reload()
    notifier.ready()


async def _feed_watchdog(notifier: SystemdNotifier, progress: Progress | None) -> None:
    seconds = notifier.watchdog_seconds
    if seconds is None:
        return
    while True:
        if progress is None or progress.seconds_since < seconds:
            notifier.watchdog()
        await asyncio.sleep(seconds / 3)


def _stop_on_signals(main: asyncio.Task[None], notifier: SystemdNotifier) -> None:
    loop = asyncio.get_running_loop()
    is_stopping = False

    def stop() -> None:
        nonlocal is_stopping
        if not is_stopping:  # a second cancellation would interrupt the cleaning up that the first one began
            is_stopping = True
            notifier.stopping()
            main.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    _watch_lifeline(loop, stop)


def _watch_lifeline(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    descriptor = os.environ.pop(LIFELINE_VARIABLE, None)
    if descriptor is None:
        return
    lifeline = int(descriptor)
    os.set_inheritable(lifeline, False)

    def ended() -> None:
        loop.remove_reader(lifeline)
        stop()

    loop.add_reader(lifeline, ended)
