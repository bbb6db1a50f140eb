import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from atf.logs import configure_logging


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def json_lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_its_fields_in_order() -> None:
    out = io.StringIO()
    configure_logging("scheduler", stream=out)
    extra = {"job_id": 123, "user_id": 456, "ticker": "AAPL", "value": 152.5}
    logging.getLogger("atf.alerts.evaluator").info("Alert %s", "triggered", extra=extra)
    (line,) = json_lines(out)
    assert list(line) == ["timestamp", "level", "service", "component", "job_id", "user_id", "message", "context"]
    assert line["timestamp"].endswith("Z")
    del line["timestamp"]
    assert line == {
        "level": "INFO",
        "service": "scheduler",
        "component": "alerts.evaluator",
        "job_id": 123,
        "user_id": 456,
        "message": "Alert triggered",
        "context": {"ticker": "AAPL", "value": 152.5},
    }


def test_a_terminal_gets_a_readable_line() -> None:
    out = Terminal()
    configure_logging("worker", stream=out)
    logging.getLogger("atf.jobs").warning("trying again", extra={"run_id": "r1", "tries": 3})
    assert out.getvalue().endswith("Z [WARNING] worker: trying again run_id=r1 tries=3\n")


def test_a_traceback_is_part_of_its_line() -> None:
    out = io.StringIO()
    configure_logging("worker", stream=out)
    try:
        raise ValueError("postgresql://atf:hunter2@localhost/atf cannot be reached")
    except ValueError:
        logging.getLogger("atf").exception("failed")
    (line,) = json_lines(out)
    assert "ValueError: postgresql://atf:***@localhost/atf" in line["traceback"]
    assert "hunter2" not in out.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        "postgresql+psycopg://atf:hunter2@/atf?host=/run",
        "connect with password=hunter2 failed",
        '{"token": "hunter2"}',
        "api_key: hunter2",
        "https://me:hunter2@example.org/hook",
        "see http://localhost:8000/account/setup#atf_setup_0123456789abcdef_hunter2-hunter2",
    ],
)
def test_secrets_in_texts_are_masked(text: str) -> None:
    out = io.StringIO()
    configure_logging("worker", stream=out)
    logging.getLogger("atf").error("%s", text, extra={"seen": [text], "deep": {"in": text}})
    assert "hunter2" not in out.getvalue()
    assert "***" in out.getvalue()


def test_secrets_by_name_are_masked_wherever_they_lie() -> None:
    out = io.StringIO()
    configure_logging("worker", stream=out)
    hidden = {"bot_token": "hunter2", "nested": {"smtp_password": "hunter2"}, "Authorization": "hunter2"}
    logging.getLogger("atf").info("given", extra=hidden)
    assert "hunter2" not in out.getvalue()


def test_libraries_go_the_same_way_and_chatty_ones_only_when_it_matters() -> None:
    out = io.StringIO()
    configure_logging("api", stream=out)
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("httpx").info("HTTP Request: POST https://example.com/secret")
    logging.getLogger("yfinance").info("started")
    logging.getLogger("apscheduler.scheduler").info("Adding job")
    logging.getLogger("aiogram.event").info("Update id=1 is handled")
    logging.getLogger("sqlalchemy.engine").warning("slow")
    assert [(line["component"], line["message"]) for line in json_lines(out)] == [
        ("yfinance", "started"),
        ("sqlalchemy.engine", "slow"),
    ]


def test_configuring_twice_says_things_once() -> None:
    out = io.StringIO()
    configure_logging("api", stream=out)
    configure_logging("api", stream=out, level="DEBUG")
    logging.getLogger("atf").debug("once")
    assert len(json_lines(out)) == 1


def test_what_json_cannot_hold_is_shown_as_text() -> None:
    out = io.StringIO()
    configure_logging("api", stream=out)
    logging.getLogger("atf").info("odd", extra={"thing": object(), "pair": (1, {2: b"x"})})
    (line,) = json_lines(out)
    assert line["context"]["pair"] == [1, {"2": "b'x'"}]
