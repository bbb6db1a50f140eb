"""A channel that keeps what it is given, and fails when it is told to."""

from __future__ import annotations

from collections.abc import Iterable

from atf.notifications.channel import UNLIMITED, ChannelLimits, Letter, Reach, TextForm


class InMemoryInbox:
    """Stands in for any channel: ``received`` in order of sending, ``failures`` raised first, one a send."""

    def __init__(
        self,
        name: str = "inbox",
        failures: Iterable[Exception] = (),
        *,
        is_idempotent: bool = False,
        disturbs: bool = False,
        reach: Reach = Reach.SHARED,
        form: TextForm = TextForm.PLAIN,
        limits: ChannelLimits = UNLIMITED,
    ) -> None:
        self.name = name
        self.is_idempotent = is_idempotent
        self.disturbs = disturbs
        self.reach = reach
        self.form = form
        self.limits = limits
        self.received: list[Letter] = []
        self.failures = list(failures)
        self.is_closed = False

    async def send(self, letter: Letter) -> str | None:
        """Keep the letter, or fail as told."""
        if self.failures:
            raise self.failures.pop(0)
        self.received.append(letter)
        return letter.dedup_key

    async def close(self) -> None:
        """Remember that it was closed."""
        self.is_closed = True

    @property
    def keys(self) -> list[str]:
        """The dedup keys of what was received."""
        return [letter.dedup_key for letter in self.received]
