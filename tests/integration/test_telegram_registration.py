"""How a stranger becomes a user by the bot: a code by real e-mail, an approval, and nothing of who is here."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.integration.telegram_desk import PATIENCE, TelegramDesk, telegram_desk

from atf.storage.database import Database
from atf.testing.smtp import LocalSmtp, local_smtp


class Post:
    """The mailbox of whoever is written to."""

    def __init__(self, server: LocalSmtp) -> None:
        self._server = server

    async def code(self, count: int = 1) -> str:
        """The code in the newest of so many letters."""
        await self._server.until_received(count)
        found = re.search(r"\b\d{6}\b", self._server.messages[-1].text)
        assert found is not None
        return found[0]

    @property
    def recipients(self) -> list[str]:
        return [address for message in self._server.messages for address in message.recipients]


@asynccontextmanager
async def open_desk(
    home: Path, url: str, database: Database, mode: str, **more: Any
) -> AsyncIterator[tuple[TelegramDesk, Post]]:
    async with (
        local_smtp() as server,
        telegram_desk(
            home,
            url,
            database,
            telegram_registration=mode,
            smtp_host="127.0.0.1",
            smtp_port=server.port,
            smtp_security="none",
            smtp_sender="atf@example.org",
            **more,
        ) as desk,
    ):
        yield desk, Post(server)


async def test_a_stranger_who_proves_an_address_is_let_in_by_an_administrator(
    tmp_path: Path, database_url: str, database: Database
) -> None:
    async with open_desk(tmp_path, database_url, database, "approval") as (desk, post):
        assert "/register EMAIL" in await desk.stranger.say("/start")
        assert "a code is on its way" in await desk.stranger.say("/register Sam@Example.org")
        code = await post.code()
        assert post.recipients == ["sam@example.org"]
        wrong = f"{(int(code) + 1) % 1_000_000:06}"
        assert "this code is wrong" in await desk.stranger.say(f"/verify {wrong}")
        assert "An administrator has to let you in" in await desk.stranger.say(f"/verify {code}")
        told = await desk.owner.chat.next_message(within=PATIENCE)
        assert "sam wants to be let in" in told.text
        await desk.stranger.chat.say("/info")  # not yet
        await desk.rows.change("UPDATE users SET is_active = true, approved_at = now() WHERE name = 'sam'")
        assert "User: sam" in await desk.stranger.say("/info")
        # Nothing of the code is left in clear, anywhere.
        assert await desk.rows.column("SELECT body FROM msg_messages WHERE notification_type = 'code'") == ["***"]
        actions = await desk.rows.column(
            "SELECT action FROM audit_log WHERE action LIKE 'registration.%' ORDER BY id"
        )
        assert actions == ["registration.begin", "registration.verify"]


async def test_where_registration_is_open_the_code_alone_lets_in(
    tmp_path: Path, database_url: str, database: Database
) -> None:
    async with open_desk(tmp_path, database_url, database, "open") as (desk, post):
        await desk.stranger.say("/register ann@example.org")
        code = await post.code()
        assert "You are registered" in await desk.stranger.say(f"/verify {code}")
        assert "User: ann-2" in await desk.stranger.say("/info")  # there is an ann already
        assert "Role: trader" in await desk.stranger.say("/info")
        assert "there is no code for you" in await desk.eve.say(f"/verify {code}")


async def test_a_code_is_tried_five_times_and_asked_for_five_times_an_hour(
    tmp_path: Path, database_url: str, database: Database
) -> None:
    async with open_desk(tmp_path, database_url, database, "open") as (desk, post):
        await desk.stranger.say("/register sam@example.org")
        code = await post.code()
        for number in range(5):
            wrong = f"{(int(code) + 1 + number) % 1_000_000:06}"
            assert "this code is wrong" in await desk.stranger.say(f"/verify {wrong}")
        assert "this code is wrong" in await desk.stranger.say(f"/verify {code}")
        for count in range(2, 6):
            assert "on its way" in await desk.stranger.say("/register sam@example.org")
            await post.code(count)
        assert "at most 5 codes an hour" in await desk.stranger.say("/register sam@example.org")


@pytest.mark.parametrize(
    "words", ["/register", "/register a b", "/register not-an-address", "/verify", "/verify 1 2"]
)
async def test_what_is_no_address_and_no_code_is_said(
    tmp_path: Path, database_url: str, database: Database, words: str
) -> None:
    async with open_desk(tmp_path, database_url, database, "open") as (desk, post):
        answer = await desk.stranger.say(words)
        assert re.search("email|code", answer)
        assert post.recipients == []
