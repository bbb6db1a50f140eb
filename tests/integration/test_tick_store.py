"""The timer's table against somebody who may write to it: no row of theirs makes the scheduler call anything."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger
from sqlalchemy import Engine, create_engine, text

from atf.adapters.apscheduler.timer import ApschedulerTimer, open_jobstore, ring_bell
from atf.storage.database import Database

PAST = datetime(2020, 1, 1, tzinfo=UTC)
FAR = datetime(2090, 1, 1, tzinfo=UTC)


class Evil:
    """Calls a function when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def engine(database: Database) -> Iterator[Engine]:
    made = create_engine(database.url)
    yield made
    made.dispose()


def state(**changes: Any) -> dict[str, Any]:
    """A job as APScheduler stores it."""
    return {
        "version": 1,
        "id": "tick",
        "func": "atf.adapters.apscheduler.timer:ring_bell",
        "trigger": DateTrigger(PAST, timezone=UTC),
        "executor": "default",
        "args": ("tick", PAST.isoformat()),
        "kwargs": {},
        "name": "tick",
        "misfire_grace_time": None,
        "coalesce": True,
        "max_instances": 1,
        "next_run_time": PAST,
        **changes,
    }


def put(engine: Engine, document: Any) -> None:
    """Write a row as somebody with SQL could."""
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM apscheduler_jobs"))
        connection.execute(
            text("INSERT INTO apscheduler_jobs (id, next_run_time, job_state) VALUES ('tick', 0, :state)"),
            {"state": pickle.dumps(document)},
        )


def restored(engine: Engine) -> list[Any]:
    """The jobs that a scheduler finds in the table; those that it refuses are gone then."""
    store = open_jobstore(engine)
    store.start(BackgroundScheduler(), "ticks")
    return list(store.get_due_jobs(datetime.now(UTC)))


def test_the_tick_job_is_read_back(engine: Engine) -> None:
    put(engine, state())
    (job,) = restored(engine)
    assert (job.func, job.args, job.next_run_time) == (ring_bell, ("tick", PAST.isoformat()), PAST)


async def test_what_the_timer_itself_stores_is_read_back(engine: Engine) -> None:
    async def tick() -> None:
        raise AssertionError("it is far away")

    timer = ApschedulerTimer(open_jobstore(engine), tick)
    timer.start()
    timer.ring_at(FAR)
    await timer.stop()
    store = open_jobstore(create_engine(engine.url))
    store.start(BackgroundScheduler(), "ticks")
    (job,) = store.get_all_jobs()
    store.shutdown()
    assert (job.func, job.args, job.next_run_time) == (ring_bell, ("tick", FAR.isoformat()), FAR)


@pytest.mark.parametrize("document", ["pickle", "argument", "function", "module", "nothing"])
def test_a_row_that_was_put_there_calls_nothing_and_is_removed(
    engine: Engine, tmp_path: Path, document: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = tmp_path / "made"
    put(
        engine,
        {
            "pickle": Evil(made),
            "argument": state(args=(Evil(made), "")),
            "function": state(func="os:mkdir", args=(str(made),)),
            "module": state(func="atf.adapters.apscheduler.timer:open_jobstore"),
            "nothing": [1],
        }[document],
    )
    assert restored(engine) == []
    assert not made.exists()
    with engine.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM apscheduler_jobs")).scalar() == 0
    assert "Unable to restore job" in caplog.text


def test_apschedulers_own_store_would_have_called_it(engine: Engine, tmp_path: Path) -> None:
    """So that the tests above are known to be about something."""
    put(engine, Evil(tmp_path / "made"))
    store = SQLAlchemyJobStore(engine=engine, tablename="apscheduler_jobs")
    store.start(BackgroundScheduler(), "ticks")
    store.get_due_jobs(datetime.now(UTC))
    assert (tmp_path / "made").exists()
