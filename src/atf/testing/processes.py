"""A home of its own whose real processes a test starts, watches and kills."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from atf.testing.prepared import prepared_commands
from atf.testing.waiting import PATIENCE_SECONDS, wait_for

# Two test runs on one machine must not fight for ports, nor wait for leases as long as users may.
_FOR_TESTS: Final = {
    "ATF_WORKER_LEASE_SECONDS": "2",
    "ATF_PG_ALLOW_NOBODY": "true",
    "ATF_POLL_INTERVAL": "1",
    "ATF_SCHEDULER_PORT": "0",
    "ATF_NOTIFICATIONS_PORT": "0",
    "ATF_TRADING_PORT": "0",
    "SCHEDULER_STARTUP_DELAY": "0",
    "NO_COLOR": "1",
}


@dataclass(frozen=True, slots=True)
class FoundProcess:
    """A process of ATF as the operating system shows it."""

    pid: int
    words: tuple[str, ...]
    home: str


class Installation:
    """An ATF home. Leaving the context kills what still runs in it and removes it."""

    def __init__(self, environment: Mapping[str, str] | None = None, home: Path | None = None) -> None:
        self.home = home or Path(tempfile.mkdtemp(prefix="atf-home-"))
        self.home.mkdir(exist_ok=True)
        self.home.chmod(0o755)  # the account that PostgreSQL runs as under root must pass through
        self.environment = dict(environment or {})
        self.started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill_everything()
        for process in self.started:
            process.wait()
        shutil.rmtree(self.home)

    @property
    def full_environment(self) -> dict[str, str]:
        """The environment of this home's processes: the test's own, less what names another installation."""
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("ATF_", "SCHEDULER_"))
        }
        return {**inherited, **_FOR_TESTS, **self.environment, "ATF_HOME": str(self.home)}

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start ``atf`` with these words; its output is appended to a file named after the first."""
        with self.log_file(words[0]).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "atf", *words],
                env=self.full_environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.started.append(process)
        return process

    def run(self, *words: str, patience: float = PATIENCE_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run ``atf`` with these words to its end."""
        return run_atf(words, self.full_environment, patience=patience)

    def log_file(self, name: str) -> Path:
        """Return the file that takes the output of ``start``."""
        return self.home / f"{name}.out"

    def output(self, name: str) -> str:
        """Return what the processes started under this name have said so far."""
        file = self.log_file(name)
        return file.read_text(errors="replace") if file.exists() else ""

    def processes(self, home: Path | None = None) -> list[FoundProcess]:
        """Return the ATF processes that run in this home, or in one below it."""
        wanted = str(home or self.home)
        return [found for found in atf_processes() if found.home == wanted]

    def pids_of(self, word: str, home: Path | None = None) -> list[int]:
        """Return the processes whose command line has this word."""
        return [found.pid for found in self.processes(home) if word in found.words]

    def kill(self, word: str, home: Path | None = None) -> list[int]:
        """SIGKILL the processes whose command line has this word, as soon as there are any."""
        pids = wait_for(lambda: self.pids_of(word, home), what=f"for a process of {word}")
        for pid in pids:
            kill(pid)
        return pids

    def postmasters(self) -> list[int]:
        """Return the PostgreSQL servers of this home, and of homes below it, that are alive."""
        pids = []
        for file in self.home.glob("**/pg*/postmaster.pid"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                pids.append(int(file.read_text().splitlines()[0]))
        return [pid for pid in pids if is_alive(pid)]

    def kill_postmasters(self) -> None:
        """SIGKILL the PostgreSQL servers of this home."""
        for pid in self.postmasters():
            kill(pid)

    def kill_everything(self) -> None:
        """SIGKILL all at once: who supervises is stopped first, so that it neither mends nor ends anything."""
        found = [one for one in atf_processes() if Path(one.home).is_relative_to(self.home)]
        supervising = [one for one in found if {"up", "demo"} & set(one.words)]
        for one in supervising:
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGSTOP)
        for one in (*(other for other in found if other not in supervising), *supervising):
            kill(one.pid)
        self.kill_postmasters()


def run_atf(
    words: Sequence[str],
    environment: Mapping[str, str],
    *,
    stdin: str | None = None,
    patience: float = PATIENCE_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """Run ``atf`` with these words to its end, with nothing in its environment but this.

    Errors: subprocess.TimeoutExpired after ``patience`` seconds.
    """
    if environment.get("PYTHONPATH") == os.environ.get("PYTHONPATH"):
        return prepared_commands().run(words, environment, stdin=stdin, patience=patience)
    return subprocess.run(  # what is loaded already is not what this command would find
        [sys.executable, "-m", "atf", *words],
        env=environment,
        input=stdin or "",
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
    )


def atf_processes() -> Iterator[FoundProcess]:
    """Yield every living ATF process that we may look into."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or not is_alive(int(entry.name)):
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            environment = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "atf" in words:
            homes = (value.removeprefix("ATF_HOME=") for value in environment if value.startswith("ATF_HOME="))
            yield FoundProcess(int(entry.name), tuple(words), next(homes, ""))


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in ("Z", "X")


def kill(pid: int) -> None:
    """SIGKILL a process; one that is gone already is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
