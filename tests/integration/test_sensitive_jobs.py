"""Sensitive fields of jobs: sealed where they are stored, open for the handler alone, masked for all others."""

import asyncio
import importlib
import os
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import OWNER, Rows
from tests.integration.secret_search import dump, files_below, found_in
from tests.integration.sensitive_plugin import PACKAGE, install

from atf.adapters.calendars.exchange_calendars import ExchangeCalendars
from atf.bootstrap.client import build_jobs
from atf.errors import InvalidInput, InvariantViolation
from atf.jobs.dead_letters import DeadLetterFilter
from atf.jobs.job_type import JobLimits, JobTypeDefinition, JobTypes
from atf.jobs.jobs_service import JobsService
from atf.jobs.run import RunFilter, RunId, RunRecord, RunStatus
from atf.jobs.run_request import RunCreate, RunUpdate
from atf.jobs.schema_validator import SchemaValidator
from atf.market.market_clock import MarketClock
from atf.schedules.schedule import ScheduleCreate, ScheduleUpdate
from atf.secrecy import secrecy
from atf.security.audit import AuditFilter
from atf.security.master_key import new_key
from atf.settings import Settings
from atf.storage.audit_repository import PostgresAuditLog
from atf.storage.database import Database
from atf.storage.embedded import ClusterHandle
from atf.storage.schedules_repository import PostgresJobsRepository
from atf.testing.processes import Installation

TOKEN = "hunter2-is-the-token-of-the-courier"
OTHER = "swordfish-is-the-token-of-another"
MASTER = new_key("test")
HOURLY = ScheduleCreate(
    "hourly", "courier", "somewhere", "0 * * * *", task_params={"token": TOKEN, "do": "return"}
)


@pytest.fixture(autouse=True)
def _knowing_nothing() -> Iterator[None]:
    with secrecy():
        yield


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = install(tmp_path / "packages")
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop(PACKAGE, None)


@pytest.fixture
def jobs(
    database: Database, database_url: str, market_clock: MarketClock, package: Path, tmp_path: Path
) -> JobsService:
    settings = Settings(home=tmp_path, database_url=database_url, master_key=MASTER.text)
    return build_jobs(settings, database, market_clock, ExchangeCalendars())


async def stored_token(rows: Rows) -> Any:
    return (await rows.value("SELECT task_params FROM job_schedules"))["token"]


async def test_a_schedule_and_its_runs_are_stored_sealed_and_shown_masked(
    jobs: JobsService, rows: Rows, database: Database, cluster: ClusterHandle, database_url: str
) -> None:
    made = await jobs.create_schedule(OWNER, HOURLY)
    assert made.task_params == {"token": "***", "do": "return"}
    assert (await jobs.get_schedule(OWNER, made.id)).task_params["token"] == "***"
    assert [one.task_params["token"] for one in await jobs.list_schedules(OWNER)] == ["***"]
    assert list(await stored_token(rows)) == ["$sealed"]
    run = await jobs.trigger_schedule(OWNER, made.id)
    direct = await jobs.create_run(OWNER, RunCreate("courier", "somewhere", {"token": TOKEN}))
    for shown in (
        run,
        direct,
        await jobs.get_run(OWNER, run.run_id),
        *await jobs.list_runs(RunFilter(OWNER)),
        *await jobs.get_pending_runs(),
    ):
        assert shown.snapshot is not None
        assert shown.snapshot["task_params"]["token"] == "***"
    snapshots = await rows.column("SELECT job_snapshot FROM job_schedule_runs")
    assert [list(one["task_params"]["token"]) for one in snapshots] == [["$sealed"]] * 2
    assert found_in(TOKEN, [dump(cluster, database_url)]) == []
    entries = await PostgresAuditLog(database).entries(AuditFilter(object_type="schedule"), limit=10)
    assert [entry.after and entry.after["task_params"]["token"] for entry in entries] == ["***"]


async def test_a_mask_that_comes_back_leaves_the_value_and_a_new_one_replaces_it(
    jobs: JobsService, rows: Rows
) -> None:
    made = await jobs.create_schedule(OWNER, HOURLY)
    before = await stored_token(rows)
    await jobs.update_schedule(OWNER, made.id, ScheduleUpdate(cron="30 * * * *"))
    changed = await jobs.update_schedule(
        OWNER, made.id, ScheduleUpdate(task_params={"token": "***", "do": "log"})
    )
    assert changed.task_params == {"token": "***", "do": "log"}
    assert await stored_token(rows) == before  # the very same seal: no change that an audit would tell
    await jobs.update_schedule(OWNER, made.id, ScheduleUpdate(task_params={"token": TOKEN}))
    assert await stored_token(rows) == before
    await jobs.update_schedule(OWNER, made.id, ScheduleUpdate(task_params={"token": OTHER}))
    assert await stored_token(rows) != before


async def test_a_mask_without_a_stored_value_is_refused_and_nothing_is_stored(
    jobs: JobsService, rows: Rows
) -> None:
    masked = {"token": TOKEN, "hooks": [{"key": "***"}]}
    for refusing in (
        jobs.create_run(OWNER, RunCreate("courier", "somewhere", {"token": "***"})),
        jobs.create_schedule(OWNER, ScheduleCreate("x", "courier", "x", "0 * * * *", task_params=masked)),
    ):
        with pytest.raises(InvalidInput, match=r"^task_params\.\S+: "):
            await refusing
    assert await rows.value("SELECT count(*) FROM job_schedules") == 0
    assert await rows.value("SELECT count(*) FROM job_schedule_runs") == 0


@pytest.mark.parametrize(
    "params",
    [
        {"token": "hunt"},
        {"token": 55555555},
        {"token": ["hunter2-in-a-list"]},
        {"token": "hunter2\0"},
        {"token": "hunter2-is-the-token", "hooks": "hunter2-in-a-place-of-another-shape"},
        {"token": "hunter2-is-the-token", "do": "hunter2-is-the-token"},
        {"token": "hunter2" * 1000},
    ],
)
async def test_a_refusal_does_not_say_the_value(jobs: JobsService, params: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as refused:
        await jobs.create_schedule(OWNER, ScheduleCreate("x", "courier", "x", "0 * * * *", task_params=params))
    assert str(refused.value).startswith("task_params.")
    assert not [word for word in ("hunt", "55555555") if word in str(refused.value)]


async def test_seals_of_another_user_are_not_opened(jobs: JobsService, rows: Rows) -> None:
    await rows.change("INSERT INTO users (name, role) VALUES ('eve', 'trader')")
    made = await jobs.create_schedule(OWNER, HOURLY)
    stolen = await jobs.create_schedule(
        2, ScheduleCreate("x", "courier", "x", "0 * * * *", task_params={"token": OTHER})
    )
    await rows.change(
        "UPDATE job_schedules s SET task_params = m.task_params FROM job_schedules m "
        "WHERE m.id = :mine AND s.id = :id",
        mine=made.id,
        id=stolen.id,
    )
    with pytest.raises(Exception, match="was sealed for another user"):
        await jobs.update_schedule(2, stolen.id, ScheduleUpdate(cron="5 * * * *"))


async def test_programs_outside_of_the_workers_get_masks_and_their_results_are_sealed(
    jobs: JobsService, rows: Rows, cluster: ClusterHandle, database_url: str
) -> None:
    for end in ("complete", "update"):
        run = await jobs.create_run(OWNER, RunCreate("courier", "somewhere", {"token": TOKEN}))
        claimed = await jobs.claim_run(run.run_id, "program")
        assert claimed.snapshot["task_params"] == {"token": "***"}
        result = {"session": OTHER, "length": 5}
        if end == "complete":
            await jobs.complete(run.run_id, "program", result)
        else:
            await jobs.update_run(run.run_id, RunUpdate(RunStatus.COMPLETED, "program", result))
        assert (await jobs.get_run(OWNER, run.run_id)).result == {"session": "***", "length": 5}
    assert found_in(OTHER, [dump(cluster, database_url)]) == []


async def test_repeating_a_run_keeps_what_it_was_given(jobs: JobsService, rows: Rows) -> None:
    run = await jobs.create_run(OWNER, RunCreate("courier", "somewhere", {"token": TOKEN}))
    await jobs.claim_run(run.run_id, "program")
    await jobs.fail(run.run_id, "program", "no", permanent=True)
    await jobs.retry_run(OWNER, run.run_id)
    (letter,) = await jobs.list_dead_letters(DeadLetterFilter(OWNER))
    assert letter.job_snapshot is not None
    assert letter.job_snapshot["task_params"] == {"token": "***"}
    await jobs.requeue_dead_letter(OWNER, letter.id)
    tokens = await rows.column("SELECT job_snapshot -> 'task_params' ->> 'token' FROM job_schedule_runs")
    assert len(tokens) == 3
    assert len(set(tokens)) == 1
    assert "$sealed" in tokens[0]


async def test_what_was_stored_before_a_field_was_marked_is_masked_and_sealed_with_the_next_change(
    jobs: JobsService, rows: Rows
) -> None:
    made = await jobs.create_schedule(OWNER, HOURLY)
    await rows.change(
        "UPDATE job_schedules SET task_params = jsonb_build_object('token', CAST(:token AS text))", token=TOKEN
    )
    assert (await jobs.get_schedule(OWNER, made.id)).task_params == {"token": "***"}
    await jobs.update_schedule(OWNER, made.id, ScheduleUpdate(task_params={"token": "***"}))
    assert list(await stored_token(rows)) == ["$sealed"]


async def test_seals_of_a_type_that_is_gone_are_masked(
    jobs: JobsService, database: Database, market_clock: MarketClock
) -> None:
    made = await jobs.create_schedule(OWNER, HOURLY)
    run = await jobs.trigger_schedule(OWNER, made.id)
    without = JobsService(PostgresJobsRepository(database), market_clock)
    assert (await without.get_schedule(OWNER, made.id)).task_params["token"] == "***"
    assert (await without.get_run(OWNER, run.run_id)).snapshot == (await jobs.get_run(OWNER, run.run_id)).snapshot


@pytest.mark.usefixtures("package")
async def test_a_type_that_forgets_to_say_that_it_has_sensitive_fields_can_store_nothing(
    database: Database, market_clock: MarketClock, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    importlib.import_module(PACKAGE)  # its own definitions do say so, when it is loaded
    monkeypatch.setattr("atf.jobs.schema_validator._WATCHED", set())
    schemas = SchemaValidator(PACKAGE)
    limits = JobLimits(timedelta(seconds=5), 1, timedelta(seconds=1))

    def check(_: str, task_params: Any) -> None:
        schemas.validate(task_params, "courier")

    forgetful = JobTypeDefinition("courier", check, limits)
    jobs = JobsService(PostgresJobsRepository(database), market_clock, types=JobTypes([forgetful]))
    with pytest.raises(
        InvariantViolation, match="marks fields with x-sensitive, and its job type does not say so"
    ):
        await jobs.create_schedule(OWNER, HOURLY)
    assert await rows.value("SELECT count(*) FROM job_schedules") == 0


async def test_handlers_get_the_value_and_nothing_else_says_it(
    jobs: JobsService, package: Path, database_url: str, cluster: ClusterHandle
) -> None:
    """A worker, a child process, commands, logs, errors, results, the dump: the whole way of a secret."""
    search = f"{package}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = {"ATF_DATABASE_URL": database_url, "ATF_MASTER_KEY": MASTER.text, "PYTHONPATH": search}
    runs = {
        do: (await jobs.create_run(OWNER, RunCreate("courier", "x", {"token": TOKEN, "do": do}))).run_id
        for do in ("return", "raise", "log", "echo", "temporary")
    }
    runs["heavy"] = (await jobs.create_run(OWNER, RunCreate("heavy_courier", "x", {"token": TOKEN}))).run_id
    with Installation(environment) as home:
        home.start("worker", "start")
        ended = {do: await has_ended(jobs, run_id) for do, run_id in runs.items()}
        refused = home.run(
            "runs", "start", "courier", "--target", "x", "--params", f'{{"token": "{TOKEN}", "do": 1}}'
        )
        shown = home.run("runs", "logs", str(runs["raise"]), "--json")
        files = files_below(home.home)  # what the worker logged is among them

    assert ended["return"].status is ended["heavy"].status is RunStatus.COMPLETED, ended
    assert ended["return"].result == {"session": "***", "length": len(TOKEN), "note": "sent"}
    assert ended["echo"].result == {"session": "***", "length": len(TOKEN), "note": "sent with ***"}
    assert ended["raise"].error == "ValueError: the other side refuses ***"
    assert ended["temporary"].error == "TemporaryFailure: not now, ***"
    assert ended["heavy"].result is not None
    assert ended["heavy"].result["length"] == len(TOKEN)
    assert not [name for name in ended["heavy"].result["environment"] if name.startswith("ATF_MASTER")]
    assert (refused.returncode, shown.returncode) == (1, 0)
    assert "ValueError" in shown.stdout
    assert any("sending with ***" in text for text in files)
    said = [refused.stdout, refused.stderr, shown.stdout, shown.stderr]
    everything = [*said, *files, *map(str, ended.values()), dump(cluster, database_url)]
    assert found_in(TOKEN, everything) == []
    assert found_in(MASTER.text, everything) == []


async def has_ended(jobs: JobsService, run_id: RunId) -> RunRecord:
    async with asyncio.timeout(60):
        while not (run := await jobs.get_run(OWNER, run_id)).status.is_final:  # noqa: ASYNC110 - a worker in another process
            await asyncio.sleep(0.1)
    return run
