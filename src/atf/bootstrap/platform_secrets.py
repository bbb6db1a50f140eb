"""The platform's own secrets: from a setting, or from the table of secrets."""

from __future__ import annotations

from atf.bootstrap.secrets import build_secrets
from atf.errors import NotFound
from atf.secrecy import conceal_everywhere
from atf.settings import Settings
from atf.storage.database import Database


async def platform_secret(settings: Settings, database: Database, given: str | None, name: str) -> str | None:
    """Return a secret that a setting gives, else the platform's one of this name; None if there is neither."""
    if given:
        conceal_everywhere(given)
        return given
    try:
        return await build_secrets(settings, database).reveal(None, name)
    except NotFound:
        return None
