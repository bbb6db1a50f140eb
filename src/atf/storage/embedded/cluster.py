"""The embedded PostgreSQL as the rest of ATF sees it: acquire a reference, use its URL, release it.

Everything is synchronous and may wait for seconds; callers with an event loop use a thread.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from atf.errors import ConfigurationError, Conflict
from atf.storage.embedded.account import Account, choose_account
from atf.storage.embedded.binaries import Binaries, find_binaries, reachable_binaries
from atf.storage.embedded.connection import DATABASE, Address, server_version
from atf.storage.embedded.initialise import create_cluster
from atf.storage.embedded.layout import HomeLayout, give_to_owner_of_folder, size_in_bytes, storage_errors
from atf.storage.embedded.lock_files import PORT, running_postmaster
from atf.storage.embedded.locks import Reference, exclusive, is_referenced
from atf.storage.embedded.server import Server, missing_password, stop_server
from atf.storage.embedded.socket_folder import remove_short_folder, socket_folder

_log = logging.getLogger(__name__)

# Longer than the longest start, which somebody else may be waiting for under the lock.
_LOCK_PATIENCE = timedelta(seconds=180)


@dataclass(frozen=True)
class ClusterStatus:
    """What is known of a cluster without starting it.

    ``version`` is the server's while it runs, else the major version of the data, None without data.
    ``in_use`` says whether any process holds a reference, ``kept`` whether it runs on when none does.
    """

    running: bool
    in_use: bool
    kept: bool
    pid: int | None
    version: str | None
    data_dir: Path
    socket_dir: Path
    port: int
    size_bytes: int


class EmbeddedCluster:
    """The PostgreSQL cluster in one home folder; any number of processes may share it."""

    def __init__(
        self, home: Path, *, pg_user: str | None, pg_bindir: Path | None, allow_nobody: bool = False
    ) -> None:
        """Touch nothing yet.

        ``pg_user`` and ``pg_bindir`` are the settings ATF_PG_USER and ATF_PG_BINDIR. ``allow_nobody`` lets
        root fall back to the account nobody, which is good enough for a demo only.
        """
        self._layout = HomeLayout.of(home)
        self._pg_user = pg_user
        self._pg_bindir = pg_bindir
        self._allow_nobody = allow_nobody

    def acquire(self) -> ClusterHandle:
        """Make sure that the cluster exists and its server answers, and take a reference to it.

        Time:   about 1 s for a new cluster, 0.1 s for a start, 0.03 s when it runs already.
        Errors: ConfigurationError when the machine or a setting must be fixed, DatabaseUnavailable when it
                is worth another try. Nothing is held or half-made afterwards.
        """
        with self._errors():
            self._layout.create()
            with self._exclusive():
                server = self._prepare(may_create=True)
                server.ensure_running()
                reference = Reference(self._layout.references)
        return ClusterHandle(server, reference, restart=self._restart, give_back=self._give_back)

    def keep_running(self) -> None:
        """Start the server and let it run, whether anybody uses it or not, until ``stop``.

        Errors: those of ``acquire``.
        """
        with self._errors(), self.acquire():
            self._layout.kept.touch()
            give_to_owner_of_folder(self._layout.kept)

    def status(self) -> ClusterStatus:
        """Look without starting, creating or changing anything that counts."""
        with self._errors():
            if not self._layout.home.is_dir():
                return self._absent()
            with self._exclusive():
                return self._look()

    def stop(self, *, force: bool = False) -> bool:
        """Stop the server; return whether one was running.

        Errors: Conflict when processes still use it and ``force`` is not given. Those that do will start it
                again at their next health check.
        """
        with self._errors():
            if not self._layout.home.is_dir():
                return False
            with self._exclusive():
                if not force and is_referenced(self._layout.references):
                    raise Conflict(
                        f"the database in {self._layout.home} is in use: stop the ATF processes first,"
                        " or stop it by force"
                    )
                self._layout.kept.unlink(missing_ok=True)
                return self._stop()

    def _restart(self) -> tuple[Server, bool]:
        with self._errors(), self._exclusive():
            server = self._prepare(may_create=False)
            return server, server.ensure_running()

    def _give_back(self, reference: Reference) -> bool:
        if not self._layout.home.is_dir():
            # The folder was removed under us; the server notices within a minute and ends by itself.
            reference.release()
            return False
        with self._errors(), self._exclusive():
            reference.release()
            is_needed = self._layout.kept.exists() or is_referenced(self._layout.references)
            return not is_needed and self._stop()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with storage_errors(self._layout.home):
            yield

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        with exclusive(self._layout.lock, patience=_LOCK_PATIENCE):
            yield

    def _prepare(self, *, may_create: bool) -> Server:
        """Return the server to run, with its cluster made and its programs in reach."""
        found = find_binaries(self._pg_bindir)
        self._refuse_other_majors(found)
        data_dir = self._layout.data_dir(found.major)
        account = self._account(data_dir)
        binaries = reachable_binaries(found, account, self._layout.runtimes)
        if not data_dir.is_dir():
            if not may_create:
                raise ConfigurationError(
                    f"{data_dir} was removed while it was in use: stop ATF and restore a backup,"
                    " or start it again to begin with an empty database"
                )
            create_cluster(self._layout, binaries, account)
        return self._server(binaries, account)

    def _server(self, binaries: Binaries, account: Account) -> Server:
        data_dir = self._layout.data_dir(binaries.major)
        password_file = self._layout.password_file(binaries.major)
        password = _read_password(password_file)
        if password is None:
            raise missing_password(password_file, data_dir, binaries)
        return Server(
            home=self._layout.home,
            data_dir=data_dir,
            log_file=self._layout.log_file(binaries.major),
            password_file=password_file,
            binaries=binaries,
            account=account,
            address=Address(self._socket_dir(data_dir, account.uid), password),
        )

    def _account(self, data_dir: Path) -> Account:
        exists = data_dir.is_dir()
        owner = (data_dir if exists else self._layout.home).stat().st_uid
        account = choose_account(self._pg_user, allow_nobody=self._allow_nobody, owner_uid=owner)
        if exists and owner != account.uid:
            raise ConfigurationError(
                f"{data_dir} belongs to user id {owner}, and PostgreSQL runs only as the owner of its data,"
                f" not as {account.name!r}: start ATF as that owner, or give the folder to {account.name!r}"
            )
        if account.warning is not None:
            _log.warning(account.warning)
        return account

    def _refuse_other_majors(self, binaries: Binaries) -> None:
        for major in self._layout.majors():
            if major != binaries.major:
                raise ConfigurationError(
                    f"{self._layout.data_dir(major)} holds data of PostgreSQL {major}, and the programs in"
                    f" {binaries.bindir} are PostgreSQL {binaries.major}: set ATF_PG_BINDIR to PostgreSQL"
                    f" {major} to go on with it; to upgrade, dump it with pg_dumpall of {major}, move the"
                    " folder away, start ATF, and restore the dump"
                )

    def _socket_dir(self, data_dir: Path, uid: int) -> Path:
        """Return where the running server listens, else where the next one will.

        They differ when it was started with another temporary folder in its environment.
        """
        found = running_postmaster(data_dir)
        if found is not None and found.socket_dir is not None:
            return found.socket_dir
        return socket_folder(self._layout.home, uid)

    def _stop(self) -> bool:
        """Stop what runs in any data directory here; it works without binaries and without a password."""
        stopped = False
        for major in self._layout.majors():
            data_dir = self._layout.data_dir(major)
            folder = self._socket_dir(data_dir, data_dir.stat().st_uid)
            if stop_server(data_dir):
                remove_short_folder(folder, self._layout.home)
                stopped = True
        return stopped

    def _absent(self) -> ClusterStatus:
        return ClusterStatus(
            running=False,
            in_use=False,
            kept=False,
            pid=None,
            version=None,
            data_dir=self._layout.data_dir(find_binaries(self._pg_bindir).major),
            socket_dir=socket_folder(self._layout.home, os.geteuid()),
            port=PORT,
            size_bytes=0,
        )

    def _look(self) -> ClusterStatus:
        majors = self._layout.majors()
        if not majors:
            return self._absent()
        data_dir = self._layout.data_dir(majors[-1])
        socket_dir = self._socket_dir(data_dir, data_dir.stat().st_uid)
        found = running_postmaster(data_dir)
        version = self._running_version(socket_dir, majors[-1])
        return ClusterStatus(
            running=found is not None or version is not None,
            in_use=is_referenced(self._layout.references),
            kept=self._layout.kept.exists(),
            pid=found.pid if found is not None else None,
            version=version or str(majors[-1]),
            data_dir=data_dir,
            socket_dir=socket_dir,
            port=PORT,
            size_bytes=size_in_bytes(data_dir),
        )

    def _running_version(self, socket_dir: Path, major: int) -> str | None:
        address = Address(socket_dir, _read_password(self._layout.password_file(major)) or "")
        return server_version(address)


class ClusterHandle:
    """A reference to the running server; the last one that is released stops it, unless it is to run on.

    A process that is killed gives up its references by that; the server stays up, the next process adopts
    it, and stops it when it is the last to leave.
    """

    def __init__(
        self,
        server: Server,
        reference: Reference,
        *,
        restart: Callable[[], tuple[Server, bool]],
        give_back: Callable[[Reference], bool],
    ) -> None:
        """Take over what ``EmbeddedCluster.acquire`` prepared; nothing else makes handles."""
        self._server = server
        self._reference = reference
        self._restart = restart
        self._give_back = give_back

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    @property
    def bindir(self) -> Path:
        """The folder with pg_dump and its kin, of the same version as the server."""
        return self._server.binaries.bindir

    @property
    def data_dir(self) -> Path:
        """The data directory."""
        return self._server.data_dir

    def url(self, database: str = DATABASE) -> str:
        """Return the SQLAlchemy URL of a database in this cluster; it holds the password."""
        return self._server.address.url(database)

    def ensure(self) -> bool:
        """Check by a connection that the server answers, and start it if it does not.

        Time:   about 10 ms while it is well, so that a supervisor can ask every second.
        Errors: as ``EmbeddedCluster.acquire``; Conflict after ``release``.
        Returns whether the server had to be started.
        """
        if not self._reference.is_held:
            raise Conflict("this reference to the database was released: acquire a new one")
        if self._server.answers():
            return False
        self._server, was_started = self._restart()
        return was_started

    def release(self) -> bool:
        """Give the reference back; the last one stops the server and waits until it is gone.

        A second call does nothing. Returns whether the server was stopped.
        """
        if not self._reference.is_held:
            return False
        return self._give_back(self._reference)


def _read_password(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except FileNotFoundError:
        return None
