"""A demo in a home of its own, to be killed in all its parts; everything is waited for, nothing is slept out."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

import psycopg

from atf.storage.database import plain_url
from atf.storage.embedded import ClusterHandle, EmbeddedCluster

T = TypeVar("T")
SERVICES = ("scheduler", "worker", "notifications")
PATIENCE_SECONDS = 120.0


@dataclass
class Demo:
    """One demo: its processes, its database, what it has decided and told."""

    sessions: int
    environment: dict[str, str] = field(default_factory=dict)
    home: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="atf-chaos-")))
    process: subprocess.Popen[bytes] | None = None
    extras: list[subprocess.Popen[bytes]] = field(default_factory=list)
    handle: ClusterHandle | None = None

    def __enter__(self) -> Self:
        self.home.chmod(0o755)
        return self

    def __exit__(self, *_: object) -> None:
        self.kill("all")
        for extra in self.extras:
            _kill(extra.pid)
            extra.wait()
        if self.handle is not None:
            self.handle.ensure()
            self.handle.release()
        shutil.rmtree(self.home)

    @property
    def demo_home(self) -> Path:
        return self.home / "demo"

    def start(self) -> None:
        """Start the demo, or start it again after it was killed."""
        with (self.home / "demo.out").open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "atf", "demo", "--sessions", str(self.sessions), "--json"],
                env=self._environment(self.home),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def start_extra(self, *arguments: str) -> None:
        """Start one more process on the demo's database."""
        with (self.home / "extra.out").open("ab") as out:
            environment = self._environment(self.demo_home)
            self.extras.append(
                subprocess.Popen(
                    [sys.executable, "-m", "atf", *arguments], env=environment, stdout=out, stderr=out
                )
            )

    def _environment(self, home: Path) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ATF_", "SCHEDULER_"))}
        quick = {"ATF_WORKER_LEASE_SECONDS": "2", "ATF_PG_ALLOW_NOBODY": "true", "ATF_POLL_INTERVAL": "1"}
        return {**kept, **quick, **self.environment, "ATF_HOME": str(home)}

    def finish(self) -> int:
        """Wait for the demo's end and return its exit status."""
        assert self.process is not None
        return self.process.wait(timeout=PATIENCE_SECONDS)

    def output(self) -> str:
        return (self.home / "demo.out").read_text()

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect to the demo's database; after the first time this never starts it."""
        if self.handle is None:
            wait_for(lambda: next(self.demo_home.glob("pg*/PG_VERSION"), None))
            self.handle = EmbeddedCluster(
                self.demo_home, pg_user=None, pg_bindir=None, allow_nobody=True
            ).acquire()
        return psycopg.connect(plain_url(self.handle.url()), autocommit=True, connect_timeout=5)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            return connection.execute(sql).fetchall()

    def step(self) -> int:
        """Return the replay's step; -1 while the database is down or being prepared."""
        try:
            rows = self.query("SELECT step FROM market_clock WHERE ends_at > begins_at")
        except psycopg.Error:
            return -1
        return int(rows[0][0]) if rows else -1

    def wait_for_step(self, step: int) -> None:
        """Wait until the replay has come this far. Fails if the demo ends first."""

        def reached() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"the demo ended early:\n{self.output()}"
            return self.step() >= step

        wait_for(reached)

    def pids_of(self, service: str) -> list[int]:
        """Return the processes of one of the demo's services."""
        return [pid for pid, command, home in _processes() if home == str(self.demo_home) and service in command]

    def kill(self, victim: str) -> None:
        """SIGKILL a service, the postmaster, or everything."""
        if victim in SERVICES:
            wait_for(lambda: self.pids_of(victim))
            for pid in self.pids_of(victim):
                _kill(pid)
        elif victim == "postmaster":
            self._kill_postmaster()
        else:
            self._kill_everything()

    def _kill_everything(self) -> None:
        """The supervisor is stopped first, so that it neither starts a child anew nor lets one end in peace."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)
        for service in SERVICES:
            for pid in self.pids_of(service):
                _kill(pid)
        self._kill_postmaster()
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _kill_postmaster(self) -> None:
        for file in self.demo_home.glob("pg*/postmaster.pid"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                _kill(int(file.read_text().splitlines()[0]))

    def triggers(self) -> set[tuple[Any, ...]]:
        rows = self.query(
            "SELECT schedule_id, rule_hash, bar_time, trigger_number, dedup_key FROM alert_triggers"
        )
        assert len(rows) == len(set(rows))
        return set(rows)

    def deliveries(self) -> set[tuple[Any, ...]]:
        return set(
            self.query(
                "SELECT d.dedup_key, d.channel, d.status, m.dedup_key, m.body "
                "FROM msg_deliveries d JOIN msg_messages m ON m.id = d.message_id"
            )
        )

    def printed_keys(self) -> list[str]:
        """Return the dedup key of every line on channel console; a line may be cut where it was killed."""
        lines = (self.demo_home / "notifications.log").read_text(errors="replace").splitlines()
        return [line[1 : line.index("]")] for line in lines if line.startswith("[") and ":console]" in line]


def wait_for(condition: Callable[[], T], patience: float = PATIENCE_SECONDS) -> T:
    """Wait until the condition returns something true, and return that."""
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _processes() -> Iterator[tuple[int, list[str], str]]:
    """Yield (pid, command words, ATF_HOME) of every ATF process that we may look into."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            environment = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "atf" in command:
            home = next((v.removeprefix("ATF_HOME=") for v in environment if v.startswith("ATF_HOME=")), "")
            yield int(entry.name), command, home
