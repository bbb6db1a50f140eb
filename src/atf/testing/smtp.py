"""A local mail server: keeps what it is sent, parsed, and refuses, delays or hangs up when told to.

It listens on 127.0.0.1 in the test's own event loop. Needs aiosmtpd, which is among the development tools.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import tempfile
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from atf.testing.certificates import write_certificate

_PATIENCE: Final = 10.0


class Stage(StrEnum):
    """Where in a conversation the server may refuse."""

    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    RSET = "RSET"


class Encryption(StrEnum):
    """What the server offers."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


@dataclass(frozen=True, slots=True)
class Received:
    """A message that the server has taken: parsed, who it is from and to, and as whom over what it came."""

    message: EmailMessage
    sender: str
    recipients: tuple[str, ...]
    user: str | None
    is_encrypted: bool

    @property
    def text(self) -> str:
        """The plain text, without the line end that each message has."""
        return self._body("plain").removesuffix("\n")

    @property
    def html(self) -> str:
        """The page; empty if there is none."""
        return self._body("html")

    def _body(self, kind: str) -> str:
        found = self.message.get_body((kind,))
        return "" if found is None else str(found.get_content()).replace("\r\n", "\n")


class LocalSmtp:
    """One mail server.

    ``messages``: what it has taken, oldest first. ``greylists``: whether the first try for each address is put
    off. ``cuts_before_answer``: whether it hangs up after it has taken a message, and before it says so.
    ``is_silent``: whether it does not answer a message until ``speak``. ``connections`` counts all that came.
    """

    def __init__(self, encryption: Encryption, accounts: Mapping[str, str]) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.encryption = encryption
        self.certificate: Path | None = None
        self.messages: list[Received] = []
        self.greylists = False
        self.cuts_before_answer = False
        self.is_silent = False
        self.connections = 0
        self._accounts = dict(accounts)
        self._refusals: dict[Stage, tuple[str, int | None]] = {}
        self._known: set[str] = set()
        self._open: list[SMTP] = []
        self._changed = asyncio.Condition()
        self._released = asyncio.Event()

    def refuse(self, stage: Stage, answer: str, *, times: int | None = None) -> None:
        """Answer so at a stage, such as ``550 no such user``: so many times, or for ever."""
        self._refusals[stage] = (answer, times)

    def change_password(self, user: str, password: str) -> None:
        """Take another password of a user from now on."""
        self._accounts[user] = password

    def behave(self) -> None:
        """Do all that is asked for from now on."""
        self._refusals.clear()
        self.greylists = self.cuts_before_answer = False
        self.speak()

    def speak(self) -> None:
        """Answer who was kept waiting, and everybody from now on."""
        self.is_silent = False
        self._released.set()
        self._released = asyncio.Event()

    def drop_connections(self) -> None:
        """Hang up on everybody, without a word."""
        for one in self._transports():
            one.abort()

    @property
    def open_connections(self) -> int:
        """How many are open."""
        return sum(not one.is_closing() for one in self._transports())

    async def until_nobody_is_connected(self) -> None:
        """Wait until all connections are closed. Errors: TimeoutError after seconds."""
        async with asyncio.timeout(_PATIENCE):
            while self.open_connections:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)

    async def until_received(self, count: int) -> None:
        """Wait until so many messages were taken. Errors: TimeoutError after seconds."""
        async with asyncio.timeout(_PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(self.messages) >= count)

    # --- what aiosmtpd calls ---

    async def handle_MAIL(  # noqa: N802
        self, _: SMTP, __: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Accept a sender or refuse it."""
        refusal = self._refusal(Stage.MAIL)
        if refusal is None:
            envelope.mail_from = address
            envelope.mail_options.extend(options)
        return refusal or "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, _: SMTP, __: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Accept a recipient or refuse it."""
        refusal = self._refusal(Stage.RCPT)
        if refusal is None and self.greylists and address not in self._known:
            self._known.add(address)
            refusal = "451 4.7.1 greylisted, try again later"
        if refusal is None:
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        return refusal or "250 OK"

    async def handle_RSET(self, _: SMTP, __: Session, ___: Envelope) -> str:  # noqa: N802
        """Forget what was begun."""
        return self._refusal(Stage.RSET) or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take a message, or refuse it."""
        refusal = self._refusal(Stage.DATA)
        if refusal is None:
            await self._take(session, envelope)
        if self.is_silent:
            await self._released.wait()
        if self.cuts_before_answer and server.transport is not None:
            server.transport.abort()  # type: ignore[attr-defined]
            await self._released.wait()
        return refusal or "250 OK"

    async def _take(self, session: Session, envelope: Envelope) -> None:
        message = message_from_bytes(envelope.original_content or b"", _class=EmailMessage, policy=policy.SMTP)
        login: LoginPassword | None = getattr(session, "auth_data", None)
        user = None if login is None else login.login.decode()
        sender, recipients = envelope.mail_from or "", tuple(envelope.rcpt_tos)
        is_encrypted = self.encryption is Encryption.TLS or session.ssl is not None
        async with self._changed:
            self.messages.append(Received(message, sender, recipients, user, is_encrypted))
            self._changed.notify_all()

    def _transports(self) -> list[asyncio.Transport]:
        """Return all connections; one on which STARTTLS was begun has two, and may have lost only one of them."""
        found = [(one.transport, one._original_transport) for one in self._open]  # noqa: SLF001
        return [cast("asyncio.Transport", one) for pair in found for one in pair if one is not None]

    def _refusal(self, stage: Stage) -> str | None:
        answer, times = self._refusals.get(stage, (None, None))
        if answer is not None and times is not None:
            self._refusals[stage] = (answer, times - 1)
            if times <= 1:
                del self._refusals[stage]
        return answer

    def _authenticate(self, _: SMTP, __: Session, ___: Envelope, ____: str, data: Any) -> AuthResult:
        known = isinstance(data, LoginPassword) and (
            self._accounts.get(data.login.decode()) == data.password.decode()
        )
        return AuthResult(success=known, handled=known, auth_data=data if known else None)

    def _converse(self, context: ssl.SSLContext | None) -> SMTP:
        is_starttls = self.encryption is Encryption.STARTTLS
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of passwords in clear; this one is local
            made = SMTP(
                self,
                hostname="localhost",
                loop=asyncio.get_running_loop(),
                enable_SMTPUTF8=True,
                tls_context=context if is_starttls else None,
                require_starttls=is_starttls,
                auth_require_tls=False,
                auth_required=bool(self._accounts),
                authenticator=self._authenticate,
            )
        self.connections += 1
        self._open.append(made)
        return made


@asynccontextmanager
async def local_smtp(
    encryption: Encryption = Encryption.NONE, *, accounts: Mapping[str, str] | None = None
) -> AsyncIterator[LocalSmtp]:
    """Run a mail server until the block ends, then break all its connections.

    ``accounts``: passwords by user names; without any, nobody needs one.
    """
    logging.getLogger("mail.log").disabled = True  # it repeats what clients say
    made = LocalSmtp(encryption, accounts or {})
    with tempfile.TemporaryDirectory() as folder:
        context = None
        if encryption is not Encryption.NONE:
            made.certificate = write_certificate(Path(folder))
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(made.certificate)
        listening = await asyncio.get_running_loop().create_server(
            lambda: made._converse(context),  # noqa: SLF001 - the same module
            made.host,
            0,
            ssl=context if encryption is Encryption.TLS else None,
        )
        made.port = listening.sockets[0].getsockname()[1]
        try:
            yield made
        finally:
            made.behave()
            made.drop_connections()
            await asyncio.sleep(0.01)  # sockets are closed by the next turns of the loop
            listening.close()
            await listening.wait_closed()
