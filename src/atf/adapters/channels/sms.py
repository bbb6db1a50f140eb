"""Channel ``sms``: text messages through Twilio's Messages API.

Twilio takes no idempotency key: a message whose answer was lost is sent again, and may come twice. Accepted means
that Twilio has it; whether the telephone gets it is not waited for. Attachments are not sent.
"""

from __future__ import annotations

import logging
import re
from typing import Any, Final

from atf.adapters.channels.letter_text import cut, one_line
from atf.adapters.channels.provider_http import Answer, ProviderHttp
from atf.adapters.channels.sms_text import body_of, segments
from atf.errors import ConfigurationError, PermanentFailure
from atf.notifications.channel import (
    ChannelLimits,
    ChannelThrottled,
    ChannelUnavailable,
    Letter,
    Reach,
    RecipientUnreachable,
    TextForm,
)

OFFICIAL: Final = "https://api.twilio.com"
_LOGGER = logging.getLogger(__name__)
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9]{2,64}")
_USUAL_WAIT: Final = 5.0
_LONGEST_WORDS: Final = 200

_REJECTED: Final = frozenset({20003, 20005, 20404})
"""Account or token are not known, or the account is closed."""
_SENDER: Final = frozenset({21212, 21606, 21659, 21660})
"""The number that sends is not one, or not of this account."""
_THROTTLED: Final = 20429
_UNREACHABLE: Final = frozenset({21211, 21214, 21217, 21408, 21610, 21612, 21614})
"""No number, no mobile one, none that may be written to, or one whose owner said STOP."""


class SmsChannel:
    """Sends each letter as one message, cut to what Twilio takes.

    ``sender``: the number that sends, or a name where networks allow one.
    """

    name = "sms"
    is_idempotent = False
    disturbs = True
    reach = Reach.SHARED
    form = TextForm.PLAIN
    limits = ChannelLimits(concurrency=4, per_second=1, longest_text=600)

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        sender: str,
        *,
        base_url: str = OFFICIAL,
        proxy: str | None = None,
    ) -> None:
        """Errors: ConfigurationError if something is missing, or cannot be what it should."""
        if not _ACCOUNT.fullmatch(account_sid) or not auth_token or not sender:
            raise ConfigurationError("text messages need Twilio's account SID, its auth token and a sender")
        self._sender = sender
        self._path = f"/2010-04-01/Accounts/{account_sid}/Messages.json"
        self._http = ProviderHttp("Twilio", base_url, auth=(account_sid, auth_token), proxy=proxy)

    async def send(self, letter: Letter) -> str | None:
        """Hand a letter to Twilio and return the message's SID.

        Errors: ChannelUnavailable; ChannelThrottled; RecipientUnreachable; PermanentFailure.
        """
        body = body_of(letter)
        if not body.strip():
            raise PermanentFailure("the message says nothing")
        answer = await self._http.post(
            self._path, {"To": letter.recipient.address, "From": self._sender, "Body": body}
        )
        if answer.status >= 300:
            raise _failure(answer)
        _LOGGER.debug(
            "a text message of %d segments", segments(body), extra={"user_id": letter.recipient.user_id}
        )
        return str(answer.document.get("sid") or "") or None

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()


def _failure(answer: Answer) -> Exception:
    code: Any = answer.document.get("code")
    words = cut(one_line(str(answer.document.get("message", ""))), _LONGEST_WORDS)
    said = f"Twilio: {words or f'HTTP {answer.status}'} ({code or answer.status})"
    if answer.status == 429 or code == _THROTTLED:
        return ChannelThrottled(said, retry_after_seconds=answer.retry_after or _USUAL_WAIT)
    if code in _UNREACHABLE:
        return RecipientUnreachable(said)
    if answer.status == 401 or code in _REJECTED:
        return ChannelUnavailable(f"Twilio rejects the account ({code or 401}); set its SID and its auth token")
    if code in _SENDER:
        return ChannelUnavailable(f"{said}; set a sender that is a number of this account")
    return PermanentFailure(said) if 400 <= answer.status < 500 else ChannelUnavailable(said)
