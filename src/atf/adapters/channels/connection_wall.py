"""A wall around libraries that connect by themselves: within it only allowed addresses are connected to.

Python tells an audit hook of each connection before it is made, by the address that was really meant: neither a
redirect, nor a second answer of a name server, nor a host somewhere in a parameter leads past it. Only what runs
in the block's own context is walled in; a thread that a library starts by itself is not.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Final

from atf.security.outgoing_address import OutgoingAddresses

_EVENTS: Final = frozenset({"socket.connect", "socket.sendto"})


class Wall:
    """What may be connected to; ``has_refused`` tells whether it kept a connection from being made.

    ``host``: the host of a user's URL; if the settings name it, its addresses are allowed, too.
    """

    def __init__(self, allowed: OutgoingAddresses, host: str) -> None:
        self.has_refused = False
        self._allowed = allowed
        self._trusted = _addresses(host) if host and host.lower() in allowed.hosts else frozenset()

    def require(self, address: Any) -> None:
        """Errors: ConnectionRefusedError if nothing may connect there."""
        target = address[0] if isinstance(address, tuple) and address else None
        if not isinstance(target, str) or not self._permits(target):
            self.has_refused = True
            raise ConnectionRefusedError("this address is not allowed")

    def _permits(self, target: str) -> bool:
        if target in self._trusted:
            return True
        try:
            return self._allowed.permits_address("", target.partition("%")[0])
        except ValueError:  # a name, which would be looked up behind the wall
            return False


_AROUND: Final[ContextVar[Wall | None]] = ContextVar("the wall around what runs here", default=None)


@contextmanager
def walled(wall: Wall) -> Iterator[None]:
    """Let nothing in this block connect to what the wall does not allow."""
    _watch()
    token = _AROUND.set(wall)
    try:
        yield
    finally:
        _AROUND.reset(token)


@cache
def _watch() -> None:
    """Set up the hook, once: none can be taken away again."""
    sys.addaudithook(_look)


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _EVENTS:
        wall = _AROUND.get()
        if wall is not None:
            wall.require(arguments[1])


def _addresses(host: str) -> frozenset[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return frozenset()
    return frozenset(str(where[0]) for _, _, _, _, where in found)
