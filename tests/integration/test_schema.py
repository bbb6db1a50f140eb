"""The schema: what migrations make equals what the tables say, and it is checked before anything runs."""

from collections.abc import Iterator

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from atf.errors import ConfigurationError
from atf.storage import migrate
from atf.storage.schema_version import MIGRATIONS, known_revisions, schema_version
from atf.storage.tables import metadata

COLUMNS = """
    SELECT table_name, column_name, data_type, character_maximum_length, is_nullable, column_default,
           is_identity
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'"""
CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version'"""
# An index of a partition follows from its parent's; its name depends on the order in which those were made.
INDEXES = """
    SELECT indexname, indexdef FROM pg_indexes JOIN pg_class c ON c.oid = to_regclass(indexname)
    WHERE schemaname = 'public' AND tablename <> 'alembic_version' AND NOT c.relispartition"""
TRIGGERS = """
    SELECT tgrelid::regclass::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal"""
FUNCTIONS = "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
VIEWS = "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'"
TABLES = """
    SELECT relname, relkind::text, reloptions::text, pg_get_partkeydef(oid), pg_get_expr(relpartbound, oid)
    FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
      AND relname <> 'alembic_version'"""


def described(connection: Connection) -> dict[str, list[str]]:
    queries = {
        "columns": COLUMNS,
        "constraints": CONSTRAINTS,
        "indexes": INDEXES,
        "views": VIEWS,
        "tables": TABLES,
        "triggers": TRIGGERS,
        "functions": FUNCTIONS,
    }
    return {name: sorted(str(row) for row in connection.execute(text(q))) for name, q in queries.items()}


@pytest.fixture
def upgraded(database_url: str) -> Iterator[Connection]:
    with create_engine(database_url, poolclass=NullPool).connect() as connection:
        yield connection


@pytest.fixture
def fresh(empty_database_url: str) -> Iterator[Connection]:
    with create_engine(empty_database_url, poolclass=NullPool).connect() as connection:
        metadata.create_all(connection)
        yield connection


def test_an_upgraded_database_equals_a_fresh_one(upgraded: Connection, fresh: Connection) -> None:
    assert described(upgraded) == described(fresh)


def test_the_first_migration_makes_the_owner(upgraded: Connection) -> None:
    assert upgraded.execute(text("SELECT name, role FROM users")).all() == [("owner", "admin")]


def test_upgrading_twice_changes_nothing(database_url: str) -> None:
    assert migrate.upgrade(database_url).is_current
    assert schema_version(database_url).is_current


def test_the_revisions_known_by_their_files_are_those_of_alembic() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert known_revisions() == tuple(one.revision for one in reversed([*scripts.walk_revisions()]))


def test_a_database_without_schema_is_refused_with_the_command_that_helps(empty_database_url: str) -> None:
    with pytest.raises(ConfigurationError, match="run `atf db migrate`"):
        schema_version(empty_database_url).require_current()


def test_a_database_of_a_newer_version_is_refused_and_not_touched(database_url: str) -> None:
    with create_engine(database_url, poolclass=NullPool).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="made by a newer ATF"):
        migrate.upgrade(database_url)
    with pytest.raises(ConfigurationError, match="made by a newer ATF"):
        schema_version(database_url).require_current()
