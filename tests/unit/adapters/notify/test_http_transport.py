"""Messages handed over by HTTP: what goes over the wire, and what each answer means."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest

from atf.adapters.notify.http_transport import HttpTransport
from atf.errors import (
    AtfError,
    ConfigurationError,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    PermanentFailure,
    TemporaryFailure,
    Unauthenticated,
)
from atf.notifications.intake import NewNotification, Receipt
from atf.notifications.message import Attachment

ENDPOINT = "http://atf.test/api/notify"
TOKEN = "atf_service_hunter2-is-secret"
ID = UUID("b2a779f1-74c3-4792-afec-2bab27f19d4e")
NEW = NewNotification(2, "Hello", dedup_key="k")


async def asked(answer: httpx.Response | Exception, new: NewNotification = NEW) -> Receipt:
    """Hand a message over to a service that answers so."""

    def serve(_: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return await handed_over(serve, new)


async def handed_over(serve: Callable[[httpx.Request], httpx.Response], new: NewNotification = NEW) -> Receipt:
    transport = HttpTransport(ENDPOINT, TOKEN, transport=httpx.MockTransport(serve))
    try:
        return await transport.take(new)
    finally:
        await transport.close()


async def refused(answer: httpx.Response | Exception) -> AtfError:
    with pytest.raises(AtfError) as refusal:
        await asked(answer)
    return refusal.value


@pytest.mark.parametrize("is_duplicate", [False, True])
async def test_all_of_a_message_goes_over_the_wire_and_the_answer_is_its_receipt(is_duplicate: bool) -> None:
    seen: list[httpx.Request] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        answer = {"status": "queued", "message_id": str(ID), "duplicate": is_duplicate}
        return httpx.Response(200, json=answer)

    at = datetime(2036, 1, 5, 9, tzinfo=UTC)
    files = (Attachment("a.txt", "text/plain", b"abc"),)
    new = replace(NEW, title="T", channels=("inbox",), priority="high", scheduled_for=at, attachments=files)
    assert await handed_over(serve, new) == Receipt(ID, is_new=not is_duplicate)
    (request,) = seen
    assert (request.method, str(request.url), request.headers["authorization"]) == (
        "POST",
        ENDPOINT,
        f"Bearer {TOKEN}",
    )
    assert json.loads(request.content) == {
        "user_id": 2,
        "message": "Hello",
        "priority": "high",
        "notification_type": "alert",
        "title": "T",
        "channels": ["inbox"],
        "dedup_key": "k",
        "scheduled_for": "2036-01-05T09:00:00+00:00",
        "attachments": [
            {"name": "a.txt", "media_type": "text/plain", "content": base64.b64encode(b"abc").decode()}
        ],
    }


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, Unauthenticated),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (422, InvalidInput),
        (413, PermanentFailure),
        (302, PermanentFailure),
        (429, TemporaryFailure),
        (500, TemporaryFailure),
        (503, TemporaryFailure),
    ],
)
async def test_each_refusal_is_the_error_that_it_stands_for(status: int, error: type[AtfError]) -> None:
    told = await refused(httpx.Response(status, json={"detail": "the words of the service"}))
    assert (type(told), str(told)) == (error, "the words of the service")
    silent = await refused(httpx.Response(status, text="<html>a page of a gateway"))
    assert (type(silent), str(silent)) == (error, f"the notification service answered {status}")


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), ("0", 0.0), (None, None), ("soon", None), ("-1", None), ("²", None)]
)
async def test_how_long_the_service_asks_to_wait_is_kept(header: str | None, seconds: float | None) -> None:
    headers = {} if header is None else {b"Retry-After": header.encode("latin-1")}
    for status in (429, 503):
        told = await refused(httpx.Response(status, headers=headers))
        assert isinstance(told, TemporaryFailure)
        assert told.retry_after_seconds == seconds


@pytest.mark.parametrize(
    "body",
    [
        b"<html><title>Sign in</title>",
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"message_id": 5, "duplicate": false}',
        b'{"message_id": "none", "duplicate": false}',
        b'{"message_id": "b2a779f1-74c3-4792-afec-2bab27f19d4e"}',
        b'{"message_id": "b2a779f1-74c3-4792-afec-2bab27f19d4e", "duplicate": "no"}',
    ],
    ids=lambda body: body[:60].decode("latin-1"),
)
async def test_an_answer_that_cannot_be_read_is_no_receipt_and_may_be_asked_for_again(body: bytes) -> None:
    told = await refused(httpx.Response(200, content=body))
    assert type(told) is TemporaryFailure
    assert str(told) == f"what answers at {ENDPOINT} does not speak as a notification service"


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("late"),
        httpx.ReadTimeout("late"),
        httpx.RemoteProtocolError("hung up"),
        ConnectionResetError("reset"),
    ],
)
async def test_whoever_cannot_be_reached_may_be_tried_again(error: Exception) -> None:
    told = await refused(error)
    assert type(told) is TemporaryFailure
    assert str(told) == f"the notification service at {ENDPOINT} cannot be reached: {type(error).__name__}"


async def test_nothing_is_followed_to_another_place() -> None:
    seen: list[str] = []

    def serve(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(307, headers={"Location": "http://elsewhere.test/"})

    with pytest.raises(PermanentFailure):
        await handed_over(serve)
    assert seen == [ENDPOINT]


@pytest.mark.parametrize("token", ["hunter2-is-ü", "hunter2-is-\n", "hunter2-is-\0", " ", ""])
def test_a_token_that_no_header_can_hold_is_refused_before_anything_is_sent(token: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        HttpTransport(ENDPOINT, token)
    assert str(refusal.value).startswith("ATF_NOTIFICATION_TOKEN: ")
    assert "hunter2" not in str(refusal.value)


async def test_the_token_stands_in_no_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    transport = HttpTransport("http://127.0.0.1:1/api/notify", TOKEN)
    with pytest.raises(TemporaryFailure) as refusal:
        await transport.take(NEW)
    await transport.close()
    found = [
        str(refusal.value),
        repr(refusal.value.__cause__),
        repr(transport),
        str(vars(transport)),
        caplog.text,
    ]
    assert [text for text in found if "hunter2" in text] == []
