"""The notification process: what hangs in another house holds up nothing in this one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from atf.bootstrap.notifications import notifications_process
from atf.lifecycle import Progress
from atf.notifications.message import ACTION, OutgoingMessage
from atf.settings import Settings
from atf.storage.database import Database
from atf.storage.notifications_repository import PostgresOutbox

if TYPE_CHECKING:
    from tests.integration.conftest import Eventually, Rows


class Receiver:
    """A webhook that accepts what comes to ``/fine``, and never answers anything else."""

    def __init__(self) -> None:
        self.hanging = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"POST /fine "):
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            await writer.drain()
        else:
            self.hanging += 1
            await reader.read()
        writer.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    async with server:
        yield receiver


def webhook(key: str, url: str) -> OutgoingMessage:
    payload = {"alert_id": 1, "url": url, "late_at": None, "body": {}}
    return OutgoingMessage(1, ACTION, "Action 1", "request", key, ("webhook",), payload=payload)


def command(key: str) -> OutgoingMessage:
    payload = {"alert_id": 1, "bot_id": 7, "command": "stop", "late_at": None, "body": {}}
    return OutgoingMessage(1, ACTION, "Action 1", "stop to bot 7", key, ("bot",), payload=payload)


async def test_webhooks_that_hang_hold_up_neither_messages_nor_commands_nor_another_webhook(
    database: Database, database_url: str, rows: Rows, eventually: Eventually
) -> None:
    async def sent() -> bool:
        found = await rows.column("SELECT dedup_key FROM msg_deliveries WHERE status = 'SENT'")
        return set(found) == {"message:inbox", "command:bot", "fine:webhook"}

    async with receiving() as receiver:

        async def all_hang() -> bool:
            return receiver.hanging == 3

        url = f"http://127.0.0.1:{receiver.port}"
        outbox = PostgresOutbox(database)
        await outbox.add([webhook(f"hangs-{n}", f"{url}/never/{n}") for n in range(3)])
        settings = Settings(
            database_url=database_url, notifications_port=0, webhook_allowed_networks="127.0.0.0/8"
        )
        async with notifications_process(settings, Progress()) as service, asyncio.timeout(30):
            await service.start()
            await eventually(all_hang)
            message = OutgoingMessage(1, "alert", "Title", "body", "message", ("inbox",))
            await outbox.add([webhook("fine", f"{url}/fine"), message, command("command")])
            await eventually(sent)
            await service.stop()
    # What was on its way is given back, to be sent again with the same key.
    assert await rows.column("SELECT DISTINCT status FROM msg_deliveries WHERE dedup_key LIKE 'hangs%'") == [
        "PENDING"
    ]
