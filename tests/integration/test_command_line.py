"""The command line as a person meets it: mistakes get one sentence and an exit status, and store nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

RULE = {"indicator": "rsi", "operator": ">", "value": 70}
CONFIG = {"ticker": "AAPL", "timeframe": "1d", "rule": RULE}
HEAVY = ("aiogram", "ccxt", "matplotlib", "pandas", "backtrader", "yfinance")


class CommandLine:
    def __init__(self, home: Path, url: str) -> None:
        self.url = url
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("ATF_")}
        self.environment |= {"ATF_HOME": str(home), "ATF_DATABASE_URL": url, "NO_COLOR": "1"}

    def __call__(
        self, *arguments: str, stdin: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "atf", *arguments],
            input=stdin,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def refused(self, *arguments: str, status: int = 1, stdin: str | None = None, **environment: str) -> str:
        finished = self(*arguments, stdin=stdin, **environment)
        assert finished.returncode == status, finished
        assert finished.stdout == ""
        assert "Traceback" not in finished.stderr
        assert finished.stderr.startswith("atf: ")
        assert finished.stderr.count("\n") == 1, finished.stderr
        return finished.stderr.removeprefix("atf: ").strip()

    def stored(self, table: str) -> int:
        with create_engine(self.url, poolclass=NullPool).connect() as connection:
            return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


@pytest.fixture
def atf(tmp_path: Path, database_url: str) -> CommandLine:
    bars = tmp_path / "bars" / "1d"
    bars.mkdir(parents=True)
    (bars / "AAPL.csv").write_text("timestamp,open,high,low,close,volume\n2026-01-05,1,2,1,2,100\n")
    return CommandLine(tmp_path, database_url)


BAD_ALERTS = [
    (
        {**CONFIG, "ticker": "AAPX"},
        [],
        "ticker: unknown ticker 'AAPX' at 1d (did you mean 'AAPL'?); known here: AAPL",
    ),
    (CONFIG, ["--cron", "61 * * * *"], "cron: minute: 61 is outside 0-59"),
    (CONFIG, ["--cron", "* * * * *", "--tz", "Mars/Olympus"], "timezone: unknown time zone 'Mars/Olympus'"),
    ({**CONFIG, "rul": 1}, [], "rul: unknown field; did you mean 'rule'?"),
    (
        {**CONFIG, "rule": {**RULE, "indicator": "rsii"}},
        [],
        "rule.indicator: unknown indicator 'rsii'; did you mean",
    ),
    ({**CONFIG, "rule": {**RULE, "value": "70"}}, [], "rule.value: must be a finite number"),
    ({**CONFIG, "timeframe": "2d"}, [], 'timeframe: "2d" is not one of 1m, 5m'),
    (
        {**CONFIG, "notify": {"channels": ["pigeon"]}},
        [],
        'notify.channels[0]: "pigeon" is not one of console, inbox',
    ),
    (CONFIG, ["--name", "x" * 256], "name: must have 1 to 255 printable characters"),
    (CONFIG, ["--user", "nobody"], "there is no user 'nobody'; users here: owner"),
]


@pytest.mark.parametrize(("config", "options", "sentence"), BAD_ALERTS)
def test_a_bad_alert_is_refused_with_its_field_and_nothing_is_stored(
    atf: CommandLine, config: object, options: list[str], sentence: str
) -> None:
    assert atf.refused("alerts", "add", json.dumps(config), *options).startswith(sentence)
    for table in ("job_schedules", "schedule_groups", "alert_states"):
        assert atf.stored(table) == 0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ('{"ticker": ', "config: is not JSON"),
        ("[1, 2]", "must be a JSON object, got [1, 2]"),
        ("@/nowhere/alert.json", "config: cannot read /nowhere/alert.json"),
        ("[" * 100_000, "config: is not JSON"),
    ],
)
def test_what_is_no_configuration_is_refused(atf: CommandLine, given: str, sentence: str) -> None:
    word, stdin = (given, None) if given.startswith("@") else ("-", given)
    assert sentence in atf.refused("alerts", "add", word, stdin=stdin)


def test_an_alert_is_added_listed_shown_paused_resumed_and_deleted(atf: CommandLine) -> None:
    added = json.loads(atf("alerts", "add", json.dumps(CONFIG), "--name", "hot", "--json").stdout)
    assert (added["name"], added["cron"], added["state_json"]["status"]) == ("hot", "0 0 * * *", "ARMED")
    number = str(added["id"])
    assert [alert["id"] for alert in json.loads(atf("alerts", "list", "--json").stdout)] == [added["id"]]
    assert "hot" in atf("alerts", "list").stdout
    assert "is paused" in atf("alerts", "pause", number).stdout
    assert json.loads(atf("alerts", "show", number, "--json").stdout)["alert"]["enabled"] is False
    assert "looks again" in atf("alerts", "resume", number).stdout
    assert json.loads(atf("schedules", "show", number, "--json").stdout)["task_params"] == CONFIG
    assert len(json.loads(atf("schedules", "list", "--type", "alert", "--json").stdout)) == 1
    assert "deleted" in atf("alerts", "delete", number).stdout
    assert atf.refused("alerts", "show", number) == f"there is no alert {number}"
    assert json.loads(atf("alerts", "list", "--json").stdout) == []


def test_lists_of_nothing_are_empty(atf: CommandLine) -> None:
    for command in (["runs", "list"], ["notifications", "list"], ["schedules", "list"], ["alerts", "list"]):
        assert json.loads(atf(*command, "--json").stdout) == []
        assert atf(*command).returncode == 0


def test_unknown_things_are_named(atf: CommandLine) -> None:
    assert atf.refused("alerts", "pause", "7") == "there is no alert 7"
    assert atf.refused("schedules", "show", "7") == "there is no schedule 7"
    unknown = "00000000-0000-0000-0000-000000000000"
    assert atf.refused("runs", "show", unknown) == f"there is no run {unknown}"
    assert atf.refused("runs", "show", "seven").startswith("RUN: must be a run's id")


def test_a_number_beyond_the_database_is_an_unknown_alert(atf: CommandLine) -> None:
    assert atf.refused("alerts", "show", "99999999999999999999") == "there is no alert 99999999999999999999"


def test_a_database_that_cannot_be_reached_is_exit_status_3(atf: CommandLine) -> None:
    closed = "postgresql://atf:secret@127.0.0.1:9/atf"
    sentence = atf.refused("alerts", "list", status=3, ATF_DATABASE_URL=closed)
    assert sentence.startswith("the database does not answer")
    assert "secret" not in sentence


def test_a_wrong_password_names_the_setting(atf: CommandLine, database_url: str) -> None:
    wrong = make_url(database_url).set(password="wrong").render_as_string(hide_password=False)
    sentence = atf.refused("alerts", "list", ATF_DATABASE_URL=wrong)
    assert sentence.startswith("ATF_DATABASE_URL: the database refuses this user or password")


@pytest.mark.parametrize("url", ["sqlite:///atf.db", "nonsense", "mysql://root:secret@localhost/atf"])
def test_a_url_of_something_else_names_the_setting(atf: CommandLine, url: str) -> None:
    sentence = atf.refused("alerts", "list", ATF_DATABASE_URL=url)
    assert sentence.startswith("ATF_DATABASE_URL: ")
    assert "secret" not in sentence


def test_a_database_without_tables_names_the_command(atf: CommandLine, empty_database_url: str) -> None:
    assert "run `atf db migrate`" in atf.refused("alerts", "list", ATF_DATABASE_URL=empty_database_url)
    migrated = atf("db", "migrate", ATF_DATABASE_URL=empty_database_url)
    assert (migrated.returncode, migrated.stdout) == (0, "schema none → 0001\n")
    assert json.loads(atf("alerts", "list", "--json", ATF_DATABASE_URL=empty_database_url).stdout) == []


def test_services_refuse_a_database_without_tables(atf: CommandLine, empty_database_url: str) -> None:
    for service in ("scheduler", "worker", "notifications"):
        assert "run `atf db migrate`" in atf.refused(service, "start", ATF_DATABASE_URL=empty_database_url)


def test_a_bad_setting_names_its_variable(atf: CommandLine) -> None:
    assert atf.refused("alerts", "list", ATF_DATABASE_POOL_SIZE="many").startswith("ATF_DATABASE_POOL_SIZE: ")
    assert atf.refused("worker", "start", ATF_WORKER_LEASE_SECONDS="0").startswith("ATF_WORKER_LEASE_SECONDS: ")


def test_a_home_that_cannot_be_used_is_named(atf: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    home = str(tmp_path / "file")
    for command in (["db", "start"], ["demo", "--once"]):
        assert home in atf.refused(*command, ATF_DATABASE_URL="", ATF_HOME=home)


def test_atf_does_not_stop_a_database_that_it_does_not_run(atf: CommandLine) -> None:
    assert atf.refused("db", "stop").startswith("ATF_DATABASE_URL: names a database that ATF does not run")


def test_status_of_an_external_database_hides_its_password(atf: CommandLine) -> None:
    status = json.loads(atf("db", "status", "--json").stdout)
    assert (status["kind"], status["current"], status["head"]) == ("external", "0001", "0001")
    assert "***" in status["url"]


def test_cron_next_prints_instants_with_the_zone_s_offset(atf: CommandLine) -> None:
    options = ["--tz", "America/New_York", "--after", "2026-03-06T10:00:00-05:00", "--count", "2"]
    finished = atf("cron", "next", "0 9 * * 1-5", *options, "--json")
    assert json.loads(finished.stdout) == ["2026-03-09T09:00:00-04:00", "2026-03-10T09:00:00-04:00"]
    assert atf.refused("cron", "next", "0 9 * * 1-5", "--after", "yesterday").startswith(
        "--after: must be an instant"
    )
    assert atf.refused("cron", "next", "@daily") == "cron: expected 5 or 6 fields, got 1"


def test_help_loads_nothing_heavy(atf: CommandLine) -> None:
    script = (
        "import sys; sys.argv = ['atf', '--help']\n"
        "try:\n    import atf; atf.main()\nexcept SystemExit: pass\n"
        "print([m for m in ('sqlalchemy', 'pydantic', 'numpy', 'rich', 'asyncio') if m in sys.modules])"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert finished.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("process", ["scheduler", "worker", "notifications"])
def test_a_process_loads_no_library_that_it_does_not_need(process: str) -> None:
    unwanted = {
        "scheduler": ("talib", "rich", *HEAVY),
        "worker": ("apscheduler", "rich", *HEAVY),
        "notifications": ("apscheduler", "talib", "numpy", "rich", *HEAVY),
    }[process]
    script = f"import sys, atf.bootstrap.{process}; print([m for m in {unwanted!r} if m in sys.modules])"
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "words",
    [
        ["alerts", "add"], ["alerts", "list"], ["alerts", "show"], ["alerts", "pause"], ["alerts", "resume"],
        ["alerts", "delete"], ["schedules", "list"], ["schedules", "show"], ["runs", "list"], ["runs", "show"],
        ["notifications", "list"], ["notifications", "start"], ["scheduler", "start"], ["worker", "start"],
        ["cron", "next"], ["db", "start"], ["db", "stop"], ["db", "status"], ["db", "url"], ["db", "migrate"],
        ["db", "psql"], ["demo"],
    ],
)  # fmt: skip
def test_every_command_explains_itself_with_an_example(words: list[str]) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "atf", *words, "--help"], capture_output=True, text=True, check=True
    )
    example = " ".join(finished.stdout.split()).partition("Example: ")[2]
    assert f"atf {' '.join(words)}" in example
