"""How a child says that it is ready: the words that it would send to systemd, on a socket of ours."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

SOCKET_VARIABLE: Final = "NOTIFY_SOCKET"
_MOST_BYTES: Final = 4096


class ReadinessSocket:
    """A datagram socket in a folder of its own, for one child after another under one name."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="atf-ready-")
        self.path = Path(self._folder.name) / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(self.path))

    async def wait_ready(self) -> None:
        """Return when a child has sent READY=1."""
        loop = asyncio.get_running_loop()
        while True:
            words = await loop.sock_recv(self._socket, _MOST_BYTES)
            if b"READY=1" in words.splitlines():
                return

    def close(self) -> None:
        """Remove the socket."""
        self._socket.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
