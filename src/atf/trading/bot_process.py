"""BotProcess: a strategy in a process of its own, as the service deals with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from atf.trading.bot_messages import FromBot, ToBot
from atf.trading.order import BotId


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """What a bot may take; who takes more fails.

    ``memory_bytes`` of its process's own data, of which the system refuses more; what it has started has the same
    limit each, and so have all of them together. ``cpu_seconds_per_minute``: how long all of them may compute in
    any minute. ``processes``: how many there may be, the bot's own among them.
    """

    memory_bytes: int = 512 * 2**20
    cpu_seconds_per_minute: float = 60.0
    processes: int = 8


@dataclass(frozen=True, slots=True)
class Exited:
    """The process is gone; ``signal`` if it was killed by one, ``code`` if it ended by itself.

    ``reason``: a sentence that says which limit it was killed for; None if it was for none.
    """

    code: int | None
    signal: int | None
    reason: str | None = None


class BotProcess(Protocol):
    """One process; when the service ends, however it ends, so does the process."""

    @property
    def pid(self) -> int:
        """The process's id."""
        ...

    async def send(self, message: ToBot) -> None:
        """Hand a message over, and do not wait for its answer. A dead process tells by ``Exited``."""
        ...

    async def receive(self) -> FromBot | Exited:
        """Return the next that the process says; ``Exited`` is the last, time and again."""
        ...

    async def kill(self) -> None:
        """End it at once with all that it has started, and return when it is gone; harmless when repeated."""
        ...


class BotProcesses(Protocol):
    """Where bots' processes come from."""

    async def spawn(self, bot_id: BotId, limits: ProcessLimits) -> BotProcess:
        """Begin a process that waits for ``Start``.

        Errors: TemporaryFailure if the machine has no room for it now.
        """
        ...

    async def close(self, within: timedelta = timedelta(seconds=5)) -> None:
        """End all processes."""
        ...
