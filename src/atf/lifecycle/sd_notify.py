"""What a process tells systemd: a few words on a datagram socket; without systemd nothing happens."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from typing import Final

_SOCKET_VARIABLE: Final = "NOTIFY_SOCKET"
_WATCHDOG_VARIABLE: Final = "WATCHDOG_USEC"


class SystemdNotifier:
    """Sends READY, STATUS, WATCHDOG, RELOADING and STOPPING to the socket that systemd named."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        address = environment.get(_SOCKET_VARIABLE, "")
        # A leading @ stands for the NUL byte of Linux's abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog_microseconds = int(environment.get(_WATCHDOG_VARIABLE) or 0)

    @property
    def watchdog_seconds(self) -> float | None:
        """How often systemd wants to hear from us at least; None if it does not watch."""
        return self._watchdog_microseconds / 1e6 if self._watchdog_microseconds else None

    def ready(self) -> None:
        """The service is up, or up again after a reload."""
        self._send("READY=1")

    def status(self, sentence: str) -> None:
        """What `systemctl status` shows."""
        self._send(f"STATUS={' '.join(sentence.split())}")

    def watchdog(self) -> None:
        """Work advances."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """The service reads again what may have changed; ``ready`` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The service is on its way out."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.connect(self._address)
                channel.send(message.encode())
        except OSError:  # a supervisor that does not listen must not stop the work
            return
