from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from atf.errors import PermanentFailure
from atf.jobs.handler import Job
from atf.jobs.run import RunId
from atf.notifications.message import OutgoingMessage, Priority
from atf.notifications.notification_job import NotificationHandler

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)


class FakeOutbox:
    def __init__(self) -> None:
        self.messages: list[OutgoingMessage] = []

    async def add(self, messages: Sequence[OutgoingMessage]) -> int:
        self.messages += messages
        return len(messages)


def job(user_id: int | None = 7, **params: object) -> Job:
    return Job(
        RunId(UUID(int=5)),
        "notification",
        1,
        user_id,
        NOON,
        1,
        "weekly",
        "me",
        {"message": "Look!", **params},
        timedelta(30),
    )


async def test_message_goes_out_as_the_job_says() -> None:
    outbox = FakeOutbox()
    loud = job(title="Check", channels=["console", "inbox"], priority="urgent")
    result = await NotificationHandler(outbox).handle(loud)
    key = f"run:{UUID(int=5)}"
    assert outbox.messages == [
        OutgoingMessage(7, "notification", "Check", "Look!", key, ("console", "inbox"), Priority.URGENT)
    ]
    assert result == {"dedup_key": key, "channels": ["console", "inbox"]}


async def test_what_is_not_said_is_the_schedule_s_name_the_inbox_and_normal() -> None:
    outbox = FakeOutbox()
    await NotificationHandler(outbox).handle(job())
    (message,) = outbox.messages
    assert (message.title, message.channels, message.priority) == ("weekly", ("inbox",), Priority.NORMAL)


async def test_message_for_nobody_is_refused_for_good() -> None:
    with pytest.raises(PermanentFailure, match="belongs to no user"):
        await NotificationHandler(FakeOutbox()).handle(job(user_id=None))
