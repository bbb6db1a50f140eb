"""``atf schedules``, ``runs``, ``workers`` and ``dlq`` as a person meets them."""

from __future__ import annotations

import io
import json
import signal
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.integration.command_line import CommandLine

ALL = ("--target", "all")
HELLO = ("--target", "me", "--params", '{"message": "hello"}')


@pytest.fixture
def atf(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    return CommandLine(tmp_path, database_url, monkeypatch, capsys)


def a_schedule(atf: CommandLine, *words: object) -> dict[str, Any]:
    made: dict[str, Any] = atf.json("schedules", "add", "notification", *HELLO, "--cron", "0 9 * * *", *words)
    return made


def a_run(atf: CommandLine, *words: object) -> str:
    return str(atf.json("runs", "start", "notification", *HELLO, *words)["run_id"])


def test_a_schedule_is_added_shown_edited_paused_resumed_run_and_deleted(atf: CommandLine) -> None:
    made = a_schedule(atf, "--tz", "Europe/Berlin", "--priority", -5, "--misfire", "skip", "--max-attempts", 2)
    assert (made["name"], made["timezone"], made["priority"]) == ("notification me", "Europe/Berlin", -5)
    assert (made["misfire_policy"], made["max_attempts"]) == ("skip", 2)
    number = made["id"]
    assert atf.json("schedules", "show", number) == made
    changed = atf.json("schedules", "edit", number, "--cron", "30 9 * * *", "--name", "morning", "--version", 1)
    assert (changed["name"], changed["cron"], changed["priority"], changed["version"]) == (
        "morning",
        "30 9 * * *",
        -5,
        2,
    )
    assert "somebody else" in atf.refused("schedules", "edit", number, "--name", "x", "--version", 1)
    assert "does not run" in atf("schedules", "pause", number).out
    triggered = atf.json("schedules", "run", number)
    assert (triggered["job_id"], triggered["status"]) == (number, "PENDING")
    assert "runs next at" in atf("schedules", "resume", number).out
    assert "morning" in atf("schedules", "show", number).out
    assert atf("schedules", "delete", number).out == f"schedule {number} deleted\n"
    assert atf.refused("schedules", "run", number) == f"there is no schedule {number}"


def test_parameters_come_from_a_file_or_standard_input_too(
    atf: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "params.json"
    file.write_text('{"message": "from a file"}')
    of_file = atf.json(
        "schedules", "add", "notification", "--target", "me", "--cron", "0 9 * * *", "--params", f"@{file}"
    )
    assert of_file["task_params"] == {"message": "from a file"}
    monkeypatch.setattr(sys, "stdin", io.StringIO(file.read_text()))
    changed = atf.json("schedules", "edit", of_file["id"], "--params", "-", "--target", "you")
    assert (changed["target"], changed["task_params"]) == ("you", {"message": "from a file"})


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # the library's own
def test_a_calendar_is_set_and_taken_away(atf: CommandLine) -> None:
    made = a_schedule(atf, "--calendar", "XNYS")
    assert made["calendar"] == "XNYS"
    assert atf.json("schedules", "edit", made["id"], "--calendar", "none")["calendar"] is None
    assert atf.refused("schedules", "edit", made["id"], "--calendar", "XNYX").startswith("calendar: ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["dance", "--target", "x"], 'job_type: "dance" is not one of report, screener,'),
        (["backup", *ALL, "--cron", "61 * * * *"], "cron: minute: 61 is outside 0-59"),
        (["backup", *ALL, "--tz", "Mars/Base"], "timezone: "),
        (["backup", *ALL, "--priority", "500"], "priority: must be -100 to 100"),
        (["backup", *ALL, "--misfire", "later"], 'misfire_policy: "later" is not'),
        (["backup", *ALL, "--params", "{"], "--params: is not JSON"),
        (["backup", *ALL, "--params", "[1]"], "task_params: must be a JSON object"),
        (["backup", *ALL, "--params", "@/nowhere"], "--params: cannot read"),
        (["backup", *ALL, "--max-runtime", "nan"], "max_runtime_seconds: "),
        (
            ["report", "--target", "daily_summary", "--params",
             '{"report_type": "portfolio_analysis"}'],
            'target: "daily_summary" contradicts task_params.report_type',
        ),
    ],
)  # fmt: skip
def test_a_bad_schedule_is_refused_in_one_sentence_and_not_stored(
    atf: CommandLine, words: list[str], sentence: str
) -> None:
    assert atf.refused("schedules", "add", "--cron", "* * * * *", *words).startswith(sentence)
    assert atf.sql("SELECT count(*) FROM job_schedules") == [(0,)]


RSI = '"ticker": "AAPL", "timeframe": "1d", "rule": {"indicator": "rsi", "operator": "<", "value": 30}'
NIGHTLY = ("data_processing", "--target", "nightly")
NEEDLESS = [
    ((*NIGHTLY, "--params", '{"symbols": ["A"], "data_source": "nope"}'),
     'task_params.data_source: "nope" is not one of files, yahoo, simulated, binance-stream and the exchanges of '
     "ccxt, such as binance"),
    ((*NIGHTLY, "--params", '{"symbols": ["A"], "data_source": "binanse"}'),
     'task_params.data_source: "binanse" is not one of files, yahoo, simulated, binance-stream and the exchanges '
     "of ccxt, such as binance; did you mean binance?"),
    (("data_processing", "--target", "ibkr", "--params", '{"symbols": ["A"]}'),
     'task_params.data_source: "ibkr" is not one of files,'),
    ((*NIGHTLY, "--params", '{"universe": "sp500", "data_source": "files"}'),
     'task_params.universe: there is no universe "sp500"; none is loaded yet, load one with'),
    (("alert", "--target", "AAPL", "--params", f'{{{RSI}, "calendar": "XNYX"}}'),
     'task_params.calendar: "XNYX" is not a trading calendar; name one by its exchange, such as XNYS or XLON; '
     "did you mean XNYS?"),
]  # fmt: skip
of_calendars = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # the library's


@of_calendars
@pytest.mark.parametrize(("words", "sentence"), NEEDLESS)
def test_a_schedule_that_could_only_fail_is_refused_and_not_stored(
    atf: CommandLine, words: tuple[str, ...], sentence: str
) -> None:
    pytest.importorskip("ccxt")
    assert atf.refused("schedules", "add", *words, "--cron", "0 1 * * *").startswith(sentence)
    assert atf.sql("SELECT count(*) FROM job_schedules") == [(0,)]


@of_calendars
def test_a_schedule_is_not_changed_into_one_that_could_only_fail(atf: CommandLine) -> None:
    pytest.importorskip("ccxt")
    good = {
        NIGHTLY: '{"symbols": ["A"], "data_source": "kraken"}',
        ("alert", "--target", "AAPL"): f'{{{RSI}, "calendar": "XNYS"}}',
    }
    made = {
        words[0]: atf.json("schedules", "add", *words, "--cron", "0 1 * * *", "--params", params)
        for words, params in good.items()
    }
    for words, sentence in NEEDLESS:
        if words[2] in ("nightly", "AAPL"):
            before = made[words[0]]
            assert atf.refused("schedules", "edit", before["id"], *words[3:]).startswith(sentence)
            assert atf.json("schedules", "show", before["id"]) == before


def test_a_run_that_could_only_fail_is_refused_too(atf: CommandLine) -> None:
    pytest.importorskip("ccxt")
    words = ("--target", "nightly", "--params", '{"symbols": ["A"], "data_source": "nope"}')
    assert atf.refused("runs", "start", "data_processing", *words).startswith("task_params.data_source: ")
    assert atf.sql("SELECT count(*) FROM job_schedule_runs") == [(0,)]


def test_a_schedule_from_before_is_shown_paused_and_deleted_whatever_it_names(atf: CommandLine) -> None:
    pytest.importorskip("ccxt")
    params = '{"symbols": ["A"], "data_source": "files"}'
    number = atf.json("schedules", "add", *NIGHTLY, "--cron", "0 1 * * *", "--params", params)["id"]
    atf.sql('UPDATE job_schedules SET task_params = task_params || \'{"data_source": "nope"}\'')
    assert atf.json("schedules", "show", number)["task_params"]["data_source"] == "nope"
    assert [one["id"] for one in atf.json("schedules", "list")] == [number]
    assert "data_source" in atf.refused("schedules", "edit", number, "--cron", "0 2 * * *")
    assert "does not run" in atf("schedules", "pause", number).out
    assert "runs next at" in atf("schedules", "resume", number).out
    mended = atf.json("schedules", "edit", number, "--cron", "0 2 * * *", "--params", params)
    assert (mended["cron"], mended["task_params"]["data_source"]) == ("0 2 * * *", "files")
    assert atf("schedules", "delete", number).status == 0


def test_a_type_that_nothing_here_does_is_stored_with_a_note(atf: CommandLine) -> None:
    finished = atf("schedules", "add", "backup", "--target", "all", "--cron", "0 3 * * *", "--json")
    assert finished.json()["job_type"] == "backup"
    assert finished.err == "note: nothing in this installation can do a 'backup' yet, its runs will fail\n"
    assert atf("schedules", "add", "notification", *HELLO, "--cron", "0 3 * * *").err == ""


def test_schedules_are_filtered_and_sorted(atf: CommandLine) -> None:
    for priority in (3, 1, 2):
        a_schedule(atf, "--priority", priority)
    atf("schedules", "add", "backup", "--target", "all", "--cron", "0 3 * * *", "--paused")
    by_priority = atf.json("schedules", "list", "--sort", "priority", "--type", "notification")
    assert [one["priority"] for one in by_priority] == [1, 2, 3]
    assert [one["job_type"] for one in atf.json("schedules", "list", "--paused")] == ["backup"]
    assert len(atf.json("schedules", "list", "--enabled", "--sort", "next_run_at")) == 3
    assert "Schedules" in atf("schedules", "list").out
    assert atf.refused("schedules", "list", "--sort", "beauty").startswith(
        "--sort: 'beauty' is not one of id, name"
    )
    assert atf.refused("schedules", "list", "--type", "dance").startswith("job_type: ")
    assert atf.refused("schedules", "edit", 1).startswith("nothing to change was given")


def test_runs_are_listed_by_state_type_schedule_and_time(atf: CommandLine) -> None:
    number = a_schedule(atf)["id"]
    triggered = atf.json("schedules", "run", number)["run_id"]
    alone = a_run(atf)
    assert {one["run_id"] for one in atf.json("runs", "list")} == {triggered, alone}
    assert [one["run_id"] for one in atf.json("runs", "list", "--schedule", number)] == [triggered]
    assert (
        len(atf.json("runs", "list", "--type", "notification", "--status", "PENDING", "--sort", "priority")) == 2
    )
    assert atf.json("runs", "list", "--until", "2020-01-01") == []
    assert len(atf.json("runs", "list", "--since", "2020-01-01T00:00:00+02:00")) == 2
    assert alone in atf("runs", "list").out
    assert atf.refused("runs", "list", "--since", "yesterday").startswith("--since: must be a time such as")
    assert atf.refused("runs", "list", "--type", "dance").startswith("job_type: ")
    assert atf("runs", "list", "--sort", "beauty").status == 2


def test_a_run_that_is_to_tell_of_its_end_tells_it(atf: CommandLine) -> None:
    run = atf.json("runs", "start", "report", "--target", "daily_summary", "--notify", "telegram, inbox")
    assert run["snapshot"]["notify"] == ["telegram", "inbox"]
    assert atf("runs", "cancel", run["run_id"]).status == 0
    told = atf.json("notifications", "list")
    assert {one["title"] for one in told} == {"report daily_summary was cancelled"}
    assert {one["channel"] for one in told} == {"telegram", "inbox"}
    refused = atf.refused("runs", "start", "report", "--target", "daily_summary", "--notify", "pigeon")
    assert refused.startswith("notify: must be channels of inbox, ")


def test_a_run_is_cancelled_and_repeated(atf: CommandLine) -> None:
    run_id = a_run(atf)
    assert "only a run that has ended" in atf.refused("runs", "retry", run_id)
    assert atf("runs", "cancel", run_id).out == f"run {run_id} is cancelled\n"
    assert "is CANCELLED already" in atf.refused("runs", "cancel", run_id)
    again = atf.json("runs", "retry", run_id)
    assert (again["retry_of"], again["status"]) == (run_id, "PENDING")
    atf.sql("UPDATE job_schedule_runs SET status = 'RUNNING', worker_id = 'w' WHERE status = 'PENDING'")
    assert "its worker is asked to stop it" in atf("runs", "cancel", again["run_id"]).out
    assert "asked to stop" in atf("runs", "show", again["run_id"]).out
    nowhere = uuid4()
    for command in ("show", "logs", "watch", "cancel", "retry"):
        assert atf.refused("runs", command, nowhere) == f"there is no run {nowhere}"
        assert atf.refused("runs", command, "five").startswith("RUN: must be a run's id")


def test_logs_tell_every_attempt_with_its_error(atf: CommandLine) -> None:
    run_id = a_run(atf)
    first = {"attempt": 1, "worker_id": "w-1", "started_at": "2026-01-01T10:00:00Z", "outcome": "failed",
             "ended_at": "2026-01-01T10:00:05Z",
             "error": {"type": "OSError", "message": "disk full", "traceback": "line one\nline two"}}  # fmt: skip
    atf.sql("UPDATE job_schedule_runs SET status = 'RUNNING', worker_id = 'w-2', attempt = 2, attempts = %s",
            json.dumps([first]))  # fmt: skip
    lines = atf("runs", "logs", run_id).out.splitlines()
    assert lines[0] == f"run {run_id}, notification: RUNNING, attempt 2 of 5"
    assert lines[1].startswith("attempt 1: failed, worker w-1, from 2026-01-01T10:00:00Z to 2026-01-01T10:00:05Z")
    assert lines[2:5] == ["  OSError: disk full", "  line one", "  line two"]
    assert lines[5].startswith("attempt 2: running, worker w-2")
    assert atf.json("runs", "logs", run_id)["attempts"] == [first]


def test_watch_follows_a_run_to_its_end(atf: CommandLine) -> None:
    run_id = a_run(atf)
    with atf.beside("runs", "watch", run_id) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "PENDING, attempt 1 of 5\n"
        atf.sql("UPDATE job_schedule_runs SET status = 'RUNNING', worker_id = 'w', started_at = now()")
        assert process.stdout.readline() == "RUNNING, attempt 1 of 5, worker w\n"
        atf.sql("UPDATE job_schedule_runs SET status = 'COMPLETED'")
        assert process.stdout.readline().startswith("COMPLETED, attempt 1 of 5, worker w, took 0")
        assert process.wait(timeout=30) == 0


def test_watch_says_no_of_a_run_that_did_not_complete(atf: CommandLine) -> None:
    run_id = a_run(atf)
    atf.sql("UPDATE job_schedule_runs SET status = 'RUNNING', worker_id = 'w'")
    atf.sql("UPDATE job_schedule_runs SET status = 'FAILED', error = 'OSError: disk full'")
    finished = atf("runs", "watch", run_id)
    assert finished.status == 1
    assert finished.err == f"atf: run {run_id} is FAILED: OSError: disk full\n"


def test_a_watched_list_is_shown_again_until_it_is_interrupted(atf: CommandLine) -> None:
    with atf.beside("runs", "list", "--watch", "--json") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "[]\n"
        run_id = a_run(atf)
        while run_id not in (line := process.stdout.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_statistics_count_what_ended(atf: CommandLine) -> None:
    a_run(atf)
    atf.sql("UPDATE job_schedule_runs SET status = 'RUNNING', worker_id = 'w', started_at = now()")
    atf.sql("UPDATE job_schedule_runs SET status = 'COMPLETED'")
    numbers = atf.json("runs", "statistics", "--days", 1)
    assert (numbers["total"], numbers["success_rate"], numbers["by_status"]["COMPLETED"]) == (1, 1.0, 1)
    assert "success rate" in atf("runs", "statistics").out
    assert atf.refused("runs", "statistics", "--days", 0).startswith("days: must be 1 to")


def test_dead_letters_are_listed_shown_requeued_and_dropped(atf: CommandLine) -> None:
    for job_type, job_id in (("notification", 5), ("backup", None)):
        atf.sql(
            "INSERT INTO job_dead_letters (run_id, job_type, job_id, user_id, scheduled_for, reason, attempt, "
            "error, max_attempts, job_snapshot, attempts) "
            "VALUES (gen_random_uuid(), %s, %s, 1, now(), 'exhausted', 3, "
            "'OSError: disk full', 3, '{\"target\": \"me\"}', '[{\"attempt\": 3}]')",
            job_type,
            job_id,
        )
    assert [one["id"] for one in atf.json("dlq", "list")] == [2, 1]
    assert [one["id"] for one in atf.json("dlq", "list", "--sort", "id")] == [1, 2]
    assert [one["id"] for one in atf.json("dlq", "list", "--type", "backup")] == [2]
    assert [one["id"] for one in atf.json("dlq", "list", "--schedule", 5)] == [1]
    assert "disk full" in atf("dlq", "list").out
    assert atf.json("dlq", "show", 1)["attempts"] == [{"attempt": 3}]
    assert "disk full" in atf("dlq", "show", 1).out
    assert atf.refused("dlq", "requeue", 1, 9) == "there is no dead letter 9"
    assert atf.json("dlq", "show", 1)["requeued_at"] is None, "nothing is done of a list with a mistake in it"
    (again,) = atf.json("dlq", "requeue", 1)
    assert (again["job_id"], again["max_attempts"], again["snapshot"]) == (5, 3, {"target": "me"})
    assert "was requeued already" in atf.refused("dlq", "requeue", 1)
    assert [one["id"] for one in atf.json("dlq", "list", "--open")] == [2]
    assert atf("dlq", "drop", 1, 2).out == "dropped: 1, 2\n"
    assert atf.json("dlq", "list") == []
    assert atf.refused("dlq", "show", 1) == "there is no dead letter 1"


def test_workers_and_misfires_are_listed(atf: CommandLine) -> None:
    for name, types in (("a", "{backup,alert}"), ("b", "{report}")):
        columns = "worker_id, host, pid, types, lease_expires_at"
        atf.sql(f"INSERT INTO workers ({columns}) VALUES (%s, 'h', 1, %s, now())", name, types)
    assert [one["worker_id"] for one in atf.json("workers", "list", "--type", "report")] == ["b"]
    assert [one["is_alive"] for one in atf.json("workers", "list", "--sort", "worker_id")] == [False, False]
    assert "backup, alert" in atf("workers", "list").out
    number = a_schedule(atf)["id"]
    columns = "schedule_id, count, first_at, last_at, reason"
    atf.sql(f"INSERT INTO job_misfires ({columns}) VALUES (%s, 7, now(), now(), 'late')", number)
    assert [one["count"] for one in atf.json("schedules", "misfires", "--schedule", number)] == [7]
    assert "late" in atf("schedules", "misfires").out


@pytest.mark.parametrize(
    "words",
    [
        *(["schedules", name] for name in ("add", "list", "show", "edit", "pause", "resume", "delete", "run")),
        ["schedules", "misfires"],
        *(["runs", name] for name in ("list", "start", "show", "logs", "watch", "cancel", "retry", "statistics")),
        *(["dlq", name] for name in ("list", "show", "requeue", "drop")),
        ["workers", "list"],
    ],
)  # fmt: skip
def test_every_command_explains_itself_with_an_example(atf: CommandLine, words: list[str]) -> None:
    finished = atf(*words, "--help")
    assert f"Example: atf {' '.join(words)}" in " ".join(finished.out.split())
