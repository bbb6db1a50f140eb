"""``POST /api/notify``: who may, what is refused in which words, and that the answer comes after the commit."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx
import pytest
from sqlalchemy import event
from tests.integration.accounts import CHEAP, House, a_house
from tests.sending import deliver

from atf.bootstrap.accounts import build_accounts
from atf.errors import DatabaseUnavailable
from atf.notifications.intake import Intake, MessageReceiver, Receipt
from atf.notifications.message import OutgoingMessage
from atf.security.limits import LARGEST_REQUEST
from atf.security.password import Passwords
from atf.security.role import Role
from atf.security.tokens_service import NewTokenRecord
from atf.services.notifications.access import NotifyAccess
from atf.services.notifications.notify_app import build_notify_app
from atf.storage.database import Database
from atf.storage.notifications_repository import PostgresOutbox
from atf.testing.inbox import InMemoryInbox

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

ANN = 2


@dataclass
class Api:
    """The application, called without a network."""

    http: httpx.AsyncClient
    token: str
    house: House
    rows: Rows

    async def post(self, token: str | None = "", path: str = "/api/notify", **body: Any) -> httpx.Response:
        document = {"user_id": ANN, "message": "Hello", "channels": ["inbox"]} | body
        return await self.send(json.dumps({k: v for k, v in document.items() if v is not ...}), token, path)

    async def send(
        self, content: Any, token: str | None = "", path: str = "/api/notify", **headers: str
    ) -> httpx.Response:
        """Send a body as it is; with the service's token, another one, or none at all."""
        given = {"Content-Type": "application/json"}
        if token is not None:
            given["Authorization"] = f"Bearer {token or self.token}"
        return await self.http.post(path, content=content, headers={**given, **headers})

    async def stored(self) -> int:
        return int(await self.rows.value("SELECT count(*) FROM msg_messages"))


def app_of(database: Database, receiver: MessageReceiver | None = None) -> Any:
    access = NotifyAccess(build_accounts(database, Passwords(CHEAP)))
    return build_notify_app(Intake(receiver or PostgresOutbox(database)), access)


def client_of(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://atf.test")


@pytest.fixture
async def api(database: Database, rows: Rows) -> AsyncIterator[Api]:
    house = await a_house(database)
    assert house.ann.id == ANN
    service = await house.tokens.add_service_token("screener", ["notify"])
    async with client_of(app_of(database)) as http:
        yield Api(http, service.token.text, house, rows)


def problem(answer: httpx.Response) -> tuple[int, str]:
    """The status and what is wrong, of an answer that is a problem document."""
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["status"] == answer.status_code
    return answer.status_code, document["detail"]


# --- taken ---


@pytest.mark.parametrize("path", ["/api/notify", "/api/notifications"])
async def test_it_answers_when_the_message_is_stored_and_it_is_delivered(
    api: Api, database: Database, path: str
) -> None:
    files = [{"name": "a.txt", "media_type": "text/plain", "content": base64.b64encode(b"abc").decode()}]
    answer = await api.post(
        path=path,
        message="The text",
        title="The title",
        notification_type="report",
        priority="high",
        channels=["telegram"],
        attachments=files,
    )
    assert answer.status_code == 200
    document = answer.json()
    assert document == {"status": "queued", "message_id": document["message_id"], "duplicate": False}
    (row,) = await api.rows.all("SELECT * FROM msg_messages")
    assert str(row.message_id) == document["message_id"]
    assert (row.user_id, row.notification_type, row.priority) == (ANN, "report", "high")
    telegram = InMemoryInbox("telegram")
    await deliver(database, telegram)
    (letter,) = telegram.received
    assert (letter.title, letter.text, letter.attachments[0].content) == ("The title", "The text", b"abc")


async def test_what_is_not_said_is_as_usual(api: Api) -> None:
    answer = await api.send(json.dumps({"user_id": ANN, "message": "Hello"}))
    assert answer.status_code == 200
    (row,) = await api.rows.all(
        "SELECT m.title, m.priority, m.notification_type, m.scheduled_for, d.channel "
        "FROM msg_messages m JOIN msg_deliveries d ON d.message_id = m.id"
    )
    assert tuple(row) == ("Alert", "normal", "alert", None, "inbox")


async def test_a_key_that_is_known_is_answered_with_the_message_that_is_stored(api: Api) -> None:
    first = (await api.post(dedup_key="k", message="first")).json()
    again = (await api.post(dedup_key="k", message="second")).json()
    assert (first["duplicate"], again["duplicate"]) == (False, True)
    assert first["message_id"] == again["message_id"]
    assert await api.rows.column("SELECT body FROM msg_messages") == ["first"]
    other = (await api.post(dedup_key="k", user_id=1)).json()
    assert (other["duplicate"], await api.stored()) == (False, 2)


async def test_the_same_key_from_many_at_once_is_stored_once(api: Api) -> None:
    answers = [one.json() for one in await asyncio.gather(*(api.post(dedup_key="k") for _ in range(16)))]
    assert len({one["message_id"] for one in answers}) == 1
    assert sorted(one["duplicate"] for one in answers) == [False] + [True] * 15
    assert await api.stored() == 1


async def test_an_instant_is_stored_as_it_is_meant(api: Api) -> None:
    assert (await api.post(scheduled_for="2036-01-05T09:00:00+02:00")).status_code == 200
    assert str(await api.rows.value("SELECT scheduled_for FROM msg_messages")) == "2036-01-05 07:00:00+00:00"
    assert await api.rows.value("SELECT next_attempt_at > now() + interval '1 day' FROM msg_deliveries")


# --- who may ---


async def refused(api: Api, status: int, words: str, **given: Any) -> None:
    answer = await api.post(**given)
    found, detail = problem(answer)
    assert found == status, detail
    assert words in detail
    assert await api.stored() == 0
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_without_a_token_nobody_may(api: Api) -> None:
    await refused(api, 401, "a token is needed", token=None)
    answer = await api.send("{}", token=None)
    assert problem(answer)[0] in (401, 422)
    basic = await api.send(json.dumps({"user_id": ANN, "message": "x"}), None, Authorization=f"Basic {api.token}")
    assert problem(basic)[0] == 401


async def test_with_a_token_that_is_none_nobody_may(api: Api) -> None:
    for token in ("made-up", "atf_service_0000000000000000_" + "a" * 43, "\x01"):
        await refused(api, 401, "", token=token)


async def test_a_service_token_that_is_revoked_is_refused_from_its_next_use_on(api: Api) -> None:
    assert (await api.post()).status_code == 200
    (record,) = await api.house.tokens.list_service_tokens()
    await api.house.tokens.revoke_service_token(record.id)
    assert problem(await api.post())[0] == 401
    assert await api.stored() == 1


async def test_a_service_may_tell_everybody_and_users_tell_themselves(api: Api) -> None:
    assert (await api.post(user_id=1)).status_code == 200
    own = await token_of(api, ANN, ["edit"])
    assert (await api.post(own.token.text)).status_code == 200
    forbidden = problem(await api.post(own.token.text, user_id=1))
    assert forbidden == (403, "ann may only see and change what is ann's own")
    assert problem(await api.post(own.token.text, user_id=99))[0] == 403, "nobody learns who is there"
    assert await api.stored() == 2


async def token_of(api: Api, user_id: int, scopes: Sequence[str]) -> NewTokenRecord:
    return await api.house.tokens.add_token(user_id, "notebook", scopes)


async def test_a_user_s_token_needs_the_scope(api: Api) -> None:
    reading = await token_of(api, ANN, ["view"])
    await refused(api, 403, "lacks the scope edit", token=reading.token.text)


async def test_a_viewer_tells_nobody_anything(api: Api) -> None:
    eve = await api.house.users.add("eve", Role.VIEWER)
    token = await token_of(api, eve.id, ["view"])
    await refused(api, 403, "", token=token.token.text, user_id=eve.id)


async def test_a_user_s_token_that_is_revoked_or_whose_user_is_gone_is_refused(api: Api) -> None:
    own = await token_of(api, ANN, ["edit"])
    await api.house.tokens.revoke_token(ANN, own.record.id)
    await refused(api, 401, "", token=own.token.text)
    other = await token_of(api, ANN, ["edit"])
    await api.rows.change("UPDATE users SET is_active = false WHERE id = :id", id=ANN)
    await refused(api, 401, "", token=other.token.text)


async def test_an_administrator_s_token_of_everything_may_tell_everybody(api: Api) -> None:
    owner = await token_of(api, 1, ["edit", "administer"])
    assert (await api.post(owner.token.text)).status_code == 200
    narrow = await token_of(api, 1, ["edit"])
    assert problem(await api.post(narrow.token.text))[0] == 403


# --- what is refused ---


WRONG: Final[Sequence[tuple[str, Mapping[str, Any]]]] = [
    ("user_id", {"user_id": ...}),
    ("user_id", {"user_id": "ann"}),
    ("user_id", {"user_id": 1.5}),
    ("user_id", {"user_id": 0}),
    ("user_id", {"user_id": 2**40}),
    ("user_id", {"user_id": 10**400}),
    ("message", {"message": ...}),
    ("message", {"message": ""}),
    ("message", {"message": 5}),
    ("message", {"message": "a\0"}),
    ("message", {"message": "a" * (64 * 1024 + 1)}),
    ("title", {"title": ""}),
    ("title", {"title": ["x"]}),
    ("priority", {"priority": "low"}),
    ("notification_type", {"notification_type": "Report"}),
    ("notification_type", {"notification_type": "alert_action"}),
    ("channels", {"channels": ["pigeon"]}),
    ("channels", {"channels": "inbox"}),
    ("channels", {"channels": ["inbox"] * 21}),
    ("dedup_key", {"dedup_key": ""}),
    ("dedup_key", {"dedup_key": "a" * 201}),
    ("scheduled_for", {"scheduled_for": "tomorrow"}),
    ("scheduled_for", {"scheduled_for": "2036-01-05T09:00:00"}),
    ("scheduled_for", {"scheduled_for": "9999-12-31T23:59:59-12:00"}),
    ("attachments", {"attachments": [{"name": "a", "content": ""}] * 11}),
    ("attachments.0.name", {"attachments": [{"content": ""}]}),
    ("attachments.name", {"attachments": [{"name": "a/b", "content": ""}]}),
    ("attachments.content", {"attachments": [{"name": "a", "content": "?"}]}),
    ("attachments.media_type", {"attachments": [{"name": "a", "content": "", "media_type": "x"}]}),
    ("attachments.0.more", {"attachments": [{"name": "a", "content": "", "more": 1}]}),
    ("colour", {"colour": "red"}),
]


async def test_each_field_that_is_wrong_is_refused_with_its_name(api: Api) -> None:
    for field, given in WRONG:
        status, detail = problem(await api.post(**given))
        assert (status, detail.partition(": ")[0]) == (422, field), detail
    assert await api.stored() == 0


async def test_all_that_is_wrong_is_said_at_once_and_without_what_was_sent(api: Api) -> None:
    status, detail = problem(await api.post(message=..., priority="swordfish-is-a-secret", user_id="x"))
    assert (status, "swordfish" in detail) == (422, False)
    assert [one.partition(":")[0] for one in detail.split("; ")] == ["user_id", "message", "priority"]


async def test_a_body_that_is_not_said_to_be_json_is_refused_with_what_to_do(api: Api) -> None:
    body = json.dumps({"user_id": ANN, "message": "Hello"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        found = problem(await api.send(body, **{"Content-Type": kind}))
        assert found == (422, "the body must be a JSON object, sent as application/json")


async def test_a_body_that_is_no_document_is_refused(api: Api) -> None:
    for body in ("", "{", "[]", "5", "null", '"text"', b"\xff\xfe", "{" * 100_000, "[" * 100_000):
        status, detail = problem(await api.send(body))
        assert status in (400, 422), body[:9]
        assert 0 < len(detail) < 200


async def test_a_user_who_is_not_there_is_not_found_and_nobody_else_suffers(api: Api) -> None:
    answers = await asyncio.gather(*(api.post(user_id=99 if n == 3 else ANN) for n in range(8)))
    assert [one.status_code for one in answers] == [404 if n == 3 else 200 for n in range(8)]
    assert problem(answers[3]) == (404, "there is no such user: user_id names nobody here")
    assert await api.stored() == 7


async def test_another_method_or_path_is_refused_as_a_problem(api: Api) -> None:
    assert problem(await api.http.get("/api/notify")) == (405, "Method Not Allowed")
    assert problem(await api.http.post("/api/nothing", content="{}")) == (404, "Not Found")


# --- how large ---


async def chunks(size: int) -> AsyncIterator[bytes]:
    yield b'{"user_id": 2, "message": "'
    for _ in range(size // 65536 + 1):
        yield b"a" * 65536
    yield b'"}'


async def test_a_body_that_says_that_it_is_too_large_is_not_read(api: Api) -> None:
    read = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal read
        async for chunk in chunks(LARGEST_REQUEST):
            read += len(chunk)
            yield chunk

    answer = await api.send(counted(), **{"Content-Length": str(LARGEST_REQUEST + 1)})
    assert problem(answer) == (413, f"the body is larger than {LARGEST_REQUEST} bytes")
    assert answer.headers["connection"] == "close"
    assert read == 0


async def test_a_body_that_turns_out_too_large_is_not_kept(api: Api) -> None:
    answer = await api.send(chunks(4 * LARGEST_REQUEST))
    assert problem(answer) == (413, f"the body is larger than {LARGEST_REQUEST} bytes")
    assert await api.stored() == 0


async def test_a_length_that_is_none_is_refused(api: Api) -> None:
    for length in ("-1", "x", "1e9", "9" * 5000, ""):
        assert problem(await api.send(chunks(1), **{"Content-Length": length}))[0] == 413


async def test_the_largest_files_that_are_allowed_fit_into_a_body(api: Api) -> None:
    content = base64.b64encode(bytes(5 * 1024**2)).decode()
    answer = await api.post(attachments=[{"name": "a.bin", "content": content}])
    assert answer.status_code == 200
    assert await api.rows.value("SELECT length(content) FROM msg_attachments") == 5 * 1024**2


# --- the database ---


async def test_a_database_that_is_away_is_told_and_when_to_come_again() -> None:
    away = Database("postgresql://nobody@127.0.0.1:1/nothing")
    async with client_of(app_of(away)) as http:
        token = "atf_service_0000000000000000_" + "a" * 43
        answer = await http.post(
            "/api/notify", json={"user_id": 1, "message": "x"}, headers={"Authorization": f"Bearer {token}"}
        )
    assert problem(answer)[0] == 503
    assert int(answer.headers["retry-after"]) >= 1
    await away.close()


class Commits:
    """Counts the commits of a database."""

    def __init__(self, database: Database) -> None:
        self.count = 0
        event.listen(database.engine.sync_engine, "commit", self._note)

    def _note(self, *_: object) -> None:
        self.count += 1


async def test_many_requests_at_once_are_few_transactions(api: Api, database: Database) -> None:
    commits = Commits(database)
    answers = await asyncio.gather(*(api.post(message=f"{n}") for n in range(64)))
    assert {one.status_code for one in answers} == {200}
    assert len({one.json()["message_id"] for one in answers}) == 64
    count = commits.count
    assert count <= 6, "two for who calls and two for what is stored, give or take"
    assert await api.stored() == 64


class Held(PostgresOutbox):
    """Stores when it is let, and may fail at the last moment."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.asked = asyncio.Event()
        self.may_store = asyncio.Event()
        self.error: Exception | None = None

    async def receive(self, messages: Sequence[OutgoingMessage]) -> Mapping[str, Receipt]:
        self.asked.set()
        await self.may_store.wait()
        if self.error is not None:
            raise self.error
        return await super().receive(messages)


async def test_nothing_is_answered_before_the_commit(api: Api, database: Database) -> None:
    outbox = Held(database)
    async with client_of(app_of(database, outbox)) as http:
        slow = Api(http, api.token, api.house, api.rows)
        asking = asyncio.create_task(slow.post())
        await outbox.asked.wait()
        await asyncio.wait({asking}, timeout=0.05)
        assert not asking.done()
        outbox.may_store.set()
        assert (await asking).status_code == 200


async def test_a_message_that_could_not_be_stored_is_never_said_to_be(api: Api, database: Database) -> None:
    outbox = Held(database)
    outbox.may_store.set()
    outbox.error = DatabaseUnavailable("the database does not answer", retry_after_seconds=7.0)
    async with client_of(app_of(database, outbox)) as http:
        answer = await Api(http, api.token, api.house, api.rows).post()
    assert problem(answer) == (503, "the database does not answer")
    assert answer.headers["retry-after"] == "7"


async def test_who_hangs_up_keeps_nobody_from_an_answer(api: Api, database: Database) -> None:
    outbox = Held(database)
    async with client_of(app_of(database, outbox)) as http:
        slow = Api(http, api.token, api.house, api.rows)
        tasks = [asyncio.create_task(slow.post(message=f"{n}")) for n in range(4)]
        await outbox.asked.wait()
        tasks[0].cancel()
        outbox.may_store.set()
        assert [(await one).status_code for one in tasks[1:]] == [200] * 3
