"""The channels that this installation has, and who sends on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec

from atf.adapters.channels.bot import BotChannel
from atf.adapters.channels.console import ConsoleChannel
from atf.adapters.channels.inbox import InboxChannel
from atf.adapters.channels.webhook import WebhookChannel
from atf.bootstrap.outgoing import outgoing_addresses
from atf.bootstrap.platform_secrets import platform_secret
from atf.clock import Clock
from atf.errors import ConfigurationError
from atf.jobs.lease import Lease
from atf.lifecycle import Progress
from atf.notifications.channel import Channel
from atf.notifications.channel_sender import ChannelSender
from atf.notifications.letter_sender import DeliveryPolicy, Desk
from atf.security.outgoing_address import OutgoingAddresses
from atf.settings import Settings
from atf.storage.bot_commands_repository import PostgresBotCommands
from atf.storage.database import Database
from atf.storage.listener import Listener
from atf.storage.notifications_repository import PostgresOutbox
from atf.storage.workers_repository import PostgresLeases


async def build_channels(settings: Settings, database: Database, clock: Clock | None) -> Sequence[Channel]:
    """Return the channels that the settings and secrets allow; without a clock no action is ever too late.

    Errors: ConfigurationError for what cannot be used, such as a token that is none.
    """
    timeout = timedelta(seconds=settings.notification_timeout_seconds)
    allowed = outgoing_addresses(settings)
    found: list[Channel | None] = [
        ConsoleChannel(),
        InboxChannel(PostgresOutbox(database)),
        InboxChannel(PostgresOutbox(database), "web"),
        BotChannel(PostgresBotCommands(database), clock),
        WebhookChannel(clock, timeout=timeout, allowed=allowed),
        await _telegram(settings, database),
        await _email(settings, database),
        await _sms(settings, database),
        _apprise(allowed),
    ]
    return [channel for channel in found if channel is not None]


async def telegram_token(settings: Settings, database: Database) -> str | None:
    """Return the bot's token, None if there is none."""
    return await platform_secret(settings, database, settings.telegram_token, "telegram.bot-token")


# Each of these loads its library only where it is used: a console and an inbox need none.
async def _telegram(settings: Settings, database: Database) -> Channel | None:
    token = await telegram_token(settings, database)
    if token is None:
        return None
    from atf.adapters.channels.telegram import TelegramChannel

    return TelegramChannel(token, base_url=settings.telegram_api_url)


async def _email(settings: Settings, database: Database) -> Channel | None:
    if not settings.smtp_host:
        return None
    from atf.adapters.channels.email import EmailChannel
    from atf.adapters.channels.smtp_connections import EmailSettings, SmtpSecurity

    password = await platform_secret(settings, database, settings.smtp_password, "smtp.password")
    with _of_settings("ATF_SMTP_"):
        return EmailChannel(
            EmailSettings(
                host=settings.smtp_host,
                port=settings.smtp_port,
                sender=settings.smtp_sender or settings.smtp_username or "",
                security=SmtpSecurity(settings.smtp_security),
                username=settings.smtp_username,
                password=password,
                ca_file=settings.smtp_ca_file,
                allow_clear=settings.smtp_allow_clear,
            )
        )


async def _sms(settings: Settings, database: Database) -> Channel | None:
    if not settings.twilio_account_sid:
        return None
    from atf.adapters.channels.sms import SmsChannel

    token = await platform_secret(settings, database, settings.twilio_auth_token, "twilio.auth-token")
    with _of_settings("ATF_TWILIO_"):
        return SmsChannel(
            settings.twilio_account_sid, token or "", settings.twilio_sender or "", base_url=settings.twilio_url
        )


def _apprise(allowed: OutgoingAddresses) -> Channel | None:
    if find_spec("apprise") is None:
        return None
    from atf.adapters.channels.apprise import AppriseChannel

    return AppriseChannel(allowed=allowed)


@contextmanager
def _of_settings(prefix: str) -> Iterator[None]:
    """Let an error say with what the names of the settings begin that it is about."""
    try:
        yield
    except ConfigurationError as exc:
        raise ConfigurationError(f"{prefix}*: {exc}") from exc


def build_senders(
    settings: Settings,
    database: Database,
    channels: Sequence[Channel],
    desk: Desk,
    listener: Listener,
    progress: Progress,
) -> list[ChannelSender]:
    """Return a sender a channel, each with a lease of its own, so that none holds up another."""
    policy = DeliveryPolicy(
        timeout=timedelta(seconds=settings.notification_timeout_seconds),
        retries=settings.notification_retries,
        batch_size=settings.notification_batch_size,
    )
    return [
        ChannelSender(
            channel,
            desk,
            Lease(
                PostgresLeases(database),
                name=f"notifier-{channel.name}",
                types=[f"channel:{channel.name}"],
                length=timedelta(seconds=settings.worker_lease_seconds),
            ),
            listener.branch(),
            policy=policy,
            progress=progress,
        )
        for channel in channels
    ]
