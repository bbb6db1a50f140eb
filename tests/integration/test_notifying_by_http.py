"""Messages handed over by HTTP to the real endpoint: each is stored once, refusals are told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from tests.integration.accounts import House, a_house

from atf.adapters.notify.http_transport import HttpTransport
from atf.bootstrap.notification_client import http_client, notify_endpoint
from atf.bootstrap.notifications import notifications_process, notify_parts
from atf.errors import ConfigurationError, Forbidden, InvalidInput, NotFound, TemporaryFailure, Unauthenticated
from atf.health.service_registry import ServiceInstance
from atf.lifecycle import Progress
from atf.notifications.client import NotificationServiceClient
from atf.notifications.intake import NewNotification
from atf.settings import Settings, load_settings
from atf.storage.database import Database
from atf.storage.registry_repository import PostgresRegistry

if TYPE_CHECKING:
    from tests.integration.conftest import Rows

ENDPOINT = "http://atf.test/api/notify"
USUAL = "http://localhost:8001/api/notify"
ANN = 2
NEW = NewNotification(ANN, "Hello", channels=("inbox",))


class Line(httpx.AsyncBaseTransport):
    """Leads to an application; ``lost`` answers of it never arrive. ``requests``: how many have arrived there."""

    def __init__(self, app: httpx.ASGITransport) -> None:
        self._app = app
        self.lost = 0
        self.requests = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._app.handle_async_request(request)
        self.requests += 1
        if self.lost:
            self.lost -= 1
            raise httpx.ReadTimeout("the answer is lost", request=request)
        return answer


@dataclass
class Post:
    """The endpoint behind a line that may lose answers, and who may write to it."""

    line: Line
    house: House
    rows: Rows
    token: str

    def transport(self, token: str | None = None) -> HttpTransport:
        return HttpTransport(ENDPOINT, token or self.token, transport=self.line)

    def client(self, token: str | None = None) -> NotificationServiceClient:
        return NotificationServiceClient(self.transport(token), jitter=lambda: 0.0)

    async def stored(self) -> int:
        return int(await self.rows.value("SELECT count(*) FROM msg_messages"))


@pytest.fixture
async def post(database: Database, rows: Rows) -> AsyncIterator[Post]:
    house = await a_house(database)
    made = await house.tokens.add_service_token("screener", ["notify"])
    async with httpx.ASGITransport(notify_parts(database).app) as app:
        yield Post(Line(app), house, rows, made.token.text)


async def test_a_message_is_stored_once_though_answers_are_lost(post: Post) -> None:
    post.line.lost = 2
    receipt = await post.client().send(NEW)
    assert (post.line.requests, receipt.is_new) == (3, True)
    assert await post.rows.column("SELECT message_id FROM msg_messages") == [receipt.message_id]
    keyed = replace(NEW, dedup_key="k")
    post.line.lost = 1
    first = await post.client().send(keyed)
    again = await post.client().send(keyed)
    assert (first.message_id, again.is_new) == (again.message_id, False)
    assert (await post.stored(), post.line.requests) == (2, 6)


async def test_what_the_last_try_did_is_not_known_and_its_key_is_safe_to_send_again(post: Post) -> None:
    post.line.lost = 9
    keyed = replace(NEW, dedup_key="k")
    with pytest.raises(TemporaryFailure, match="cannot be reached: ReadTimeout"):
        await post.client().send(keyed)
    assert (post.line.requests, await post.stored()) == (4, 1)
    post.line.lost = 0
    assert not (await post.client().send(keyed)).is_new
    assert await post.stored() == 1


async def test_refusals_come_as_what_they_are_and_are_not_tried_again(post: Post) -> None:
    own = (await post.house.tokens.add_token(ANN, "notebook", ["edit"])).token.text
    reading = (await post.house.tokens.add_token(ANN, "phone", ["view"])).token.text
    with pytest.raises(Unauthenticated):
        await post.client("atf_service_0000000000000000_" + "a" * 43).send(NEW)
    with pytest.raises(Forbidden, match="lacks the scope edit"):
        await post.client(reading).send(NEW)
    with pytest.raises(Forbidden, match="ann may only see and change what is ann's own"):
        await post.client(own).send(replace(NEW, user_id=1))
    with pytest.raises(NotFound, match="there is no such user"):
        await post.client().send(replace(NEW, user_id=99))
    with pytest.raises(InvalidInput, match=r"^channels: must be of inbox"):
        await post.transport().take(replace(NEW, channels=("pigeon",)))
    assert (post.line.requests, await post.stored()) == (5, 0)
    assert (await post.client(own).send(NEW)).is_new


async def test_it_goes_to_the_service_that_is_registered_or_says_what_is_missing(
    database: Database, database_url: str, tmp_path: Path, rows: Rows
) -> None:
    house = await a_house(database)
    made = await house.tokens.add_service_token("screener", ["notify"])
    settings = Settings(home=tmp_path, database_url=database_url, notifications_port=0)
    with pytest.raises(ConfigurationError, match=r"^ATF_NOTIFICATION_TOKEN: is needed .* `atf tokens add NAME"):
        async with http_client(settings, database):
            pass
    given = settings.model_copy(update={"notification_token": made.token.text})
    async with notifications_process(settings, Progress()) as service:
        await service.start()
        async with http_client(given, database) as client:
            receipt = await client.send(NEW)
        await service.stop()
    assert await rows.column("SELECT message_id FROM msg_messages") == [receipt.message_id]


async def test_the_place_is_as_configured_else_registered_else_the_usual_one(
    database: Database, rows: Rows, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ATF_HOME", str(tmp_path))
    registry = PostgresRegistry(database)
    assert await notify_endpoint(load_settings(), None) == USUAL
    assert await notify_endpoint(load_settings(), database) == USUAL
    for name, path in (("scheduler", "health"), ("stopped", "notify"), ("notification", "notify")):
        endpoints = {path: f"http://127.0.0.1:1/{name}"}
        await registry.register(ServiceInstance.of_this_process(name, name, "9.9", endpoints))
    far = ServiceInstance("far", "far", "another-machine", 1, "9.9", {"notify": "http://127.0.0.1:1/far"})
    await registry.register(far)
    assert await notify_endpoint(load_settings(), database) == "http://127.0.0.1:1/notification"
    await rows.change(
        "UPDATE service_registry SET last_seen_at = now() - interval '31 s' WHERE service = 'notification'"
    )
    assert await notify_endpoint(load_settings(), database) == "http://127.0.0.1:1/stopped"
    await rows.change("UPDATE service_registry SET last_seen_at = now() - interval '31 s'")
    assert await notify_endpoint(load_settings(), database) == USUAL
    await rows.change("UPDATE service_registry SET last_seen_at = now()")
    monkeypatch.setenv("ATF_NOTIFICATION_ENDPOINT", "https://atf.example.org/api/notify")
    assert await notify_endpoint(load_settings(), database) == "https://atf.example.org/api/notify"
    monkeypatch.delenv("ATF_NOTIFICATION_ENDPOINT")
    away = Database("postgresql://nobody@127.0.0.1:1/nothing")
    assert await notify_endpoint(load_settings(), away) == USUAL
    await away.close()
