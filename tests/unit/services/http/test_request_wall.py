"""What a health endpoint does not read: bodies, and heads without end. Against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from atf.security.limits import LARGEST_REQUEST_HEAD
from atf.services.http.request_wall import RequestWall
from atf.services.http.server import Address, HttpServer


async def hello(_: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


@pytest.fixture
async def server() -> AsyncIterator[HttpServer]:
    app = Starlette(routes=[Route("/", hello)], middleware=[Middleware(RequestWall)])
    started = HttpServer(app, Address("127.0.0.1", 0, "ATF_TEST_PORT"))
    await started.start()
    yield started
    await started.stop()


async def answer(server: HttpServer, *pieces: bytes) -> bytes:
    """What the server says until it hangs up, or has answered a request that is to be its last."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(20):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


HEAD = b" / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


async def test_a_request_without_a_body_is_served(server: HttpServer) -> None:
    for more in (b"", b"Content-Length: 0\r\n"):
        assert (await answer(server, b"GET" + HEAD + more + b"\r\n")).endswith(b"hello")


@pytest.mark.parametrize("method", [b"GET", b"POST", b"PUT"])
@pytest.mark.parametrize("more", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
async def test_a_body_is_refused_before_it_is_there(server: HttpServer, method: bytes, more: bytes) -> None:
    head = method + b" / HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n"
    said = await answer(server, head)
    assert said.startswith(b"HTTP/1.1 413 ")
    assert said.endswith(b"no request with a body is taken here\n")


async def test_a_head_without_end_is_given_up(server: HttpServer) -> None:
    piece = b"X-Header: " + b"x" * 1000 + b"\r\n"
    sent = [piece] * (2 * LARGEST_REQUEST_HEAD // len(piece))
    said = await answer(server, b"GET" + HEAD, *sent)
    assert b" 200 " not in said
    assert said == b"" or said.startswith(b"HTTP/1.1 4")


async def test_a_head_within_the_limit_is_read(server: HttpServer) -> None:
    more = b"X-Header: " + b"x" * (LARGEST_REQUEST_HEAD // 2) + b"\r\n"
    assert (await answer(server, b"GET" + HEAD + more + b"\r\n")).endswith(b"hello")
