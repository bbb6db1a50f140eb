"""What there is on the local Telegram, apart from the network: a bot, people, chats, files, what was done."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final, TypeVar

from atf.testing.telegram_api.changes import PATIENCE, Changes
from atf.testing.telegram_api.refusals import unauthorized
from atf.testing.telegram_api.stored_files import FileStore
from atf.testing.telegram_api.updates import UpdateQueue
from atf.testing.telegram_api.webhook import Webhook
from atf.testing.telegram_chats import Chat
from atf.testing.telegram_limits import LimitMeter, TelegramLimits, Violation
from atf.testing.telegram_messages import AcceptedCall, CallbackQuery, Message, Person, RefusedCall
from atf.testing.telegram_payloads import ChatKind, bot_document

T = TypeVar("T")
TOKEN: Final = "123456:fake-token"  # noqa: S105 - opens nothing but the fake
_FIRST_GROUP: Final = 400_000_001
_FIRST_SUPERGROUP: Final = 1_000_400_000_001
_FIRST_PERSON: Final = 111_000_111
_LAST_REFUSED: Final = 3
_QUERY_LIFETIME: Final = timedelta(seconds=15)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class TelegramWorld:
    """One bot and all it can reach.

    ``monotonic`` (seconds) is the clock of limits and of queries that grow old, ``calendar`` that of dates.
    ``reads_all``: the bot of a group sees all messages, as with its privacy mode off. ``query_lifetime``: how
    long the press of a button can be answered. ``commands`` are by scope (as JSON) and language.
    ``requests`` counts all by method; ``accepted`` and ``refused`` are in order.
    """

    def __init__(
        self,
        token: str = TOKEN,
        *,
        limits: TelegramLimits | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        calendar: Callable[[], datetime] = _utc_now,
        username: str = "ExampleLoggerBot",
    ) -> None:
        self.token = token
        self.monotonic = monotonic
        self.bot: Mapping[str, Any] = bot_document(_bot_id(token), username, "Example-logger")
        self.reads_all = False
        self.query_lifetime = _QUERY_LIFETIME
        self.changes = Changes()
        self.changes.explain = self._last_words
        self.files = FileStore()
        self.updates = UpdateQueue(self.changes)
        self.webhook = Webhook(self.updates, self.changes, calendar)
        self.meter = LimitMeter(limits or TelegramLimits(), monotonic)
        self.chats: dict[int, Chat] = {}
        self.queries: dict[str, CallbackQuery] = {}
        self.commands: dict[tuple[str, str], list[dict[str, str]]] = {}
        self.requests: Counter[str] = Counter()
        self.accepted: list[AcceptedCall] = []
        self.refused: list[RefusedCall] = []
        self.is_revoked = False
        self.is_logged_out = False
        self.started_at = monotonic()
        self._calendar = calendar
        self._message_ids = count(1)
        self._query_ids = count(4_382_000_000_000_001)
        self._people = count(_FIRST_PERSON)
        self._groups = count(_FIRST_GROUP)
        self._supergroups = count(_FIRST_SUPERGROUP)

    # --- people and chats ---

    def person(
        self,
        first_name: str = "Alice",
        *,
        user_id: int | None = None,
        last_name: str | None = None,
        username: str | None = None,
        language_code: str | None = "en",
    ) -> Person:
        """Return somebody with an account, who knows no bot yet."""
        return Person(user_id or next(self._people), first_name, last_name, username, language_code)

    def private_chat(
        self,
        *,
        user_id: int | None = None,
        first_name: str = "Alice",
        last_name: str | None = None,
        username: str | None = None,
        language_code: str | None = "en",
        is_started: bool = True,
    ) -> Chat:
        """Open a chat with a person; one with ``is_started`` False never wrote, and the bot may not begin."""
        person = self.person(
            first_name,
            user_id=user_id,
            last_name=last_name,
            username=username,
            language_code=language_code,
        )
        chat = self._add(Chat(self, person.user_id, ChatKind.PRIVATE, [person]))
        chat.is_started = is_started
        return chat

    def group(
        self,
        title: str = "Trading desk",
        *,
        kind: ChatKind | str = ChatKind.GROUP,
        members: Sequence[Person] = (),
        chat_id: int | None = None,
    ) -> Chat:
        """Open a ``group`` or ``supergroup`` that the bot is in; without members, one person is made."""
        kind = ChatKind(kind)
        numbers = self._groups if kind is ChatKind.GROUP else self._supergroups
        return self._add(Chat(self, chat_id or -next(numbers), kind, members or [self.person()], title))

    async def upgrade(self, group: Chat) -> Chat:
        """Make a supergroup of a group and return it; the old one is at an end. The bot is told in both."""
        supergroup = self.group(group.title, kind=ChatKind.SUPERGROUP, members=group.members)
        await group.upgrade_to(supergroup)
        return supergroup

    def _add(self, chat: Chat) -> Chat:
        self.chats[chat.chat_id] = chat
        self.changes.tell()
        return chat

    # --- what came of it ---

    @property
    def violations(self) -> list[Violation]:
        """The messages that were one too many, oldest first."""
        return self.meter.violations

    async def until(
        self, condition: Callable[[], T | None], within: timedelta = PATIENCE, *, what: str = ""
    ) -> T:
        """Return what the condition returns as soon as that is true. Errors: AssertionError after this long."""
        return await self.changes.until(condition, within, what or "for a condition of the local Telegram")

    async def until_requested(self, method: str, times: int = 1, within: timedelta = PATIENCE) -> None:
        """Wait until a method was called so often, whatever came of it. Errors: AssertionError."""
        await self.until(lambda: self.requests[method] >= times, within, what=f"for {times} of {method}")

    async def until_polled(self, within: timedelta = PATIENCE) -> None:
        """Wait until a long poll waits for updates. Errors: AssertionError after this long."""
        await self.until(lambda: self.updates.is_polled, within, what="for a long poll")

    def _last_words(self) -> str:
        refused = [f"{one.method}: {one.code} {one.description}" for one in self.refused[-_LAST_REFUSED:]]
        return f"; last refused: {'; '.join(refused)}" if refused else ""

    # --- what happens ---

    async def send_update(self, update: Mapping[str, Any]) -> int | None:
        """Give the bot any update; ``update_id`` may be left out. Returns its number."""
        return self.put(update)

    def revoke_token(self) -> None:
        """Answer 401 to everything from now on, as after BotFather made a new token."""
        self.is_revoked = True
        self.updates.end_poll(unauthorized())

    def restore_token(self) -> None:
        """Take the token again."""
        self.is_revoked = False

    def log_in(self) -> None:
        """Take calls again after ``logOut``."""
        self.is_logged_out = False

    def expire_queries(self) -> None:
        """Let all presses of buttons so far be too old to be answered."""
        self.queries.clear()

    # --- for chats and methods ---

    @property
    def now(self) -> datetime:
        """The time by the calendar."""
        return self._calendar()

    def next_message_id(self) -> int:
        """Return a number for a message."""
        return next(self._message_ids)

    def put(self, update: Mapping[str, Any]) -> int | None:
        """Add an update for the bot and return its number; None for a kind that it did not ask for."""
        return self.updates.put(update)

    def new_query(self, person: Person, message: Message, data: str) -> CallbackQuery:
        """Keep the press of a button."""
        query = CallbackQuery(str(next(self._query_ids)), person, message, data, self.monotonic())
        self.queries[query.query_id] = query
        return query

    def accept(self, call: AcceptedCall) -> None:
        """Keep a call that had its effect."""
        self.accepted.append(call)
        self.changes.tell()


def _bot_id(token: str) -> int:
    number = token.partition(":")[0]
    if not number.isdecimal():
        raise ValueError("a token begins with the number of its bot and a colon, such as 123456:fake-token")
    return int(number)
