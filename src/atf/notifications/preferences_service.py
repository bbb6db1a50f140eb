"""PreferencesService: what users wish of their messages, checked, and a message to try it with."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from atf.errors import InvalidInput, NotFound, shown
from atf.notifications.message import TEST, OutgoingMessage, Priority
from atf.notifications.notification_job import MessageStore
from atf.notifications.preferences import (
    Address,
    Preferences,
    Unreachable,
    parse_digest,
    parse_fallback,
    parse_language,
    parse_route,
    parse_timezone,
)

CHANNELS: Final = ("inbox", "console", "telegram", "email", "sms", "webhook", "apprise", "web")
"""The channels that a message can go to; web is the inbox as a browser shows it."""
_PHONE: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_URL: Final = re.compile(r"https?://[^\s/?#]{1,300}[^\s]{0,1500}")
_ADDRESSES: Final = {
    "sms": (_PHONE, "a telephone number with its country such as +491701234567"),
    "webhook": (_URL, "a URL such as https://example.org/atf"),
}


class PreferenceStore(Protocol):
    """Where wishes are stored."""

    async def load(self, user_id: int) -> Preferences:
        """Return what a user wishes."""
        ...

    async def change(self, user_id: int, **changes: Any) -> Preferences:
        """Store some wishes, by the names of ``Preferences``; what is held for a digest is decided anew."""
        ...

    async def set_route(self, user_id: int, notification_type: str, channel: str, *, is_on: bool) -> None:
        """Store whether a type of messages goes to a channel."""
        ...

    async def clear_routes(self, user_id: int) -> None:
        """Forget all that was decided about channels."""
        ...


class AddressStore(Protocol):
    """Where addresses are stored."""

    async def set_address(self, user_id: int, channel: str, address: str) -> None:
        """Store where a user is reached on a channel; whether that works is to be found out anew."""
        ...

    async def clear_address(self, user_id: int, channel: str) -> bool:
        """Forget where a user is reached on a channel; return whether there was anything."""
        ...

    async def addresses_of(self, user_id: int) -> Sequence[Address]:
        """Return where a user is reached."""
        ...

    async def unreachable(self, user_id: int) -> Sequence[Unreachable]:
        """Return on which channels nothing reaches a user any more."""
        ...


@dataclass(frozen=True, slots=True)
class NotificationSettings:
    """What a user wishes, where the user is reached, and where not any more."""

    preferences: Preferences
    addresses: Sequence[Address]
    unreachable: Sequence[Unreachable]


class PreferencesService:
    """Shows and changes wishes; ``languages``: those that are installed."""

    def __init__(
        self,
        store: PreferenceStore,
        addresses: AddressStore,
        outbox: MessageStore,
        languages: Callable[[], Sequence[str]],
    ) -> None:
        self._store = store
        self._addresses = addresses
        self._outbox = outbox
        self._languages = languages

    async def settings(self, user_id: int) -> NotificationSettings:
        """Return what a user wishes, with the addresses."""
        return NotificationSettings(
            await self._store.load(user_id),
            await self._addresses.addresses_of(user_id),
            await self._addresses.unreachable(user_id),
        )

    async def change(
        self,
        user_id: int,
        *,
        language: str | None = None,
        timezone: str | None = None,
        digest: str | None = None,
        fallback: str | None = None,
    ) -> Preferences:
        """Change what is given, in words; None leaves it as it is. Errors: InvalidInput that names the field."""
        changes: dict[str, Any] = {}
        if language is not None:
            changes["language"] = parse_language(language, self._languages())
        if timezone is not None:
            changes["timezone"] = parse_timezone(timezone)
        if digest is not None:
            changes["digest"] = parse_digest(digest)
        if fallback is not None:
            changes["fallback"] = _known(parse_fallback(fallback), "fallback")
        return await self._store.change(user_id, **changes) if changes else await self._store.load(user_id)

    async def set_route(self, user_id: int, route: str) -> None:
        """Decide where a type of messages goes, as by ``report:telegram=off``. Errors: InvalidInput."""
        (notification_type, channel), is_on = known_route(route)
        await self._store.set_route(user_id, notification_type, channel, is_on=is_on)

    async def clear_routes(self, user_id: int) -> None:
        """Let all types go where they go by default."""
        await self._store.clear_routes(user_id)

    async def set_address(self, user_id: int, channel: str, address: str) -> None:
        """Say where a user is reached on a channel whose addresses need no proof. Errors: InvalidInput."""
        if channel not in _ADDRESSES:
            raise InvalidInput(
                f"must be of {', '.join(_ADDRESSES)}, got {shown(channel)}; telegram and email are linked by the "
                "bot, where the address is proved: /start",
                field="channel",
            )
        pattern, example = _ADDRESSES[channel]
        if not pattern.fullmatch(address):
            raise InvalidInput(f"must be {example}, got {shown(address)}", field="address")
        await self._addresses.set_address(user_id, channel, address)

    async def clear_address(self, user_id: int, channel: str) -> None:
        """Forget where a user is reached on a channel. Errors: NotFound."""
        if not await self._addresses.clear_address(user_id, channel):
            raise NotFound(f"you have no address for {shown(channel)}")

    async def send_test(self, user_id: int, channel: str) -> None:
        """Send a message to try a channel with, whatever the user wishes of it. Errors: InvalidInput."""
        _known(channel, "channel")
        message = OutgoingMessage(
            user_id=user_id,
            notification_type=TEST,
            title="Test",
            body="This is how messages of ATF reach you here.",
            dedup_key=f"{TEST}:{uuid.uuid4()}",
            channels=(channel,),
            priority=Priority.URGENT,
        )
        await self._outbox.add([message])


def known_route(route: str) -> tuple[tuple[str, str], bool]:
    """Return type, channel and switch of a route such as ``report:telegram=off``. Errors: InvalidInput."""
    (notification_type, channel), is_on = parse_route(route)
    _known(channel, "route")
    return (notification_type, channel), is_on


def _known(channel: str | None, field: str) -> str | None:
    if channel is not None and channel not in CHANNELS:
        raise InvalidInput(f"must name a channel of {', '.join(CHANNELS)}, got {shown(channel)}", field=field)
    return channel
