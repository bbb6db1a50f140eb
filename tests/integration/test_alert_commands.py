"""``atf alerts``, run as a user runs it: one line, templates, edits, muting, beginning anew."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from atf.storage.database import plain_url
from atf.testing.processes import Installation

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
LINE = "T 1d: rsi(14) > 70 and close crosses above ema(50), rearm hysteresis 2%, cooldown 5m"


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Iterator[Installation]:
    with Installation({"ATF_DATABASE_URL": database_url}, tmp_path / "home") as made:
        folder = made.home / "bars" / "1d"
        folder.mkdir(parents=True)
        with (folder / "T.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["timestamp", "open", "high", "low", "close", "volume"])
            for day in range(30):
                rows.writerow([(BEGIN + timedelta(days=day)).date(), *[100 + day] * 4, 10])
        yield made


def added(installation: Installation, *words: str) -> dict[str, Any]:
    done = installation.run("alerts", "add", *words, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def shown(installation: Installation, *words: str) -> dict[str, Any]:
    done = installation.run("alerts", "show", *words, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["alert"]
    return found


def said(installation: Installation, *words: str) -> str:
    done = installation.run("alerts", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_alert_in_one_line_is_the_same_as_its_json(installation: Installation) -> None:
    alert = added(installation, LINE)
    assert alert["task_params"]["rearm"] == {"type": "hysteresis", "threshold": 0.02, "cooldown": 300}
    again = added(installation, json.dumps(alert["task_params"]))
    assert again["task_params"] == alert["task_params"]
    assert f"in words       {LINE}\n" in said(installation, "show", str(again["id"]))


def test_a_line_that_is_wrong_is_shown_with_its_place(installation: Installation) -> None:
    refused = installation.run("alerts", "add", "T 1d: rsii(14) > 70")
    assert refused.returncode == 1
    assert refused.stderr.splitlines() == [
        "T 1d: rsii(14) > 70",
        "      ^^^^",
        "atf: line: column 7: unknown indicator 'rsii'; did you mean 'rsi'?",
    ]
    assert json.loads(installation.run("alerts", "list", "--json").stdout) == []


def test_a_template_makes_an_alert(installation: Installation) -> None:
    words = ("--template", "golden_cross", "--ticker", "T", "--timeframe", "1d", "--param", "fast=20")
    rule = added(installation, *words)["task_params"]["rule"]
    assert (rule["params"]["period"], rule["operator"]) == (20, "crosses_above")
    assert "golden_cross" in said(installation, "templates")
    refused = installation.run("alerts", "add", *words[:-1], "fats=20")
    assert refused.stderr.startswith("atf: params.fats: unknown parameter")
    assert (
        installation.run("alerts", "add").stderr == "atf: ALERT: give either an alert, --config or --template\n"
    )


def test_legacy_jobs_are_stored_as_they_are(installation: Installation) -> None:
    legacy = {"symbol": "T", "condition": "price_above", "threshold": 150.0, "timeframe": "1d"}
    assert added(installation, json.dumps(legacy))["task_params"] == legacy


def test_an_edit_of_the_rule_begins_anew_and_one_of_the_message_does_not(installation: Installation) -> None:
    number = str(added(installation, "T 1d: close > 5")["id"])
    before = shown(installation, number)["state_json"]
    assert "is changed: T 1d: close > 6" in said(installation, "edit", number, "T 1d: close > 6")
    after = shown(installation, number)
    assert after["task_params"]["rule"]["value"] == 6
    # The state follows with the next evaluation, which compares the rule's hash with that of the state.
    assert after["state_json"]["rule_hash"] == before["rule_hash"]
    refused = installation.run("alerts", "edit", number, "T 1d: close >")
    assert refused.returncode == 1
    assert shown(installation, number)["task_params"]["rule"]["value"] == 6


def test_an_alert_is_muted_and_begins_anew_when_it_is_told_so(
    installation: Installation, database_url: str
) -> None:
    number = str(added(installation, "T 1d: close > 5")["id"])
    said(installation, "mute", number, "--until", "2099-01-01")
    assert shown(installation, number)["state_json"]["muted_until"].startswith("2099-01-01")
    said(installation, "unmute", number)
    assert shown(installation, number)["state_json"]["muted_until"] is None
    with psycopg.connect(plain_url(database_url)) as connection:
        connection.execute("UPDATE alert_states SET status = 'COMPLETED', trigger_count = 5, gate = 'closed'")
    said(installation, "reset", number)
    state = shown(installation, number)["state_json"]
    assert (state["status"], state["trigger_count"], state["gate"]) == ("ARMED", 0, "open")
    assert "0 triggers" in said(installation, "ack", number)


def test_an_alert_that_gets_no_bars_is_shown_as_stale_and_stored_as_it_was(
    installation: Installation, database_url: str
) -> None:
    number = str(added(installation, "T 1d: close > 5")["id"])
    assert shown(installation, number)["state_json"]["data_status"] == "ok"
    with psycopg.connect(plain_url(database_url), autocommit=True) as connection:
        connection.execute("UPDATE alert_states SET history_until = '2024-01-10', last_bar = '2024-01-30'")
        before = connection.execute("SELECT xmin::text, * FROM alert_states").fetchall()
        assert shown(installation, number)["state_json"]["data_status"] == "stale"
        [listed] = json.loads(said(installation, "list", "--json"))
        assert listed["state_json"]["data_status"] == "stale"
        assert "stale" in said(installation, "list")
        assert "data_status    stale\n" in said(installation, "show", number)
        assert connection.execute("SELECT xmin::text, * FROM alert_states").fetchall() == before
        said(installation, "explain", number)
    said(installation, "pause", number)
    assert shown(installation, number)["state_json"]["data_status"] == "ok"
    said(installation, "resume", number)
    assert shown(installation, number)["state_json"]["data_status"] == "ok"


def test_a_live_alert_says_that_its_values_may_change(installation: Installation) -> None:
    refused = installation.run("alerts", "add", "T 1d: close > 110, live")
    assert refused.stderr.startswith(
        "atf: options.evaluate_on: its bars can be looked at only when they have closed"
    )
    folder = installation.home / "bars" / "1h"
    folder.mkdir()
    (folder / "T.csv").write_text("timestamp,open,high,low,close,volume\n2024-01-01T00:00:00Z,1,1,1,1,1\n")
    told = said(installation, "add", "T 1d: close > 110, live")
    assert "looks at * * * * * UTC" in told
    assert "repainting" in told
    assert "repainting" in said(installation, "show", "1")
    assert "repainting" in said(installation, "preview", "1")
    assert json.loads(said(installation, "preview", "1", "--json"))["closes_only"] is True
    edited = said(installation, "edit", "1", "T 1d: close > 110")
    assert "repainting" not in edited
    assert shown(installation, "1")["cron"] == "0 0 * * *"


def test_an_alert_with_a_calendar_closes_with_its_sessions(installation: Installation, tmp_path: Path) -> None:
    refused = installation.run("alerts", "add", "T 1d: close > 110, calendar XNYX")
    assert refused.returncode == 1
    assert 'calendar: "XNYX" is not a trading calendar; name one by its exchange' in refused.stderr
    alert = added(installation, "T 1d: close > 110, calendar XNYS")
    assert (alert["cron"], alert["timezone"]) == ("0 13,16 * * *", "America/New_York")
    # Of two sessions with a cooldown of a day between their closes, the second ends at 13:00.
    bars = tmp_path / "half.csv"
    bars.write_text(
        "timestamp,open,high,low,close,volume\n"
        "2024-07-02,5,5,5,5,1\n2024-07-03,5,5,5,5,1\n2024-07-05,5,5,5,5,1\n2024-07-08,5,5,5,5,1\n"
    )
    line = "T 1d: close > 1, rearm cooldown 1d"
    found = [
        [
            one["bar_time"][:10]
            for one in json.loads(said(installation, "preview", "--bars", str(bars), "--json", "--line", each))[
                "triggers"
            ]
        ]
        for each in (line, f"{line}, calendar XNYS")
    ]
    assert found == [
        ["2024-07-02", "2024-07-03", "2024-07-05", "2024-07-08"],
        ["2024-07-02", "2024-07-05", "2024-07-08"],
    ]
