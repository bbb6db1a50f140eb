"""Where a URL of a user's may lead: to public addresses, and to what the settings allow beside them. Pure.

A name is only as good as the address behind it. So a name is refused as far as it tells by itself, when a URL is
stored; and every address is looked at when it is connected to, whatever its name was before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from socket import inet_aton
from typing import Final

from atf.errors import InvalidInput, shown

SETTING: Final = "ATF_WEBHOOK_ALLOWED_NETWORKS"
REFUSAL: Final = f"is no public address; {SETTING} names the networks and hosts that are allowed all the same"

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NOT_PUBLIC_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this machine: a connection to 0.0.0.0 reaches its own services
            "10.0.0.0/8",
            "100.64.0.0/10",  # behind a provider's address translation
            "127.0.0.0/8",
            "169.254.0.0/16",  # link-local, and the credentials that clouds hand out at 169.254.169.254
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_PUBLIC_V6: Final = IPv6Network("2000::/3")
"""All that is given to anybody; the rest is local, reserved or an old way of writing something else."""
_NOT_PUBLIC_V6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols, among them Teredo, which carries an IPv4 address
            "2001:db8::/32",
            "2002::/16",  # 6to4 carries one, too
            "3fff::/20",
        ),
    )
)
_TRANSLATED: Final = IPv6Network("64:ff9b::/96")
"""How machines that have IPv6 alone are told of an IPv4 address."""
_LOCAL_ENDINGS: Final = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "home.arpa")
_HOST: Final = re.compile(r"(?!.*\.[0-9]+$)[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")
_MOST_ENTRIES: Final = 100


@dataclass(frozen=True, slots=True)
class OutgoingAddresses:
    """What may be connected to on behalf of users: what is public, these networks, and these hosts."""

    networks: tuple[Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> OutgoingAddresses:
        """Read networks, addresses and names of hosts with commas between them.

        Errors: InvalidInput that shows the entry.
        """
        entries = [entry.strip() for entry in text.split(",") if entry.strip()]
        if len(entries) > _MOST_ENTRIES:
            raise InvalidInput(f"has {len(entries)} entries, at most {_MOST_ENTRIES} are allowed")
        read = [_network_or_host(entry) for entry in entries]
        return cls(
            tuple(one for one in read if not isinstance(one, str)),
            frozenset(one for one in read if isinstance(one, str)),
        )

    def permits_name(self, host: str) -> bool:
        """Whether nothing speaks against a URL's host yet: a name that may be public, or a permitted address."""
        name = _spelled(host)
        address = _literal(name)
        if address is not None:
            return self.permits_address(name, str(address))
        is_local = "." not in name or any(name == end or name.endswith(f".{end}") for end in _LOCAL_ENDINGS)
        return not is_local or name in self.hosts

    def permits_address(self, host: str, address: str) -> bool:
        """Whether the address that a URL's host stands for may be connected to."""
        found = ip_address(address)
        meant = _meant(found)
        return (
            is_public(found)
            or _spelled(host) in self.hosts
            or any(each in network for network in self.networks for each in (found, meant))
        )


def is_public(address: Address) -> bool:
    """Whether an address belongs to somebody on the internet, in whatever form it is written."""
    meant = _meant(address)
    if isinstance(meant, IPv4Address):
        return not any(meant in network for network in _NOT_PUBLIC_V4)
    return meant in _PUBLIC_V6 and not any(meant in network for network in _NOT_PUBLIC_V6)


def _meant(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address only wraps, else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address


def _spelled(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _literal(host: str) -> Address | None:
    """Return the address that a host is by itself, None if it is a name.

    The system's resolver takes 127.1, 0x7f000001 and 2130706433 for 127.0.0.1.
    """
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(inet_aton(host))
    except (OSError, ValueError):
        return None


def _network_or_host(entry: str) -> Network | str:
    try:
        return ip_network(entry)
    except ValueError:
        pass
    name = _spelled(entry)
    if _HOST.fullmatch(name) and _literal(name) is None:
        return name
    raise InvalidInput(
        f"{shown(entry)} is neither a network such as 192.168.1.0/24, nor an address, nor the name of a host"
    )
