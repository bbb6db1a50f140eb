"""Updates pushed to the bot's address, one after the other, each until it is taken with a 2xx.

Telegram pushes several at once; here there is one at a time, so that tests see them in order. Nothing is sent to
other machines: only loopback is reached, under public names too if ``reached_at`` says where they lead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import aiohttp

from atf.testing.telegram_api.calls import Call, call_of
from atf.testing.telegram_api.changes import Changes
from atf.testing.telegram_api.refusals import Refusal, bad_request, conflict
from atf.testing.telegram_api.updates import UpdateQueue, check_secret

SECRET_HEADER: Final = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - the name of the header
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_PORTS: Final = frozenset({80, 88, 443, 8443})
_USUAL_CONNECTIONS: Final = 40
_LONGEST_PAUSE: Final = 2.0


class Webhook:
    """Where updates are pushed to, and the task that does it.

    ``reached_at``: the base, such as ``http://127.0.0.1:8000``, that stands in for the host of any address.
    ``first_pause``: between the first two attempts; it doubles up to two seconds. ``patience``: how long the
    bot may take to answer. ``attempts`` counts them; ``answer`` does the call that an answer may hold.
    """

    def __init__(self, updates: UpdateQueue, changes: Changes, now: Callable[[], datetime]) -> None:
        self.reached_at = ""
        self.first_pause = timedelta(seconds=0.05)
        self.patience = timedelta(seconds=10)
        self.attempts = 0
        self.answer: Callable[[Call], Awaitable[object]] | None = None
        self._updates = updates
        self._changes = changes
        self._now = now
        self._secret = ""
        self._tls: ssl.SSLContext | bool = True
        self._connections = _USUAL_CONNECTIONS
        self._last_error: tuple[int, str] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def info(self) -> dict[str, Any]:
        """What ``getWebhookInfo`` gives."""
        url = self._updates.webhook_url
        info: dict[str, Any] = {
            "url": url,
            "has_custom_certificate": self._tls is not True,
            "pending_update_count": len(self._updates.pending),
        }
        if url:
            info |= {"max_connections": self._connections, "ip_address": "127.0.0.1"}
        if self._last_error is not None:
            info |= {"last_error_date": self._last_error[0], "last_error_message": self._last_error[1]}
        if self._updates.allowed:
            info["allowed_updates"] = sorted(self._updates.allowed)
        return info

    async def set(self, call: Call) -> str:
        """Push updates from now on, as ``setWebhook`` asks, and return what was done. Errors: Refusal (400)."""
        url = call.text("url")
        if not url:
            return await self.delete(call)
        self._check(urlsplit(url))
        check_secret(call.text("secret_token"))
        certificate = call.files.get("certificate")
        is_same = url == self._updates.webhook_url and call.text("secret_token") == self._secret
        await self.end()
        self._tls = _trusting(certificate.content) if certificate is not None else True
        self._secret = call.text("secret_token")
        self._connections = call.integer("max_connections", _USUAL_CONNECTIONS)
        self._last_error = None
        self._updates.allow(call)
        if call.flag("drop_pending_updates"):
            self._updates.clear()
        self._updates.webhook_url = url
        self._updates.end_poll(conflict("terminated by setWebhook request"))
        self._task = asyncio.create_task(self._push(self._target(urlsplit(url))))
        return "Webhook is already set" if is_same else "Webhook was set"

    async def delete(self, call: Call) -> str:
        """Let updates wait for polls again, and return what was done."""
        was_set = bool(self._updates.webhook_url)
        await self.end()
        self._updates.webhook_url = ""
        self._tls, self._secret = True, ""
        if call.flag("drop_pending_updates"):
            self._updates.clear()
        self._changes.tell()
        return "Webhook was deleted" if was_set else "Webhook is already deleted"

    async def end(self) -> None:
        """Push no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def _check(self, url: SplitResult) -> None:
        if not url.hostname:
            raise bad_request("invalid webhook URL specified")
        if url.hostname in _LOOPBACK and not self.reached_at:
            return
        if url.scheme != "https":
            raise bad_request("bad webhook: An HTTPS URL must be provided for webhook")
        if (url.port or 443) not in _PORTS:
            raise bad_request("bad webhook: Webhook can be set up only on ports 80, 88, 443 or 8443")
        if not self.reached_at:
            raise bad_request("bad webhook: Failed to resolve host: Name or service not known")

    def _target(self, url: SplitResult) -> str:
        if not self.reached_at:
            return url.geturl()
        base = urlsplit(self.reached_at)
        return url._replace(scheme=base.scheme, netloc=base.netloc).geturl()

    async def _push(self, target: str) -> None:
        pause = self.first_pause.total_seconds()
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self.patience.total_seconds())
        ) as session:
            while True:
                await self._changes.until_true(lambda: bool(self._updates.pending))
                update = self._updates.pending[0]
                if await self._deliver(session, target, update):
                    pause = self.first_pause.total_seconds()
                    self._updates.confirm(update["update_id"] + 1)
                    self._changes.tell()
                else:
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE)

    async def _deliver(self, session: aiohttp.ClientSession, target: str, update: dict[str, Any]) -> bool:
        self.attempts += 1
        self._changes.tell()
        headers = {SECRET_HEADER: self._secret} if self._secret else {}
        try:
            async with session.post(
                target, json=update, headers=headers, ssl=self._tls, allow_redirects=False
            ) as answer:
                if answer.status // 100 == 2:
                    await self._obey(await answer.read())
                    return True
                self._failed(f"Wrong response from the webhook: {answer.status} {answer.reason}")
        except TimeoutError:
            self._failed("Read timeout expired")
        except aiohttp.ClientConnectorError:
            self._failed("Connection refused")
        except aiohttp.ClientError as error:
            self._failed(f"Connection closed: {type(error).__name__}")
        return False

    async def _obey(self, body: bytes) -> None:
        """Do the call that an answer of JSON may hold; whether it is refused, the bot does not learn."""
        try:
            document = json.loads(body)
        except ValueError:
            return
        if isinstance(document, dict) and isinstance(document.get("method"), str) and self.answer is not None:
            with contextlib.suppress(Refusal):
                await self.answer(call_of(document))

    def _failed(self, reason: str) -> None:
        self._last_error = (int(self._now().timestamp()), reason)
        self._changes.tell()


def _trusting(certificate: bytes) -> ssl.SSLContext:
    """Return what trusts the bot's own certificate, as it was uploaded. Errors: Refusal (400)."""
    try:
        return ssl.create_default_context(cadata=certificate.decode())
    except (ssl.SSLError, ValueError):
        raise bad_request("bad webhook: Failed to set custom certificate file") from None
