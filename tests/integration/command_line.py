"""The command line inside the test's own process, as a person meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from atf.cli import run
from atf.storage.database import plain_url


@dataclass
class Finished:
    """What a command has said, and with which status it left."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        """What it said, as JSON."""
        assert self.status == 0, self
        return json.loads(self.out)


class CommandLine:
    """The command line inside this process, and beside it where it must be interrupted."""

    def __init__(
        self, home: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in list(os.environ):
            if name.startswith(("ATF_", "SCHEDULER_")):
                monkeypatch.delenv(name)
        settings = {"ATF_HOME": str(home), "ATF_DATABASE_URL": url, "ATF_CONFIG": "none", "NO_COLOR": "1"}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        self._url = plain_url(url)
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *words: object) -> Finished:
        self._monkeypatch.setattr(sys, "argv", ["atf", *map(str, words)])
        try:
            run()
            status = 0
        except SystemExit as exc:
            status = int(exc.code or 0)
        said = self._capsys.readouterr()
        return Finished(status, said.out, said.err)

    def json(self, *words: object) -> Any:
        """What a command says as JSON."""
        return self(*words, "--json").json()

    def refused(self, *words: object) -> str:
        """The one sentence with which a command is refused."""
        finished = self(*words)
        assert (finished.status, finished.out) == (1, ""), finished
        assert finished.err.startswith("atf: ")
        assert finished.err.count("\n") == 1, finished.err
        return finished.err.removeprefix("atf: ").strip()

    @contextmanager
    def beside(self, *words: object) -> Iterator[subprocess.Popen[str]]:
        """Run a command in a process of its own until the block ends."""
        command = [sys.executable, "-u", "-m", "atf", *map(str, words)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Execute a statement on the database; return its rows if it has any."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []
