"""A channel that keeps what it is given, and fails when it is told to."""

from __future__ import annotations

from collections.abc import Iterable

from atf.notifications.message import Delivery


class InMemoryInbox:
    """Stands in for any channel: ``received`` in order of sending, ``failures`` raised first, one a send."""

    def __init__(
        self, name: str = "inbox", failures: Iterable[Exception] = (), *, disturbs: bool = False
    ) -> None:
        self.name = name
        self.is_idempotent = False
        self.disturbs = disturbs
        self.received: list[Delivery] = []
        self.failures = list(failures)

    async def send(self, delivery: Delivery) -> str | None:
        """Keep the delivery, or fail as told."""
        if self.failures:
            raise self.failures.pop(0)
        self.received.append(delivery)
        return delivery.dedup_key

    @property
    def keys(self) -> list[str]:
        """The dedup keys of what was received."""
        return [delivery.dedup_key for delivery in self.received]
