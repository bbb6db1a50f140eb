"""A writer of letters that changes nothing of what is written, and counts characters."""

from __future__ import annotations

from collections.abc import Sequence

from atf.notifications.channel import Recipient, TextForm
from atf.notifications.letter_writer import Written
from atf.notifications.message import Delivery


class PlainWriter:
    """Writes titles and texts as they are; a digest has a line each."""

    def write(
        self, deliveries: Sequence[Delivery], recipient: Recipient, channel_name: str, form: TextForm
    ) -> Written:
        """Return the words for one delivery, or for several together."""
        del recipient, channel_name, form
        if len(deliveries) == 1:
            return Written(deliveries[0].title, deliveries[0].body)
        return Written(f"{len(deliveries)} messages", "\n".join(map(_line, deliveries)))

    def fitting(
        self,
        deliveries: Sequence[Delivery],
        recipient: Recipient,
        channel_name: str,
        form: TextForm,
        longest_text: int,
    ) -> int:
        """Return how many deliveries fit together; at least one."""
        del recipient, channel_name, form
        used = 0
        for count, delivery in enumerate(deliveries):
            used += len(_line(delivery)) + 1
            if used > longest_text:
                return max(1, count)
        return len(deliveries)


def _line(delivery: Delivery) -> str:
    return f"{delivery.title}: {delivery.body}"
