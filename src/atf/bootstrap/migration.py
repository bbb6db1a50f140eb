"""Migrating, wired; apart from ``bootstrap.database``, so that no other command waits for alembic's import."""

from __future__ import annotations

from atf.bootstrap.database import database_url
from atf.settings import Settings
from atf.storage.migrate import upgrade


def migrate_database(settings: Settings) -> tuple[str | None, str]:
    """Migrate the configured database; return its schema before and now."""
    with database_url(settings) as url:
        before = upgrade(url)
    return before.current, before.head
