"""The supervisor: starts processes in order, starts again what dies, and stops them in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from atf.errors import AtfError
from atf.jobs.retry import BackOff
from atf.lifecycle import LIFELINE_VARIABLE

_LOGGER = logging.getLogger(__name__)
_SHORT_LIFE_SECONDS: Final = 5.0
_MOST_SHORT_LIVES: Final = 10


@dataclass(frozen=True, slots=True)
class ChildCommand:
    """A process to keep alive: arguments of the ``atf`` command, and the file that takes its output."""

    name: str
    arguments: Sequence[str]
    log_file: Path
    environment: Mapping[str, str] = field(default_factory=dict)


class ChildGaveUp(AtfError):
    """A child dies again and again right after its start; its log tells why."""


class Supervisor:
    """Keeps children alive until it is stopped. They end by themselves if it dies, as their lifeline ends."""

    def __init__(
        self, children: Sequence[ChildCommand], *, shutdown_timeout: timedelta = timedelta(seconds=30)
    ) -> None:
        self._commands = children
        self._shutdown_timeout = shutdown_timeout
        self._keepers: list[asyncio.Task[None]] = []
        self._lifeline: tuple[int, int] | None = None

    async def start(self) -> None:
        """Start all children."""
        self._lifeline = os.pipe()
        for command in self._commands:
            keeper = asyncio.create_task(self._keep(command), name=command.name)
            self._keepers.append(keeper)

    async def watch(self) -> None:
        """Return never; raise ChildGaveUp as soon as one of the children cannot be kept alive."""
        await asyncio.gather(*self._keepers)

    async def stop(self) -> None:
        """Stop all children, the last started first; harmless when repeated or never started."""
        while self._keepers:
            keeper = self._keepers.pop()
            keeper.cancel()
            await asyncio.wait({keeper})
        lifeline, self._lifeline = self._lifeline, None
        for descriptor in lifeline or ():
            os.close(descriptor)

    async def _keep(self, command: ChildCommand) -> None:
        back_off = BackOff(timedelta(seconds=0.2), cap=timedelta(seconds=5))
        short_lives = 0
        while True:
            began = time.monotonic()
            status = await self._live_once(command)
            short_lives = short_lives + 1 if time.monotonic() - began < _SHORT_LIFE_SECONDS else 0
            if short_lives >= _MOST_SHORT_LIVES:
                raise ChildGaveUp(
                    f"{command.name} died {short_lives} times right after its start (last exit status "
                    f"{status}): see {command.log_file}"
                )
            _LOGGER.warning("%s ended with status %s and is started again", command.name, status)
            await asyncio.sleep(back_off.delay(max(1, short_lives), 1.0).total_seconds())

    async def _live_once(self, command: ChildCommand) -> int:
        child = await self._spawn(command)
        try:
            return await child.wait()
        finally:
            await asyncio.shield(self._end(child))

    async def _spawn(self, command: ChildCommand) -> asyncio.subprocess.Process:
        if self._lifeline is None:
            raise RuntimeError("the supervisor is not started")
        reading_end = self._lifeline[0]
        environment = {**os.environ, **command.environment, LIFELINE_VARIABLE: str(reading_end)}
        with command.log_file.open("ab") as log:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "atf",
                *command.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=(reading_end,),
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which then stops them in order
            )

    async def _end(self, child: asyncio.subprocess.Process) -> None:
        if child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._shutdown_timeout.total_seconds()):
                await child.wait()
        except TimeoutError:
            _LOGGER.warning("process %d did not stop in time and is killed", child.pid)
            child.kill()
            await child.wait()
