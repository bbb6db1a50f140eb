"""How many messages Telegram takes: over all, a chat, a group. Who sends more waits, and is counted."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

_SHORTEST_WAIT: Final = 1


@dataclass(frozen=True, slots=True)
class TelegramLimits:
    """Bounds on messages; None is no bound.

    ``overall_per_second``: to all chats together. ``chat_per_second``: to one chat, and ``chat_burst`` at once
    after a pause. ``group_per_minute``: to one group in any minute. ``edits_count``: edits use up the bounds of
    their chat as messages do; Telegram does not say how many edits it takes, and has refused them in practice.
    """

    overall_per_second: float | None = 30
    chat_per_second: float | None = 1
    chat_burst: int = 3
    group_per_minute: int | None = 20
    edits_count: bool = True

    @classmethod
    def off(cls) -> TelegramLimits:
        """Return no limits at all."""
        return cls(overall_per_second=None, chat_per_second=None, group_per_minute=None)

    def scaled(self, factor: float) -> TelegramLimits:
        """Return limits that let so many times as much through: 10 for tests that have no time to wait."""
        return replace(
            self,
            overall_per_second=_times(self.overall_per_second, factor),
            chat_per_second=_times(self.chat_per_second, factor),
            chat_burst=max(1, math.floor(self.chat_burst * factor)),
            group_per_minute=None
            if self.group_per_minute is None
            else math.floor(self.group_per_minute * factor),
        )


@dataclass(frozen=True, slots=True)
class Violation:
    """A message that was one too many; ``bound`` is ``overall``, ``chat`` or ``group``, ``at`` in seconds.

    ``is_impatient``: it came while an earlier refusal still asked to wait.
    """

    bound: str
    method: str
    chat_id: int
    at: float
    retry_after: int
    is_impatient: bool = False


@dataclass(slots=True)
class _Bucket:
    """Holds ``size`` and refills at ``rate`` a second."""

    size: float
    rate: float
    level: float
    looked_at: float

    def wait(self, now: float) -> float:
        self.level = min(self.size, self.level + (now - self.looked_at) * self.rate)
        self.looked_at = now
        # A little less than one counts as one: rates such as 1/3 do not add up to whole numbers.
        return max(0.0, (1 - self.level) / self.rate) if self.level < 1 - 1e-9 else 0.0

    def take(self) -> None:
        self.level -= 1


@dataclass(slots=True)
class _Minute:
    """What was sent in the last sixty seconds."""

    most: int
    sent_at: deque[float] = field(default_factory=deque)

    def wait(self, now: float) -> float:
        while self.sent_at and self.sent_at[0] <= now - 60:
            self.sent_at.popleft()
        return 0.0 if len(self.sent_at) < self.most else self.sent_at[-self.most] + 60 - now

    def take(self, now: float) -> None:
        self.sent_at.append(now)


class LimitMeter:
    """Counts messages against limits; ``violations`` are all that were refused, oldest first."""

    def __init__(self, limits: TelegramLimits, monotonic: Callable[[], float]) -> None:
        self.limits = limits
        self.violations: list[Violation] = []
        self._monotonic = monotonic
        self._overall: _Bucket | None = None
        self._chats: dict[int, _Bucket] = {}
        self._groups: dict[int, _Minute] = {}
        self._shut_until: dict[int | None, float] = {}

    def refuse(self, method: str, chat_id: int, *, is_group: bool) -> int | None:
        """Count one message and return None, or return after how many seconds to try again."""
        now = self._monotonic()
        waits = self._waits(chat_id, now, is_group=is_group)
        bound, wait = max(waits.items(), key=lambda item: item[1])
        asked = max(self._shut_until.get(None, now), self._shut_until.get(chat_id, now)) - now
        if wait <= 0 and asked <= 0:
            self._take(chat_id, now, is_group=is_group)
            return None
        seconds = max(_SHORTEST_WAIT, math.ceil(max(wait, asked)))
        if wait > 0:
            self._shut_until[None if bound == "overall" else chat_id] = now + seconds
        self.violations.append(Violation(bound, method, chat_id, now, seconds, is_impatient=asked > 0))
        return seconds

    def _waits(self, chat_id: int, now: float, *, is_group: bool) -> dict[str, float]:
        limits = self.limits
        waits = {"chat": 0.0}
        if limits.overall_per_second is not None:
            rate = limits.overall_per_second
            self._overall = self._overall or _Bucket(max(1, rate), rate, max(1, rate), now)
            waits["overall"] = self._overall.wait(now)
        if limits.chat_per_second is not None:
            size, rate = limits.chat_burst, limits.chat_per_second
            waits["chat"] = self._chats.setdefault(chat_id, _Bucket(size, rate, size, now)).wait(now)
        if is_group and limits.group_per_minute is not None:
            waits["group"] = self._groups.setdefault(chat_id, _Minute(limits.group_per_minute)).wait(now)
        return waits

    def _take(self, chat_id: int, now: float, *, is_group: bool) -> None:
        if self._overall is not None:
            self._overall.take()
        if chat_id in self._chats:
            self._chats[chat_id].take()
        if is_group and chat_id in self._groups:
            self._groups[chat_id].take(now)


def _times(bound: float | None, factor: float) -> float | None:
    return None if bound is None else bound * factor
