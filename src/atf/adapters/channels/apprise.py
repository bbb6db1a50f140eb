"""Channel ``apprise``: whatever Apprise has a URL for, such as Discord, Slack, Matrix or ntfy."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from importlib.util import find_spec

from atf.errors import ConfigurationError
from atf.notifications.channel import ChannelLimits, Letter, Reach, TextForm
from atf.security.outgoing_address import OutgoingAddresses


class AppriseChannel:
    """Sends to the URL that is the recipient's secret, in threads, as Apprise blocks.

    A send that is cancelled goes on in its thread for the seconds that Apprise gives to each service; what it
    wrote to disk for it is removed then. ``allowed``: where URLs may lead; to public addresses alone unless it
    says otherwise.
    """

    name = "apprise"
    is_idempotent = False
    disturbs = True
    reach = Reach.EACH
    form = TextForm.PLAIN
    limits = ChannelLimits(concurrency=4, per_recipient_second=1, longest_text=1500)

    def __init__(
        self,
        *,
        allowed: OutgoingAddresses = OutgoingAddresses(),  # noqa: B008 - it is frozen
    ) -> None:
        """Errors: ConfigurationError if Apprise is not installed."""
        if find_spec("apprise") is None:
            raise ConfigurationError("channel apprise needs a package that is not here: install atf[apprise]")
        self._allowed = allowed
        self._threads = ThreadPoolExecutor(self.limits.concurrency, thread_name_prefix="apprise")

    async def send(self, letter: Letter) -> str | None:
        """Send through Apprise. Errors: those of ``apprise_send.send``."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, copy_context().run, _send, letter, self._allowed)
        return None

    async def close(self) -> None:
        """Wait for the sends that are under way."""
        await asyncio.to_thread(self._threads.shutdown)


def _send(letter: Letter, allowed: OutgoingAddresses) -> None:
    """Load Apprise with the first letter: it takes a second, and few installations use it."""
    from atf.adapters.channels.apprise_send import send

    send(letter, allowed)
