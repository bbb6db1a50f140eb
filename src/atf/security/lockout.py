"""Lock-out: until when nobody may try again, after so many wrong passwords. Pure.

Each account and each address is counted. An account's pauses are short, as anybody can cause them who knows its
name; an address may fail more often, as many people may come from one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

_LARGEST_DOUBLING: Final = 30


@dataclass(frozen=True, slots=True)
class LockoutRule:
    """How many failures cost nothing, how long the first pause is, and the longest, as each is twice the last.

    After ``forgotten_after`` without a failure all are forgotten.
    """

    free: int
    first: timedelta
    longest: timedelta
    forgotten_after: timedelta = timedelta(days=1)


OF_ACCOUNTS: Final = LockoutRule(5, timedelta(seconds=30), timedelta(minutes=15))
OF_NOBODY: Final = LockoutRule(2**31 - 1, timedelta(0), timedelta(0))
"""Names that nobody has: they are counted together, and only their address is ever locked."""
OF_ADDRESSES: Final = LockoutRule(20, timedelta(seconds=30), timedelta(hours=1))


@dataclass(frozen=True, slots=True)
class Failures:
    """How often in a row it has failed, and when last."""

    count: int = 0
    last_at: datetime | None = None

    def locked_until(self, rule: LockoutRule) -> datetime | None:
        """Return when one may try again, None if one always may."""
        if self.last_at is None or self.count < rule.free:
            return None
        doublings = min(self.count - rule.free, _LARGEST_DOUBLING)
        pause: timedelta = rule.first * 2**doublings
        return self.last_at + min(pause, rule.longest)

    def locks(self, rule: LockoutRule, now: datetime) -> bool:
        """Whether nobody may try now."""
        until = self.locked_until(rule)
        return until is not None and now < until

    def with_another(self, rule: LockoutRule, now: datetime) -> Failures:
        """Return the failures with one more, now."""
        is_forgotten = self.last_at is not None and now - self.last_at >= rule.forgotten_after
        return Failures(1 if is_forgotten else self.count + 1, now)


def address_group(address: str | None) -> str | None:
    """Return what is counted together with an address; None for what is no address.

    Who has one address of IPv6 has a /64 at least.
    """
    if address is None:
        return None
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ip_network((found, 64), strict=False))
