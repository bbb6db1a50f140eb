"""What Telegram's answers mean: whose trouble a refusal is."""

from __future__ import annotations

import re
from typing import Any, Final

from atf.adapters.channels.letter_text import cut, one_line
from atf.adapters.channels.provider_http import Answer
from atf.errors import PermanentFailure
from atf.notifications.channel import (
    ChannelUnavailable,
    RecipientMoved,
    RecipientThrottled,
    RecipientUnreachable,
)

TOKEN_SETTING: Final = "ATF_TELEGRAM_TOKEN"  # noqa: S105 - the name of the setting
_USUAL_WAIT: Final = 5.0
_LONGEST_WORDS: Final = 200
_GONE: Final = re.compile(
    "chat not found|user is deactivated|user not found|PEER_ID_INVALID|chat_id is empty"
    "|bot was (kicked|blocked)"
    "|group chat was (deleted|deactivated)|CHAT_WRITE_FORBIDDEN|have no rights to send a message"
    "|not enough rights to send text messages",
    re.IGNORECASE,
)


class CannotParse(PermanentFailure):
    """Telegram does not understand the marks of a formatted text."""


def failure_of(answer: Answer) -> Exception:
    """Return what a refusal is to the notification service; its words are Telegram's."""
    description = cut(one_line(str(answer.document.get("description", ""))), _LONGEST_WORDS)
    said = f"Telegram: {description or f'HTTP {answer.status}'}"
    parameters = answer.document.get("parameters")
    given: dict[str, Any] = parameters if isinstance(parameters, dict) else {}
    match answer.status:
        case 429 | 420:
            return RecipientThrottled(said, retry_after_seconds=_wait(given, answer))
        case 401 | 404:
            return ChannelUnavailable(
                f"Telegram rejects the bot's token ({description or answer.status}); "
                f"set {TOKEN_SETTING} to the one that @BotFather shows"
            )
        case 403:
            return RecipientUnreachable(said)
        case 400 if isinstance(given.get("migrate_to_chat_id"), int):
            return RecipientMoved(said, address=str(given["migrate_to_chat_id"]))
        case 400 if _GONE.search(description):
            return RecipientUnreachable(said)
        case 400 if "can't parse entities" in description.lower():
            return CannotParse(said)
        case 400 | 413:
            return PermanentFailure(said)
        case _:
            return ChannelUnavailable(said)


def _wait(given: dict[str, Any], answer: Answer) -> float:
    """Return the seconds to wait; without any in the answer, a few."""
    asked = given.get("retry_after", answer.retry_after)
    return float(asked) if isinstance(asked, int | float) and asked > 0 else _USUAL_WAIT
