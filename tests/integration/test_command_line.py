"""The command line as a person meets it: mistakes get one sentence and an exit status, and store nothing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool
from typer.testing import CliRunner

from atf.alerts import schema_check
from atf.bootstrap.checks import check_all_schemas
from atf.cli import scheduler as scheduler_command
from atf.errors import ConfigurationError
from atf.storage.embedded import EmbeddedCluster
from atf.testing.processes import run_atf

RULE = {"indicator": "rsi", "operator": ">", "value": 70}
CONFIG = {"ticker": "AAPL", "timeframe": "1d", "rule": RULE}
HEAVY = (
    "aiogram",
    "alembic",
    "ccxt",
    "cryptography",
    "matplotlib",
    "pandas",
    "backtrader",
    "yfinance",
    "fastapi",
    "httpx",
    "httptools",
    "jinja2",
)


class CommandLine:
    def __init__(self, home: Path, url: str) -> None:
        self.url = url
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("ATF_", "SCHEDULER_"))
        }
        self.environment |= {"ATF_HOME": str(home), "ATF_DATABASE_URL": url, "NO_COLOR": "1"}

    def __call__(
        self, *arguments: str, stdin: str | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return run_atf(arguments, self.environment | environment, stdin=stdin)

    def refused(self, *arguments: str, status: int = 1, stdin: str | None = None, **environment: str) -> str:
        finished = self(*arguments, stdin=stdin, **environment)
        assert finished.returncode == status, finished
        assert finished.stdout == ""
        assert "Traceback" not in finished.stderr
        assert finished.stderr.startswith("atf: ")
        assert finished.stderr.count("\n") == 1, finished.stderr
        return finished.stderr.removeprefix("atf: ").strip()

    def failed_checks(self, *arguments: str, **environment: str) -> list[str]:
        """What a command that checks found to be wrong: also told in one sentence, with exit status 1."""
        finished = self(*arguments, "--json", **environment)
        assert finished.returncode == 1, finished
        assert "Traceback" not in finished.stderr
        assert finished.stderr.splitlines()[-1].startswith("atf: ")
        report = json.loads(finished.stdout)
        assert report["ok"] is False
        return [f"{one['subject']}: {one['detail']}" for one in report["checks"] if one["outcome"] == "failed"]

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
    assert (migrated.returncode, migrated.stdout.splitlines()[0]) == (0, "schema none → 0019")
    assert json.loads(atf("alerts", "list", "--json", ATF_DATABASE_URL=empty_database_url).stdout) == []


def test_services_refuse_a_database_without_tables(atf: CommandLine, empty_database_url: str) -> None:
    for service in ("scheduler", "worker", "notifications"):
        assert "run `atf db migrate`" in atf.refused(service, "start", ATF_DATABASE_URL=empty_database_url)


def test_a_bad_setting_names_its_variable(atf: CommandLine) -> None:
    assert atf.refused("alerts", "list", ATF_DATABASE_POOL_SIZE="many").startswith("ATF_DATABASE_POOL_SIZE: ")
    assert atf.refused("worker", "start", ATF_WORKER_LEASE_SECONDS="0").startswith("ATF_WORKER_LEASE_SECONDS: ")


def config_file(folder: Path, content: str) -> str:
    path = folder / "settings.json"
    path.write_text(content)
    return str(path)


def test_config_show_says_where_each_value_comes_from(atf: CommandLine, tmp_path: Path) -> None:
    named = config_file(tmp_path, '{"alert_timeout": 7}')
    shown = json.loads(atf("config", "show", "--json", ATF_CONFIG=named, SCHEDULER_MAX_WORKERS="4").stdout)
    assert shown["config_file"] == named
    found = {one["name"]: (one["value"], one["source"], one["origin"]) for one in shown["settings"]}
    assert found["max_workers"] == (4, "environment", "SCHEDULER_MAX_WORKERS")
    assert found["alert_timeout_seconds"] == (7, "file", f"{named}: alert_timeout")
    assert found["startup_delay_seconds"] == (10, "default", "default")
    password = make_url(atf.url).password
    assert password
    for words in (["config", "show"], ["config", "show", "--json"], ["scheduler", "validate-config"]):
        finished = atf(*words, ATF_CONFIG=named)
        assert finished.returncode == 0
        assert password not in finished.stdout + finished.stderr


def test_a_broken_config_file_stops_every_command(atf: CommandLine, tmp_path: Path) -> None:
    named = config_file(tmp_path, '{"job_defaults": {"max_instances": 0}}')
    for words in (["scheduler", "start"], ["worker", "start"], ["notifications", "start"], ["config", "show"]):
        sentence = atf.refused(*words, ATF_CONFIG=named)
        assert sentence == (f"{named}: job_defaults.max_instances: must be greater than or equal to 1, got 0")


def test_two_databases_stop_every_process(atf: CommandLine) -> None:
    other = "postgresql://ann:secret@elsewhere/atf"
    for words in (["scheduler", "start"], ["worker", "start"], ["notifications", "start"]):
        sentence = atf.refused(*words, SCHEDULER_DATABASE_URL=other)
        assert sentence.startswith("ATF_DATABASE_URL and SCHEDULER_DATABASE_URL: both are set, to ")
        assert "secret" not in sentence


def test_validate_config_finds_everything_at_once(atf: CommandLine, tmp_path: Path) -> None:
    assert atf("scheduler", "validate-config").returncode == 0
    named = config_file(tmp_path, '{"max_workrs": 3, "alert_timeout": "5"}')
    wrong = {"ATF_CONFIG": named, "SCHEDULER_STARTUP_DELAY": "soon", "ATF_POLL_INTRVAL": "3"}
    assert atf.failed_checks("scheduler", "validate-config", **wrong) == [
        f"config file: {named}: max_workrs: unknown key; did you mean 'max_workers'?",
        f'config file: {named}: alert_timeout: must be a valid number, got "5"',
        "environment: SCHEDULER_STARTUP_DELAY: must be a valid number, got 'soon'",
        "variables: not a setting of this ATF, ignored: ATF_POLL_INTRVAL (did you mean ATF_POLL_INTERVAL?)",
    ]
    broken = config_file(tmp_path, '{"max_workers": 3,}')
    [failed] = atf.failed_checks("scheduler", "validate-config", ATF_CONFIG=broken)
    assert f"{broken}: line 1, column " in failed
    [failed] = atf.failed_checks("scheduler", "validate-config", ATF_DATABASE_URL="mysql://root:secret@db/atf")
    assert failed.startswith("database: ATF_DATABASE_URL: 'mysql' is not supported")


def test_unknown_variable_is_warned_of_and_stops_nothing(atf: CommandLine) -> None:
    finished = atf("alerts", "list", "--json", ATF_FROM_A_LATER_VERSION="1")
    assert (finished.returncode, json.loads(finished.stdout)) == (0, [])
    assert finished.stderr == "not a setting of this ATF, ignored: ATF_FROM_A_LATER_VERSION\n"
    assert atf("scheduler", "validate-config", SCHEDULER_SERVICE_HOST="10.0.0.1").returncode == 0


def test_test_db_passes_on_a_database_that_atf_can_use(atf: CommandLine, own_cluster: EmbeddedCluster) -> None:
    with own_cluster.acquire() as handle:
        url = handle.url()
        [failed] = atf.failed_checks("scheduler", "test-db", ATF_DATABASE_URL=url)
        assert "run `atf db migrate`" in failed
        atf("db", "migrate", ATF_DATABASE_URL=url)
        finished = atf("scheduler", "test-db", "--json", ATF_DATABASE_URL=url)
    assert finished.returncode == 0, finished
    checks = {one["subject"]: one["detail"] for one in json.loads(finished.stdout)["checks"]}
    assert list(checks) == ["connection", "server", "schema", "master key", "notifications", "durability"]
    assert "***" in checks["connection"]


def test_test_db_says_what_is_wrong_with_exit_status_1(atf: CommandLine) -> None:
    closed = "postgresql://atf:secret@127.0.0.1:9/atf"
    [failed] = atf.failed_checks("scheduler", "test-db", ATF_DATABASE_URL=closed)
    assert failed.startswith("connection: the database does not answer")
    assert "secret" not in failed
    # The tests' own server does without, as nobody needs its data again.
    [failed] = atf.failed_checks("scheduler", "test-db")
    assert failed.startswith(
        "durability: the server runs with fsync and full_page_writes and synchronous_commit off"
    )
    [failed] = atf.failed_checks("scheduler", "test-db", ATF_DATABASE_POOL_SIZE="many")
    assert failed.startswith("settings: ATF_DATABASE_POOL_SIZE: ")


def test_validate_schemas_passes_on_what_ships_and_names_what_is_broken(
    atf: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "examples that fit" in atf("scheduler", "validate-schemas").stdout
    copy = tmp_path / "schemas"
    shutil.copytree(Path(schema_check.__file__).parent / "schemas", copy)
    monkeypatch.setattr(schema_check, "schema_folder", lambda: copy)
    assert [check.outcome for check in check_all_schemas()] == ["ok"] * 8
    broken = copy / "alert.schema.json"
    broken.write_text(broken.read_text().replace('"type": "object"', '"type": "objekt"'))
    check, *others = check_all_schemas()
    assert [other.outcome for other in others] == ["ok"] * 7
    assert (check.outcome, "is not JSON Schema 2020-12" in check.detail) == ("failed", True)
    broken.unlink()
    check = check_all_schemas()[0]
    assert (check.outcome, check.detail) == ("failed", "is missing: install ATF again")
    finished = CliRunner().invoke(scheduler_command.app, ["validate-schemas"])
    assert isinstance(finished.exception, ConfigurationError)
    assert finished.stdout.startswith("failed  alert.schema.json            is missing: install ATF again\n")


@pytest.mark.parametrize(
    "arguments", [["validate-config"], ["validate-schemas", "--json"], ["validate-config", "--help"]]
)
def test_the_service_s_module_is_the_same_command(atf: CommandLine, arguments: list[str]) -> None:
    command = [sys.executable, "-m", "atf.services.scheduler", *arguments]
    finished = subprocess.run(command, env=atf.environment, capture_output=True, text=True, check=False)
    same = atf("scheduler", *arguments)
    assert (finished.returncode, finished.stdout, finished.stderr) == (same.returncode, same.stdout, same.stderr)


def test_the_service_s_module_starts_the_scheduler_and_passes_its_exit_status_on(atf: CommandLine) -> None:
    wrong = atf.environment | {"SCHEDULER_MAX_WORKERS": "0"}
    command = [sys.executable, "-m", "atf.services.scheduler"]
    finished = subprocess.run(command, env=wrong, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert finished.stderr == "atf: SCHEDULER_MAX_WORKERS: must be greater than or equal to 1, got '0'\n"


def test_a_home_that_cannot_be_used_is_named(atf: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    home = str(tmp_path / "file")
    for command in (["db", "start"], ["demo", "--once"]):
        assert home in atf.refused(*command, ATF_DATABASE_URL="", ATF_HOME=home)


def test_atf_does_not_stop_a_database_that_it_does_not_run(atf: CommandLine) -> None:
    assert atf.refused("db", "stop").startswith("ATF_DATABASE_URL: names a database that ATF does not run")


def test_status_of_an_external_database_hides_its_password(atf: CommandLine) -> None:
    status = json.loads(atf("db", "status", "--json").stdout)
    assert (status["kind"], status["current"], status["head"]) == ("external", "0019", "0019")
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


@pytest.mark.parametrize("process", ["scheduler", "worker", "notifications", "telegram", "up", "client"])
def test_a_process_loads_no_library_that_it_does_not_need(process: str) -> None:
    serving = tuple(one for one in HEAVY if one not in ("fastapi", "jinja2"))
    unwanted = {
        "scheduler": ("talib", "rich", *HEAVY),
        "worker": ("apscheduler", "rich", *HEAVY),
        "notifications": ("apscheduler", "talib", "numpy", "rich", *serving),
        "telegram": ("apscheduler", "rich", "aiohttp", *serving),  # without a token there is no bot
        "up": ("talib", "rich", *(one for one in HEAVY if one != "alembic")),  # it migrates
        "client": ("apscheduler", "rich", *HEAVY),
    }[process]
    script = f"import sys, atf.bootstrap.{process}; print([m for m in {unwanted!r} if m in sys.modules])"
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "words",
    [
        ["alerts", "add"], ["alerts", "list"], ["alerts", "show"], ["alerts", "pause"], ["alerts", "resume"],
        ["alerts", "delete"], ["alerts", "edit"], ["alerts", "mute"], ["alerts", "unmute"], ["alerts", "reset"],
        ["alerts", "ack"], ["alerts", "templates"], ["alerts", "explain"], ["alerts", "preview"],
        ["alerts", "replay"],
        ["schedules", "list"], ["schedules", "show"], ["runs", "list"], ["runs", "show"],
        ["notifications", "list"], ["notifications", "start"], ["scheduler", "start"], ["worker", "start"],
        ["notifications", "quiet-hours", "show"], ["notifications", "quiet-hours", "set"],
        ["notifications", "quiet-hours", "clear"], ["notifications", "stats"], ["notifications", "requeue"],
        ["notifications", "settings", "show"], ["notifications", "settings", "set"],
        ["notifications", "settings", "route"], ["notifications", "settings", "address"],
        ["notifications", "settings", "test"], ["notify"], ["telegram", "start"], ["telegram", "link"],
        ["cron", "next"], ["db", "start"], ["db", "stop"], ["db", "status"], ["db", "url"], ["db", "migrate"],
        ["db", "psql"], ["demo"], ["config", "show"], ["scheduler", "validate-config"], ["scheduler", "test-db"],
        ["scheduler", "validate-schemas"], ["status"], ["dev", "telegram-fake"],
        ["users", "add"], ["users", "list"], ["users", "role"], ["users", "disable"], ["users", "approve"],
        ["users", "limits"], ["audit", "list"], ["audit", "export"],
        ["users", "link"], ["users", "password"], ["tokens", "add"], ["tokens", "list"], ["tokens", "revoke"],
        ["secrets", "set"], ["secrets", "list"], ["secrets", "delete"], ["secrets", "rotate"],
    ],
)  # fmt: skip
def test_every_command_explains_itself_with_an_example(words: list[str]) -> None:
    finished = run_atf([*words, "--help"], os.environ)
    assert finished.returncode == 0, finished.stderr
    example = " ".join(finished.stdout.split()).partition("Example: ")[2]
    assert f"atf {' '.join(words)}" in example
