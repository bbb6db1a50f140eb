"""A demo in a home of its own, to be killed in all its parts."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, LiteralString

import psycopg

from atf.storage.database import plain_url
from atf.storage.embedded import ClusterHandle, EmbeddedCluster
from atf.testing.processes import Installation
from atf.testing.waiting import PATIENCE_SECONDS, wait_for


class Demo(Installation):
    """One demo: its processes, its database, what it has decided and told."""

    def __init__(self, sessions: int, environment: dict[str, str] | None = None) -> None:
        super().__init__(environment)
        self.sessions = sessions
        self.process: subprocess.Popen[bytes] | None = None
        self.handle: ClusterHandle | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.handle is not None:
            self.kill_everything()
            self.handle.ensure()
            self.handle.release()
        super().__exit__(kind, error, trace)

    @property
    def demo_home(self) -> Path:
        return self.home / "demo"

    def begin(self) -> None:
        """Start the demo, or start it again after it was killed."""
        self.process = self.start("demo", "--sessions", str(self.sessions), "--json")

    def beside(self) -> Installation:
        """Return the demo's own home as an installation, to start more processes in; they end with the demo."""
        beside = Installation(self.environment, self.demo_home)
        beside.started = self.started
        return beside

    def finish(self) -> int:
        """Wait for the demo's end and return its exit status."""
        assert self.process is not None
        return self.process.wait(timeout=PATIENCE_SECONDS)

    def told(self) -> str:
        """What the demo itself has said."""
        return self.output("demo")

    def log(self, service: str) -> str:
        """What one of the demo's services has said."""
        file = self.demo_home / f"{service}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def query(self, sql: LiteralString) -> list[tuple[Any, ...]]:
        with self._connect() as connection:
            return connection.execute(sql).fetchall()

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect to the demo's database; after the first time this never starts it."""
        if self.handle is None:
            wait_for(lambda: next(self.demo_home.glob("pg*/PG_VERSION"), None))
            cluster = EmbeddedCluster(self.demo_home, pg_user=None, pg_bindir=None, allow_nobody=True)
            self.handle = cluster.acquire()
        return psycopg.connect(plain_url(self.handle.url()), autocommit=True, connect_timeout=5)

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
            assert self.process.poll() is None, f"the demo ended early:\n{self.told()}"
            return self.step() >= step

        wait_for(reached)

    def strike(self, victim: str) -> None:
        """SIGKILL a service, the postmaster, or everything at once."""
        match victim:
            case "all":
                self.kill_everything()
                assert self.process is not None
                self.process.wait()
            case "postmaster":
                self.kill_postmasters()
            case _:
                self.kill(victim, self.demo_home)

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
        lines = self.log("notifications").splitlines()
        return [line[1 : line.index("]")] for line in lines if line.startswith("[") and ":console]" in line]
