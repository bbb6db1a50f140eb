"""One bot's process as the service holds it: frames out, frames in, and the news of its end."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

from atf.adapters.processes.frames import FrameReader, FrameTooLong, framed
from atf.errors import InvariantViolation
from atf.trading.bot_messages import FromBot, ToBot
from atf.trading.bot_process import Exited
from atf.trading.message_codec import LONGEST_FROM_BOT, decode_from_bot, encode

_PIECE: Final = 65_536
_MOST_WAITING: Final = 1000
"""Messages that are read ahead; then the bot waits until somebody receives them."""
_MUCH_OUTGOING: Final = 4 * 2**20
_MOST_IN_A_ROW: Final = 20
"""Messages that are there already and are taken before others have their turn."""


class BotConnection:
    """A BotProcess. Cancelling a ``send`` or a ``receive`` tears no message apart."""

    def __init__(self, pid: int, channel: socket.socket, kill: Callable[[int], Awaitable[None]]) -> None:
        self.pid: Final = pid
        self._channel = channel
        self._kill = kill
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(LONGEST_FROM_BOT)
        self._received: deque[bytes] = deque()
        self._in_a_row = 0
        self._outgoing = bytearray()
        self._exited: Exited | None = None
        self._problem: str | None = None
        self._has_hung_up = False
        self._is_listening = False
        self._news = asyncio.Event()
        self._has_room = asyncio.Event()
        self._gone = asyncio.Event()
        channel.setblocking(False)
        self._listen()

    async def send(self, message: ToBot) -> None:
        """Hand a message over; waits only if very much waits to be taken by the bot."""
        self._outgoing += framed(encode(message))
        self._flush()
        while len(self._outgoing) > _MUCH_OUTGOING and not self._has_hung_up:
            self._has_room.clear()
            await self._has_room.wait()

    def _flush(self) -> None:
        try:
            while self._outgoing and not self._has_hung_up:
                del self._outgoing[: self._channel.send(self._outgoing)]
        except BlockingIOError:
            self._loop.add_writer(self._channel, self._flush)
            return
        except OSError:
            self._outgoing.clear()  # it is dead, which is told by its exit
        if not self._has_hung_up:
            self._loop.remove_writer(self._channel)
        self._has_room.set()

    async def receive(self) -> FromBot | Exited:
        """Return the next that the bot says. Errors: InvariantViolation if it is none; it is killed then."""
        while not self._received:
            if self._problem is not None:
                await self._give_up(self._problem)
            if self._has_hung_up:
                await self._gone.wait()
                if self._exited is not None:
                    return self._exited
            self._listen()
            self._news.clear()
            self._in_a_row = 0
            await self._news.wait()
        self._in_a_row += 1
        if self._in_a_row % _MOST_IN_A_ROW == 0:
            await asyncio.sleep(0)
        try:
            return decode_from_bot(self._received.popleft())
        except InvariantViolation as exc:
            return await self._give_up(str(exc))

    async def _give_up(self, problem: str) -> NoReturn:
        """End a bot that cannot be understood; what it may have said behind that is not looked at."""
        self._problem = None
        self._stop_listening()
        await self.kill()
        self._received.clear()
        self.hang_up()
        raise InvariantViolation(f"the bot's process {self.pid} said what no bot says: {problem}")

    def _listen(self) -> None:
        if not self._is_listening and not self._has_hung_up and self._problem is None:
            self._is_listening = True
            self._loop.add_reader(self._channel, self._read)

    def _stop_listening(self) -> None:
        if self._is_listening:
            self._is_listening = False
            self._loop.remove_reader(self._channel)

    def _read(self) -> None:
        try:
            piece = self._channel.recv(_PIECE)
            self._received.extend(self._reader.feed(piece))
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        except FrameTooLong as exc:
            self._problem = str(exc)
            self._stop_listening()
        else:
            if len(self._received) > _MOST_WAITING:
                self._stop_listening()
        if not self._problem and not piece:
            self.hang_up()
        self._news.set()

    def hang_up(self) -> None:
        """Close the socket; a bot that still lives ends by that."""
        if self._has_hung_up:
            return
        self._stop_listening()
        self._loop.remove_writer(self._channel)
        self._has_hung_up = True
        self._channel.close()
        self._outgoing.clear()
        self._has_room.set()
        self._news.set()

    def ended(self, exited: Exited) -> None:
        """Learn that the process and all it has started are gone; what it said before is still to be read."""
        self._exited = exited
        self._gone.set()
        self._news.set()

    async def kill(self) -> None:
        """End the process with all that it has started."""
        if self._exited is None:
            await self._kill(self.pid)
            await self._gone.wait()
