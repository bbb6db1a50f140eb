"""A home with a database that stays up, and services in it that a test starts and kills by hand."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from types import TracebackType
from typing import Any, LiteralString, Self

import psycopg

from atf.storage.database import plain_url
from atf.storage.embedded import EmbeddedCluster
from atf.testing.processes import Installation


class Site(Installation):
    """Schedulers and workers beside a database."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        super().__init__({**(environment or {}), "ATF_WORKER_LEASE_SECONDS": "2"})
        self.services: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        super().__enter__()
        cluster = EmbeddedCluster(self.home, pg_user=None, pg_bindir=None, allow_nobody=True)
        self.handle = cluster.acquire()
        assert self.run("db", "migrate").returncode == 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill_everything()
        self.handle.ensure()
        self.handle.release()
        super().__exit__(kind, error, trace)

    def ensure(self, service: str, number: int) -> subprocess.Popen[bytes]:
        """Start a service if it does not run."""
        key = f"{service}-{number}"
        if key not in self.services or self.services[key].poll() is not None:
            more = ("--name", key) if service == "worker" else ()
            self.services[key] = self.start(service, "start", *more)
        return self.services[key]

    def query(self, sql: LiteralString, **values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(plain_url(self.handle.url()), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(sql, values)
            return cursor.fetchall() if cursor.description else []

    def count(self, sql: LiteralString) -> int:
        """Return a number, 0 while the database is down."""
        try:
            return int(self.query(sql)[0][0])
        except psycopg.OperationalError:
            return 0
