"""What ``atf scheduler validate-config``, ``test-db`` and ``validate-schemas`` look at, check by check."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import psycopg

from atf.alerts.schema_check import check_schemas
from atf.bootstrap.database import database_url
from atf.bootstrap.job_types import build_job_types
from atf.bootstrap.master_keys import build_master_keys
from atf.bootstrap.outgoing import outgoing_addresses
from atf.errors import AtfError, ConfigurationError
from atf.indicators import registry
from atf.jobs.schema_check import SchemaFinding, check_job_schemas
from atf.security.master_key import short_id
from atf.settings import Settings, SettingsReview, load_settings, review_settings, unknown_sentence
from atf.storage.database import MINIMUM_SERVER_VERSION, database_errors, parse_url, plain_url
from atf.storage.listener import require_notifications
from atf.storage.schema_version import schema_version
from atf.storage.secrets_repository import stored_master_key_id
from atf.trading.schema_check import check_bot_schemas

_CONNECT_SECONDS: Final = 10
_DURABLE: Final = ("fsync", "full_page_writes", "synchronous_commit")
"""Server settings without which a commit may be lost or the files torn when the machine fails."""


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at, and what was found."""

    subject: str
    outcome: Outcome
    detail: str

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.outcome is Outcome.OK


def check_config() -> Sequence[Check]:
    """Check environment and config file; everything that is wrong is found at once."""
    return list(_config_checks(review_settings()))


def check_database() -> Sequence[Check]:
    """Check that the configured database can do what ATF needs; ATF's own is started for it."""
    try:
        settings = load_settings()
    except ConfigurationError as exc:
        return [Check("settings", Outcome.FAILED, str(exc))]
    try:
        with database_url(settings) as url:
            return list(_database_checks(settings, url))
    except AtfError as exc:
        return [Check("connection", Outcome.FAILED, str(exc))]


def check_all_schemas() -> Sequence[Check]:
    """Check the schemas of alerts, of the other job types and of bots, and the examples in them."""
    return [_of_schema(found) for found in (*check_schemas(), *check_job_schemas(), *check_bot_schemas())]


def _of_schema(found: SchemaFinding) -> Check:
    if found.problem:
        return Check(found.file, Outcome.FAILED, found.problem)
    return Check(found.file, Outcome.OK, f"JSON Schema 2020-12, examples that fit: {found.examples}")


def _config_checks(review: SettingsReview) -> Iterator[Check]:
    file = review.file
    of_file = () if file is None else file.problems
    yield from _all_of(
        "config file", of_file, f"{file.path}: values: {len(file.given)}" if file else "none found"
    )
    of_environment = [problem for problem in review.problems if problem not in of_file]
    yield from _all_of("environment", of_environment, f"variables: {len(review.variables)}")
    if review.unknown:
        is_typo = any(variable.suggestion for variable in review.unknown)
        yield Check("variables", Outcome.FAILED if is_typo else Outcome.OK, unknown_sentence(review.unknown))
    if review.settings is not None:
        yield from _url_checks(review)
        yield _job_types(review.settings)
        yield _webhooks(review.settings)
    yield _indicators()


def _all_of(subject: str, problems: Sequence[str], detail: str) -> Iterator[Check]:
    if not problems:
        yield Check(subject, Outcome.OK, detail)
    for problem in problems:
        yield Check(subject, Outcome.FAILED, problem)


def _url_checks(review: SettingsReview) -> Iterator[Check]:
    origins = {setting.name: review.origin_of(setting)[1] for setting in review.known}
    for name in ("database_url", "database_direct_url"):
        url = getattr(review.settings, name)
        if url is not None:
            yield _check_url(url, origins[name])
    if review.settings is not None and review.settings.database_url is None:
        yield Check("database", Outcome.OK, "none named: ATF runs its own PostgreSQL")


def _job_types(settings: Settings) -> Check:
    installed = build_job_types(settings)
    if installed.plugins.problems:
        return Check("job types", Outcome.FAILED, "; ".join(installed.plugins.problems))
    return Check("job types", Outcome.OK, ", ".join(installed.types.names))


def _webhooks(settings: Settings) -> Check:
    try:
        allowed = outgoing_addresses(settings)
    except ConfigurationError as exc:
        return Check("webhooks", Outcome.FAILED, str(exc))
    others = [*map(str, allowed.networks), *sorted(allowed.hosts)]
    return Check("webhooks", Outcome.OK, f"go to public addresses{''.join(f', {one}' for one in others)}")


def _indicators() -> Check:
    if problems := registry.plugged().problems:
        return Check("indicators", Outcome.FAILED, "; ".join(problems))
    return Check("indicators", Outcome.OK, f"{len(registry.definitions())} known")


def _check_url(url: str, origin: str) -> Check:
    try:
        shown = parse_url(url).render_as_string(hide_password=True)
    except ConfigurationError as exc:
        return Check("database", Outcome.FAILED, f"{origin}: {str(exc).removeprefix('ATF_DATABASE_URL: ')}")
    return Check("database", Outcome.OK, f"{origin}: {shown}")


def _database_checks(settings: Settings, url: str) -> Iterator[Check]:
    direct_url = settings.database_direct_url or url
    with (
        database_errors(),
        psycopg.connect(plain_url(url), autocommit=True, connect_timeout=_CONNECT_SECONDS) as connection,
    ):
        yield Check("connection", Outcome.OK, parse_url(url).render_as_string(hide_password=True))
        yield _attempt("server", lambda: _server_version(connection))
        yield _attempt("schema", lambda: _schema(url))
        yield _attempt("master key", lambda: _master_key(settings, url))
        yield _attempt("notifications", lambda: _notifications(direct_url))
        yield _attempt("durability", lambda: _durability(connection))


def _attempt(subject: str, look: Callable[[], str]) -> Check:
    try:
        with database_errors():
            return Check(subject, Outcome.OK, look())
    except AtfError as exc:
        return Check(subject, Outcome.FAILED, str(exc))


def _server_version(connection: psycopg.Connection[Any]) -> str:
    number = connection.info.server_version
    if number < MINIMUM_SERVER_VERSION:
        raise ConfigurationError(f"is PostgreSQL {number // 10000}; ATF needs 15 or newer")
    return f"PostgreSQL {number // 10000}.{number % 10000}"


def _schema(url: str) -> str:
    version = schema_version(url)
    version.require_current()
    return f"schema {version.head}, the one of this ATF"


def _master_key(settings: Settings, url: str) -> str:
    key_id = stored_master_key_id(url)
    build_master_keys(settings).require(key_id)
    return "nothing is sealed yet" if key_id is None else f"{short_id(key_id)}, the one of this database"


def _notifications(direct_url: str) -> str:
    asyncio.run(require_notifications(plain_url(direct_url)))
    return "arrive"


def _durability(connection: psycopg.Connection[Any]) -> str:
    rows = connection.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(_DURABLE)])
    values = dict(sorted(rows))
    off = [name for name, value in values.items() if value == "off"]
    if off:
        raise ConfigurationError(
            f"the server runs with {' and '.join(off)} off, so that committed data may be lost; set it on"
        )
    return ", ".join(f"{name} {value}" for name, value in values.items())
