"""Secrets and the keys of documents, as SQL; everything here is sealed before it comes and after it goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row, TextClause, create_engine, text
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import NullPool

from atf.errors import Conflict, TransactionConflict
from atf.pause_points import pause_point
from atf.security.document_seals import DocumentKey, MakeKey, document_key_context
from atf.security.master_key import MasterKey
from atf.security.master_keys import MasterKeys
from atf.security.secret_box import SealedSecret, WrappedKey
from atf.security.secrets_service import Rewrap, Seal, SecretEntry, StoredSecret, secret_context
from atf.storage.database import Database, database_errors, parse_url

_KEY_ID: Final = text("SELECT key_id FROM master_key")
_HAS_KEY_TABLE: Final = text("SELECT to_regclass('master_key') IS NOT NULL")
# Who seals waits for a rotation, and a rotation for who seals: nothing is stored under a key that is gone.
_SHARE_KEY: Final = text("SELECT key_id FROM master_key FOR SHARE")
_LOCK_KEY: Final = text("SELECT key_id FROM master_key FOR UPDATE")
_FIRST_KEY: Final = text("INSERT INTO master_key (key_id) VALUES (:key_id) ON CONFLICT DO NOTHING")
_SET_KEY: Final = text("UPDATE master_key SET key_id = :key_id, set_at = now()")

_ENTRY: Final = "name, created_at, updated_at"
_SECRET_ID: Final = text("SELECT nextval(pg_get_serial_sequence('secrets', 'id'))")
_OF_NAME: Final = "user_id IS NOT DISTINCT FROM CAST(:user_id AS int) AND name = :name"
_LOCK_SECRET: Final = text(f"SELECT id FROM secrets WHERE {_OF_NAME} FOR UPDATE")
_ADD_SECRET: Final = text(
    f"""
    INSERT INTO secrets (id, user_id, name, key_id, wrapped_key, nonce, ciphertext)
    VALUES (:id, :user_id, :name, :key_id, :wrapped_key, :nonce, :ciphertext)
    ON CONFLICT DO NOTHING RETURNING {_ENTRY}
    """
)
_REPLACE_SECRET: Final = text(
    f"""
    UPDATE secrets
    SET key_id = :key_id, wrapped_key = :wrapped_key, nonce = :nonce, ciphertext = :ciphertext, updated_at = now()
    WHERE id = :id RETURNING {_ENTRY}
    """
)
_LOAD: Final = text(f"SELECT id, key_id, wrapped_key, nonce, ciphertext FROM secrets WHERE {_OF_NAME}")
_LIST: Final = text(
    f"SELECT {_ENTRY} FROM secrets WHERE user_id IS NOT DISTINCT FROM CAST(:user_id AS int) ORDER BY name"
)
_DELETE: Final = text(f"DELETE FROM secrets WHERE {_OF_NAME}")

_DOCUMENT_KEY_ID: Final = text("SELECT nextval(pg_get_serial_sequence('document_keys', 'id'))")
_DOCUMENT_KEY: Final = text(
    "SELECT id, key_id, wrapped_key FROM document_keys WHERE user_id IS NOT DISTINCT FROM CAST(:user_id AS int)"
)
_ADD_DOCUMENT_KEY: Final = text(
    """
    INSERT INTO document_keys (id, user_id, key_id, wrapped_key) VALUES (:id, :user_id, :key_id, :wrapped_key)
    ON CONFLICT DO NOTHING
    """
)

_SECRET_KEYS: Final = text("SELECT id, user_id, name, key_id, wrapped_key FROM secrets ORDER BY id FOR UPDATE")
_DOCUMENT_KEYS: Final = text("SELECT id, user_id, key_id, wrapped_key FROM document_keys ORDER BY id FOR UPDATE")
_REWRAP_SECRET: Final = text("UPDATE secrets SET key_id = :key_id, wrapped_key = :wrapped_key WHERE id = :id")
_REWRAP_DOCUMENT_KEY: Final = text(
    "UPDATE document_keys SET key_id = :key_id, wrapped_key = :wrapped_key WHERE id = :id"
)


class PostgresSecrets:
    """The tables of secrets. ``keys``: where the master key is, for what is sealed here first."""

    def __init__(self, database: Database, keys: MasterKeys) -> None:
        self._database = database
        self._keys = keys

    async def save(self, user_id: int | None, name: str, seal: Seal) -> SecretEntry:
        """Store what ``seal`` returns for the row of this name, in place of what is there."""
        of_name = {"user_id": user_id, "name": name}
        async with self._database.transaction() as connection:
            key = await self._sealing_key(connection)
            found = (await connection.execute(_LOCK_SECRET, of_name)).scalar()
            statement = _ADD_SECRET if found is None else _REPLACE_SECRET
            row_id = int((await connection.execute(_SECRET_ID)).scalar_one()) if found is None else found
            row = (
                await connection.execute(statement, {**of_name, "id": row_id, **_columns(seal(row_id, key))})
            ).first()
            if row is None:
                raise TransactionConflict(
                    f"somebody else has stored the secret {name} at the same time; try again"
                )
        return SecretEntry(**row._mapping)

    async def load(self, user_id: int | None, name: str) -> StoredSecret | None:
        """Return one."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_LOAD, {"user_id": user_id, "name": name})).first()
        if row is None:
            return None
        return StoredSecret(row.id, SealedSecret(_wrapped(row), bytes(row.nonce), bytes(row.ciphertext)))

    async def list_secrets(self, user_id: int | None) -> Sequence[SecretEntry]:
        """Return what there is, by name."""
        async with self._database.transaction() as connection:
            return [SecretEntry(**row._mapping) for row in await connection.execute(_LIST, {"user_id": user_id})]

    async def delete(self, user_id: int | None, name: str) -> bool:
        """Forget one; return whether there was one."""
        async with self._database.transaction() as connection:
            return (await connection.execute(_DELETE, {"user_id": user_id, "name": name})).rowcount == 1

    async def document_key(self, user_id: int | None, make: MakeKey) -> DocumentKey:
        """Return the user's key; if there is none, ``make`` makes it. Who was faster made the one that counts."""
        async with self._database.transaction() as connection:
            row = (await connection.execute(_DOCUMENT_KEY, {"user_id": user_id})).first()
            if row is None:
                master = await self._sealing_key(connection)
                row_id = int((await connection.execute(_DOCUMENT_KEY_ID)).scalar_one())
                values = {"id": row_id, "user_id": user_id, **_key_columns(make(row_id, master))}
                await connection.execute(_ADD_DOCUMENT_KEY, values)
                row = (await connection.execute(_DOCUMENT_KEY, {"user_id": user_id})).one()
        return DocumentKey(row.id, _wrapped(row))

    async def master_key_id(self) -> str | None:
        """Return the id of the key with which everything is sealed; None if nothing is."""
        async with self._database.transaction() as connection:
            return await connection.run_sync(master_key_id)

    async def rewrap_all(self, old_id: str, new_id: str, rewrap: Rewrap) -> int:
        """Wrap all keys anew in one transaction, and return how many they were.

        Errors: Conflict, and nothing is changed, if the master key is not the old one any more.
        """
        async with self._database.transaction() as connection:
            if (await connection.execute(_LOCK_KEY)).scalar() != old_id:
                raise Conflict("the master key has been rotated by somebody else meanwhile; nothing was changed")
            secrets = (await connection.execute(_SECRET_KEYS)).all()
            documents = (await connection.execute(_DOCUMENT_KEYS)).all()
            contexts = [secret_context(row.id, row.user_id, row.name) for row in secrets]
            await _rewrap(connection, _REWRAP_SECRET, secrets, contexts, rewrap)
            await pause_point("secrets.half_rotated")
            contexts = [document_key_context(row.id, row.user_id) for row in documents]
            await _rewrap(connection, _REWRAP_DOCUMENT_KEY, documents, contexts, rewrap)
            await connection.execute(_SET_KEY, {"key_id": new_id})
        await pause_point("secrets.rotated")
        return len(secrets) + len(documents)

    async def _sealing_key(self, connection: AsyncConnection) -> MasterKey:
        """Return the database's master key, the first one if nothing is sealed yet; rotations wait."""
        key_id = (await connection.execute(_SHARE_KEY)).scalar()
        if key_id is None:
            await connection.execute(_FIRST_KEY, {"key_id": self._keys.first().id})
            key_id = (await connection.execute(_SHARE_KEY)).scalar_one()
        return self._keys.fitting(key_id)


def master_key_id(connection: Connection) -> str | None:
    """Return the id of a database's master key; None if nothing is sealed in it, also by an older version."""
    if not connection.execute(_HAS_KEY_TABLE).scalar_one():
        return None
    found: str | None = connection.execute(_KEY_ID).scalar()
    return found


def stored_master_key_id(url: str) -> str | None:
    """Return the id of the master key of the database at a URL."""
    with database_errors(), create_engine(parse_url(url), poolclass=NullPool).connect() as connection:
        return master_key_id(connection)


async def _rewrap(
    connection: AsyncConnection,
    statement: TextClause,
    rows: Sequence[Row[Any]],
    contexts: Sequence[bytes],
    rewrap: Rewrap,
) -> None:
    changes = [
        {"id": row.id, **_key_columns(rewrap(context, _wrapped(row)))}
        for row, context in zip(rows, contexts, strict=True)
    ]
    if changes:
        await connection.execute(statement, changes)


def _wrapped(row: Row[Any]) -> WrappedKey:
    return WrappedKey(row.key_id, bytes(row.wrapped_key))


def _key_columns(key: WrappedKey) -> dict[str, Any]:
    return {"key_id": key.key_id, "wrapped_key": key.wrapped}


def _columns(sealed: SealedSecret) -> dict[str, Any]:
    return {**_key_columns(sealed.key), "nonce": sealed.nonce, "ciphertext": sealed.ciphertext}
