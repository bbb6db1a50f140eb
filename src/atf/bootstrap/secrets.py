"""Secrets, wired."""

from __future__ import annotations

from atf.bootstrap.master_keys import build_master_keys
from atf.security.document_seals import DocumentSeals
from atf.security.secrets_service import SecretsService
from atf.settings import Settings
from atf.storage.database import Database
from atf.storage.secrets_repository import PostgresSecrets


def build_secrets(settings: Settings, database: Database) -> SecretsService:
    """Return the service of secrets."""
    keys = build_master_keys(settings)
    return SecretsService(PostgresSecrets(database, keys), keys)


def build_seals(settings: Settings, database: Database) -> DocumentSeals:
    """Return what seals the sensitive fields of jobs."""
    keys = build_master_keys(settings)
    return DocumentSeals(PostgresSecrets(database, keys), keys)
