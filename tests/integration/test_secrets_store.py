"""Secrets in a real database: sealed, bound to their rows, rotated all or none, and audited without values."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.conftest import OWNER, Rows
from tests.integration.secret_search import dump, found_in

from atf.bootstrap import rights
from atf.errors import ConfigurationError, Conflict, Forbidden, InvalidInput, NotFound
from atf.security.audit import AuditFilter
from atf.security.caller import Caller, Origin, acting
from atf.security.document_seals import DocumentSeals
from atf.security.gate import gated
from atf.security.master_key import MasterKey, new_key
from atf.security.master_keys import KeySources, MasterKeys
from atf.security.role import Role
from atf.security.secret_box import SealBroken
from atf.security.secrets_service import SecretsService
from atf.storage.audit_repository import PostgresAuditLog
from atf.storage.database import Database
from atf.storage.embedded import ClusterHandle
from atf.storage.secrets_repository import PostgresSecrets

VALUE = "hunter2-is-the-password-of-the-broker"
MASTER = new_key("test")

Open = Callable[[MasterKey], SecretsService]


def keys_of(master: MasterKey) -> MasterKeys:
    return MasterKeys(KeySources(Path("/nowhere"), master.text))


@pytest.fixture
def opened(database: Database) -> Open:
    """The service of a process that has this master key."""

    def build(master: MasterKey) -> SecretsService:
        return SecretsService(PostgresSecrets(database, keys_of(master)), keys_of(master))

    return build


@pytest.fixture
def secrets(opened: Open) -> SecretsService:
    return opened(MASTER)


async def test_a_secret_is_stored_replaced_listed_and_deleted(secrets: SecretsService) -> None:
    await secrets.set_secret(OWNER, "broker.key", "first")
    first = (await secrets.list_secrets(OWNER))[0]
    await secrets.set_secret(OWNER, "broker.key", VALUE)
    await secrets.set_secret(None, "broker.key", "the platform's")
    (entry,) = await secrets.list_secrets(OWNER)
    assert (entry.name, entry.created_at) == ("broker.key", first.created_at)
    assert entry.updated_at > first.updated_at
    assert await secrets.reveal(OWNER, "broker.key") == VALUE
    assert await secrets.reveal(None, "broker.key") == "the platform's"
    await secrets.delete_secret(OWNER, "broker.key")
    assert await secrets.list_secrets(OWNER) == []
    assert len(await secrets.list_secrets(None)) == 1
    with pytest.raises(NotFound, match=r'there is no secret "broker\.key"; secrets here: none'):
        await secrets.delete_secret(OWNER, "broker.key")
    with pytest.raises(NotFound):
        await secrets.reveal(OWNER, "broker.key")


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("", "v", "name"),
        ("a b", "v", "name"),
        ("x" * 65, "v", "name"),
        ("../x", "v", "name"),
        ("x\n", "v", "name"),
        ("x", "", "value"),
        ("x", "v" * 65_537, "value"),
        ("x", "hunter2\0", "value"),
        ("x", "hunter2\ud800", "value"),
    ],
)
async def test_what_cannot_be_a_secret_is_refused_and_stores_nothing(
    secrets: SecretsService, rows: Rows, name: str, value: str, field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await secrets.set_secret(OWNER, name, value)
    assert refused.value.field == field
    assert "hunter2" not in str(refused.value)
    assert await rows.value("SELECT count(*) FROM secrets") == 0
    assert await rows.value("SELECT count(*) FROM master_key") == 0


async def test_a_stolen_dump_reveals_no_secret(
    secrets: SecretsService, cluster: ClusterHandle, database_url: str, database: Database
) -> None:
    await secrets.set_secret(OWNER, "broker.key", VALUE)
    await secrets.set_secret(OWNER, "broker.key", VALUE)  # of a change the audit log has both sides
    mine = await DocumentSeals(PostgresSecrets(database, keys_of(MASTER)), keys_of(MASTER)).of_user(OWNER)
    await secrets.delete_secret(OWNER, "broker.key")
    await secrets.set_secret(OWNER, "again", VALUE)
    stolen = dump(cluster, database_url)
    assert "INSERT INTO public.secrets" in stolen
    assert found_in(VALUE, [stolen]) == []
    assert found_in(MASTER.text, [stolen]) == []
    assert MASTER.secret.hex() not in stolen
    assert mine.data_key.hex() not in stolen


async def test_a_secret_moved_to_another_row_owner_or_name_cannot_be_opened(
    secrets: SecretsService, rows: Rows
) -> None:
    await secrets.set_secret(OWNER, "mine", VALUE)
    await secrets.set_secret(None, "theirs", "other")
    await rows.change("UPDATE secrets SET name = 'renamed' WHERE name = 'mine'")
    with pytest.raises(SealBroken):
        await secrets.reveal(OWNER, "renamed")
    await rows.change("UPDATE secrets SET name = 'mine', user_id = NULL WHERE name = 'renamed'")
    with pytest.raises(SealBroken):
        await secrets.reveal(None, "mine")
    sealed = "wrapped_key = m.wrapped_key, nonce = m.nonce, ciphertext = m.ciphertext"
    await rows.change(f"UPDATE secrets t SET {sealed} FROM secrets m WHERE m.name = 'mine' AND t.name = 'theirs'")
    with pytest.raises(SealBroken):
        await secrets.reveal(None, "theirs")


async def test_with_another_master_key_nothing_is_stored(
    opened: Open, secrets: SecretsService, rows: Rows
) -> None:
    await secrets.set_secret(OWNER, "one", VALUE)
    before = await rows.all("SELECT * FROM secrets")
    stranger = opened(new_key("x"))
    for name in ("one", "two"):
        with pytest.raises(ConfigurationError, match="is the master key"):
            await stranger.set_secret(OWNER, name, "other")
    with pytest.raises(ConfigurationError, match="is the master key"):
        await stranger.reveal(OWNER, "one")
    with pytest.raises(ConfigurationError, match="is the master key"):
        await stranger.rotate(new=new_key("y"))
    assert await rows.all("SELECT * FROM secrets") == before
    assert await secrets.reveal(OWNER, "one") == VALUE


async def test_after_a_rotation_all_open_with_the_new_key_alone(
    opened: Open, secrets: SecretsService, database: Database, rows: Rows
) -> None:
    await secrets.set_secret(OWNER, "one", VALUE)
    await secrets.set_secret(None, "two", "other")
    seals = await DocumentSeals(PostgresSecrets(database, keys_of(MASTER)), keys_of(MASTER)).of_user(OWNER)
    document = seals.seal("webhook", "task_params", ("token",), VALUE)
    ciphertexts = await rows.column("SELECT ciphertext FROM secrets ORDER BY id")
    new = new_key("new")
    done = await secrets.rotate(new=new)
    assert (done.keys, done.old_id, done.new_id, done.kept) == (3, MASTER.short_id, new.short_id, None)
    assert await rows.column("SELECT ciphertext FROM secrets ORDER BY id") == ciphertexts
    assert set(await rows.column("SELECT key_id FROM secrets UNION SELECT key_id FROM document_keys")) == {new.id}
    later = opened(new)
    assert (await later.reveal(OWNER, "one"), await later.reveal(None, "two")) == (VALUE, "other")
    seals = await DocumentSeals(PostgresSecrets(database, keys_of(new)), keys_of(new)).of_user(OWNER)
    assert seals.open("webhook", "task_params", ("token",), document) == VALUE
    with pytest.raises(ConfigurationError, match="is the master key"):
        await opened(MASTER).reveal(OWNER, "one")


async def test_a_rotation_that_fails_in_between_changes_nothing(
    opened: Open, secrets: SecretsService, rows: Rows
) -> None:
    for name in ("one", "two", "three"):
        await secrets.set_secret(OWNER, name, VALUE)
    await rows.change("UPDATE secrets SET wrapped_key = '\\x00' WHERE name = 'two'")
    before = await rows.all("SELECT * FROM secrets ORDER BY id")
    with pytest.raises(SealBroken):
        await secrets.rotate(new=new_key("new"))
    assert await rows.all("SELECT * FROM secrets ORDER BY id") == before
    assert await rows.column("SELECT key_id FROM master_key") == [MASTER.id]
    assert await opened(MASTER).reveal(OWNER, "three") == VALUE


async def test_a_secret_that_is_stored_during_a_rotation_gets_the_new_key(
    database: Database, opened: Open, secrets: SecretsService, rows: Rows
) -> None:
    """The row of the master key is locked by who seals: nothing is left behind under the old key."""
    await secrets.set_secret(OWNER, "one", VALUE)
    new = new_key("new")
    outcomes = await asyncio.gather(
        secrets.rotate(new=new),
        *(secrets.set_secret(OWNER, f"during.{number}", VALUE) for number in range(20)),
        return_exceptions=True,
    )
    refused = [one for one in outcomes if isinstance(one, BaseException)]
    assert all(isinstance(one, ConfigurationError) for one in refused)  # its process still has the old key alone
    assert set(await rows.column("SELECT key_id FROM secrets")) == {new.id}
    for entry in await opened(new).list_secrets(OWNER):
        assert await opened(new).reveal(OWNER, entry.name) == VALUE


async def test_of_two_rotations_at_once_one_counts(opened: Open, secrets: SecretsService, rows: Rows) -> None:
    await secrets.set_secret(OWNER, "one", VALUE)
    first, second = new_key("first"), new_key("second")
    outcomes = await asyncio.gather(
        secrets.rotate(new=first), opened(MASTER).rotate(new=second), return_exceptions=True
    )
    (refused,) = [one for one in outcomes if isinstance(one, BaseException)]
    assert isinstance(refused, Conflict | ConfigurationError)
    (current,) = [key for key in (first, second) if key.id == await rows.value("SELECT key_id FROM master_key")]
    assert await opened(current).reveal(OWNER, "one") == VALUE


async def test_rotations_that_cannot_be_meant_are_refused(secrets: SecretsService, opened: Open) -> None:
    with pytest.raises(Conflict, match="nothing is sealed in this database yet"):
        await secrets.rotate(new=new_key("new"))
    await secrets.set_secret(OWNER, "one", VALUE)
    with pytest.raises(InvalidInput, match="--new-key: is the master key that the database has already"):
        await secrets.rotate(new=MASTER)
    with pytest.raises(InvalidInput, match="--old-key: is not the master key of this database"):
        await secrets.rotate(old=new_key("old"), new=new_key("new"))
    stranger, new = opened(new_key("the new one, given already")), new_key("new")
    assert (await stranger.rotate(old=MASTER, new=new)).keys == 1
    assert await opened(new).reveal(OWNER, "one") == VALUE


async def test_many_who_store_the_first_secret_at_once_agree(secrets: SecretsService, rows: Rows) -> None:
    await asyncio.gather(*(secrets.set_secret(OWNER, f"n{number}", VALUE) for number in range(20)))
    assert await rows.value("SELECT count(*) FROM master_key") == 1
    for number in range(20):
        assert await secrets.reveal(OWNER, f"n{number}") == VALUE


async def test_many_who_store_the_same_secret_at_once_leave_one_that_opens(secrets: SecretsService) -> None:
    outcomes = await asyncio.gather(
        *(secrets.set_secret(OWNER, "same", f"value-{number}") for number in range(20)), return_exceptions=True
    )
    assert any(not isinstance(one, BaseException) for one in outcomes)
    assert (await secrets.reveal(OWNER, "same")).startswith("value-")


async def test_the_audit_log_tells_of_secrets_and_not_what_they_are(
    secrets: SecretsService, database: Database
) -> None:
    log = PostgresAuditLog(database)
    caller = Caller(OWNER, "owner", Role.ADMIN, Origin.CLI)
    mine = gated(secrets, caller, rights.SECRETS, log)
    await mine.set_secret(OWNER, "one", VALUE)
    await mine.set_secret(OWNER, "one", "other value")
    await mine.rotate(None, new_key("new"))
    with acting(caller):
        assert await PostgresSecrets(database, keys_of(MASTER)).delete(OWNER, "one")
    entries = await log.entries(AuditFilter(), limit=100)
    told = [(one.action, one.actor, one.before, one.after) for one in entries if one.object_type != "user"]
    assert [action for action, *_ in told] == [
        "secret.delete",
        "master_key.update",
        "secret.update",
        "secret.create",
        "master_key.create",
    ]
    assert {actor for _, actor, *_ in told} == {"owner"}
    assert told[2][2:] == ({"ciphertext": "***"}, {"ciphertext": "***"})
    assert VALUE not in str(entries)
    assert "\\x" not in str(entries)


async def test_roles_decide_who_keeps_secrets(secrets: SecretsService, database: Database) -> None:
    log = PostgresAuditLog(database)
    trader = gated(secrets, Caller(OWNER, "tom", Role.TRADER, Origin.CLI), rights.SECRETS, log)
    viewer = gated(secrets, Caller(OWNER, "vic", Role.VIEWER, Origin.CLI), rights.SECRETS, log)
    await trader.set_secret(OWNER, "one", VALUE)
    for call in (
        trader.set_secret(None, "two", VALUE),
        trader.list_secrets(None),
        trader.delete_secret(None, "one"),
        trader.set_secret(OWNER + 1, "one", VALUE),
        trader.list_secrets(OWNER + 1),
        trader.rotate(None, new_key("new")),
        viewer.set_secret(OWNER, "one", VALUE),
        viewer.list_secrets(OWNER),
    ):
        with pytest.raises(Forbidden):
            await call
    with pytest.raises(Exception, match="nobody has decided who may use reveal"):
        await gated(secrets, Caller(OWNER, "owner", Role.ADMIN, Origin.CLI), rights.SECRETS, log).reveal(
            OWNER, "one"
        )
