"""The supervisor: starts processes, starts again what dies, and stops them in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from atf.errors import AtfError
from atf.jobs.retry import BackOff
from atf.lifecycle import LIFELINE_VARIABLE, Service
from atf.services.supervisor.readiness import SOCKET_VARIABLE, ReadinessSocket

_LOGGER = logging.getLogger(__name__)
_SHORT_LIFE_SECONDS: Final = 5.0
_MOST_SHORT_LIVES: Final = 10
_BACK_OFF: Final = BackOff(timedelta(seconds=0.2), cap=timedelta(seconds=5))


@dataclass(frozen=True, slots=True)
class ChildCommand:
    """A process to keep alive: arguments of the ``atf`` command, or of another ``program``.

    Without ``log_file`` it writes where the supervisor does. It counts as ready when it tells so as it would
    tell systemd.
    """

    name: str
    arguments: Sequence[str]
    log_file: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    program: Sequence[str] = (sys.executable, "-m", "atf")


class ChildGaveUp(AtfError):
    """A child dies again and again right after its start; its log tells why."""


class Supervisor(Service):
    """Keeps children alive until it is stopped; it counts as started when each has been ready once.

    If the supervisor itself is killed, the end of its lifeline tells the children to stop.
    """

    def __init__(
        self,
        children: Sequence[ChildCommand],
        *,
        shutdown_timeout: timedelta = timedelta(seconds=30),
        back_off: BackOff = _BACK_OFF,
    ) -> None:
        super().__init__("supervisor")
        self._children = [_Child(command, back_off) for command in children]
        self._shutdown_timeout = shutdown_timeout

    async def _serve(self, started: Callable[[], None]) -> None:
        lifeline = os.pipe()
        keepers = [asyncio.create_task(child.keep(lifeline[0])) for child in self._children]
        readiness = asyncio.create_task(self._all_ready())
        try:
            await asyncio.wait({readiness, *keepers}, return_when=asyncio.FIRST_COMPLETED)
            if readiness.done():
                started()
            for ended in (await asyncio.wait(keepers, return_when=asyncio.FIRST_COMPLETED))[0]:
                ended.result()
        finally:
            readiness.cancel()
            await asyncio.shield(self._stop_in_reverse(keepers))
            for descriptor in lifeline:
                os.close(descriptor)

    async def _all_ready(self) -> None:
        for child in self._children:
            await child.ready.wait()

    async def _stop_in_reverse(self, keepers: Sequence[asyncio.Task[None]]) -> None:
        """All share one time-out: a child that is slow to stop takes from those that come after it."""
        deadline = time.monotonic() + self._shutdown_timeout.total_seconds()
        for child, keeper in zip(reversed(self._children), reversed(keepers), strict=True):
            child.deadline = deadline
            keeper.cancel()
            await asyncio.wait({keeper})


class _Child:
    """One command and whichever process runs it now."""

    def __init__(self, command: ChildCommand, back_off: BackOff) -> None:
        self._command = command
        self._back_off = back_off
        self.ready = asyncio.Event()
        self.deadline: float | None = None

    async def keep(self, lifeline: int) -> None:
        """Keep a process of the command alive until cancelled. Errors: ChildGaveUp."""
        short_lives = 0
        while True:
            began = time.monotonic()
            status = await self._live_once(lifeline)
            short_lives = short_lives + 1 if time.monotonic() - began < _SHORT_LIFE_SECONDS else 0
            if short_lives >= _MOST_SHORT_LIVES:
                raise self._gave_up(status)
            _LOGGER.warning("%s ended with status %s and is started again", self._command.name, status)
            await asyncio.sleep(self._back_off.delay(max(1, short_lives), 1.0).total_seconds())

    def _gave_up(self, status: int) -> ChildGaveUp:
        told = f"see {self._command.log_file}" if self._command.log_file else "its messages are above"
        return ChildGaveUp(
            f"{self._command.name} died {_MOST_SHORT_LIVES} times right after its start "
            f"(last exit status {status}): {told}"
        )

    async def _live_once(self, lifeline: int) -> int:
        with ReadinessSocket() as socket:
            process = await self._spawn(lifeline, socket)
            listening = asyncio.create_task(self._listen(socket))
            try:
                return await process.wait()
            finally:
                listening.cancel()
                await asyncio.wait({listening})
                await self._end(process)

    async def _listen(self, socket: ReadinessSocket) -> None:
        await socket.wait_ready()
        self.ready.set()

    async def _spawn(self, lifeline: int, socket: ReadinessSocket) -> asyncio.subprocess.Process:
        command = self._command
        ours = {LIFELINE_VARIABLE: str(lifeline), SOCKET_VARIABLE: str(socket.path)}
        inherited = {name: value for name, value in os.environ.items() if name != "WATCHDOG_USEC"}
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(command.log_file.open("ab")) if command.log_file else None
            return await asyncio.create_subprocess_exec(
                *command.program,
                *command.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**inherited, **command.environment, **ours},
                pass_fds=(lifeline,),
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which then stops them in order
            )

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        """Stop the process within the deadline; kill it if it takes longer. Nothing interrupts this."""
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        seconds_left = 0.0 if self.deadline is None else max(0.0, self.deadline - time.monotonic())
        ending = asyncio.create_task(process.wait())
        await asyncio.wait({ending}, timeout=seconds_left)
        if not ending.done():
            _LOGGER.warning("%s did not stop in time and is killed", self._command.name)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await asyncio.wait({ending})
