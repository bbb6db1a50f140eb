"""The master key of these settings."""

from __future__ import annotations

from atf.security.master_keys import KeySources, MasterKeys
from atf.settings import Settings


def build_master_keys(settings: Settings) -> MasterKeys:
    """Return where the master key is looked for; ATF makes one only for a database that it runs itself."""
    return MasterKeys(
        KeySources(
            settings.home,
            settings.master_key,
            settings.master_key_file,
            settings.credentials_directory,
            may_be_made=settings.database_url is None,
        )
    )
