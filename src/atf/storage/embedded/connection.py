"""Ask a server whether it answers. A connection is the only proof of life; a process id is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from urllib.parse import quote

import psycopg

from atf.errors import DatabaseUnavailable
from atf.storage.embedded.lock_files import PORT

ROLE = "atf"
DATABASE = "atf"
_TIMEOUT_SECONDS = 5


class Answer(Enum):
    """What came back from an attempt to connect."""

    READY = auto()
    NO_DATABASE = auto()  # the server works, the database is missing
    REFUSED = auto()  # the server works and does not take us now: no connection is free
    NOT_YET = auto()  # it starts, recovers or shuts down
    WRONG_PASSWORD = auto()
    SILENT = auto()  # the connection was taken and nothing came back
    NOBODY = auto()  # nothing listens

    @property
    def is_alive(self) -> bool:
        """Whether a server works there."""
        return self in (Answer.READY, Answer.NO_DATABASE, Answer.REFUSED)


@dataclass(frozen=True)
class Address:
    """Where and as whom to connect."""

    socket_dir: Path
    password: str = field(repr=False)

    def url(self, database: str) -> str:
        """Return the SQLAlchemy URL; every part is percent-encoded."""
        host = quote(str(self.socket_dir), safe="")
        login = f"{ROLE}:{quote(self.password, safe='')}"
        return f"postgresql+psycopg://{login}@/{quote(database, safe='')}?host={host}&port={PORT}"

    def connect(self, database: str = DATABASE) -> psycopg.Connection:
        """Open a connection in autocommit mode; psycopg.OperationalError if that fails."""
        return psycopg.connect(
            host=str(self.socket_dir),
            port=PORT,
            user=ROLE,
            password=self.password,
            dbname=database,
            connect_timeout=_TIMEOUT_SECONDS,
            autocommit=True,
        )


def ask(address: Address) -> Answer:
    """Connect to the database ``atf`` and return what came back; it takes at most about 5 s."""
    try:
        address.connect().close()
    except psycopg.OperationalError as exc:
        return classify(str(exc), timed_out=isinstance(exc, psycopg.errors.ConnectionTimeout))
    return Answer.READY


def classify(text: str, *, timed_out: bool = False) -> Answer:
    """Return what the text of a failed connection means; the server speaks English (lc_messages is C)."""
    if timed_out:
        return Answer.SILENT
    if "FATAL:" not in text:
        return Answer.NOBODY
    if "password authentication failed" in text:
        return Answer.WRONG_PASSWORD
    if f'database "{DATABASE}" does not exist' in text:
        return Answer.NO_DATABASE
    if "the database system is" in text:
        return Answer.NOT_YET
    return Answer.REFUSED


def create_database(address: Address) -> None:
    """Create the database ``atf`` in a cluster that has none; DatabaseUnavailable if that fails."""
    try:
        with address.connect("postgres") as connection:
            connection.execute("CREATE DATABASE atf")
    except psycopg.errors.DuplicateDatabase:
        return
    except psycopg.OperationalError as exc:
        raise DatabaseUnavailable(f"the database {DATABASE!r} could not be created: {exc}") from exc


def server_version(address: Address) -> str | None:
    """Return the version of the running server, such as ``18.6``; None if it does not let us in."""
    try:
        with address.connect() as connection:
            return connection.info.parameter_status("server_version")
    except psycopg.OperationalError:
        return None
