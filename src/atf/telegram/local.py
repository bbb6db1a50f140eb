"""What handlers share: the reader's numbers and times, short texts of others, and work that may be slow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Final, TypeVar

from atf.errors import ConfigurationError, TemporaryFailure
from atf.market.bars import Timeframe
from atf.notifications.foreign_text import one_line
from atf.notifications.local_format import LocalFormat, local_format
from atf.notifications.texts import Texts
from atf.telegram.ask import Ask

T = TypeVar("T")

PATIENCE: Final = timedelta(seconds=20)
"""A person who waits longer for an answer believes that the bot is dead."""
LONGEST_CAPTION: Final = 1000
"""Telegram takes 1,024 under a picture."""


async def local_of(ask: Ask) -> LocalFormat:
    """Return how the person reads numbers and times: in the language of the answer, on the own clock."""
    found = await ask.user.preferences.settings(ask.user.user_id)
    return local_format(ask.texts.language, found.preferences.timezone)


def bar_words(at: datetime | str, timeframe: Timeframe, texts: Texts, local: LocalFormat) -> str:
    """Return what a bar is called by: its time, and of days and weeks the date, the same on every clock."""
    if timeframe.length < timedelta(days=1):
        return local.local_time(at)
    return local_format(texts.language, "UTC").local_time(at, "date")


async def in_time(ask: Ask, work: Awaitable[T]) -> T:
    """Return what comes of something slow. Errors: TemporaryFailure if it takes too long; as ``work``."""
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            return await work
    except TimeoutError as exc:
        raise TemporaryFailure(ask.texts("bot-too-slow", seconds=int(PATIENCE.total_seconds()))) from exc


async def drawn(ask: Ask, work: Awaitable[T]) -> T:
    """Return what comes of something that draws, as ``in_time``. Errors: ConfigurationError if none can."""
    try:
        return await in_time(ask, work)
    except ConfigurationError as exc:
        raise ConfigurationError(ask.texts("bot-no-charts")) from exc


def shortened(text: str, most: int) -> str:
    """Return anybody's text on one line of at most so many characters, as Telegram counts them."""
    whole = one_line(text[: 4 * most])
    units = whole.encode("utf-16-le")
    if len(units) <= 2 * most:
        return whole
    return f"{units[: 2 * (most - 1)].decode('utf-16-le', 'ignore').rstrip()}…"
