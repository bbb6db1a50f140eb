"""Lanes: what one sender holds, in line by recipient; which letter goes next, and what goes together. Pure.

A recipient gets one letter at a time. Within a recipient and a priority the order is that of writing; between
them urgent goes first, then high before normal, unless the normal one has waited five minutes longer.

Time: seconds of any monotonic clock, but for ``created_at``.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from atf.notifications.channel import Recipient
from atf.notifications.message import Delivery, Priority
from atf.notifications.rate_limit import RateLimits

AGEING_SECONDS: Final = 300.0
_PATIENCE_SECONDS: Final = 5.0
"""If what waits for a recipient would take longer than this one by one, it goes together."""
_CROWD: Final = 50

Key = tuple[int, str]
Line = tuple[int, str, int]
"""User, lane and urgency: within a line the order is kept."""
Order = tuple[int, float, int]
Fitting = Callable[[Recipient, Sequence[Delivery]], int]
"""Returns how many of a recipient's deliveries, from the first one on, fit into one letter; at least one."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is sent as one letter."""

    key: Key
    recipient: Recipient
    deliveries: tuple[Delivery, ...]


@dataclass(slots=True)
class _Lane:
    key: Key
    recipient: Recipient
    lines: dict[int, deque[Delivery]] = field(default_factory=dict)
    is_busy: bool = False
    turn: int = 0
    """Counts its entries in the heaps, so that older ones are recognised."""

    def __len__(self) -> int:
        return sum(map(len, self.lines.values()))

    @property
    def first(self) -> Delivery:
        return min((line[0] for line in self.lines.values()), key=order_of)

    def take_line(self, urgency: int) -> list[Delivery]:
        return list(self.lines.pop(urgency, ()))


def line_of(delivery: Delivery) -> Line:
    """Return in which line a delivery stands."""
    return (delivery.user_id, delivery.lane, delivery.priority.urgency)


def order_of(delivery: Delivery) -> Order:
    """Return the place of a delivery among those of other recipients and priorities; the smallest goes first."""
    written = delivery.created_at.timestamp()
    urgency = delivery.priority.urgency
    if urgency == 0:
        return (0, written, delivery.id)
    return (1, written + (AGEING_SECONDS if delivery.priority is Priority.NORMAL else 0.0), delivery.id)


class Lanes:
    """What is claimed and not yet sent; ``rates`` are the channel's, as they go on when nothing is held."""

    def __init__(self, rates: RateLimits, fitting: Fitting) -> None:
        self._rates = rates
        self._fitting = fitting
        self._lanes: dict[Key, _Lane] = {}
        self._ready: list[tuple[Order, Key, int]] = []
        self._resting: list[tuple[float, Key, int]] = []

    def __len__(self) -> int:
        return sum(map(len, self._lanes.values()))

    @property
    def crowded(self) -> frozenset[tuple[int, int]]:
        """The users and urgencies of whom enough is held; more of the same would leave no room for others."""
        return frozenset(
            (key[0], urgency)
            for key, lane in self._lanes.items()
            for urgency, line in lane.lines.items()
            if len(line) >= _CROWD
        )

    def add(self, claimed: Iterable[tuple[Delivery, Recipient]], now: float) -> None:
        """Put deliveries in line, each behind those of its recipient and priority."""
        touched = {}
        for delivery, recipient in claimed:
            key = (delivery.user_id, delivery.lane)
            lane = self._lanes.setdefault(key, _Lane(key, recipient))
            lane.recipient = recipient
            lane.lines.setdefault(delivery.priority.urgency, deque()).append(delivery)
            touched[key] = lane
        for lane in touched.values():
            self._line_up(lane, now)

    def next(self, now: float, avoid: Collection[int] = ()) -> Parcel | None:
        """Take what goes next; None if nothing may go now. Deliveries to ``avoid`` begin only if no other may."""
        while self._resting and self._resting[0][0] <= now:
            _, key, turn = heapq.heappop(self._resting)
            lane = self._lanes.get(key)
            if lane is not None and lane.turn == turn and not lane.is_busy:
                self._line_up(lane, now)
        if self._rates.free_at() > now:
            return None
        found, avoided = None, []
        while self._ready and found is None:
            entry = heapq.heappop(self._ready)
            _, key, turn = entry
            lane = self._lanes.get(key)
            if lane is None or lane.turn != turn or lane.is_busy:
                continue
            if self._rates.recipient_free_at(lane.recipient) > now:  # another lane has the same recipient
                self._line_up(lane, now)
            elif lane.first.id in avoid:
                avoided.append(entry)
            else:
                found = lane
        if found is None and avoided:
            found = self._lanes[avoided.pop(0)[1]]
        for entry in avoided:
            heapq.heappush(self._ready, entry)
        return None if found is None else self._taken(found, now)

    def next_at(self) -> float | None:
        """Return when ``next`` may have something, None if that is for others to say."""
        if self._ready:
            return self._rates.free_at()
        return max(self._resting[0][0], self._rates.free_at()) if self._resting else None

    def finished(self, parcel: Parcel, now: float) -> None:
        """The recipient may get the next letter."""
        lane = self._lanes[parcel.key]
        lane.is_busy = False
        if lane.lines:
            self._line_up(lane, now)
        else:
            del self._lanes[parcel.key]

    def pause(self, parcel: Parcel, until: float, now: float) -> None:
        """Send nothing to the recipient before an instant."""
        self._rates.pause(parcel.recipient, until, now)

    def take_line(self, parcel: Parcel) -> list[Delivery]:
        """Take out what is in line behind a parcel, as it may not overtake it."""
        return self._lanes[parcel.key].take_line(parcel.deliveries[0].priority.urgency)

    def take_lane(self, parcel: Parcel) -> list[Delivery]:
        """Take out all that is held for a parcel's recipient, as it is elsewhere now."""
        lane = self._lanes[parcel.key]
        return [one for urgency in tuple(lane.lines) for one in lane.take_line(urgency)]

    def take_all(self) -> list[Delivery]:
        """Take out all that is held and not under way."""
        taken = []
        for lane in tuple(self._lanes.values()):
            taken += [one for urgency in tuple(lane.lines) for one in lane.take_line(urgency)]
            if not lane.is_busy:
                del self._lanes[lane.key]
        self._ready.clear()
        self._resting.clear()
        return taken

    def _line_up(self, lane: _Lane, now: float) -> None:
        if lane.is_busy:
            return
        lane.turn += 1
        free_at = self._rates.recipient_free_at(lane.recipient)
        if free_at > now:
            heapq.heappush(self._resting, (free_at, lane.key, lane.turn))
        else:
            heapq.heappush(self._ready, (order_of(lane.first), lane.key, lane.turn))

    def _taken(self, lane: _Lane, now: float) -> Parcel:
        urgency = lane.first.priority.urgency
        line = lane.lines[urgency]
        deliveries = tuple(line.popleft() for _ in range(self._together(lane, line)))
        if not line:
            del lane.lines[urgency]
        lane.is_busy = True
        self._rates.spend(lane.recipient, now)
        return Parcel(lane.key, lane.recipient, deliveries)

    def _together(self, lane: _Lane, line: deque[Delivery]) -> int:
        """Return how many of a line go as one letter: one, unless the others would have to wait for long."""
        first = line[0]
        if not self._rates.limits.longest_text or first.priority is Priority.URGENT or first.has_attachments:
            return 1
        if len(line) * self._rates.interval(lane.recipient) <= _PATIENCE_SECONDS:
            return 1
        plain = []
        for delivery in line:
            if delivery.has_attachments:
                break
            plain.append(delivery)
        return self._fitting(lane.recipient, plain)
