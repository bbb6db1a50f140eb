"""A process that is killed while it brings a history to another base has done nothing; the next one does it."""

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
FETCH = [sys.executable, "-m", "atf", "data", "fetch", "T", "--timeframe", "1d", "--from", "files"]


def put_file(folder: Path, first: int, end: int, factor: float) -> None:
    """Have days from a number to before another, as if there had been a split."""
    lines = ["timestamp,open,high,low,close,volume"]
    for number in range(first, end):
        prices = [price * factor for price in (100 + number % 7, 110, 90, 100 + number % 5)]
        day = (FIRST + timedelta(days=number)).date()
        lines.append(",".join(map(str, [day, *prices, 64 / factor])))
    (folder / "1d").mkdir(exist_ok=True)
    (folder / "1d" / "T.csv").write_text("\n".join(lines))


def stored(database_url: str) -> list[tuple[float, float]]:
    """Highs and volumes, which are the same every day, as often as they change."""
    with psycopg.connect(plain_url(database_url)) as connection:
        rows = connection.execute("SELECT high, volume FROM market_bars ORDER BY open_time").fetchall()
    return [row for number, row in enumerate(rows) if number == 0 or row != rows[number - 1]]


def count(database_url: str) -> int:
    with psycopg.connect(plain_url(database_url)) as connection:
        (found,) = connection.execute("SELECT count(*) FROM market_bars").fetchone() or (0,)
    return int(found)


@pytest.mark.timeout(120)
def test_a_split_is_followed_by_all_bars_or_by_none(database_url: str, tmp_path: Path) -> None:
    given = {
        **os.environ,
        "ATF_DATABASE_URL": database_url,
        "ATF_HOME": str(tmp_path),
        "ATF_DATA_FILES": str(tmp_path),
    }
    put_file(tmp_path, 0, 300, 1.0)
    subprocess.run([*FETCH, "--since", "2024-01-01"], env=given, check=True, capture_output=True)
    assert (count(database_url), stored(database_url)) == (300, [(110.0, 64.0)])

    put_file(tmp_path, 250, 301, 0.25)
    held = {**given, "ATF_PAUSE_AT": "bars.before_commit"}
    process = subprocess.Popen(FETCH, env=held, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process:
        said = next((line for line in process.stderr if "paused at" in line), "")
        process.send_signal(signal.SIGKILL)
    assert said == "paused at bars.before_commit\n"
    assert (count(database_url), stored(database_url)) == (300, [(110.0, 64.0)])

    subprocess.run(FETCH, env=given, check=True, capture_output=True)
    assert (count(database_url), stored(database_url)) == (301, [(27.5, 256.0)])
    subprocess.run(FETCH, env=given, check=True, capture_output=True)
    assert (count(database_url), stored(database_url)) == (301, [(27.5, 256.0)])
