"""An import of bars that is killed leaves all of them or none."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from atf.storage.database import plain_url

pytestmark = pytest.mark.chaos
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
MINUTES = 50_000
IMPORT = [sys.executable, "-m", "atf", "data", "import", "--symbol", "T", "--timeframe", "1m"]


def bars_file(folder: Path, name: str, close: float, bad: int) -> Path:
    """Write minutes of one close; the last ``bad`` ones have a high below their low."""
    path = folder / name
    lines = ["timestamp,open,high,low,close,volume"]
    for number in range(MINUTES):
        high = 1.0 if number >= MINUTES - bad else 200.0
        lines.append(f"{(FIRST + timedelta(minutes=number)).isoformat()},{close},{high},50,{close},1")
    path.write_text("\n".join(lines))
    return path


def environment(database_url: str, home: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "ATF_DATABASE_URL": database_url, "ATF_HOME": str(home), **more}


def stored(database_url: str) -> tuple[int, int, list[float]]:
    """How many bars and how many put aside there are, and which closes."""
    with psycopg.connect(plain_url(database_url)) as connection:
        bars = connection.execute("SELECT count(*) FROM market_bars").fetchone()
        aside = connection.execute("SELECT count(*) FROM market_bars_quarantine").fetchone()
        closes = connection.execute("SELECT DISTINCT close FROM market_bars ORDER BY close").fetchall()
    assert bars is not None
    assert aside is not None
    return bars[0], aside[0], [row[0] for row in closes]


def kill_before_commit(command: list[str], given: dict[str, str]) -> None:
    """Start an import, wait until everything is written but not committed, and kill it."""
    process = subprocess.Popen(command, env=given, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process:
        said = next((line for line in process.stderr if "paused at" in line), "")
        process.send_signal(signal.SIGKILL)
    assert said == "paused at bars.before_commit\n"


@pytest.mark.timeout(120)
def test_an_import_that_is_killed_leaves_no_half_batch(database_url: str, tmp_path: Path) -> None:
    first, second = (
        bars_file(tmp_path, "first.csv", 100.0, bad=10),
        bars_file(tmp_path, "second.csv", 120.0, bad=0),
    )
    given = environment(database_url, tmp_path)
    held = {**given, "ATF_PAUSE_AT": "bars.before_commit"}

    kill_before_commit([*IMPORT, str(first)], held)
    assert stored(database_url) == (0, 0, [])

    subprocess.run([*IMPORT, str(first)], env=given, check=True, capture_output=True)
    assert stored(database_url) == (MINUTES - 10, 10, [100.0])

    kill_before_commit([*IMPORT, str(second)], held)
    assert stored(database_url) == (MINUTES - 10, 10, [100.0])

    subprocess.run([*IMPORT, str(second)], env=given, check=True, capture_output=True)
    assert stored(database_url) == (MINUTES, 10, [120.0])
