"""Calls of the Bot API, as far as letters need them. Each URL holds the token, so none leaves this module."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from atf.adapters.channels.provider_http import Answer, ProviderHttp
from atf.adapters.channels.telegram_answers import TOKEN_SETTING, failure_of
from atf.errors import ConfigurationError
from atf.notifications.channel import ChannelThrottled, RecipientThrottled
from atf.secrecy import MASK

OFFICIAL: Final = "https://api.telegram.org"
_TOKEN: Final = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{1,100}")
_TOGETHER_SECONDS: Final = 1.0
_MANY_CHATS: Final = 3


class TelegramApi:
    """One bot at Telegram, or at a server that answers like it."""

    def __init__(self, token: str, base_url: str, proxy: str | None, monotonic: Callable[[], float]) -> None:
        if not _TOKEN.fullmatch(token):
            raise ConfigurationError(f"{TOKEN_SETTING} is no token of a bot, such as 123456:AbC")
        self._token = token
        self._http = ProviderHttp("Telegram", base_url, proxy=proxy)
        self._throttles = _Throttles(monotonic)

    async def send(
        self,
        method: str,
        chat: str,
        fields: Mapping[str, str],
        file: tuple[str, tuple[str, bytes, str]] | None = None,
    ) -> str:
        """Call a method that sends to a chat and return the message's id, empty if the answer has none.

        ``file``: the field's name, and the file's name, content and media type.
        Errors: those of ``failure_of``; ChannelThrottled if Telegram refuses several chats at the same time.
        """
        files = None if file is None else dict([file])
        answer = await self._http.post(f"/bot{self._token}/{method}", {"chat_id": chat, **fields}, files)
        if answer.document.get("ok") is True:
            result = answer.document.get("result")
            number = result.get("message_id") if isinstance(result, dict) else None
            return "" if number is None else str(number)
        failure = failure_of(self._without_token(answer))
        if isinstance(failure, RecipientThrottled) and self._throttles.concern_all(chat):
            raise ChannelThrottled(
                f"{failure}, to several chats", retry_after_seconds=failure.retry_after_seconds
            )
        raise failure

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    def _without_token(self, answer: Answer) -> Answer:
        """Return an answer whose words do not repeat the token, as those of a server in between might."""
        words = str(answer.document.get("description", "")).replace(self._token, MASK)
        return Answer(answer.status, {**answer.document, "description": words}, answer.retry_after)


class _Throttles:
    """Tells the limit of a chat from the bot's own: Telegram's answers do not."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._recent: deque[tuple[float, str]] = deque(maxlen=100)

    def concern_all(self, chat: str) -> bool:
        """Note that a chat was throttled; tell whether several were, within a second."""
        now = self._monotonic()
        self._recent.append((now, chat))
        return len({one for at, one in self._recent if now - at <= _TOGETHER_SECONDS}) >= _MANY_CHATS
