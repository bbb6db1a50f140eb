"""How a process runs: until SIGTERM, Ctrl-C, or the end of whoever started it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final

LIFELINE_VARIABLE: Final = "ATF_LIFELINE_FD"
"""Names an inherited pipe whose other end the starter holds: its end means that the starter has died."""


def run_process(main: Coroutine[Any, Any, None]) -> None:
    """Run a service's main coroutine until it is told to stop; it is cancelled then and may clean up."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s [%(levelname)s] %(name)s: %(message)s"
    )
    for chatty in ("apscheduler", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    asyncio.run(_run_until_stopped(main))


async def _run_until_stopped(main: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.get_running_loop()
    task = loop.create_task(main, name="main")
    is_stopping = False

    def stop() -> None:
        nonlocal is_stopping
        if not is_stopping:  # a second cancellation would interrupt the cleaning up that the first one began
            is_stopping = True
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    _watch_lifeline(loop, stop)
    with contextlib.suppress(asyncio.CancelledError):
        await task


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
