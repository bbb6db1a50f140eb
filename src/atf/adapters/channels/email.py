"""Channel ``email``: letters go to a mail server, which takes them on.

Accepted means that the server has it; what becomes of it on its way comes back as a mail to the sender. A letter
that is sent twice has the same Message-ID, by which most mailboxes show it once.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from typing import Final

import aiosmtplib

from atf.adapters.channels.email_message import compose
from atf.adapters.channels.letter_text import cut, one_line
from atf.adapters.channels.smtp_connections import EmailSettings, SmtpConnections
from atf.errors import ConfigurationError, PermanentFailure, TemporaryFailure, shown
from atf.notifications.channel import (
    ChannelLimits,
    ChannelUnavailable,
    Letter,
    Reach,
    RecipientUnreachable,
    TextForm,
)

_LATER_SECONDS: Final = 300.0
"""Greylisting lets the same letter pass after some minutes."""
_LONGEST_WORDS: Final = 200
_CLOSING: Final = 421
_NOT_SIGNED_IN: Final = 530
_TOO_LARGE: Final = 552


class EmailChannel:
    """Sends over a few connections that are kept open for a minute."""

    name = "email"
    is_idempotent = False
    disturbs = True
    reach = Reach.SHARED
    form = TextForm.HTML
    limits = ChannelLimits(concurrency=2, per_recipient_second=0.2, longest_text=100_000)

    def __init__(self, settings: EmailSettings) -> None:
        """Errors: ConfigurationError if the sender's address is none, or certificates cannot be read."""
        self._settings = settings
        self._sender = _sender(settings)
        self._connections = SmtpConnections(settings)
        self._lanes = asyncio.Semaphore(self.limits.concurrency)

    async def send(self, letter: Letter) -> str | None:
        """Hand a letter to the mail server and return its Message-ID.

        Errors: ChannelUnavailable; TemporaryFailure; RecipientUnreachable; PermanentFailure.
        """
        try:
            message = compose(letter, self._sender, datetime.now(UTC))
        except (ValueError, IndexError, MessageError) as exc:  # IndexError: of an empty address
            raise RecipientUnreachable(f"{shown(letter.recipient.address)} is no e-mail address") from exc
        address = letter.recipient.address
        try:
            async with self._lanes, self._connections.use() as server:
                await server.send_message(message, sender=self._settings.sender, recipients=[address])
        except (aiosmtplib.SMTPException, OSError) as exc:
            raise _failure(exc, self._settings.host) from exc
        except ValueError as exc:
            raise RecipientUnreachable(f"{shown(address)} is no e-mail address") from exc
        return str(message["Message-ID"])

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()


def _sender(settings: EmailSettings) -> Address:
    try:
        return Address(one_line(settings.sender_name), addr_spec=settings.sender)
    except (ValueError, IndexError, MessageError) as exc:
        raise ConfigurationError(f"the sender {shown(settings.sender)} is no e-mail address") from exc


def _failure(exc: Exception, host: str) -> Exception:
    """Return whose trouble a failed send is."""
    match exc:
        case aiosmtplib.SMTPRecipientsRefused():
            return _of_recipient(exc.recipients[0], host)
        case aiosmtplib.SMTPSenderRefused():
            return _of_sender(exc, host)
        case aiosmtplib.SMTPDataError() if exc.code != _CLOSING:
            said = f"{host} refuses the message: {_words(exc)}"
            return _later(said) if exc.code < 500 else PermanentFailure(said)
        case aiosmtplib.SMTPResponseException():
            return ChannelUnavailable(f"{host} takes no messages now: {_words(exc)}")
        case aiosmtplib.SMTPNotSupported():
            return RecipientUnreachable(f"{host} takes no addresses with letters beyond ASCII")
        case _:
            return ChannelUnavailable(f"the connection to {host} broke off, or it does not answer in time")


def _of_recipient(exc: aiosmtplib.SMTPRecipientRefused, host: str) -> Exception:
    said = f"{host} refuses the address: {_words(exc)}"
    if exc.code in {_CLOSING, _NOT_SIGNED_IN}:
        return ChannelUnavailable(said)
    return _later(said) if exc.code < 500 else RecipientUnreachable(said)


def _of_sender(exc: aiosmtplib.SMTPSenderRefused, host: str) -> Exception:
    if exc.code == _TOO_LARGE:
        return PermanentFailure(f"{host} refuses the message: {_words(exc)}")
    said = f"{host} refuses the sender: {_words(exc)}"
    return _later(said) if exc.code < 500 and exc.code != _CLOSING else ChannelUnavailable(said)


def _later(said: str) -> TemporaryFailure:
    return TemporaryFailure(said, retry_after_seconds=_LATER_SECONDS)


def _words(exc: aiosmtplib.SMTPResponseException) -> str:
    return cut(f"{exc.code} {one_line(exc.message)}", _LONGEST_WORDS)
