"""One server over one data directory: start it, see that it answers, stop it.

Every function but ``answers`` expects the caller to hold the exclusive lock.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from atf.errors import ConfigurationError, DatabaseUnavailable
from atf.storage.embedded.account import Account
from atf.storage.embedded.binaries import Binaries
from atf.storage.embedded.connection import Address, Answer, ask, create_database
from atf.storage.embedded.initialise import error_line, is_disk_full
from atf.storage.embedded.layout import disk_full, give_to_owner_of_folder
from atf.storage.embedded.lock_files import PORT, clear_lock_files, running_postmaster
from atf.storage.embedded.processes import end_orphans, remember_child, send, wait_until_gone
from atf.storage.embedded.socket_folder import create_socket_folder

# Recovery after a crash replays up to max_wal_size (1 GB).
_START_PATIENCE = timedelta(seconds=120)
# A server that was just started has its process before it has its socket.
_SOCKET_PATIENCE = timedelta(seconds=10)
# A fast stop writes a checkpoint, an immediate stop writes nothing.
_FAST_STOP_PATIENCE = timedelta(seconds=60)
_IMMEDIATE_STOP_PATIENCE = timedelta(seconds=10)
_POLL_SECONDS = 0.02
_LOG_LIMIT_BYTES = 10_000_000
_SETTINGS = (
    "listen_addresses=",
    "max_connections=200",
    "log_checkpoints=off",
    "timezone=UTC",
    "log_timezone=UTC",
    "lc_messages=C",
)


@dataclass(frozen=True)
class Server:
    """A data directory with all that is needed to run it."""

    home: Path
    data_dir: Path
    log_file: Path
    password_file: Path
    binaries: Binaries
    account: Account
    address: Address

    def answers(self) -> bool:
        """Return whether a connection succeeds; about 10 ms."""
        return ask(self.address).is_alive

    def ensure_running(self) -> bool:
        """Start the server unless it answers; return whether it had to be started.

        Errors: ConfigurationError when it cannot be started or does not let us in, DatabaseUnavailable when
        it needs longer than two minutes (recovery goes on meanwhile).
        """
        answer = self._settle()
        was_started = not answer.is_alive
        if was_started:
            answer = self._start()
        if answer is Answer.NO_DATABASE:
            create_database(self.address)
        return was_started

    def _settle(self) -> Answer:
        """Wait while a server starts or stops, and return the last answer: alive, or NOBODY."""
        started_at = time.monotonic()
        while True:
            answer = self._ask()
            if answer.is_alive or (answer is Answer.NOBODY and running_postmaster(self.data_dir) is None):
                return answer
            waited = timedelta(seconds=time.monotonic() - started_at)
            if answer is Answer.NOBODY and waited > _SOCKET_PATIENCE:
                raise self._unreachable()
            if waited > _START_PATIENCE:
                raise self._slow()
            time.sleep(_POLL_SECONDS)

    def _ask(self) -> Answer:
        answer = ask(self.address)
        if answer is Answer.WRONG_PASSWORD:
            raise wrong_password(self.password_file, self.data_dir, self.binaries)
        return answer

    def _start(self) -> Answer:
        if not end_orphans(self.data_dir, patience=_IMMEDIATE_STOP_PATIENCE):
            raise self._unreachable()
        create_socket_folder(self.address.socket_dir, self.account)
        clear_lock_files(self.data_dir, self.address.socket_dir)
        rotate_log(self.log_file)
        offset = self.log_file.stat().st_size if self.log_file.exists() else 0
        try:
            return self._wait_for(self._launch(), offset)
        except ConfigurationError:
            stop_server(self.data_dir)
            raise

    def _launch(self) -> subprocess.Popen[bytes]:
        command = [str(self.binaries.program("postgres")), "-D", str(self.data_dir)]
        command += ["-k", str(self.address.socket_dir), "-p", str(PORT)]
        for setting in _SETTINGS:
            command += ["-c", setting]
        with open(self.log_file, "ab", opener=_no_follow) as log:
            give_to_owner_of_folder(self.log_file)
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                close_fds=True,
                **self.account.launch_options(),
            )

    def _wait_for(self, process: subprocess.Popen[bytes], log_offset: int) -> Answer:
        deadline = time.monotonic() + _START_PATIENCE.total_seconds()
        try:
            while not (answer := self._ask()).is_alive:
                if process.poll() is not None:
                    raise self._start_failure(process.returncode, log_offset)
                if time.monotonic() > deadline:
                    raise self._slow()
                time.sleep(_POLL_SECONDS)
            return answer
        finally:
            if process.returncode is None:
                remember_child(process)

    def _start_failure(self, returncode: int, log_offset: int) -> ConfigurationError:
        with self.log_file.open("rb") as log:
            log.seek(log_offset)
            output = log.read().decode(errors="replace")
        if is_disk_full(output):
            return disk_full(self.home)
        closed = self.account.first_closed_folder(self.data_dir)
        if closed is not None and "ermission denied" in output:
            return ConfigurationError(
                f"the account {self.account.name!r}, which runs PostgreSQL, cannot pass through {closed}:"
                " set ATF_HOME to a folder that it can reach"
            )
        return ConfigurationError(
            f"PostgreSQL in {self.data_dir} did not start (exit code {returncode}):"
            f" {error_line(output)}; the whole log is {self.log_file}"
        )

    def _unreachable(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self.data_dir} is in use by a PostgreSQL server that does not listen in"
            f" {self.address.socket_dir}: stop that server (`atf db stop --force`), or set ATF_HOME to"
            " another folder"
        )

    def _slow(self) -> DatabaseUnavailable:
        return DatabaseUnavailable(
            f"PostgreSQL in {self.data_dir} has not answered for {_START_PATIENCE.total_seconds():.0f} s;"
            f" it may be recovering: try again, and see {self.log_file}"
        )


def stop_server(data_dir: Path) -> bool:
    """Stop the server of ``data_dir`` and wait until it is gone; return whether one was running.

    Time:   a fast stop gets a minute for its checkpoint, then an immediate stop follows, which loses
            nothing but makes the next start recover.
    Errors: DatabaseUnavailable when it does not end.
    """
    found = running_postmaster(data_dir)
    if found is None:
        return False
    for number, patience in (
        (signal.SIGINT, _FAST_STOP_PATIENCE),
        (signal.SIGQUIT, _IMMEDIATE_STOP_PATIENCE),
    ):
        send(found.pid, number)
        if wait_until_gone(found.pid, data_dir, patience=patience):
            return True
    raise DatabaseUnavailable(f"PostgreSQL in {data_dir} (process {found.pid}) does not stop: try again")


def wrong_password(password_file: Path, data_dir: Path, binaries: Binaries) -> ConfigurationError:
    """Return the error for a password file that does not fit the cluster."""
    return ConfigurationError(
        f"{password_file} does not hold the password of this database: {_way_out(data_dir, binaries)}"
    )


def missing_password(password_file: Path, data_dir: Path, binaries: Binaries) -> ConfigurationError:
    """Return the error for a password file that is gone."""
    return ConfigurationError(f"{password_file} is missing or empty: {_way_out(data_dir, binaries)}")


def _way_out(data_dir: Path, binaries: Binaries) -> str:
    return (
        "restore the file from a backup; or stop ATF and the server (`atf db stop --force`), write a new"
        f" password into the file (mode 0600), and as the owner of {data_dir} give"
        f" `ALTER ROLE atf PASSWORD '…'` to `{binaries.program('postgres')} --single -D {data_dir} atf`"
    )


def rotate_log(log_file: Path) -> None:
    """Keep one older log once the current one has more than 10 MB."""
    if log_file.exists() and log_file.stat().st_size > _LOG_LIMIT_BYTES:
        log_file.replace(log_file.with_suffix(".log.1"))


def _no_follow(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
