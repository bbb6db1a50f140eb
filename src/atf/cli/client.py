"""How commands reach the rooms' services."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from atf.bootstrap.client import Client, open_client
from atf.cli.opened import with_opened
from atf.settings import load_settings

T = TypeVar("T")


def with_client(user: str, work: Callable[[Client], Awaitable[T]]) -> T:
    """Open the configured database as a user, do the work, close it, and return what the work returned."""
    return with_opened(open_client(load_settings(), user), work)
