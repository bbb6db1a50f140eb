"""``GET /api/notifications``: users see what became of their messages, and no others'."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.integration.accounts import House, a_house
from tests.sending import deliver

from atf.bootstrap.notifications import notify_parts
from atf.errors import PermanentFailure
from atf.notifications.message import OutgoingMessage
from atf.security.role import Role
from atf.storage.database import Database
from atf.storage.notifications_repository import PostgresOutbox
from atf.testing.inbox import InMemoryInbox

HISTORY = "/api/notifications"
STATS = "/api/notifications/stats"
OWNER = 1


@dataclass
class Reader:
    """Somebody with a token."""

    http: httpx.AsyncClient
    token: str

    async def ask(self, path: str, **wanted: Any) -> httpx.Response:
        return await self.http.get(path, params=wanted, headers={"Authorization": f"Bearer {self.token}"})

    async def keys(self, **wanted: Any) -> list[str]:
        answer = await self.ask(HISTORY, **wanted)
        assert answer.status_code == 200, answer.text
        return [one["dedup_key"] for one in answer.json()["deliveries"]]


@pytest.fixture
async def house(database: Database) -> House:
    return await a_house(database)


@pytest.fixture
async def http(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(notify_parts(database).app)
    async with httpx.AsyncClient(transport=transport, base_url="http://atf.test") as client:
        yield client


async def reader(http: httpx.AsyncClient, house: House, user_id: int, *scopes: str) -> Reader:
    return Reader(http, (await house.tokens.add_token(user_id, "reader", scopes or ["view"])).token.text)


def a_message(user_id: int, key: str, kind: str = "note", **changes: Any) -> OutgoingMessage:
    given = {"title": f"Title {key}", "body": f"Body {key}", **changes}
    return OutgoingMessage(user_id, kind, dedup_key=key, channels=("phone",), **given)


async def test_a_user_lists_and_searches_what_was_sent_in_pages(
    http: httpx.AsyncClient, house: House, database: Database
) -> None:
    ann = await reader(http, house, house.ann.id)
    outbox = PostgresOutbox(database)
    await outbox.add([a_message(house.ann.id, "a"), a_message(OWNER, "o")])
    await deliver(database, InMemoryInbox("phone", [PermanentFailure("the number is wrong")]))
    await outbox.add([a_message(house.ann.id, "b", kind="report"), a_message(house.ann.id, "c")])
    assert await ann.keys() == ["c:phone", "b:phone", "a:inbox", "a:phone"], "the inbox in place of the phone"
    assert await ann.keys(search="title B") == await ann.keys(type="report") == ["b:phone"]
    (failed,) = (await ann.ask(HISTORY, status="FAILED")).json()["deliveries"]
    assert (failed["dedup_key"], failed["error"]) == ("a:phone", "the number is wrong")
    assert await ann.keys(until=failed["created_at"]) == []
    assert (await ann.keys(channel="inbox"), await ann.keys(actions=True)) == (["a:inbox"], [])
    first = (await ann.ask(HISTORY, limit=2)).json()
    assert [one["dedup_key"] for one in first["deliveries"]] == ["c:phone", "b:phone"]
    last = (await ann.ask(HISTORY, limit=2, before=first["next"])).json()
    assert ([one["dedup_key"] for one in last["deliveries"]], last["next"]) == (["a:inbox", "a:phone"], None)


async def test_figures_are_the_callers_own_or_an_administrators_of_all(
    http: httpx.AsyncClient, house: House, database: Database
) -> None:
    ann, owner = await reader(http, house, house.ann.id), await reader(http, house, OWNER, "view", "administer")
    await PostgresOutbox(database).add([a_message(house.ann.id, "a"), a_message(OWNER, "o")])
    await deliver(database, InMemoryInbox("phone"))

    async def sent(who: Reader, **wanted: Any) -> list[tuple[str, int]]:
        answer = await who.ask(STATS, **wanted)
        assert answer.status_code == 200, answer.text
        return [(one["channel"], one["sent"]) for one in answer.json()["channels"] if one["sent"]]

    assert await sent(ann) == await sent(ann, hours=1) == [("phone", 1)]
    assert await sent(owner, everybody=True) == [("phone", 2)]
    assert (await ann.ask(STATS, everybody=True)).status_code == 403


async def test_nobody_sees_what_belongs_to_another(http: httpx.AsyncClient, house: House) -> None:
    eve = await house.users.add("eve", Role.VIEWER)
    for path in (HISTORY, STATS):
        for who in (house.ann.id, eve.id):
            refused = await (await reader(http, house, who)).ask(path, user_id=OWNER)
            assert refused.status_code == 403
        service = Reader(http, (await house.tokens.add_service_token("screener", ["notify"])).token.text)
        refused = await service.ask(path)
        assert refused.status_code == 403
        assert "take a user's token" in refused.json()["detail"]
        refused = await http.get(path)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    ("path", "wanted", "told"),
    [
        (HISTORY, {"limit": 0}, "limit: input should be greater than or equal to 1"),
        (HISTORY, {"limit": 501}, "limit: input should be less than or equal to 500"),
        (HISTORY, {"status": "LOST"}, "status: input should be 'PENDING'"),
        (HISTORY, {"since": "2026-01-05T10:00:00"}, "since: input should have timezone info"),
        (HISTORY, {"sort": "id"}, "sort: extra inputs are not permitted"),
        (HISTORY, {"before": 2**70}, "before: input should be less than"),
        (HISTORY, {"search": "a\0b"}, "search: string should match pattern"),
        (STATS, {"hours": 0}, "hours: input should be greater than or equal to 1"),
        (STATS, {"user_id": -(2**40)}, "user_id: input should be greater than"),
    ],
)
async def test_what_cannot_be_asked_is_said(
    http: httpx.AsyncClient, house: House, path: str, wanted: dict[str, Any], told: str
) -> None:
    refused = await (await reader(http, house, OWNER, "view", "administer")).ask(path, **wanted)
    assert refused.status_code == 422
    assert refused.json()["detail"].startswith(told)
