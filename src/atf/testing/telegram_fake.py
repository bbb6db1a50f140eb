"""The local Telegram as a process of its own, with a page to chat on: ``atf dev telegram-fake``."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Final

from aiohttp import web

from atf.errors import ConfigurationError, InvalidInput
from atf.testing.telegram import LocalTelegram, TelegramLimits
from atf.testing.telegram_page.page import Page

_LARGEST_REQUEST: Final = 64 * 1024 * 1024


def run(port: int, token: str, *, has_limits: bool, say: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; ``say`` is told, line by line, where it is and how ATF finds it.

    Errors: InvalidInput for a token that is none; ConfigurationError if the port is taken.
    """
    asyncio.run(_run(port, token, has_limits=has_limits, say=say))


async def _run(port: int, token: str, *, has_limits: bool, say: Callable[[str], None]) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    telegram = _telegram(port, token, has_limits=has_limits)
    telegram.private_chat(first_name="Alice", is_started=False)
    application = web.Application(client_max_size=_LARGEST_REQUEST)
    Page(telegram).add_to(application)
    try:
        await telegram.start(application)
    except OSError as error:
        raise ConfigurationError(
            f"port {port} of this machine cannot be listened on ({error.strerror}): name another with --port"
        ) from error
    try:
        for line in _directions(telegram):
            say(line)
        await ended.wait()
    finally:
        await telegram.stop()


def _telegram(port: int, token: str, *, has_limits: bool) -> LocalTelegram:
    try:
        return LocalTelegram(token, port=port, limits=None if has_limits else TelegramLimits.off())
    except ValueError as error:
        raise InvalidInput(str(error)) from error


def _directions(telegram: LocalTelegram) -> list[str]:
    return [
        f"Chat with the bot at {telegram.url}/",
        "Let ATF use this Telegram:",
        f"  export ATF_TELEGRAM_API_URL={telegram.url}",
        f"  export ATF_TELEGRAM_TOKEN={telegram.token}",
        "Ctrl-C ends it.",
    ]
