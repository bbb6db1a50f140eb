"""Messages between worker and child: JSON with its length in front, on a socket of their own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any, Final

_HEAD: Final = 4


class FrameTooLong(Exception):
    """The other side announces more than it may send."""


def framed(body: bytes) -> bytes:
    """Return a body with its length in front."""
    return len(body).to_bytes(_HEAD, "big") + body


def read_frame(channel: int) -> Any:
    """Wait for a message on a file descriptor; None at its end."""
    head = _read_exactly(channel, _HEAD)
    body = _read_exactly(channel, int.from_bytes(head, "big")) if head else b""
    return json.loads(body) if body else None


def _read_exactly(channel: int, size: int) -> bytes:
    """Return so many bytes, or none if the other side ends before."""
    parts = bytearray()
    while len(parts) < size:
        part = os.read(channel, size - len(parts))
        if not part:
            return b""
        parts += part
    return bytes(parts)


def write_frame(channel: int, body: bytes) -> None:
    """Send a message on a file descriptor, waiting until the other side takes it."""
    rest = memoryview(framed(body))
    while rest:
        rest = rest[os.write(channel, rest) :]


class FrameReader:
    """Puts messages together from pieces as they come. Units: bytes.

    Errors: FrameTooLong as soon as a message announces more than ``longest``.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._buffer = bytearray()

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Return the messages that are complete with this piece."""
        self._buffer += piece
        while len(self._buffer) >= _HEAD:
            end = _HEAD + int.from_bytes(self._buffer[:_HEAD], "big")
            if end - _HEAD > self._longest:
                raise FrameTooLong(f"a message of {end - _HEAD} bytes, where {self._longest} are allowed")
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_HEAD:end])
            del self._buffer[:end]
            yield body
