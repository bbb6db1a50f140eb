"""``atf users`` and ``atf audit``, run as a person runs them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from atf.storage.database import plain_url
from atf.testing.processes import Installation

HELLO = ("notification", "--target", "me", "--params", '{"message": "hello"}')


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Iterator[Installation]:
    with Installation({"ATF_DATABASE_URL": database_url}, tmp_path / "home") as made:
        yield made


def said(installation: Installation, *words: str) -> str:
    done = installation.run(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def told(installation: Installation, *words: str) -> Any:
    return json.loads(said(installation, *words, "--json"))


def refused(installation: Installation, *words: str) -> str:
    done = installation.run(*words)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert done.stderr.startswith("atf: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("atf: ").strip()


def test_a_user_is_added_shown_changed_disabled_and_let_in_again(installation: Installation) -> None:
    assert said(installation, "users", "add", "Ann", "--role", "trader") == "user ann added, a trader\n"
    assert "ann is a viewer now" in said(installation, "users", "role", "ann", "viewer")
    assert said(installation, "users", "limits", "ann", "--alerts", "5", "--runs-per-day", "0") == (
        "limits of ann: 5 alerts, any runs a day\n"
    )
    assert "any runs a day" not in said(installation, "users", "limits", "ann", "--runs-per-day", "default")
    assert "user ann is disabled" in said(installation, "users", "disable", "ann")
    assert [(one["name"], one["role"], one["status"]) for one in told(installation, "users", "list")] == [
        ("owner", "admin", "active"),
        ("ann", "viewer", "disabled"),
    ]
    assert "there is no user 'ann'" in refused(installation, "alerts", "list", "--user", "ann")
    assert said(installation, "users", "approve", "ann") == "user ann is active\n"
    table = said(installation, "users", "list")
    assert "ann" in table
    assert "viewer" in table


def test_what_is_wrong_is_one_sentence_and_changes_nothing(installation: Installation) -> None:
    said(installation, "users", "add", "ann")
    before = told(installation, "users", "list")
    assert refused(installation, "users", "add", "ANN") == "there is a user 'ann' already"
    assert refused(installation, "users", "add", "a b").startswith("name: must be 1 to 32 letters")
    assert refused(installation, "users", "add", "bob", "--role", "root").startswith("role: must be one of admin")
    assert refused(installation, "users", "role", "bob", "admin") == (
        "there is no user 'bob'; users here: ann, owner"
    )
    assert refused(installation, "users", "limits", "ann", "--alerts", "many") == (
        'alerts: must be a number from 0 on or default, got "many"'
    )
    assert refused(installation, "users", "limits", "ann").startswith("name one at least of schedules, alerts")
    assert told(installation, "users", "list") == before


def test_one_administrator_is_always_left(installation: Installation) -> None:
    sentence = "this is the only active administrator; make another one first"
    assert refused(installation, "users", "disable", "owner") == sentence
    assert refused(installation, "users", "role", "owner", "trader") == sentence
    said(installation, "users", "add", "ann", "--role", "admin")
    said(installation, "users", "disable", "owner", "--user", "ann")
    assert refused(installation, "users", "role", "ann", "viewer", "--user", "ann") == sentence


def test_only_administrators_manage_users_and_read_the_log(installation: Installation) -> None:
    said(installation, "users", "add", "ann", "--role", "trader")
    for words in (
        ("users", "list"),
        ("users", "add", "bob"),
        ("users", "role", "ann", "admin"),
        ("users", "disable", "owner"),
        ("users", "approve", "ann"),
        ("users", "limits", "ann", "--alerts", "0"),
        ("audit", "list"),
        ("audit", "export", "-"),
    ):
        sentence = refused(installation, *words, "--user", "ann")
        assert sentence == "ann is a trader, and only users of the role admin may administer"
    entries = told(installation, "audit", "list", "--outcome", "refused")
    assert len(entries) == 8
    assert {(entry["actor"], entry["origin"]) for entry in entries} == {("ann", "cli")}
    assert len(told(installation, "users", "list")) == 2


def test_a_viewer_looks_and_changes_nothing(installation: Installation) -> None:
    said(installation, "users", "add", "eve")
    sentence = "eve is a viewer, and only users of the role admin or trader may edit"
    assert refused(installation, "schedules", "add", *HELLO, "--cron", "0 9 * * *", "--user", "eve") == sentence
    assert refused(installation, "runs", "start", *HELLO, "--user", "eve") == sentence
    assert told(installation, "schedules", "list", "--user", "eve") == []


def test_each_change_is_in_the_log_with_who_and_what_it_was(installation: Installation) -> None:
    made = told(installation, "schedules", "add", *HELLO, "--cron", "0 9 * * *")
    number = str(made["id"])
    said(installation, "schedules", "edit", number, "--cron", "30 9 * * *")
    run = told(installation, "runs", "start", *HELLO)["run_id"]
    said(installation, "runs", "cancel", run)
    said(installation, "schedules", "delete", number)
    entries = told(installation, "audit", "list")
    assert [entry["action"] for entry in entries] == [
        "schedule.delete",
        "run.cancel",
        "run.start",
        "schedule.update",
        "schedule.create",
    ]
    assert {(entry["actor"], entry["actor_id"], entry["origin"], entry["outcome"]) for entry in entries} == {
        ("owner", 1, "cli", "done")
    }
    deleted, _, started, updated, created = entries
    assert started["object_id"] == run
    assert (updated["before"], updated["after"]) == ({"cron": "0 9 * * *"}, {"cron": "30 9 * * *"})
    assert (created["before"], created["after"]["name"], created["object_id"]) == (None, made["name"], number)
    assert deleted["before"]["deleted_at"] is None
    assert "cron: 0 9 * * * → 30 9 * * *" in said(installation, "audit", "list", "--object", f"schedule:{number}")
    only = told(installation, "audit", "list", "--action", "schedule", "--by", "owner", "--limit", "2")
    assert [entry["action"] for entry in only] == ["schedule.delete", "schedule.update"]
    assert told(installation, "audit", "list", "--by", "ann") == []


def test_the_log_is_exported_whole_and_never_over_a_file(installation: Installation, tmp_path: Path) -> None:
    for name in ("ann", "bob", "cid"):
        said(installation, "users", "add", name)
    file = tmp_path / "audit.csv"
    assert said(installation, "audit", "export", str(file), "--format", "csv") == f"3 entries in {file}\n"
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [json.loads(row["after"])["name"] for row in rows] == ["cid", "bob", "ann"]
    assert "is there already" in refused(installation, "audit", "export", str(file))
    lines = said(installation, "audit", "export", "-").splitlines()
    assert [json.loads(line)["object_type"] for line in lines] == ["user"] * 3


def test_what_is_done_with_sql_beside_atf_is_in_the_log_as_such(
    installation: Installation, database_url: str
) -> None:
    with psycopg.connect(plain_url(database_url), autocommit=True) as connection:
        connection.execute("UPDATE users SET role = 'trader' WHERE name = 'owner'")
        connection.execute("UPDATE users SET role = 'admin' WHERE name = 'owner'")
    newest = told(installation, "audit", "list", "--limit", "1")[0]
    assert (newest["origin"], newest["actor_id"], newest["before"]) == ("database", None, {"role": "trader"})


def test_limits_hold_for_each_user(installation: Installation) -> None:
    said(installation, "users", "add", "ann", "--role", "trader")
    said(installation, "users", "limits", "ann", "--schedules", "1", "--runs-per-day", "2")
    added = ("schedules", "add", *HELLO, "--cron", "0 9 * * *")
    said(installation, *added, "--user", "ann")
    assert refused(installation, *added, "--user", "ann") == (
        "a user may have 1 schedules here, and has as many; delete one first"
    )
    for _ in range(2):
        said(installation, "runs", "start", *HELLO, "--user", "ann")
    assert refused(installation, "runs", "start", *HELLO, "--user", "ann").startswith(
        "a user may have 2 runs a day here, and has had as many"
    )
    said(installation, *added)
    said(installation, *added)
