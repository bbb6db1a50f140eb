"""Bots of the real aiogram, and plain requests, at a local Telegram."""

from __future__ import annotations

import asyncio
import struct
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.utils.backoff import BackoffConfig

from atf.testing.telegram import LocalTelegram

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
SOON = BackoffConfig(min_delay=0.01, max_delay=0.05, factor=1.5, jitter=0.0)


class Seconds:
    """Seconds that pass when a test says so; days by the calendar pass with them."""

    def __init__(self) -> None:
        self.passed = 1000.0

    def __call__(self) -> float:
        return self.passed

    def calendar(self) -> datetime:
        return NOON + timedelta(seconds=self.passed - 1000)


@dataclass
class Answer:
    """What came back: the body, and its parts."""

    response: httpx.Response

    @property
    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = self.response.json()
        return body

    @property
    def result(self) -> Any:
        assert self.body["ok"], self.body
        return self.body["result"]

    @property
    def refusal(self) -> tuple[int, str]:
        assert self.body["ok"] is False, self.body
        assert self.body["error_code"] == self.response.status_code
        return self.response.status_code, self.body["description"]

    @property
    def parameters(self) -> dict[str, int]:
        parameters: dict[str, int] = self.body["parameters"]
        return parameters


class Raw:
    """Calls without a library in between."""

    def __init__(self, telegram: LocalTelegram, client: httpx.AsyncClient) -> None:
        self.telegram = telegram
        self.client = client

    async def __call__(self, method: str, **values: Any) -> Answer:
        return Answer(await self.client.post(self.url(method), json=values))

    def url(self, method: str, token: str | None = None) -> str:
        return f"{self.telegram.url}/bot{token or self.telegram.token}/{method}"


@asynccontextmanager
async def raw_calls(telegram: LocalTelegram) -> AsyncIterator[Raw]:
    async with httpx.AsyncClient(timeout=10) as client:
        yield Raw(telegram, client)


@asynccontextmanager
async def bot_at(telegram: LocalTelegram, *, patience: float = 10) -> AsyncIterator[Bot]:
    server = TelegramAPIServer.from_base(telegram.url)
    session = AiohttpSession(api=server, timeout=patience)
    try:
        yield Bot(telegram.token, session=session)
    finally:
        await (await session.create_session()).close()  # the session's own close() sleeps, for the sake of TLS


@asynccontextmanager
async def polling(dispatcher: Dispatcher, bot: Bot) -> AsyncIterator[None]:
    running = asyncio.create_task(
        dispatcher.start_polling(bot, handle_signals=False, close_bot_session=False, backoff_config=SOON)
    )
    try:
        yield
    finally:
        if not running.done():
            await dispatcher.stop_polling()
        await running


def png(width: int = 2, height: int = 2) -> bytes:
    """Return a grey picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + b"\x80" * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
