"""Command: a word after a slash, who may use it, how it is used, and what does it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum

from atf.telegram.ask import Ask
from atf.telegram.reply import Reply

Handler = Callable[[Ask], Awaitable[Reply]]


class Access(IntEnum):
    """Who may use a command; whose things it touches is for the gate to say."""

    ANYBODY = 0
    USER = 1
    ADMIN = 2


@dataclass(frozen=True, slots=True)
class Command:
    """A command.

    ``usage``: what follows it, such as ``TICKER TIMEFRAME``; its words for people are the texts
    ``command-<name>`` (a line for the menu) and ``help-<name>``. ``asks``: without words it asks for them, and
    takes the next message as its answer. ``is_secret``: what follows lets somebody in, and is not written down.
    """

    name: str
    handler: Handler
    usage: str = ""
    access: Access = Access.USER
    asks: bool = False
    in_menu: bool = True
    is_secret: bool = False
