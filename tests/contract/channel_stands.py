"""Each channel with a fake of what stands behind it, in one shape, so that one suite fits all."""

from __future__ import annotations

import asyncio
import io
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from atf.adapters.channels.apprise import AppriseChannel
from atf.adapters.channels.bot import BotChannel
from atf.adapters.channels.console import ConsoleChannel
from atf.adapters.channels.email import EmailChannel
from atf.adapters.channels.inbox import InboxChannel
from atf.adapters.channels.letter_text import clean, cut, headed
from atf.adapters.channels.sms import SmsChannel
from atf.adapters.channels.smtp_connections import EmailSettings, SmtpSecurity
from atf.adapters.channels.telegram import TelegramChannel
from atf.adapters.channels.webhook import WebhookChannel
from atf.alerts.bot_command import BotCommand
from atf.errors import DatabaseUnavailable, PermanentFailure, TemporaryFailure
from atf.notifications.channel import (
    Channel,
    ChannelThrottled,
    ChannelUnavailable,
    Letter,
    Recipient,
    RecipientMoved,
    RecipientThrottled,
    RecipientUnreachable,
)
from atf.security.outgoing_address import OutgoingAddresses
from atf.testing.apprise_target import PASSWORD as APPRISE_PASSWORD
from atf.testing.apprise_target import LocalAppriseTarget, local_apprise_target
from atf.testing.clocks import FakeClock
from atf.testing.smtp import LocalSmtp, Stage, local_smtp
from atf.testing.telegram import TOKEN, Fault, LocalTelegram, TelegramLimits, local_telegram
from atf.testing.telegram_chats import Chat
from atf.testing.twilio import ACCOUNT, AUTH_TOKEN, LocalTwilio, local_twilio
from atf.testing.webhook_receiver import SECRET, LocalReceiver, local_receiver

LATE = "2027-03-01T11:00:00+00:00"
NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
LOCAL = OutgoingAddresses.parse("127.0.0.1")
LETTER = Letter(Recipient(2), "7:abc:1", "alert", "Alert breakout", "AAPL is above 150")


@dataclass
class Failure:
    """One way in which a send fails: how it comes about, what the channel must say, and when to come again."""

    name: str
    provoke: Callable[[Any], Awaitable[None] | None]
    error: type[Exception]
    retry_after: float | None = None


@dataclass
class Stand(ABC):
    """A channel and its fake. ``letter`` is one that arrives."""

    name: ClassVar[str]
    takes_text: ClassVar[bool] = True
    takes_files: ClassVar[bool] = False
    secrets: ClassVar[tuple[str, ...]] = ()
    failures: ClassVar[tuple[Failure, ...]] = ()
    channel: Channel
    letter: Letter

    @classmethod
    @abstractmethod
    def open(cls) -> Any:
        """Return a context manager that gives a stand."""

    @abstractmethod
    def seen(self) -> list[str]:
        """What was received, as a reader sees it, oldest first."""

    def expected(self, letter: Letter) -> str:
        """What a reader should see of a letter, its parts joined."""
        return headed(letter.title, letter.text)

    def keys(self) -> set[str]:
        """The dedup keys of what was received, as far as the fake can tell; else the texts."""
        return set(self.seen())

    def files(self) -> dict[str, bytes]:
        """The files that were received."""
        return {}

    def connections(self) -> int:
        """How many connections the channel keeps open."""
        return 0


@dataclass
class RemoteStand(Stand):
    """A channel to another machine, which may be away or silent."""

    @abstractmethod
    async def hang(self) -> None:
        """Let the fake answer nobody."""

    @abstractmethod
    async def until_asked(self) -> None:
        """Wait until the fake was asked for something."""

    @abstractmethod
    async def behave(self) -> None:
        """Let the fake answer rightly again."""

    @abstractmethod
    def unreachable(self) -> tuple[Channel, Letter]:
        """A channel whose other side refuses connections."""


class HttpFake(Protocol):
    """A server that can fall silent, and knows when it was first asked."""

    is_silent: bool
    requested: asyncio.Event

    def behave(self) -> None:
        """Answer rightly again."""


FakeT = TypeVar("FakeT", bound=HttpFake)


@dataclass
class HttpStand(RemoteStand, Generic[FakeT]):
    """A channel to a server that falls silent when it is told to."""

    fake: FakeT = field(init=False)

    async def hang(self) -> None:
        self.fake.is_silent = True

    async def until_asked(self) -> None:
        await self.fake.requested.wait()

    async def behave(self) -> None:
        self.fake.behave()


def closed_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
    return port


# --- those that stay here ---


@dataclass
class ConsoleStand(Stand):
    name = "console"
    stream: io.StringIO = field(default_factory=io.StringIO)

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Stand]:
        stream = io.StringIO()
        yield cls(ConsoleChannel(stream), LETTER, stream)

    def seen(self) -> list[str]:
        return [line.partition("] ")[2] for line in self.stream.getvalue().split("\n")[:-1]]

    def keys(self) -> set[str]:
        return {line.partition("]")[0].removeprefix("[") for line in self.stream.getvalue().split("\n")[:-1]}

    def expected(self, letter: Letter) -> str:
        line = " ".join(f"{letter.title}: {letter.text}".split())
        return "".join(f"\\x{ord(one):02x}" if ord(one) < 32 or 127 <= ord(one) < 160 else one for one in line)


@dataclass
class InboxStand(Stand):
    name = "inbox"
    takes_text = False
    shown: set[tuple[int, str]] = field(default_factory=set)
    failure: Exception | None = None
    failures = (
        Failure(
            "no database",
            lambda s: setattr(s, "failure", DatabaseUnavailable("away")),
            DatabaseUnavailable,
        ),
        Failure("unknown", lambda s: setattr(s, "failure", PermanentFailure("unknown")), PermanentFailure),
    )

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Stand]:
        stand = cls(ConsoleChannel(), LETTER)
        stand.channel = InboxChannel(stand)
        yield stand

    async def put_in_inbox(self, user_id: int, dedup_key: str) -> None:
        if self.failure is not None:
            raise self.failure
        self.shown.add((user_id, dedup_key))

    def seen(self) -> list[str]:
        return [key for _, key in self.shown]


@dataclass
class BotStand(Stand):
    name = "bot"
    takes_text = False
    written: dict[str, BotCommand] = field(default_factory=dict)
    failures = (
        Failure(
            "late",
            lambda s: setattr(s, "letter", replace(s.letter, payload={**s.letter.payload, "late_at": LATE})),
            PermanentFailure,
        ),
    )

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Stand]:
        payload = {"alert_id": 7, "bot_id": 3, "command": "start", "late_at": None, "body": {}}
        stand = cls(ConsoleChannel(), replace(LETTER, notification_type="alert_action", payload=payload))
        stand.channel = BotChannel(stand, FakeClock(NOON))
        yield stand

    async def add(self, command: BotCommand) -> None:
        self.written.setdefault(command.dedup_key, command)

    def seen(self) -> list[str]:
        return list(self.written)


# --- those that go to a provider ---


def _outage(fault: Fault) -> Failure:
    return Failure(fault.name.lower(), lambda s: s.fake.misbehave(fault, times=1), ChannelUnavailable)


@dataclass
class TelegramStand(RemoteStand):
    name = "telegram"
    takes_files = True
    secrets = (TOKEN, TOKEN.partition(":")[2])
    fake: LocalTelegram = field(init=False)
    chat: Chat = field(init=False)
    failures = (
        Failure(
            "throttled",
            lambda s: s.fake.misbehave(Fault.THROTTLED, times=1, retry_after=7),
            RecipientThrottled,
            7,
        ),
        _outage(Fault.BROKEN),
        _outage(Fault.BAD_GATEWAY),
        _outage(Fault.GATEWAY_TIMEOUT),
        _outage(Fault.CUT),
        _outage(Fault.HTML),
        _outage(Fault.TRUNCATED),
        _outage(Fault.ACCEPTED_THEN_CUT),
        _outage(Fault.ACCEPTED_THEN_BAD_GATEWAY),
        Failure("revoked token", lambda s: s.fake.revoke_token(), ChannelUnavailable),
        Failure("blocked", lambda s: s.chat.block(), RecipientUnreachable),
        Failure("deactivated", lambda s: s.chat.deactivate(), RecipientUnreachable),
        Failure("unknown chat", lambda s: s.readdress("999"), RecipientUnreachable),
        Failure("upgraded group", lambda s: s.upgrade(), RecipientMoved),
        Failure("put out of a group", lambda s: s.put_out(), RecipientUnreachable),
    )

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Stand]:
        async with local_telegram(limits=TelegramLimits.off()) as fake:
            chat = fake.private_chat()
            channel = TelegramChannel(TOKEN, base_url=fake.url, pause=timedelta(0))
            stand = cls(channel, replace(LETTER, recipient=Recipient(2, str(chat.chat_id))))
            stand.fake, stand.chat = fake, chat
            yield stand

    def readdress(self, address: str) -> None:
        self.letter = replace(self.letter, recipient=Recipient(2, address))

    async def upgrade(self) -> None:
        group = self.fake.group()
        self.readdress(str(group.chat_id))
        await self.fake.upgrade(group)

    async def put_out(self) -> None:
        group = self.fake.group()
        self.readdress(str(group.chat_id))
        await group.kick_bot()

    def connections(self) -> int:
        assert self.fake._runner is not None
        assert self.fake._runner.server is not None
        return len(self.fake._runner.server.connections)

    def seen(self) -> list[str]:
        return [call.text for call in self.fake.accepted]

    def files(self) -> dict[str, bytes]:
        kept = [file for one in self.chat.messages for file in (one.photo, one.document) if file is not None]
        return {file.name: file.content for file in kept}

    async def hang(self) -> None:
        self.fake.misbehave(Fault.SILENT)

    async def until_asked(self) -> None:
        await self.fake.until_requested("sendMessage")

    async def behave(self) -> None:
        self.fake.behave()

    def unreachable(self) -> tuple[Channel, Letter]:
        return TelegramChannel(TOKEN, base_url=f"http://127.0.0.1:{closed_port()}"), self.letter


@dataclass
class EmailStand(RemoteStand):
    name = "email"
    takes_files = True
    secrets = ("mail-pass-word",)
    fake: LocalSmtp = field(init=False)
    failures = (
        Failure("busy", lambda s: s.fake.refuse(Stage.RCPT, "450 busy", times=1), TemporaryFailure, 300),
        Failure("unknown", lambda s: s.fake.refuse(Stage.RCPT, "550 unknown"), RecipientUnreachable),
        Failure("spam", lambda s: s.fake.refuse(Stage.DATA, "554 spam"), PermanentFailure),
        Failure("going away", lambda s: s.fake.refuse(Stage.DATA, "421 bye"), ChannelUnavailable),
        Failure("hangs up", lambda s: setattr(s.fake, "cuts_before_answer", True), ChannelUnavailable),
        Failure("wrong password", lambda s: s.forget_password(), ChannelUnavailable),
    )

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Stand]:
        async with local_smtp(accounts={"atf": "mail-pass-word"}) as fake:
            channel = EmailChannel(cls.settings(fake.port))
            stand = cls(channel, replace(LETTER, recipient=Recipient(2, "ann@example.com")))
            stand.fake = fake
            yield stand

    @staticmethod
    def settings(port: int) -> EmailSettings:
        return EmailSettings(
            "127.0.0.1",
            port,
            "atf@example.com",
            security=SmtpSecurity.NONE,
            username="atf",
            password="mail-pass-word",
        )

    def forget_password(self) -> None:
        self.fake.change_password("atf", "another")

    def connections(self) -> int:
        return self.fake.open_connections

    def seen(self) -> list[str]:
        return [f"{one.message['Subject']}\n\n{one.text}" for one in self.fake.messages]

    def expected(self, letter: Letter) -> str:
        return f"{letter.title}\n\n{clean(letter.text)}".removesuffix("\n")

    def keys(self) -> set[str]:
        return {str(one.message["X-ATF-Dedup-Key"]) for one in self.fake.messages}

    def files(self) -> dict[str, bytes]:
        parts = [part for one in self.fake.messages for part in one.message.walk() if part.get_filename()]
        return {str(part.get_filename()): bytes(part.get_payload(decode=True) or b"") for part in parts}

    async def hang(self) -> None:
        self.fake.is_silent = True

    async def until_asked(self) -> None:
        await self.fake.until_received(1)

    async def behave(self) -> None:
        self.fake.behave()

    def unreachable(self) -> tuple[Channel, Letter]:
        return EmailChannel(self.settings(closed_port())), self.letter


@dataclass
class SmsStand(HttpStand[LocalTwilio]):
    name = "sms"
    secrets = (AUTH_TOKEN,)
    failures = (
        Failure("throttled", lambda s: s.fake.refuse(429, 20429, retry_after=9), ChannelThrottled, 9),
        Failure("no number", lambda s: s.fake.refuse(400, 21211), RecipientUnreachable),
        Failure("no mobile", lambda s: s.fake.refuse(400, 21614), RecipientUnreachable),
        Failure("stopped", lambda s: s.fake.refuse(400, 21610), RecipientUnreachable),
        Failure("broken", lambda s: s.fake.refuse(503, 20503), ChannelUnavailable),
        Failure("rejected", lambda s: s.fake.refuse(401, 20003), ChannelUnavailable),
        Failure("wrong sender", lambda s: s.fake.refuse(400, 21606), ChannelUnavailable),
        Failure("refused", lambda s: s.fake.refuse(400, 30007), PermanentFailure),
        Failure("page of a gateway", lambda s: s.show_page(502), ChannelUnavailable),
        Failure("page of a proxy", lambda s: s.show_page(403), ChannelUnavailable),
        Failure("page of somebody", lambda s: s.show_page(200), ChannelUnavailable),
        Failure("hangs up", lambda s: setattr(s.fake, "cuts_before_answer", True), ChannelUnavailable),
    )

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Stand]:
        async with local_twilio() as fake:
            channel = SmsChannel(ACCOUNT, AUTH_TOKEN, "+15550001", base_url=fake.url)
            stand = cls(channel, replace(LETTER, recipient=Recipient(2, "+15551234")))
            stand.fake = fake
            yield stand

    def show_page(self, status: int) -> None:
        self.fake.page, self.fake.page_status = "<html>", status

    def connections(self) -> int:
        return self.fake.connections

    def seen(self) -> list[str]:
        return [one.body for one in self.fake.messages]

    def expected(self, letter: Letter) -> str:
        return cut(headed(letter.title, letter.text), 1600)

    def unreachable(self) -> tuple[Channel, Letter]:
        base_url = f"http://127.0.0.1:{closed_port()}"
        return SmsChannel(ACCOUNT, AUTH_TOKEN, "+15550001", base_url=base_url), self.letter


# --- those that go to a machine of the recipient's ---


@dataclass
class WebhookStand(HttpStand[LocalReceiver]):
    name = "webhook"
    secrets = (SECRET, "path-secret", "query-secret")
    failures = (
        Failure("later", lambda s: s.answer(429, 8), TemporaryFailure, 8),
        Failure("broken", lambda s: s.answer(500), TemporaryFailure),
        Failure("gone", lambda s: s.answer(410), PermanentFailure),
        Failure("not signed", lambda s: setattr(s.fake, "secret", "another"), PermanentFailure),
        Failure("hangs up", lambda s: setattr(s.fake, "cuts_before_answer", True), TemporaryFailure),
    )

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Stand]:
        async with local_receiver() as fake:
            recipient = Recipient(2, fake.url, secret=SECRET)
            stand = cls(WebhookChannel(None, allowed=LOCAL), replace(LETTER, recipient=recipient))
            stand.fake = fake
            yield stand

    def answer(self, status: int, retry_after: int | None = None) -> None:
        self.fake.status, self.fake.retry_after = status, retry_after

    def seen(self) -> list[str]:
        return [f"{one.document['title']}\n\n{one.document['text']}" for one in self.fake.taken]

    def expected(self, letter: Letter) -> str:
        return f"{letter.title}\n\n{letter.text}"

    def keys(self) -> set[str]:
        return {one.headers["idempotency-key"] for one in self.fake.taken}

    def unreachable(self) -> tuple[Channel, Letter]:
        url = f"http://127.0.0.1:{closed_port()}/path-secret?key=query-secret"
        return WebhookChannel(None, allowed=LOCAL), replace(
            self.letter, recipient=Recipient(2, url, secret=SECRET)
        )


@dataclass
class AppriseStand(HttpStand[LocalAppriseTarget]):
    name = "apprise"
    takes_files = True
    secrets = (APPRISE_PASSWORD, "path-secret")
    failures = (
        Failure("broken", lambda s: setattr(s.fake, "status", 500), TemporaryFailure),
        Failure("redirect", lambda s: s.redirect(), TemporaryFailure),
        Failure("no such service", lambda s: s.readdress("nosuch://path-secret"), PermanentFailure),
        Failure("this machine", lambda s: s.readdress("syslog://path-secret"), PermanentFailure),
        Failure("a file", lambda s: s.readdress(f"{s.fake.url}?template=/etc/passwd"), PermanentFailure),
        Failure("nothing", lambda s: s.readdress(""), PermanentFailure),
        Failure("inside", lambda s: s.readdress("json://10.0.0.1/path-secret"), PermanentFailure),
    )

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Stand]:
        async with local_apprise_target() as fake:
            stand = cls(AppriseChannel(allowed=LOCAL), replace(LETTER, recipient=Recipient(2, secret=fake.url)))
            stand.fake = fake
            yield stand

    def readdress(self, url: str) -> None:
        self.letter = replace(self.letter, recipient=Recipient(2, secret=url))

    def redirect(self) -> None:
        self.fake.status, self.fake.location = 307, "/elsewhere"
        self.readdress(f"{self.fake.url}?redirect=yes")

    def seen(self) -> list[str]:
        return [f"{one.title}\n\n{one.text}" for one in self.fake.notes]

    def expected(self, letter: Letter) -> str:
        return f"{letter.title}\n\n{clean(letter.text).rstrip()}"

    def files(self) -> dict[str, bytes]:
        found: Mapping[str, bytes] = {}
        for note in self.fake.notes:
            found = {**found, **note.files}
        return dict(found)

    def unreachable(self) -> tuple[Channel, Letter]:
        url = f"json://ann:{APPRISE_PASSWORD}@127.0.0.1:{closed_port()}/path-secret"
        return AppriseChannel(allowed=LOCAL), replace(self.letter, recipient=Recipient(2, secret=url))


STANDS: tuple[type[Stand], ...] = (
    ConsoleStand,
    InboxStand,
    BotStand,
    TelegramStand,
    EmailStand,
    SmsStand,
    WebhookStand,
    AppriseStand,
)
REMOTE_STANDS = tuple(one for one in STANDS if issubclass(one, RemoteStand))
