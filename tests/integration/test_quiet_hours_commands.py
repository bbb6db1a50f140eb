"""``atf notifications quiet-hours``, run as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from atf.storage.database import plain_url
from atf.testing.processes import Installation

NONE = {"quiet_hours": None, "quiet_until": None, "held": 0}
NIGHT = {"from": "22:00", "until": "07:00", "timezone": "Europe/Berlin", "days": ["mon", "tue", "sun"]}


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Iterator[Installation]:
    with Installation({"ATF_DATABASE_URL": database_url}, tmp_path / "home") as made:
        yield made


def quiet_hours(installation: Installation, *words: str) -> dict[str, Any]:
    done = installation.run("notifications", "quiet-hours", *words, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def said(installation: Installation, *words: str) -> str:
    done = installation.run("notifications", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_quiet_hours_are_set_shown_replaced_and_cleared(installation: Installation) -> None:
    assert quiet_hours(installation, "show") == NONE
    assert said(installation, "quiet-hours", "show") == "no quiet hours\n"
    words = ("set", "22:00", "07:00", "--timezone", "Europe/Berlin", "--days", "sun-tue")
    assert quiet_hours(installation, *words)["quiet_hours"] == NIGHT
    assert quiet_hours(installation, "show")["quiet_hours"] == NIGHT
    shown = said(installation, "quiet-hours", "show")
    assert "22:00 to 07:00 Europe/Berlin, beginning mon, tue, sun\n" in shown
    always = said(installation, "quiet-hours", "set", "00:00", "23:59", "--tz", "UTC")
    assert "00:00 to 23:59 UTC, beginning every day\n" in always
    assert quiet_hours(installation, "clear") == NONE
    assert quiet_hours(installation, "clear") == NONE


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["22:00", "22:00", "--tz", "UTC"], "until: must be another time than from, got 22:00 for both"),
        (["22", "07:00", "--tz", "UTC"], "from: must be a time of day from 00:00 to 23:59, got '22'"),
        (["22:00", "07:00", "--tz", "Mars"], "timezone: unknown time zone 'Mars'; use an IANA name such as"),
        (["22:00", "07:00", "--tz", "UTC", "--days", "workdays"], "days: must be a list of mon, tue, wed, thu"),
        (["22:00", "07:00", "--tz", "UTC", "--user", "nobody"], "there is no user 'nobody'; users here: owner"),
    ],
)
def test_what_is_wrong_is_one_sentence_and_changes_nothing(
    installation: Installation, words: list[str], sentence: str
) -> None:
    assert quiet_hours(installation, "set", "22:00", "07:00", "--tz", "Asia/Tokyo")["quiet_hours"] is not None
    done = installation.run("notifications", "quiet-hours", "set", *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"atf: {sentence}")
    assert quiet_hours(installation, "show")["quiet_hours"]["timezone"] == "Asia/Tokyo"


def test_the_zone_must_be_given_as_no_guess_is_safe(installation: Installation) -> None:
    done = installation.run("notifications", "quiet-hours", "set", "22:00", "07:00")
    assert done.returncode == 2
    assert "--timezone" in done.stderr


def test_the_list_says_until_when_a_delivery_is_held(installation: Installation) -> None:
    with psycopg.connect(plain_url(installation.environment["ATF_DATABASE_URL"]), autocommit=True) as connection:
        connection.execute(
            "INSERT INTO msg_messages (user_id, notification_type, title, body, dedup_key) "
            "VALUES (1, 'note', 'Title', 'Body', 'key')"
        )
        connection.execute(
            "INSERT INTO msg_deliveries (message_id, user_id, urgency, channel, dedup_key, next_attempt_at, "
            "held_until) VALUES (1, 1, 2, 'console', 'key:console', '2099-01-01', '2099-01-01')"
        )
    (listed,) = json.loads(said(installation, "list", "--json"))
    assert (listed["status"], listed["attempts"], listed["held_until"]) == ("PENDING", 0, "2099-01-01T00:00:00Z")
    assert "2099-01-01 00:00:00Z" in said(installation, "list")
    assert quiet_hours(installation, "show")["held"] == 1
    quiet_hours(installation, "clear")
    (listed,) = json.loads(said(installation, "list", "--json"))
    assert listed["held_until"] is None
