"""HttpServer: an ASGI application on a port of this machine, under the contract of every service."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final

import uvicorn

from atf.errors import ConfigurationError
from atf.lifecycle import Service
from atf.security.limits import LARGEST_REQUEST_HEAD

_LOGGER = logging.getLogger(__name__)
HOST_SETTING: Final = "ATF_HEALTH_HOST"
_STOP_SECONDS: Final = 2


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. ``setting`` names the port's variable; port 0 is any free one.

    ``may_move``: nobody has asked for this very port, so another one will do if it is taken.
    """

    host: str
    port: int
    setting: str
    may_move: bool = False


class HttpServer(Service):
    """Listens as soon as it is started; the port is known from then on."""

    def __init__(self, app: Any, address: Address) -> None:
        super().__init__("http server")
        self._app = app
        self._address = address
        self._port: int | None = None

    @property
    def port(self) -> int:
        """The port that was bound. Errors: RuntimeError before the start."""
        if self._port is None:
            raise RuntimeError("the HTTP server is not started")
        return self._port

    @property
    def url(self) -> str:
        """Where it answers, without a path."""
        host = self._address.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    async def _serve(self, started: Callable[[], None]) -> None:
        with listening_socket(self._address) as listener:
            self._port = listener.getsockname()[1]
            server = _Server(self._config(), started)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                await asyncio.shield(serving)
            finally:
                server.should_exit = True
                await asyncio.wait({serving})

    def _config(self) -> uvicorn.Config:
        """Logging belongs to the process; requests of monitors every few seconds are no news."""
        return uvicorn.Config(
            self._app,
            log_config=None,
            access_log=False,
            http="h11",
            ws="none",
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_STOP_SECONDS,
            h11_max_incomplete_event_size=LARGEST_REQUEST_HEAD,
        )


class _Server(uvicorn.Server):
    """A uvicorn that leaves the process's signals alone and tells when it listens."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell_started = started

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell_started()


def require_loopback(host: str) -> str:
    """Return the host if only this machine can reach it.

    Errors: ConfigurationError, as whoever else asks would need a token, and there are none yet.
    """
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return host
    if host == "localhost":
        return "127.0.0.1"
    raise ConfigurationError(
        f"{HOST_SETTING}: must be an address of this machine alone such as 127.0.0.1, got '{host}'; "
        "put a reverse proxy in front to reach it from elsewhere"
    )


def listening_socket(address: Address) -> socket.socket:
    """Bind the address, or any free port if the address may move.

    Errors: ConfigurationError that names the setting and the port.
    """
    try:
        return _bound(address.host, address.port)
    except OSError as exc:
        if not address.may_move:
            raise ConfigurationError(
                f"{address.setting}: cannot listen on {address.host} port {address.port}: "
                f"{os.strerror(exc.errno or 0)}; choose another port, or 0 for any free one"
            ) from exc
        moved = _bound(address.host, 0)
        _LOGGER.warning(
            "port %d is taken, listening on %d instead; %s sets it",
            address.port,
            moved.getsockname()[1],
            address.setting,
        )
        return moved


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=128)
