"""The child's end of the socket to the service: one thread, and signs of life while it waits."""

from __future__ import annotations

import math
import os
import select
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from atf.adapters.processes.frames import FrameReader, write_frame
from atf.errors import PermanentFailure
from atf.trading.bot_messages import FromBot, Heartbeat, ToBot
from atf.trading.message_codec import LONGEST_FROM_BOT, LONGEST_TO_BOT, decode_to_bot, encode

_PIECE: Final = 65_536
_BEAT_SECONDS: Final = 1.0
_BEATS_TOGETHER: Final = 10
"""Into so many moments of a second all bots' beats fall: a hundred bots that wake one by one find cold caches."""


class ServiceGone(BaseException):
    """The service has hung up: nobody is there to work for, and nothing in between may catch this."""


class Channel:
    """Messages over a file descriptor, by the process that opened it and by no copy of it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._owner = os.getpid()
        self._reader = FrameReader(LONGEST_TO_BOT)
        self._received: deque[bytes] = deque()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._beat_at = _next_beat()

    @property
    def waiting(self) -> int:
        """How many messages have come and wait to be worked on."""
        return len(self._received)

    def send(self, message: FromBot) -> None:
        """Say something. Errors: ServiceGone; PermanentFailure if it is more than the service would listen to."""
        if os.getpid() != self._owner:
            os._exit(0)  # a copy that the strategy has made of this process: it must not speak for it
        body = encode(message)
        if len(body) > LONGEST_FROM_BOT:
            said = f"{len(body)} bytes at once ({type(message).__name__})"
            raise PermanentFailure(f"the strategy wants to say {said}; at most {LONGEST_FROM_BOT} are allowed")
        try:
            write_frame(self._descriptor, body)
        except OSError as exc:
            raise ServiceGone from exc

    def receive(self, heartbeat: Callable[[], Heartbeat]) -> ToBot:
        """Wait for the next message; a heartbeat goes out each second, and between messages.

        Errors: ServiceGone.
        """
        self._take_what_is_there()
        while True:
            self.beat(heartbeat)
            if self._received:
                return decode_to_bot(self._received.popleft())
            self._wait(self._beat_at - time.monotonic())

    def beat(self, heartbeat: Callable[[], Heartbeat]) -> None:
        """Give a sign of life if it is time for one. Errors: ServiceGone."""
        if time.monotonic() >= self._beat_at:
            self._beat_at = _next_beat()
            self.send(heartbeat())

    def _take_what_is_there(self) -> None:
        while self._poll.poll(0):
            self._read()

    def _wait(self, seconds: float) -> None:
        if self._poll.poll(max(0.0, seconds) * 1000):
            self._read()

    def _read(self) -> None:
        if os.getpid() != self._owner:
            os._exit(0)
        try:
            piece = os.read(self._descriptor, _PIECE)
        except OSError as exc:
            raise ServiceGone from exc
        if not piece:
            raise ServiceGone
        self._received.extend(self._reader.feed(piece))


def _next_beat() -> float:
    return math.floor((time.monotonic() + _BEAT_SECONDS) * _BEATS_TOGETHER) / _BEATS_TOGETHER
