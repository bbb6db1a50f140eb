"""Bodies up to a size, counted as they come. Against a real server, as a client without manners meets it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from atf.services.http.body_wall import BodyWall
from atf.services.http.server import Address, HttpServer

LARGEST = 1000


class Reader:
    """An application that reads bodies; ``read``: how many bytes of them it was given."""

    def __init__(self) -> None:
        self.read = 0

    async def whole(self, request: Request) -> Response:
        """Read all and say how much it was; what is wrong in between is answered with a page of its own."""
        try:
            return PlainTextResponse(f"{await self._count(request)} bytes")
        except Exception:  # noqa: BLE001 - FastAPI does so while it reads a body
            return PlainTextResponse("surprise", 500)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin to answer before the body is there."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        read = await self._count(Request(scope, receive))
        await send({"type": "http.response.body", "body": str(read).encode()})

    async def _count(self, request: Request) -> int:
        async for chunk in request.stream():
            self.read += len(chunk)
        return self.read


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
async def server(reader: Reader) -> AsyncIterator[HttpServer]:
    routes = [Route("/", reader.whole, methods=["POST"]), Route("/echo", reader)]
    app = Starlette(routes=routes, middleware=[Middleware(BodyWall, largest=LARGEST)])
    started = HttpServer(app, Address("127.0.0.1", 0, "ATF_TEST_PORT"))
    await started.start()
    yield started
    await started.stop()


async def answer(server: HttpServer, head: str, *pieces: bytes, path: str = "/") -> bytes:
    """What the server says until it hangs up. The client never says that it has sent all."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n".encode())
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


def chunk(size: int) -> bytes:
    return b"%x\r\n" % size + b"a" * size + b"\r\n"


def is_refused(said: bytes) -> bool:
    head, _, body = said.partition(b"\r\n\r\n")
    return (
        head.startswith(b"HTTP/1.1 413 ")
        and b"content-type: application/problem+json" in head
        and b"connection: close" in head.lower()
        and b"the body is larger than 1000 bytes" in body
    )


async def test_a_body_of_the_largest_size_is_read(server: HttpServer) -> None:
    body = b"a" * LARGEST
    for head, pieces in [
        (f"Content-Length: {LARGEST}\r\nConnection: close", [body[:1], body[1:]]),
        ("Transfer-Encoding: chunked\r\nConnection: close", [chunk(LARGEST), chunk(0)]),
    ]:
        said = await answer(server, head, *pieces)
        assert said.startswith(b"HTTP/1.1 200 "), said
    assert said.endswith(b"2000 bytes")


async def test_a_body_that_says_that_it_is_larger_is_refused_before_it_comes(
    server: HttpServer, reader: Reader
) -> None:
    assert is_refused(await answer(server, f"Content-Length: {LARGEST + 1}"))
    assert is_refused(await answer(server, f"Content-Length: {10**14}", b"a"))
    assert reader.read == 0


async def test_a_body_that_says_nothing_of_its_size_is_refused_as_soon_as_it_is_too_large(
    server: HttpServer, reader: Reader
) -> None:
    said = await answer(server, "Transfer-Encoding: chunked", chunk(600), chunk(600))
    assert is_refused(said), "without its end, and not by the application's own words"
    assert reader.read <= LARGEST


async def test_what_has_begun_to_answer_is_broken_off(server: HttpServer, reader: Reader) -> None:
    said = await answer(server, "Transfer-Encoding: chunked", chunk(600), chunk(600), path="/echo")
    assert said.startswith(b"HTTP/1.1 200 ")
    assert not said.endswith(b"0\r\n\r\n"), "nobody takes it for a whole answer"
    assert reader.read <= LARGEST
