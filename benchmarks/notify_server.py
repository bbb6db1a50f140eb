"""A process that serves ``POST /api/notify`` as ATF does: with a database, or with nothing behind it.

``python -m benchmarks.notify_server URL`` prints its port; without a URL it stores nothing and knows everybody.
"""

from __future__ import annotations

import asyncio
import sys
import uuid
from typing import cast

from fastapi import FastAPI

from atf.bootstrap.accounts import build_accounts
from atf.notifications.intake import Intake, NewNotification, Receipt, message_of
from atf.security.accounts_service import ServiceCaller
from atf.security.caller import Stranger
from atf.security.password import Passwords
from atf.security.scope import Scope
from atf.services.http.server import Address, HttpServer
from atf.services.notifications.access import Known, NotifyAccess
from atf.services.notifications.notify_app import build_notify_app
from atf.storage.database import Database
from atf.storage.notifications_repository import PostgresOutbox


class _NoIntake:
    """Checks a message as the real one does, and forgets it."""

    async def take(self, new: NewNotification) -> Receipt:
        message_of(new)
        return Receipt(uuid.uuid4(), is_new=True)


class _OpenAccess:
    """Knows everybody."""

    async def caller(self, token: str | None, stranger: Stranger) -> Known:
        return ServiceCaller("bench", frozenset({Scope.NOTIFY}))


def _app(url: str | None) -> FastAPI:
    if url is None:
        return build_notify_app(cast("Intake", _NoIntake()), cast("NotifyAccess", _OpenAccess()))
    database = Database(url)
    access = NotifyAccess(build_accounts(database, Passwords()))
    return build_notify_app(Intake(PostgresOutbox(database)), access)


async def _serve(url: str | None) -> None:
    server = HttpServer(_app(url), Address("127.0.0.1", 0, "bench"))
    await server.start()
    print(server.port, flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until whoever started it goes
    await server.stop()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1] if len(sys.argv) > 1 else None))
