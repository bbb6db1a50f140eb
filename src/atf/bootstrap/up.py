"""`atf up`, wired: the database, migrated, and every service as a child that is kept alive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from atf.bootstrap.accounts import first_start_sentence
from atf.bootstrap.database import open_database, uninterrupted
from atf.bootstrap.home_lock import only_one
from atf.bootstrap.migration import migrate_database
from atf.lifecycle import Service, ServiceGroup
from atf.services.supervisor.announcement import Announcement
from atf.services.supervisor.supervisor import ChildCommand, Supervisor
from atf.settings import Settings
from atf.storage.registry_repository import PostgresRegistry

# Started in this order, stopped in the reverse: whoever makes work stops before those who do it.
_SERVICES: Mapping[str, tuple[str, ...]] = {
    "telegram": ("telegram", "start"),
    "worker": ("worker", "start"),
    "trading": ("trading", "start"),
    "scheduler": ("scheduler", "start"),
}


@asynccontextmanager
async def up_process(settings: Settings, tell: Callable[[str], None]) -> AsyncIterator[Service]:
    """Open everything that `atf up` needs; ``tell`` gets a line for each thing that a person wants to know.

    Errors: Conflict if it runs in this home already.
    """
    with only_one(settings.home, "up"):
        tell(f"data in {settings.home}; starting the database")
        await uninterrupted(asyncio.to_thread(migrate_database, settings))
        async with open_database(settings) as database:
            if (sentence := await first_start_sentence(database, settings)) is not None:
                tell(sentence)
            children = [
                ChildCommand(name, words, environment={"SCHEDULER_STARTUP_DELAY": "0"})
                for name, words in _SERVICES.items()
            ]
            supervisor = Supervisor(
                children, shutdown_timeout=timedelta(seconds=settings.shutdown_timeout_seconds)
            )
            announcement = Announcement(PostgresRegistry(database), tell)
            yield ServiceGroup("up", [supervisor, announcement])
