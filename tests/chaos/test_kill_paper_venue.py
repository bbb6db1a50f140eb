"""Whoever trades on paper is killed at any instant: the books balance, and are those of an undisturbed run."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import psycopg
import pytest

from atf.storage.database import plain_url
from atf.testing.processes import kill

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

MINUTES: Final = 160
KILLS: Final = 6
LONGEST: Final = 0.35
"""Seconds from when a process is ready to its end: it is somewhere in its work then."""

UNBALANCED: Final = """
    SELECT a.name FROM paper_accounts a
    LEFT JOIN LATERAL (
        SELECT sum(CASE side WHEN 'buy' THEN -quantity * price ELSE quantity * price END - fee) AS flow
        FROM paper_fills f WHERE f.account_id = a.id) f ON true
    WHERE a.cash <> a.starting_cash + coalesce(f.flow, 0)
    UNION ALL
    SELECT a.name || ' ' || symbol FROM paper_accounts a JOIN (
        SELECT account_id, symbol, sum(quantity) AS quantity FROM (
            SELECT account_id, symbol, -quantity AS quantity FROM paper_positions
            UNION ALL
            SELECT account_id, symbol, CASE side WHEN 'buy' THEN quantity ELSE -quantity END FROM paper_fills) k
        GROUP BY 1, 2 HAVING sum(quantity) <> 0) k ON k.account_id = a.id
    UNION ALL
    SELECT o.client_order_id FROM paper_orders o
    LEFT JOIN paper_fills f ON (f.account_id, f.client_order_id) = (o.account_id, o.client_order_id)
    GROUP BY o.id HAVING o.filled_quantity <> coalesce(sum(f.quantity), 0) OR o.fill_count <> count(f.id)
        OR (o.status = 'filled') <> (o.filled_quantity = o.quantity)
    UNION ALL
    SELECT oco_group FROM paper_orders WHERE filled_quantity > 0
    GROUP BY account_id, oco_group HAVING oco_group IS NOT NULL AND count(*) > 1
"""
FILLS: Final = """
    SELECT split_part(a.name, '-', 2), f.venue_fill_id, f.quantity, f.price, f.fee, f.filled_at
    FROM paper_fills f JOIN paper_accounts a ON a.id = f.account_id WHERE a.venue = %s ORDER BY 1, 2
"""
STATES: Final = """
    SELECT split_part(a.name, '-', 2), o.client_order_id, o.status, o.reason, o.current_trigger
    FROM paper_orders o JOIN paper_accounts a ON a.id = o.account_id WHERE a.venue = %s ORDER BY 1, 2
"""


def begin(url: str, venue: str, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.chaos.paper_child", url, venue, str(MINUTES), str(log)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    return child


def finish(child: subprocess.Popen[bytes]) -> None:
    child.communicate(timeout=60)
    assert child.returncode == 0


def test_books_balance_and_nothing_is_filled_twice_whoever_is_killed(database_url: str, tmp_path: Path) -> None:
    log, dice, survived = tmp_path / "wild.txt", random.Random(), 0
    for _ in range(KILLS):
        child = begin(database_url, "wild", log)
        time.sleep(dice.uniform(0, LONGEST))
        survived += child.poll() is not None
        kill(child.pid)
        child.communicate()
        with psycopg.connect(plain_url(database_url)) as connection:
            assert connection.execute(UNBALANCED).fetchall() == []
    assert survived < KILLS, "all was done before anything was killed: there must be more minutes"
    finish(begin(database_url, "wild", log))
    finish(begin(database_url, "calm", tmp_path / "calm.txt"))
    with psycopg.connect(plain_url(database_url)) as connection:
        assert connection.execute(UNBALANCED).fetchall() == []
        assert all_taken(connection, log) == set()
        fills = connection.execute(FILLS, ["wild"]).fetchall()
        assert len(fills) > MINUTES
        assert fills == connection.execute(FILLS, ["calm"]).fetchall()
        assert connection.execute(STATES, ["wild"]).fetchall() == connection.execute(STATES, ["calm"]).fetchall()


def all_taken(connection: psycopg.Connection[tuple[object, ...]], log: Path) -> set[tuple[object, ...]]:
    """What was acknowledged and is not stored; a line that a kill cut short is passed over."""
    lines = [line.split() for line in log.read_text().splitlines()]
    told: set[tuple[object, ...]] = {
        (words[1], words[2]) for words in lines if len(words) == 3 and words[0] == "taken"
    }
    stored = connection.execute(
        "SELECT a.name, o.client_order_id FROM paper_orders o JOIN paper_accounts a ON a.id = o.account_id"
    )
    return told - set(stored)
