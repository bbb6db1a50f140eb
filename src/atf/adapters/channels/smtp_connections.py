"""Connections to a mail server: encrypted as the settings say, or not made; used again for up to a minute."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import aiosmtplib
from aiosmtplib import SMTP

from atf.errors import ConfigurationError
from atf.notifications.channel import ChannelUnavailable

_KEPT_SECONDS: Final = 60.0
_FAREWELL_SECONDS: Final = 2.0
_CLOSING: Final = 421


class SmtpSecurity(StrEnum):
    """How what is sent is kept from others on its way."""

    STARTTLS = "starttls"
    """The connection begins in clear and must become TLS before anything is said; usual at port 587."""
    TLS = "tls"
    """TLS from the first byte; usual at port 465."""
    NONE = "none"
    """In clear, as to a server on this machine."""


@dataclass(frozen=True, slots=True)
class EmailSettings:
    """The mail server and who sends.

    ``ca_file``: certificates (PEM) that are trusted in place of the system's. ``allow_clear``: that security
    ``none`` is meant for a server which is not this machine. ``timeout``: of connecting and of each answer.
    Errors: ConfigurationError.
    """

    host: str
    port: int
    sender: str
    sender_name: str = "ATF"
    security: SmtpSecurity = SmtpSecurity.STARTTLS
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout: timedelta = timedelta(seconds=20)
    ca_file: Path | None = None
    allow_clear: bool = False

    def __post_init__(self) -> None:
        if not self.host or not self.host.isprintable() or not 0 < self.port < 65_536:
            raise ConfigurationError("the mail server needs a host and a port from 1 to 65535")
        if self.security is SmtpSecurity.NONE and not self.allow_clear and not _is_this_machine(self.host):
            raise ConfigurationError(
                f"security none would send passwords and messages to {self.host} in clear; "
                "use starttls or tls, or allow it explicitly"
            )


class SmtpConnections:
    """Hands out connections, one user at a time each."""

    def __init__(self, settings: EmailSettings) -> None:
        self._settings = settings
        self._trusted = _trusted(settings)
        self._idle: dict[SMTP, asyncio.TimerHandle] = {}
        self._own_name: str | None = None

    @asynccontextmanager
    async def use(self) -> AsyncIterator[SMTP]:
        """Lend a connection that is known to be alive; after a refusal it is kept, else closed.

        Errors: ChannelUnavailable if there is none to be had.
        """
        connection = await self._reused() or await self._open()
        try:
            yield connection
        except BaseException as exc:
            if not _is_refusal(exc):
                connection.close()
                raise
            self._keep(connection)
            raise
        self._keep(connection)

    async def close(self) -> None:
        """Say goodbye on all idle connections."""
        while self._idle:
            connection, timer = self._idle.popitem()
            timer.cancel()
            with suppress(aiosmtplib.SMTPException, OSError):
                await connection.quit(timeout=_FAREWELL_SECONDS)
            connection.close()

    def _keep(self, connection: SMTP) -> None:
        if connection.is_connected:
            timer = asyncio.get_running_loop().call_later(_KEPT_SECONDS, self._expire, connection)
            self._idle[connection] = timer

    def _expire(self, connection: SMTP) -> None:
        if self._idle.pop(connection, None) is not None:
            connection.close()

    async def _reused(self) -> SMTP | None:
        while self._idle:
            connection, timer = self._idle.popitem()
            timer.cancel()
            if await _is_alive(connection):
                return connection
        return None

    async def _open(self) -> SMTP:
        settings = self._settings
        connection = SMTP(
            hostname=settings.host,
            port=settings.port,
            username=settings.username,
            password=settings.password,
            local_hostname=self._own_name,  # looked up once: some machines' name servers take seconds
            timeout=settings.timeout.total_seconds(),
            use_tls=settings.security is SmtpSecurity.TLS,
            start_tls=settings.security is SmtpSecurity.STARTTLS,
            tls_context=self._trusted,
        )
        try:
            await connection.connect()
        except (aiosmtplib.SMTPException, OSError) as exc:
            raise ChannelUnavailable(f"the mail server {settings.host} {_reason(exc)}") from exc
        self._own_name = connection.local_hostname
        return connection


async def _is_alive(connection: SMTP) -> bool:
    """Whether a connection still answers; what was begun on it is forgotten."""
    try:
        await connection.rset()
    except (aiosmtplib.SMTPException, OSError):
        connection.close()
        return False
    except BaseException:  # cancelled: nobody else would close it
        connection.close()
        raise
    return True


def _is_refusal(exc: BaseException) -> bool:
    """Whether a server said no to a letter and goes on listening."""
    if isinstance(exc, aiosmtplib.SMTPRecipientsRefused):
        return all(one.code != _CLOSING for one in exc.recipients)
    return isinstance(exc, aiosmtplib.SMTPSenderRefused | aiosmtplib.SMTPDataError) and exc.code != _CLOSING


def _reason(exc: Exception) -> str:
    """Return why there is no connection, in our words as far as a server's could repeat a password."""
    if _has_cause(exc, ssl.SSLCertVerificationError):
        return "shows a certificate that is not trusted; of a CA of your own, set the file of its certificate"
    match exc:
        case aiosmtplib.SMTPAuthenticationError():
            return f"refuses user name or password (SMTP {exc.code}); set those of the mailbox that sends"
        case aiosmtplib.SMTPResponseException():
            return f"takes no messages now (SMTP {exc.code})"
        case aiosmtplib.SMTPTimeoutError():
            return "does not answer in time"
        case aiosmtplib.SMTPConnectError() | aiosmtplib.SMTPServerDisconnected():
            return "cannot be reached, or hangs up"
        case aiosmtplib.SMTPException():
            return f"cannot be used: {exc.message}"
        case _:
            return "cannot be reached, or speaks no TLS"


def _has_cause(exc: BaseException | None, kind: type[BaseException]) -> bool:
    while exc is not None:
        if isinstance(exc, kind):
            return True
        exc = exc.__cause__ or exc.__context__
    return False


def _trusted(settings: EmailSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"the certificates in {settings.ca_file} cannot be read") from exc


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"
