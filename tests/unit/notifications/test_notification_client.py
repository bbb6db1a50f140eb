"""NotificationServiceClient: how often a message is handed over, how long it waits, and what ends that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from uuid import UUID

import pytest

from atf.errors import (
    AtfError,
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    PermanentFailure,
    TemporaryFailure,
    Unauthenticated,
)
from atf.notifications.client import NotificationServiceClient
from atf.notifications.intake import NewNotification, Receipt

NEW = NewNotification(1, "Hello")
RECEIPT = Receipt(UUID(int=7), is_new=True)
AWAY = TemporaryFailure("away")


class Service:
    """Fails as it is told, and then takes what comes; it knows who was here and when."""

    def __init__(self, failures: Iterable[Exception] = ()) -> None:
        self.failures = list(failures)
        self.asked: list[NewNotification] = []
        self.times: list[float] = []
        self.is_closed = False

    async def take(self, new: NewNotification) -> Receipt:
        self.asked.append(new)
        self.times.append(asyncio.get_running_loop().time())
        if self.failures:
            raise self.failures.pop(0)
        return RECEIPT

    async def close(self) -> None:
        self.is_closed = True


def client_of(service: Service, tries: int = 4) -> NotificationServiceClient:
    return NotificationServiceClient(service, tries=tries, close=service.close, jitter=lambda: 0.0)


async def test_a_message_is_handed_over_again_with_the_key_of_the_first_try() -> None:
    service = Service([AWAY, AWAY])
    assert await client_of(service).send(NEW) == RECEIPT
    assert len(service.asked) == 3
    (key,) = {one.dedup_key for one in service.asked}
    assert str(UUID(key)) == key
    await client_of(service).send(NEW)
    assert service.asked[-1].dedup_key != key, "the next message is another one"
    await client_of(service).send(NewNotification(1, "Hello", dedup_key="mine"))
    assert service.asked[-1].dedup_key == "mine"


async def test_it_waits_as_long_as_it_is_asked_to() -> None:
    service = Service([TemporaryFailure("busy", retry_after_seconds=0.15)])
    await client_of(service).send(NEW)
    first, second = service.times
    assert 0.15 <= second - first < 5


async def test_the_last_failure_is_told_when_all_tries_are_used_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    service = Service([AWAY, TemporaryFailure("busy"), TemporaryFailure("still busy"), AWAY])
    with pytest.raises(TemporaryFailure, match="still busy"):
        await client_of(service, tries=3).send(NEW)
    assert len(service.asked) == 3
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2, "each try that is repeated"


@pytest.mark.parametrize(
    "error", [Unauthenticated, Forbidden, NotFound, Conflict, InvalidInput, PermanentFailure]
)
async def test_a_refusal_is_told_at_once_and_not_tried_again(error: type[AtfError]) -> None:
    service = Service([error("no")])
    with pytest.raises(error, match="no"):
        await client_of(service).send(NEW)
    assert len(service.asked) == 1


async def test_what_is_wrong_with_a_message_is_said_before_anything_is_tried() -> None:
    service = Service()
    with pytest.raises(InvalidInput, match=r"^message: is empty"):
        await client_of(service).send(NewNotification(1, " "))
    assert service.asked == []


async def test_it_gives_back_what_it_holds() -> None:
    service = Service()
    await client_of(service).close()
    assert service.is_closed
    await NotificationServiceClient(service).close()
