"""The rotation of the master key, wired; beside the client, as the key that is here may be the new one by now."""

from __future__ import annotations

from pathlib import Path

from atf.bootstrap import rights
from atf.bootstrap.client import known_caller
from atf.bootstrap.database import open_database
from atf.bootstrap.home_lock import only_one
from atf.bootstrap.secrets import build_secrets
from atf.security.caller import Origin
from atf.security.gate import gated
from atf.security.key_file import read_key_file
from atf.security.master_key import MasterKey
from atf.security.secrets_service import Rotation
from atf.settings import Settings
from atf.storage.audit_repository import PostgresAuditLog
from atf.storage.users_repository import PostgresUsers


async def rotate_master_key(settings: Settings, user: str, *, old: Path | None, new: Path | None) -> Rotation:
    """Wrap everything with another master key, as a user; which keys: see ``SecretsService.rotate``.

    Errors: Forbidden; ConfigurationError if a file holds no key or others may read it, and the service's.
    """
    given_old, given_new = _read(old, "--old-key"), _read(new, "--new-key")
    with only_one(settings.home, "secrets-rotate"):
        async with open_database(settings, needs_key=given_old is None) as database:
            caller = await known_caller(PostgresUsers(database), user, Origin.CLI)
            service = gated(build_secrets(settings, database), caller, rights.SECRETS, PostgresAuditLog(database))
            return await service.rotate(given_old, given_new)


def _read(file: Path | None, option: str) -> MasterKey | None:
    return None if file is None else read_key_file(file, f"{option}: {file}")
