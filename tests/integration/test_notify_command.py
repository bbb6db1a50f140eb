"""``atf notify``: a message is handed to a user from the command line, into the database or by HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from tests.integration.accounts import a_house
from tests.integration.command_line import CommandLine
from tests.integration.conftest import Rows

from atf.bootstrap.notifications import notifications_process
from atf.lifecycle import Progress
from atf.security.limits import LARGEST_ATTACHMENTS
from atf.settings import Settings
from atf.storage.database import Database
from atf.testing.processes import Installation


@pytest.fixture
def atf(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    made = CommandLine(tmp_path, database_url, monkeypatch, capsys)
    made.sql("INSERT INTO users (name, role) VALUES ('ann', 'trader'), ('eve', 'viewer')")
    return made


def test_what_is_not_said_is_as_the_user_wishes(atf: CommandLine) -> None:
    said = atf("notify", "Owner", "The backup is done").out
    ((message_id, *row),) = atf.sql(
        "SELECT message_id, user_id, notification_type, title, body, priority, scheduled_for FROM msg_messages"
    )
    assert said == f"queued: message {message_id}\n"
    assert row == [1, "note", "Message", "The backup is done", "normal", None]
    assert atf.sql("SELECT channel FROM msg_deliveries") == [("inbox",)]


def test_all_that_is_said_is_kept(atf: CommandLine, tmp_path: Path) -> None:
    chart, log = tmp_path / "chart.png", tmp_path / "a.unknown"
    chart.write_bytes(b"png")
    log.write_bytes(b"log")
    words = ["--channel", "console", "--channel", "inbox", "--title", "T", "--type", "report"]
    words += [
        "--priority",
        "urgent",
        "--at",
        "2036-01-05T09:00+02:00",
        "--attach",
        str(chart),
        "--attach",
        str(log),
    ]
    made = atf.json("notify", "ann", "The text", *words)
    assert made == {"status": "queued", "message_id": made["message_id"], "duplicate": False}
    assert atf.sql("SELECT message_id, user_id, notification_type, title, body, priority FROM msg_messages") == [
        (UUID(made["message_id"]), 2, "report", "T", "The text", "urgent")
    ]
    assert atf.sql("SELECT scheduled_for = '2036-01-05 07:00Z' FROM msg_messages") == [(True,)]
    assert atf.sql("SELECT channel FROM msg_deliveries ORDER BY 1") == [("console",), ("inbox",)]
    assert atf.sql("SELECT name, media_type, content FROM msg_attachments ORDER BY position") == [
        ("chart.png", "image/png", b"png"),
        ("a.unknown", "application/octet-stream", b"log"),
    ]


def test_a_key_that_is_known_is_nothing_new(atf: CommandLine) -> None:
    first = atf.json("notify", "owner", "first", "--key", "k")
    again = atf("notify", "owner", "second", "--key", "k")
    assert (again.status, again.out) == (0, f"nothing new: message {first['message_id']} has this key\n")
    assert atf.json("notify", "owner", "third", "--key", "k") == {**first, "duplicate": True}
    assert atf.sql("SELECT body FROM msg_messages") == [("first",)]


def test_what_is_wrong_is_one_sentence_and_nothing_is_stored(atf: CommandLine, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        file.truncate(LARGEST_ATTACHMENTS + 1)
    for words, sentence in [
        (["nobody", "x"], "there is no user 'nobody'; users here: ann, eve, owner"),
        (["owner", " "], "message: is empty"),
        (["owner", "x\udcff"], "message: has characters that are no text"),
        (["owner", "x", "--channel", "pigeon"], "channels: must be of inbox, console, telegram,"),
        (["owner", "x", "--type", "Report"], "notification_type: must be a word of small letters"),
        (["owner", "x", "--type", "alert_action"], "notification_type: must be a word of small letters"),
        (["owner", "x", "--title", ""], "title: is empty"),
        (["owner", "x", "--key", "k" * 201], "dedup_key: has 201 characters; at most 200"),
        (["owner", "x", "--at", "tomorrow"], "--at: must be a time such as 2026-12-31T09:00:00Z, got 'tomorrow'"),
        (
            ["owner", "x", "--attach", f"{tmp_path}/none"],
            f"--attach: {tmp_path}/none cannot be read: No such file",
        ),
        (["owner", "x", "--attach", str(tmp_path)], f"--attach: {tmp_path} cannot be read: Is a directory"),
        (["owner", "x", "--attach", str(large)], f"attachments: have {LARGEST_ATTACHMENTS + 1} bytes together;"),
        (["owner", "x", *["--attach", __file__] * 11], "attachments: are 11; at most 10"),
        (["owner", "x", "--http"], "ATF_NOTIFICATION_TOKEN: is needed to hand messages over by HTTP;"),
        (["owner", "x", "--user", "ann"], "ann is a trader, and only users of the role admin may administer"),
        (["eve", "x", "--user", "eve"], "eve is a viewer, and only users of the role admin or trader may edit"),
    ]:
        assert atf.refused("notify", *words).startswith(sentence), words
    usage = atf("notify", "owner", "x", "--priority", "loud")
    assert (usage.status, usage.out) == (2, "")
    assert atf.sql("SELECT count(*) FROM msg_messages") == [(0,)]


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Iterator[Installation]:
    with Installation({"ATF_DATABASE_URL": database_url}, tmp_path / "home") as made:
        yield made


async def test_it_goes_by_http_to_the_service_that_runs_and_the_token_says_who_may(
    installation: Installation, database: Database, database_url: str, rows: Rows
) -> None:
    house = await a_house(database)
    service = await house.tokens.add_service_token("backup", ["notify"])
    reading = await house.tokens.add_token(house.ann.id, "phone", ["view"])
    settings = Settings(home=installation.home, database_url=database_url, notifications_port=0)
    async with notifications_process(settings, Progress()) as process:
        await process.start()
        installation.environment["ATF_NOTIFICATION_TOKEN"] = service.token.text
        sent = await asyncio.to_thread(
            installation.run, "notify", "ann", "By HTTP", "--http", "--channel", "console", "--json"
        )
        installation.environment["ATF_NOTIFICATION_TOKEN"] = reading.token.text
        refused = await asyncio.to_thread(installation.run, "notify", "ann", "By HTTP", "--http")
        await process.stop()
    assert sent.returncode == 0, sent.stderr
    ids = await rows.column("SELECT message_id::text FROM msg_messages")
    assert [json.loads(sent.stdout)["message_id"]] == ids
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == "atf: this token of ann lacks the scope edit\n"
