"""A time zone as the stretches of real time in which its offset does not change.

Pure. ``zoneinfo`` tells the offset at an instant and not where the offset changes, so the changes are found
by probing; cron arithmetic then needs no ``fold`` at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from atf.errors import InvalidCron

CHUNK_BITS: Final = 25
"""Timelines are made in pieces of 2**25 seconds, about 388 days."""

MARGIN: Final = 2 * 86_400
"""Seconds; more than any offset and more than any change of an offset, the largest being one day."""

# The closest two changes of one zone are 95 hours apart (Africa/Freetown 1939), so a step holds at most one.
_PROBE_STEP: Final = 2 * 86_400
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
# Found on some machines in the zone folder, and another zone on each of them, or one with leap seconds.
_MACHINE_ZONES: Final = ("localtime", "posixrules", "right/", "posix/")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Real time ``start <= t < end`` in which local time is ``t + offset``.

    Units: seconds; ``start`` and ``end`` since 1970 UTC, ``local_*`` on the local clock since its 1970.
    ``reached`` is the latest local time that any earlier stretch had come to. It is before ``local_start`` if
    the clock jumped forward, and after it if the clock was set back.
    """

    start: int
    end: int
    offset: int
    reached: int

    @property
    def local_start(self) -> int:
        """What the local clock shows at ``start``."""
        return self.start + self.offset

    @property
    def local_end(self) -> int:
        """What the local clock would show at ``end`` if the offset stayed."""
        return self.end + self.offset


@lru_cache(maxsize=1024)
def load_zone(name: str) -> ZoneInfo:
    """Return the zone of an IANA name.

    Errors: InvalidCron(field="timezone") if there is none.
    """
    try:
        if name.startswith(_MACHINE_ZONES):
            raise ValueError(name)
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as exc:
        raise InvalidCron(
            f"unknown time zone '{name}'; use an IANA name such as America/New_York", field="timezone"
        ) from exc


@lru_cache(maxsize=4096)
def stretches(zone: ZoneInfo, chunk: int) -> tuple[Stretch, ...]:
    """Return the stretches that touch one piece of the timeline, oldest first.

    Shape: they follow one another without a hole and cover the whole piece.
    """
    first, end = chunk << CHUNK_BITS, (chunk + 1) << CHUNK_BITS
    # Starts early, so that a clock set back just before the piece is known in ``reached``.
    changes = [first - MARGIN, *_changes(zone, first - MARGIN, end), end]
    found: list[Stretch] = []
    reached = changes[0] + _offset(zone, changes[0])
    for start, stop in pairwise(changes):
        stretch = Stretch(start, stop, _offset(zone, start), reached)
        reached = max(reached, stretch.local_end)
        found.append(stretch)
    return tuple(stretch for stretch in found if stretch.end > first)


def first_instant(zone: ZoneInfo, local: datetime) -> datetime:
    """Return the first instant at which a zone's clock has come to a local time.

    Units: ``local`` is naive and of whole seconds. Inside a gap it is the first instant after the gap; of a time
           that comes twice it is the first occurrence.
    Time:  aware UTC.
    """
    wanted = (local.replace(tzinfo=UTC) - _EPOCH) // _SECOND
    chunk = (wanted - MARGIN) >> CHUNK_BITS  # the second of two pieces surely holds it
    for stretch in (*stretches(zone, chunk), *stretches(zone, chunk + 1)):
        if stretch.local_end > wanted:
            return _EPOCH + timedelta(seconds=max(stretch.start, wanted - stretch.offset))
    raise AssertionError("a piece of a year holds what is two days ahead of its begin")


def _changes(zone: ZoneInfo, start: int, end: int) -> Iterator[int]:
    """Yield the instants in ``start < t < end`` at which the offset becomes another."""
    before = start
    for probe in range(start + _PROBE_STEP, end + _PROBE_STEP, _PROBE_STEP):
        probe = min(probe, end - 1)
        if _offset(zone, probe) != _offset(zone, before):
            yield _bisect(zone, before, probe)
        before = probe


def _bisect(zone: ZoneInfo, before: int, after: int) -> int:
    """Return the first second with the offset of ``after``; the offset changes once between the two."""
    old = _offset(zone, before)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == old:
            before = middle
        else:
            after = middle
    return after


def _offset(zone: ZoneInfo, instant: int) -> int:
    local = (_EPOCH + timedelta(seconds=instant)).astimezone(zone)
    return (local.utcoffset() or timedelta()) // _SECOND
