"""How httpx connects for webhooks: only to addresses that are allowed, whatever a name leads to.

A name is resolved once, its addresses are looked at, and the connection goes to one that passed: a name server
that gives another answer a moment later (DNS rebinding) is not asked again. Host header, SNI and the check of the
certificate stay with the name, as httpx has it from the URL.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import httpcore
import httpx

from atf.security.outgoing_address import OutgoingAddresses


class RefusedAddress(Exception):
    """A URL leads to nothing that may be connected to."""


class WalledTransport(httpx.AsyncBaseTransport):
    """Requests over connections to allowed addresses. Errors: those of httpx; RefusedAddress."""

    def __init__(self, trusted: ssl.SSLContext, allowed: OutgoingAddresses) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trusted,
            max_keepalive_connections=0,
            network_backend=WalledBackend(allowed),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the answer, its body unread."""
        url = request.url
        with _errors_of_httpx():
            answer = await self._pool.handle_async_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(
                        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                    ),
                    headers=request.headers.raw,
                    content=cast("httpx.AsyncByteStream", request.stream),
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


class WalledBackend(httpcore.AsyncNetworkBackend):
    """Opens connections to allowed addresses. Errors: those of httpcore; RefusedAddress."""

    def __init__(self, allowed: OutgoingAddresses) -> None:
        self._allowed = allowed
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's own signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first allowed address of a host that answers; each has its share of the time left."""
        deadline = None if timeout is None else time.monotonic() + timeout
        permitted = [
            address
            for address in await _addresses(host, port, timeout)
            if self._allowed.permits_address(host, address)
        ]
        failure: Exception = RefusedAddress(host)
        for number, address in enumerate(permitted):
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            share = None if left is None else left / (len(permitted) - number)
            try:
                return await self._network.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as exc:
                failure = exc
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - httpcore's own signature
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: no URL means a socket of this machine."""
        raise RefusedAddress(path)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


async def _addresses(host: str, port: int, seconds: float | None) -> Sequence[str]:
    """Return the addresses of a host, each once, in the order in which the system prefers them."""
    try:
        async with asyncio.timeout(seconds):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except TimeoutError as exc:
        raise httpcore.ConnectTimeout from exc
    except OSError as exc:
        raise httpcore.ConnectError from exc
    return list(dict.fromkeys(str(where[0]) for _, _, _, _, where in found))


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_of_httpx():
            async for piece in self._answer.aiter_stream():
                yield piece

    async def aclose(self) -> None:
        await self._answer.aclose()


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    """Convert the errors of httpcore: those of httpx have the same names."""
    try:
        yield
    except (
        httpcore.NetworkError,
        httpcore.ProtocolError,
        httpcore.TimeoutException,
        httpcore.UnsupportedProtocol,
    ) as exc:
        raise getattr(httpx, type(exc).__name__, httpx.TransportError)(str(exc)) from exc
