"""The job type ``notification``: a message that is sent on schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from atf.errors import PermanentFailure
from atf.jobs.handler import Job
from atf.jobs.run import JobType
from atf.notifications.message import OutgoingMessage, Priority

DEFAULT_CHANNELS: Final = ("inbox",)


class MessageStore(Protocol):
    """Where messages are stored to be sent."""

    async def add(self, messages: Sequence[OutgoingMessage]) -> int:
        """Store messages and their deliveries; one whose key is stored already is left alone."""
        ...


class NotificationHandler:
    """Puts the message into the outbox; its key is the run's, so that a second attempt sends no second one."""

    def __init__(self, outbox: MessageStore) -> None:
        self.job_type: str = JobType.NOTIFICATION
        self._outbox = outbox

    async def handle(self, job: Job) -> Mapping[str, Any]:
        """Store the message. Errors: PermanentFailure if the run belongs to nobody."""
        if job.user_id is None:
            raise PermanentFailure("the message has nobody to go to: the run belongs to no user")
        params = job.task_params
        channels = tuple(params.get("channels") or DEFAULT_CHANNELS)
        message = OutgoingMessage(
            user_id=job.user_id,
            notification_type="notification",
            title=params.get("title") or job.name or job.target,
            body=params["message"],
            dedup_key=f"run:{job.run_id}",
            channels=channels,
            priority=Priority(params.get("priority") or Priority.NORMAL),
        )
        await self._outbox.add([message])
        return {"dedup_key": message.dedup_key, "channels": list(channels)}
