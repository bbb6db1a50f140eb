"""What a user wants of messages: language, time zone, digests, and which channels for which types.

Pure. Which languages are installed, which channels a user has and when it is now are told by the caller.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from atf.errors import InvalidInput
from atf.notifications.message import ACTION, CODE, TEST
from atf.schedules.zone_timeline import CHUNK_BITS, Stretch, load_zone, stretches

INBOX: Final = "inbox"
"""The channel that every user has and nobody can switch off: what was told can be read there."""
PERSONAL_CHANNELS: Final = ("telegram",)
"""What a message goes to beside the inbox, if nobody has decided anything."""
_UNROUTED: Final = (ACTION, CODE, TEST)
EVERY_TYPE: Final = "*"
SHORTEST_DIGEST: Final = timedelta(minutes=5)
LONGEST_DIGEST: Final = timedelta(days=1)

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_ROUTE: Final = re.compile(r"\s*(?P<type>\S+?)\s*:\s*(?P<channel>\S+?)\s*=\s*(?P<switch>\S+)\s*")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class Preferences:
    """A user's wishes; what is not said is as the defaults are.

    ``digest``: the time between digests of what is not urgent; None: each message at once. ``fallback``: the
    channel for what another one cannot deliver. ``routes``: whether a type, or ``*``, goes to a channel.
    """

    language: str = "en"
    timezone: str = "UTC"
    digest: timedelta | None = None
    fallback: str | None = None
    routes: Mapping[tuple[str, str], bool] = field(default_factory=dict)

    def channels_for(
        self, notification_type: str, asked: tuple[str, ...], available: frozenset[str]
    ) -> tuple[str, ...]:
        """Return where a message goes; never nowhere.

        What it asks for is kept, available or not, but for what the user has switched off. If it asks for
        nothing: the inbox, and of the available channels those switched on for the type, else those switched
        on for every type, else the personal ones.
        What an alert makes happen is no message: it goes where it was sent.
        """
        if notification_type in _UNROUTED:
            return asked
        wanted = asked or (INBOX, *self._switched_on(notification_type, available))
        kept = (channel for channel in wanted if self._is_on(notification_type, channel) is not False)
        return tuple(dict.fromkeys(kept)) or (INBOX,)

    def _switched_on(self, notification_type: str, available: frozenset[str]) -> list[str]:
        for name in (notification_type, EVERY_TYPE):
            found = [channel for channel in sorted(available) if self.routes.get((name, channel))]
            if found:
                return found
        return [channel for channel in PERSONAL_CHANNELS if channel in available]

    def _is_on(self, notification_type: str, channel: str) -> bool | None:
        """Return what was decided for a type or else for every one; None: nothing."""
        if channel == INBOX:
            return True
        decided = self.routes.get((notification_type, channel))
        return self.routes.get((EVERY_TYPE, channel)) if decided is None else decided


def parse_route(text: str) -> tuple[tuple[str, str], bool]:
    """Return the type or ``*``, the channel, and whether it is on, of a text such as ``report:telegram=off``.

    Errors: InvalidInput(field="route").
    """
    found = _ROUTE.fullmatch(text)
    if found is None or found["switch"] not in ("on", "off"):
        raise InvalidInput(
            f"must be TYPE:CHANNEL=on or TYPE:CHANNEL=off, with * for every type, got '{text}'", field="route"
        )
    if found["type"] != EVERY_TYPE:
        _require_name(found["type"], "type", "route")
    _require_name(found["channel"], "channel", "route")
    is_on = found["switch"] == "on"
    if found["channel"] == INBOX and not is_on:
        raise InvalidInput(
            "the inbox cannot be switched off: what was told must be found somewhere", field="route"
        )
    return (found["type"], found["channel"]), is_on


def parse_language(text: str, installed: Collection[str]) -> str:
    """Return the installed language that is meant, in whatever case it is given.

    Errors: InvalidInput(field="language").
    """
    wanted = text.strip().replace("_", "-").lower()
    for language in installed:
        if language.lower() == wanted:
            return language
    raise InvalidInput(f"must be one of {', '.join(sorted(installed))}, got '{text}'", field="language")


def parse_timezone(text: str) -> str:
    """Return the name of a zone that is known here. Errors: InvalidInput(field="timezone")."""
    return load_zone(text.strip()).key


def parse_digest(text: str) -> timedelta | None:
    """Return the time between digests of minutes such as ``30``, or None of ``off``.

    Errors: InvalidInput(field="digest").
    """
    given = text.strip()
    if given == "off":
        return None
    every = timedelta(minutes=int(given)) if re.fullmatch(r"[0-9]{1,6}", given) else timedelta(0)
    if not SHORTEST_DIGEST <= every <= LONGEST_DIGEST:
        raise InvalidInput(f"must be minutes from 5 to 1440, or off, got '{text}'", field="digest")
    return every


def parse_fallback(text: str) -> str | None:
    """Return the name of a channel, or None of ``none``. Errors: InvalidInput(field="fallback")."""
    given = text.strip()
    if given == "none":
        return None
    _require_name(given, "channel", "fallback")
    return given


def next_digest_at(every: timedelta, now: datetime, timezone: str) -> datetime:
    """Return the first instant after ``now`` at which the local clock shows a multiple of ``every``.

    Multiples are counted from midnight and begin anew there. One that the clock leaves out is the first instant
    after the gap; one that comes twice counts twice, so that nobody waits an hour longer.

    Units:  ``every`` is of whole minutes, a day at most.
    Time:   ``now`` is aware; the answer is UTC, of whole seconds.
    Errors: InvalidInput if the time zone is not known here.
    """
    after, step = (now - _EPOCH) // _SECOND, every // _SECOND
    reached: int | None = None
    for stretch in _stretches_from(timezone, after):
        first = max(stretch.start, after + 1)
        # A multiple between what the clock had reached and where it goes on was left out; at once, then.
        clock = first + stretch.offset if reached is None else min(reached, first + stretch.offset)
        found = max(first, _multiple(clock, step) - stretch.offset)
        if found < stretch.end:
            return _EPOCH + timedelta(seconds=found)
        reached = stretch.local_end
    raise AssertionError("two pieces of the timeline hold more than the day after an instant of the first")


def _stretches_from(timezone: str, instant: int) -> Iterator[Stretch]:
    """Yield the stretches that end after an instant, each beginning where the one before it ends."""
    zone, chunk, end = load_zone(timezone), instant >> CHUNK_BITS, instant
    for stretch in (*stretches(zone, chunk), *stretches(zone, chunk + 1)):
        if stretch.end > end:
            yield Stretch(max(stretch.start, end), stretch.end, stretch.offset, stretch.reached)
            end = stretch.end


def _multiple(clock: int, step: int) -> int:
    """Return the first multiple, or the next midnight, that is not before a local time. Units: seconds."""
    midnight = clock // _DAY * _DAY
    return min(midnight + -((midnight - clock) // step) * step, midnight + _DAY)


def _require_name(text: str, what: str, name: str) -> None:
    if _NAME.fullmatch(text) is None:
        raise InvalidInput(f"'{text}' is no name of a {what}: small letters, digits, _ and -", field=name)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a user is reached on a channel; verified if the user has proved it, as by a code."""

    channel: str
    address: str
    is_verified: bool


@dataclass(frozen=True, slots=True)
class Unreachable:
    """That nothing reaches a user on a channel any more, since when and why."""

    channel: str
    since: datetime
    reason: str
