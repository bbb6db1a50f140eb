"""``atf alerts replay``, run as a user runs it: cases in a scratch database that is gone afterwards."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from atf.alerts.cases import Case, parse_cases
from atf.alerts.evaluator import AlertEvaluator
from atf.bootstrap.alert_replay import replay_cases
from atf.errors import ConfigurationError
from atf.jobs.run import ClaimedBatch
from atf.settings import Settings
from atf.storage import migrate
from atf.storage.database import plain_url
from atf.storage.schema_version import SchemaVersion, schema_version
from atf.storage.scratch_database import scratch_database
from atf.testing.processes import Installation
from atf.testing.waiting import wait_for

CASES = Path(__file__).parents[1] / "data/alert_cases.json"
DOCUMENTATION = Path(__file__).parents[2] / "docs/alerts.md"
LONG_SECONDS = 120.0


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Iterator[Installation]:
    with Installation({"ATF_DATABASE_URL": database_url}, tmp_path / "home") as made:
        yield made


@pytest.fixture
def scratch_names(database_url: str) -> Callable[[], list[str]]:
    """The scratch databases beside this test's own database."""

    def names() -> list[str]:
        return [name for (name,) in execute(database_url, "SELECT datname FROM pg_database") if is_ours(name)]

    (oid,) = execute(database_url, "SELECT oid FROM pg_database WHERE datname = current_database()")[0]

    def is_ours(name: str) -> bool:
        return name.startswith(f"atf_replay_{oid}_")

    return names


def execute(url: str, statement: str) -> list[Any]:
    with psycopg.connect(plain_url(url), autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def written(installation: Installation, document: object) -> str:
    file = installation.home / "cases.json"
    file.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(file)


def case_named(name: str) -> dict[str, Any]:
    (found,) = [case for case in json.loads(CASES.read_text())["cases"] if case["name"] == name]
    return dict(found)


def test_our_cases_come_as_expected_through_the_evaluator_and_the_database(
    installation: Installation, database_url: str, scratch_names: Callable[[], list[str]]
) -> None:
    replayed = installation.run("alerts", "replay", str(CASES), "--check", "--json", patience=LONG_SECONDS)
    found = json.loads(replayed.stdout)
    assert found["differences"] == []
    assert replayed.returncode == 0, replayed.stderr
    given = json.loads(CASES.read_text())
    assert [
        (one["name"], one["trigger_bar_times"], one["final_state_status"], one["final_data_status"])
        for one in found["cases"]
    ] == [(one["name"], *one["expected"].values()) for one in given["cases"]]
    assert [(one["name"], one["error_path"], one["accepted"]) for one in found["invalid_configs"]] == [
        (one["name"], one["expected_error_path"], False) for one in given["invalid_configs"]
    ]
    assert scratch_names() == []
    for table in (
        "job_schedules",
        "alert_states",
        "alert_triggers",
        "job_schedule_runs",
        "msg_messages",
        "workers",
    ):
        assert execute(database_url, f"SELECT count(*) FROM {table}") == [(0,)]


def test_a_live_case_fires_once_on_the_bar_that_is_forming(installation: Installation) -> None:
    """The same bar is fed again and again, as it is seen at an instant in it; three workers look each time."""
    closes = [39, 41, 39, 42]
    case = {
        "name": "flickers",
        "config": {
            "ticker": "T",
            "timeframe": "1h",
            "rule": {"indicator": "price", "operator": ">", "value": 40},
            "options": {"evaluate_on": "live"},
        },
        "bars": [
            [f"2027-03-01T0{min(number, 1)}:00:00Z", *[close] * 4, 1] for number, close in enumerate(closes)
        ],
        "now": "2027-03-01T01:30:00Z",
        "workers": 3,
        "restarts_at": [2],
        "expected": {"trigger_bar_times": ["2027-03-01T01:00:00Z"], "final_state_status": "TRIGGERED"},
    }
    replayed = installation.run("alerts", "replay", written(installation, {"cases": [case]}), "--check")
    assert replayed.returncode == 0, replayed.stdout


def test_our_cases_try_everything_that_a_case_may_say() -> None:
    given = json.loads(CASES.read_text())["cases"]
    text = json.dumps([case["config"] for case in given])
    for event in ("crosses_above", "crosses_below", "crosses", "enters", "exits"):
        assert f'"operator": "{event}"' in text
    kinds = {case["config"].get("rearm", {"type": "edge"})["type"] for case in given}
    assert kinds == {"simple", "edge", "hysteresis", "cooldown", "persistence", "crossing"}
    conditions = {case["config"].get("condition") for case in given}
    assert {"price_below", "volume_spike", "rsi_oversold"} <= conditions
    used = {name for case in given for name in case if case[name] not in ([], None)}
    assert {name for name in Case.__dataclass_fields__ if name != "expected"} <= used


def test_the_documented_example_comes_as_expected(installation: Installation) -> None:
    section = DOCUMENTATION.read_text().partition("## Replaying cases")[2]
    example = section.partition("```json")[2].partition("```")[0]
    checked = installation.run("alerts", "replay", written(installation, example), "--check")
    assert checked.returncode == 0, checked.stdout
    assert checked.stdout.splitlines()[-1] == "2 cases, all as expected"


def test_workers_that_overwrite_each_other_are_found_out(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Versions stand still and the second worker is slow: the first may not commit before it has loaded."""
    upgrade, handle = migrate.upgrade, AlertEvaluator.handle
    has_begun, has_ended = asyncio.Event(), asyncio.Event()

    def upgrade_and_stop_versions(url: str) -> SchemaVersion:
        version = upgrade(url)
        execute(
            url,
            "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql AS $$ "
            "BEGIN NEW.version := OLD.version; RETURN NEW; END $$",
        )
        execute(url, "CREATE TRIGGER stop BEFORE UPDATE ON alert_states FOR EACH ROW EXECUTE FUNCTION stop()")
        return version

    async def handle_late(self: AlertEvaluator, batch: ClaimedBatch) -> None:
        if has_begun.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await has_ended.wait()
        has_begun.set()
        await handle(self, batch)
        has_ended.set()

    monkeypatch.setattr(migrate, "upgrade", upgrade_and_stop_versions)
    monkeypatch.setattr(AlertEvaluator, "handle", handle_late)
    cases = parse_cases({"cases": [case_named("exits_a_channel_with_cooldown")]}, with_expected=True)
    replayed = replay_cases(Settings(home=tmp_path, database_url=database_url), cases)
    assert replayed.cases[0].error == "with 1 bars fed, 2 workers committed a judgement of the same bars"


def test_a_wrong_expectation_is_named_and_exits_with_1(installation: Installation) -> None:
    case = case_named("edge_is_the_default")
    case["expected"] = {**case["expected"], "final_state_status": "ARMED"}
    accepted = {"name": "nothing_wrong", "config": case["config"], "expected_error_path": "rule"}
    file = written(installation, {"cases": [case], "invalid_configs": [accepted]})
    assert installation.run("alerts", "replay", file).returncode == 0  # nobody asked what was expected
    checked = installation.run("alerts", "replay", file, "--check")
    assert checked.returncode == 1
    assert checked.stdout.splitlines()[-3:] == [
        "edge_is_the_default: final_state_status: expected ARMED, got TRIGGERED",
        "nothing_wrong: error_path: expected rule, got accepted",
        "2 cases, 2 not as expected",
    ]


def test_a_case_that_cannot_go_on_says_why_and_the_others_are_played(installation: Installation) -> None:
    case = case_named("edge_is_the_default")
    refused = {**case, "name": "refused", "config": {**case["config"], "timeframe": "2h"}}
    changes = [{"after": 1, "config": {**case["config"], "rule": {}}}]
    edited = {**case, "name": "edited", "config_changes": changes}
    file = written(installation, {"cases": [refused, edited, case]})
    played = installation.run("alerts", "replay", file, "--json")
    assert played.returncode == 1
    first, second, third = json.loads(played.stdout)["cases"]
    assert (first["trigger_bar_times"], first["final_state_status"]) == ([], None)
    assert first["error"].startswith("the configuration is refused: timeframe: ")
    assert second["trigger_bar_times"] == case["expected"]["trigger_bar_times"][:1]
    assert second["error"].startswith("a changed configuration is refused: rule")
    assert (third["error"], third["trigger_bar_times"]) == (None, case["expected"]["trigger_bar_times"])


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ("{", "atf: CASES.json: is not JSON: "),
        ("[]", "atf: must be an object, got []"),
        (
            {"cases": [{"name": "n", "config": {}, "bars": [["2027-03-01T00:00:00Z", 1]]}]},
            "atf: cases[0].bars[0]: must be [time, open, high, low, close, volume], "
            'got ["2027-03-01T00:00:00Z", 1]',
        ),
        ({"invalid_configs": [{"name": "n"}]}, "atf: invalid_configs[0].config: is missing"),
    ],
    ids=["no JSON", "no object", "bar", "invalid config"],
)
def test_a_malformed_file_is_one_sentence(installation: Installation, document: object, sentence: str) -> None:
    refused = installation.run("alerts", "replay", written(installation, document))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(sentence)
    assert refused.stderr.count("\n") == 1


def test_a_file_that_is_not_there_is_one_sentence(installation: Installation) -> None:
    refused = installation.run("alerts", "replay", "nowhere.json")
    assert refused.returncode == 1
    assert refused.stderr.startswith("atf: CASES.json: cannot read nowhere.json: ")
    assert refused.stderr.count("\n") == 1


def test_an_interrupted_replay_leaves_no_database(
    installation: Installation, database_url: str, scratch_names: Callable[[], list[str]]
) -> None:
    case = case_named("persistence_among_four_workers")
    process = installation.start("alerts", "replay", written(installation, {"cases": [case] * 300}))
    (name,) = wait_for(scratch_names, what="for the scratch database")
    url = make_url(database_url).set(database=name).render_as_string(hide_password=False)
    wait_for(lambda: has_triggers(url), what="for the replay to be under way")
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert scratch_names() == []
    assert "Traceback" not in installation.output("alerts")


def has_triggers(url: str) -> bool:
    try:
        return bool(execute(url, "SELECT 1 FROM alert_triggers LIMIT 1"))
    except psycopg.Error:  # it is being made
        return False


def test_a_scratch_database_is_dropped_after_an_error(
    database_url: str, scratch_names: Callable[[], list[str]]
) -> None:
    def fail() -> None:
        with scratch_database(database_url) as url:
            assert schema_version(url).is_current
            assert len(scratch_names()) == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert scratch_names() == []


def test_what_a_killed_replay_left_is_dropped_by_the_next_one_but_not_what_is_in_use(
    database_url: str, scratch_names: Callable[[], list[str]]
) -> None:
    with scratch_database(database_url) as in_use:
        used = make_url(in_use).database or ""
        left = used[:-8] + "00000000"
        execute(database_url, f"CREATE DATABASE {left}")
        with scratch_database(database_url) as url:
            assert set(scratch_names()) == {used, make_url(url).database}
        assert scratch_names() == [used]


def test_a_server_that_lets_nobody_make_databases_is_a_clear_sentence(database_url: str) -> None:
    role = f"poor_{make_url(database_url).database}"
    execute(database_url, f"CREATE ROLE {role} LOGIN PASSWORD 'poor'")
    url = make_url(database_url).set(username=role, password="poor").render_as_string(hide_password=False)
    try:
        with pytest.raises(ConfigurationError, match=f"ALTER ROLE {role} CREATEDB"), scratch_database(url):
            pytest.fail("a database was made")
    finally:
        with psycopg.connect(plain_url(database_url), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
