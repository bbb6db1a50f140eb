"""Bots' processes, forked by a zygote that is started when the first of them is wanted, and again if it dies."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from atf.adapters.bot_processes.bot_connection import BotConnection
from atf.adapters.bot_processes.zygote_process import ZygoteProcess
from atf.errors import TemporaryFailure
from atf.trading.bot_process import ProcessLimits
from atf.trading.order import BotId

_MOST_TRIES: Final = 2


class ForkedBots:
    """A BotProcesses for one event loop."""

    def __init__(self) -> None:
        self._zygote: ZygoteProcess | None = None
        self._is_closed = False

    @property
    def zygote_pid(self) -> int | None:
        """The process that forks; None before the first bot."""
        return None if self._zygote is None else self._zygote.pid

    async def spawn(self, bot_id: BotId, limits: ProcessLimits) -> BotConnection:  # noqa: ARG002 - the port's
        """Begin a process that waits for ``Start``. Errors: TemporaryFailure."""
        if self._is_closed:
            raise TemporaryFailure("bots cannot be started any more: the service ends")
        for tried in range(1, _MOST_TRIES + 1):
            zygote = self._living_zygote()
            try:
                return await zygote.spawn(limits)
            except TemporaryFailure:
                if not zygote.has_ended or tried == _MOST_TRIES:
                    raise
        raise AssertionError("unreachable")

    def _living_zygote(self) -> ZygoteProcess:
        if self._zygote is None or self._zygote.has_ended:
            try:
                self._zygote = ZygoteProcess()
            except OSError as exc:
                raise TemporaryFailure(f"bots cannot be started now: {exc}") from exc
        return self._zygote

    async def close(self, within: timedelta = timedelta(seconds=5)) -> None:
        """End all processes."""
        self._is_closed = True
        if self._zygote is not None:
            await self._zygote.close(within)
