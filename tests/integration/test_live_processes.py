"""The three processes as a user starts them, on wall time: a bar closes in a file, a message arrives."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from atf.testing.waiting import wait_for

Services = tuple[tuple[str, ...], ...]
APART: Services = (("scheduler", "start"), ("worker", "start"), ("notifications", "start"))
TOGETHER: Services = (("scheduler", "start", "--with-worker"), ("notifications", "start"))
CONFIG = {
    "ticker": "AAPL",
    "timeframe": "1m",
    "rule": {"indicator": "price", "operator": ">", "value": 150},
    "notify": {"channels": ["console", "inbox"], "message_template": "{ticker} at {close}"},
}


class Installation:
    def __init__(self, home: Path, url: str) -> None:
        self.home = home
        self.environment = os.environ | {"ATF_HOME": str(home), "ATF_DATABASE_URL": url, "ATF_POLL_INTERVAL": "1"}
        self.services: list[subprocess.Popen[bytes]] = []
        self.bars = home / "bars" / "1m" / "AAPL.csv"
        self.bars.parent.mkdir(parents=True)

    def write_bars(self, *bars: tuple[datetime, float]) -> None:
        rows = [f"{time.isoformat()},{close},{close},{close},{close},10" for time, close in bars]
        whole = self.bars.with_suffix(".new")
        whole.write_text("\n".join(["timestamp,open,high,low,close,volume", *rows]) + "\n")
        whole.rename(self.bars)

    def atf(self, *arguments: str) -> object:
        command = [sys.executable, "-m", "atf", *arguments, "--json"]
        finished = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        return json.loads(finished.stdout)

    def start(self, services: Services) -> None:
        for words in services:
            with (self.home / f"{words[0]}.log").open("ab") as log:
                command = [sys.executable, "-m", "atf", *words]
                self.services.append(subprocess.Popen(command, env=self.environment, stdout=log, stderr=log))

    def stop(self) -> list[int]:
        for service in self.services:
            service.send_signal(signal.SIGTERM)
        return [service.wait(timeout=30) for service in self.services]


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Iterator[Installation]:
    made = Installation(tmp_path, database_url)
    yield made
    for service in made.services:
        service.kill()
        service.wait()


@pytest.mark.parametrize("services", [APART, TOGETHER], ids=["apart", "together"])
def test_a_bar_that_closes_is_evaluated_and_told_and_sigterm_ends_all_cleanly(
    installation: Installation, services: Services
) -> None:
    now = datetime.now(UTC)
    closes_soon = now - timedelta(
        seconds=50
    )  # the alert must be there before: what has closed by then is history
    installation.write_bars((closes_soon - timedelta(minutes=1), 140), (closes_soon, 151.5))
    every_second = ("--cron", "* * * * * *")
    installation.atf("alerts", "add", json.dumps(CONFIG), *every_second)
    installation.start(services)
    wait_for(lambda: installation.atf("notifications", "list", "--status", "SENT"), patience=60)
    wait_for(lambda: len(installation.atf("notifications", "list", "--status", "SENT")) == 2, patience=60)  # type: ignore[arg-type]
    shown = installation.atf("alerts", "show", "1")
    assert isinstance(shown, dict)
    assert [datetime.fromisoformat(t["bar_time"]) for t in shown["triggers"]] == [closes_soon]
    assert shown["alert"]["state_json"]["status"] == "TRIGGERED"
    assert "AAPL at 151.5" in (installation.home / "notifications.log").read_text()
    assert installation.stop() == [0] * len(services)
    assert installation.atf("runs", "list", "--status", "RUNNING") == []
    log = "".join((installation.home / f"{words[0]}.log").read_text() for words in services)
    assert "Traceback" not in log
