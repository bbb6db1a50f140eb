"""Migrating, wired; apart from ``bootstrap.database``, so that no other command waits for alembic's import."""

from __future__ import annotations

from atf.bootstrap.database import database_url
from atf.bootstrap.master_keys import build_master_keys
from atf.settings import Settings
from atf.storage.migrate import upgrade
from atf.storage.secrets_repository import stored_master_key_id


def migrate_database(settings: Settings) -> tuple[str | None, str]:
    """Migrate the configured database; return its schema before and now.

    Errors: ConfigurationError if the master key does not fit; nothing is migrated then.
    """
    with database_url(settings) as url:
        build_master_keys(settings).require(stored_master_key_id(url))
        before = upgrade(url)
    return before.current, before.head
