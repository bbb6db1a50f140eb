from __future__ import annotations

import asyncio
import logging
import signal
import socket

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from atf.errors import ConfigurationError
from atf.services.http.server import Address, HttpServer, listening_socket, require_loopback

ANY = Address("127.0.0.1", 0, "ATF_TEST_PORT")


async def hello(_: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


APP = Starlette(routes=[Route("/", hello)])


async def get(url: str) -> str:
    async with httpx.AsyncClient() as client:
        return (await client.get(url)).text


async def test_it_answers_on_the_port_that_it_names_and_no_more_after_its_end() -> None:
    server = HttpServer(APP, ANY)
    with pytest.raises(RuntimeError, match="not started"):
        _ = server.port
    await server.start()
    assert await get(server.url) == "hello"
    await server.stop()
    with pytest.raises(httpx.ConnectError):
        await get(server.url)


async def test_signals_and_logging_stay_the_process_s_own() -> None:
    before = (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    handlers = list(logging.getLogger().handlers)
    server = HttpServer(APP, ANY)
    await server.start()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert logging.getLogger().handlers == handlers
    assert logging.getLogger("uvicorn").handlers == []
    await server.stop()


async def test_a_connection_that_stays_open_does_not_hold_up_the_end() -> None:
    server = HttpServer(APP, ANY)
    await server.start()
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")  # a request that never ends
    await writer.drain()
    async with asyncio.timeout(5):
        await server.stop()
    assert not server.is_started
    writer.close()


async def test_a_taken_port_that_somebody_has_set_is_refused_by_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = HttpServer(APP, Address("127.0.0.1", port, "ATF_SCHEDULER_PORT"))
        sentence = f"ATF_SCHEDULER_PORT: cannot listen on 127.0.0.1 port {port}: Address already in use; choose"
        with pytest.raises(ConfigurationError, match=sentence):
            await server.start()


def test_a_taken_default_moves_to_a_free_port_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with listening_socket(Address("127.0.0.1", port, "ATF_SCHEDULER_PORT", may_move=True)) as moved:
            assert moved.getsockname()[1] not in (0, port)
    assert f"port {port} is taken" in caplog.text


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", "127.0.0.1"), ("127.8.8.8", "127.8.8.8"), ("::1", "::1"), ("localhost", "127.0.0.1")],
)
def test_the_machine_itself_may_be_named_in_its_ways(host: str, expected: str) -> None:
    assert require_loopback(host) == expected


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", "", "127.0.0.1.example.com"])
def test_what_others_can_reach_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^ATF_HEALTH_HOST: must be an address of this machine"):
        require_loopback(host)
