"""Heavy work that is started in a chat, what becomes of it there, and how everything is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from tests.integration.claiming import take
from tests.integration.conftest import Rows
from tests.integration.telegram_desk import PATIENCE, TelegramDesk, telegram_desk

from atf.errors import PermanentFailure
from atf.jobs.queue import Outcomes
from atf.jobs.run import Completion, Failure
from atf.storage.database import Database
from atf.storage.run_queue import PostgresRunQueue


@pytest.fixture
async def desk(tmp_path: Path, database_url: str, database: Database) -> AsyncIterator[TelegramDesk]:
    async with telegram_desk(tmp_path, database_url, database) as found:
        yield found


@pytest.fixture
async def queue(database: Database) -> AsyncIterator[PostgresRunQueue]:
    queue = PostgresRunQueue(database)
    yield queue
    await queue.close()


async def end(queue: PostgresRunQueue, rows: Rows, job_type: str, *, error: str | None = None) -> None:
    """Do the next run of a type as a worker does it."""
    worker = await rows.worker()
    (run,) = await take(queue, worker, 1, job_type, is_batch=False)
    if error is None:
        await queue.finish(worker, Outcomes(completions=[Completion(run, {"summary": "3 of *500* fit."})]))
    else:
        await queue.finish(worker, Outcomes(failures=[Failure(run, PermanentFailure(error), is_permanent=True)]))


async def snapshots(desk: TelegramDesk) -> list[dict[str, object]]:
    return await desk.rows.column("SELECT job_snapshot FROM job_schedule_runs ORDER BY id")


async def test_a_report_is_answered_at_once_and_told_when_it_has_ended(
    desk: TelegramDesk, queue: PostgresRunQueue
) -> None:
    answer = await desk.ann.ask("/report aapl,MSFT ^gspc AAPL 1h charts")
    (run_id,) = await desk.rows.column("SELECT run_id FROM job_schedule_runs")
    assert answer.text.startswith("Report AAPL, MSFT, ^GSPC: it is being done")
    assert str(run_id) in answer.text
    assert answer.labels == [["Look", "Cancel"]]
    (snapshot,) = await snapshots(desk)
    assert snapshot["task_params"] == {
        "report_type": "performance_report",
        "parameters": {"symbols": ["AAPL", "MSFT", "^GSPC"], "timeframe": "1h", "include_charts": True},
    }
    sentence = "this installation has nothing that does 'report' jobs"
    await end(queue, desk.rows, "report", error=sentence)
    told = await desk.ann.chat.next_message(within=PATIENCE)
    assert "Report AAPL, MSFT, ^GSPC has failed" in told.text
    assert sentence in told.text
    card = await desk.ann.press_for("Look", answer)
    assert "Status: failed" in card.text
    assert f"Error: {sentence}" in card.text
    assert card.text.count(sentence) == 1


async def test_a_screener_takes_a_name_tickers_or_json(desk: TelegramDesk, queue: PostgresRunQueue) -> None:
    assert "Screener sp500: it is being done" in await desk.ann.say("/screener sp500")
    await end(queue, desk.rows, "screener")
    told = await desk.ann.chat.next_message(within=PATIENCE)
    assert "Screener sp500 is done" in told.text
    assert "3 of *500* fit." in told.text
    for words in ("aapl, msft", "aapl,", '{"screener_set": "sp500", "top_n": 5}', "{“tickers”: [“AAPL”]}"):
        assert "it is being done" in await desk.ann.say(f"/screener {words}")
    assert [one["task_params"] for one in await snapshots(desk)] == [
        {"screener_set": "sp500"},
        {"screener_set": "custom", "tickers": ["AAPL", "MSFT"]},
        {"screener_set": "custom", "tickers": ["AAPL"]},
        {"screener_set": "sp500", "top_n": 5},
        {"screener_set": "custom", "tickers": ["AAPL"]},
    ]
    assert (await desk.ann.say("/screener")).endswith("Send it now, without a slash.")
    assert "Screener ndx" in await desk.ann.say("ndx")


async def test_what_cannot_be_run_is_said_and_nothing_is_stored(desk: TelegramDesk) -> None:
    for words, expected in [
        ("/report 1d charts", "needs tickers such as AAPL,MSFT or the name of a report: daily_summary"),
        ("/report AAPL --verbose", "there is no --verbose; behind the tickers may stand one of 1m, 5m"),
        ("/report A$B", "task_params.parameters.symbols"),
        ("/screener {", "must be a JSON object in braces"),
        ("/screener [[", "is neither the name of a set"),
        (f"/screener {'[' * 3000}", "target: must have 1 to 255 printable characters"),
        (f"/screener {'{{' * 1900}", "must be a JSON object in braces"),
        ('/screener {"screener_set": 7}', "must be the name of a set, not 7"),
        ('/screener {"screener_set": "x", "bogus": 1}', "bogus"),
        ("/screener two words!", "is no symbol such as AAPL"),
        ("/cancel", "needs the id of one run"),
        ("/cancel abc", "must be a run's id, or its first 6 characters or more"),
        ("/runs a b", "needs the beginning of a run's id"),
        ("/runs '; DROP TABLE users", "needs the beginning of a run's id"),
    ]:
        assert expected in await desk.ann.say(words), words[:40]
    for words in ("/report AAPL", "/screener sp500", f"/cancel {uuid4()}"):
        said = await desk.eve.say(words)
        assert "eve is a viewer" in said or "there is no run" in said
    assert await desk.rows.statuses() == {}


async def test_a_run_that_waits_is_cancelled_by_a_button_and_told(desk: TelegramDesk) -> None:
    answer = await desk.ann.ask("/report AAPL")
    card = await desk.ann.press_for("Cancel", answer)
    assert "is cancelled." in card.text
    assert "Status: cancelled" in card.text
    told = await desk.ann.chat.next_message(within=PATIENCE)
    assert "Report AAPL was cancelled" in told.text
    (run_id,) = await desk.rows.column("SELECT run_id FROM job_schedule_runs")
    assert "is CANCELLED already" in await desk.ann.say(f"/cancel {str(run_id)[:6]}")


async def test_a_run_that_is_running_is_asked_to_stop(desk: TelegramDesk, queue: PostgresRunQueue) -> None:
    await desk.ann.say("/report AAPL")
    (run,) = await take(queue, await desk.rows.worker(), 1, "report", is_batch=False)
    said = await desk.ann.say(f"/cancel {run.run_id}")
    assert "its worker is asked to stop it" in said
    assert "Status: is asked to stop" in said


async def test_the_newest_runs_are_listed_and_found_by_the_beginning_of_their_ids(desk: TelegramDesk) -> None:
    assert await desk.ann.say("/runs") == "Nothing has run for you yet."
    ids = [UUID(f"abcdef{n:02d}-0000-4000-8000-00000000000{n % 10}") for n in range(25)]
    await desk.rows.partitions()
    for number, run_id in enumerate(ids):
        await desk.rows.change(
            "INSERT INTO job_schedule_runs (run_id, job_type, user_id, scheduled_for, retention_class, "
            "  job_snapshot) SELECT :run_id, 'backup', id, now() - CAST(:ago AS interval), 'other', "
            "  CAST(:snapshot AS jsonb) FROM users WHERE name = 'ann'",
            run_id=run_id,
            ago=timedelta(seconds=number),
            snapshot=json.dumps({"name": f"run-{number:02d}-_*`", "target": "all"}),
        )
    listed = await desk.ann.ask("/runs")
    assert "abcdef00 run-00-_*`: waits" in listed.text
    assert "run-10" not in listed.text
    assert listed.labels[0] == ["abcdef00", "abcdef01", "abcdef02"]
    listed = await desk.ann.press_for("Next ›", listed)
    listed = await desk.ann.press_for("Next ›", listed)
    assert "run-24" in listed.text
    assert listed.labels[-1] == ["‹ Previous"]
    assert "run-24" in await desk.ann.say("/runs 3")
    assert "run-24" in await desk.ann.say("/runs page 77")
    card = await desk.ann.press_for("abcdef24", listed)
    assert "run-24-_*`" in card.text
    assert str(ids[24]) in card.text
    assert "run-07" in await desk.ann.say("/runs abcdef07")
    assert "run-07" in await desk.ann.say(f"/runs {ids[7]}")
    assert "several runs begin with abcdef: say more" in await desk.ann.say("/runs abcdef")
    assert await desk.owner.say("/runs abcdef07") == "there is no run abcdef07"
    assert await desk.owner.say(f"/cancel {ids[7]}") == f"there is no run {ids[7]}"
    assert "eve is a viewer" in await desk.eve.say("/report AAPL")


async def test_a_run_of_several_attempts_shows_each(desk: TelegramDesk, queue: PostgresRunQueue) -> None:
    await desk.ann.say("/report AAPL")
    worker = await desk.rows.worker()
    for word in ("first", "second", "third"):
        (run,) = await take(queue, worker, 1, "report", is_batch=False)
        await queue.finish(worker, Outcomes(failures=[Failure(run, PermanentFailure(word), is_permanent=False)]))
    assert "has failed" in (await desk.ann.chat.next_message(within=PATIENCE)).text
    card = await desk.ann.say(f"/runs {run.run_id}")
    assert "Attempt 1 failed: first\nAttempt 2 failed: second\nAttempt 3 failed: third\nError: third" in card


async def test_results_and_errors_of_any_size_fit_into_an_answer(
    desk: TelegramDesk, queue: PostgresRunQueue
) -> None:
    await desk.ann.say("/report AAPL")
    await end(queue, desk.rows, "report", error="\u202e*_[`\\" * 2000)
    told = await desk.ann.chat.next_message(within=PATIENCE)
    assert "*_[`\\*_[`\\" in told.text
    (run_id,) = await desk.rows.column("SELECT run_id FROM job_schedule_runs")
    card = await desk.ann.say(f"/runs {run_id}")
    assert "*_[`\\*_[`\\" in card
    assert len(card) < 4096


async def test_users_are_told_in_short_how_everything_is_and_administrators_where(desk: TelegramDesk) -> None:
    await desk.rows.pending_runs(3)
    await desk.rows.change(
        "INSERT INTO service_registry (instance_id, service, host, pid, version, endpoints) "
        "VALUES ('worker-1', 'worker', 'secret-host', 4711, '9.9', '{}')"
    )
    await desk.rows.change(
        "INSERT INTO msg_system_health (system, component, status, error_message, metadata) "
        "VALUES ('worker', 'worker-1', 'DEGRADED', 'the disk of /srv is full', '{}')"
    )
    await desk.rows.change(
        "INSERT INTO msg_channels (channel, failures, paused_until, error) "
        "VALUES ('email', 3, now() + interval '1 hour', 'mail.internal refused')"
    )
    await desk.rows.change(
        "INSERT INTO msg_messages (user_id, notification_type, title, body, dedup_key) "
        "VALUES (1, 'notification', 't', 'b', 'k')"
    )
    await desk.rows.change(
        "INSERT INTO msg_deliveries (message_id, user_id, channel, urgency, dedup_key) "
        "SELECT id, 1, 'sms', 2, 'k:sms' FROM msg_messages"
    )
    for words in ("/status", "/health"):
        said = await desk.eve.say(words)
        assert "Not everything is well." in said
        assert "worker: not well" in said
        assert "Runs: 3 waiting, 0 running" in said
        assert "Messages on sms: 1 waiting" in said
        assert "Messages on email" not in said
        assert "email is out of order and is tried again at" in said
        for secret in ("secret-host", "4711", "9.9", "/srv", "mail.internal"):
            assert secret not in said
    short = await desk.owner.ask("/status")
    assert "secret-host" not in short.text
    long = await desk.owner.press_for("Details", short)
    for detail in (
        "worker on secret-host, process 4711, version 9.9",
        "the disk of /srv is full",
        "mail.internal",
    ):
        assert detail in long.text
    pressed = await desk.eve.chat.press("health", message=await desk.eve.ask("/status"), is_stale=True)
    await desk.eve.chat.until_answered(pressed)
    assert all("secret-host" not in message.text for message in desk.eve.chat.messages)
