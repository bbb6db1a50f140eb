"""The wall around libraries that connect by themselves."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest

from atf.adapters.channels.connection_wall import Wall, walled
from atf.security.outgoing_address import OutgoingAddresses

PUBLIC_ONLY = OutgoingAddresses()
HERE = OutgoingAddresses.parse("127.0.0.0/8")


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def connect(host: str, port: int) -> None:
    socket.create_connection((host, port), 5).close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_nothing_here_is_connected_to_unless_it_is_allowed(host: str, port: int) -> None:
    wall = Wall(PUBLIC_ONLY, "example.com")
    with walled(wall), pytest.raises(ConnectionRefusedError):
        connect(host, port)
    assert wall.has_refused
    wall = Wall(HERE, "example.com")
    with walled(wall):
        connect("127.0.0.1", port)
    assert not wall.has_refused
    connect("127.0.0.1", port)


def test_a_name_that_would_be_looked_up_behind_the_wall_is_refused(port: int) -> None:
    with walled(Wall(HERE, "")), socket.socket() as raw, pytest.raises(ConnectionRefusedError):
        raw.connect(("localhost", port))


def test_datagrams_and_sockets_of_this_machine_are_refused() -> None:
    with walled(Wall(PUBLIC_ONLY, "")):
        with socket.socket(type=socket.SOCK_DGRAM) as raw, pytest.raises(ConnectionRefusedError):
            raw.sendto(b"x", ("127.0.0.1", 9))
        with socket.socket(socket.AF_UNIX) as raw, pytest.raises(ConnectionRefusedError):
            raw.connect("/dev/log")


def test_the_addresses_of_a_host_of_the_settings_are_allowed_to_its_url_alone(port: int) -> None:
    allowed = OutgoingAddresses.parse("localhost")
    with walled(Wall(allowed, "LocalHost")):
        connect("127.0.0.1", port)
    with walled(Wall(allowed, "example.com")), pytest.raises(ConnectionRefusedError):
        connect("127.0.0.1", port)


def test_the_wall_goes_with_its_context_into_a_thread_and_not_around_others(port: int) -> None:
    with ThreadPoolExecutor() as threads, walled(Wall(PUBLIC_ONLY, "")):
        refused: Any = threads.submit(copy_context().run, connect, "127.0.0.1", port)
        threads.submit(connect, "127.0.0.1", port).result()
        with pytest.raises(ConnectionRefusedError):
            refused.result()
