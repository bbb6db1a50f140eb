"""Where webhooks may go: public addresses alone, however an address is written, and what the settings name."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from atf.errors import InvalidInput
from atf.security.outgoing_address import OutgoingAddresses, is_public

PUBLIC_ONLY = OutgoingAddresses()

REFUSED = [
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255"),
    *("192.168.0.1", "169.254.169.254", "169.254.0.1", "100.64.0.1", "100.127.255.255", "192.0.0.8"),
    *("192.0.2.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.9", "192.88.99.1"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fdff::1", "ff02::1", "fec0::1", "100::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:10.0.0.1", "::127.0.0.1"),
    *("64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::1", "2002:a00:1::", "2002:808:808::"),
    *("2001::1", "2001:0:7f00:1::", "2001:db8::1", "3fff::1", "4000::1", "8000::1"),
]
PERMITTED = [
    *("1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "172.15.255.255", "172.32.0.1", "192.167.1.1"),
    *("192.0.1.1", "198.17.255.255", "223.255.255.255", "2606:4700::1111", "2a00:1450::1", "2003::1"),
    *("::ffff:8.8.8.8", "64:ff9b::8.8.8.8"),
]


@pytest.mark.parametrize("address", REFUSED)
def test_no_address_that_is_not_public_is_permitted(address: str) -> None:
    assert not is_public(ip_address(address))
    assert not PUBLIC_ONLY.permits_address("example.com", address)
    assert not PUBLIC_ONLY.permits_name(f"[{address}]" if ":" in address else address)


@pytest.mark.parametrize("address", PERMITTED)
def test_public_addresses_are_permitted(address: str) -> None:
    assert PUBLIC_ONLY.permits_address("example.com", address)
    assert PUBLIC_ONLY.permits_name(address)


def test_whatever_python_calls_private_is_not_public() -> None:
    """Ours is a list of its own, as Python's differs from version to version."""
    drawn = random.Random(7)
    for _ in range(5_000):
        four, six = IPv4Address(drawn.getrandbits(32)), IPv6Address(drawn.getrandbits(128))
        for address in (four, six, IPv6Address((0x2001 << 112) | drawn.getrandbits(112))):
            said = address.is_global and not (address.is_multicast or address.is_reserved)
            assert said or not is_public(address), address
        assert is_public(IPv6Address((0xFFFF << 32) | int(four))) == is_public(four)


@pytest.mark.parametrize(
    "host",
    [
        *("127.1", "127.0.1", "0x7f000001", "0x7f.1", "0177.0.0.1", "2130706433", "0", "10.1", "167772161"),
        *("localhost", "LOCALHOST", "localhost.", "a.localhost", "printer.local", "metadata.google.internal"),
        *("intranet", "nas", "nas.lan", "router.home.arpa", "git.corp", "x.home", "[::1]", "::1"),
    ],
)
def test_spellings_of_local_addresses_and_local_names_are_refused_before_they_are_looked_up(host: str) -> None:
    assert not PUBLIC_ONLY.permits_name(host)


@pytest.mark.parametrize(
    "host", ["example.com", "example.com.", "localhost.example.com", "xn--bcher-kva.ch", "8.8"]
)
def test_names_that_may_be_public_are_permitted_until_they_are_looked_up(host: str) -> None:
    assert PUBLIC_ONLY.permits_name(host)


def test_networks_addresses_and_hosts_of_the_setting_are_permitted_and_nothing_beside_them() -> None:
    allowed = OutgoingAddresses.parse(" 192.168.1.0/24, 10.0.0.7 ,fd00::/8, NAS.lan., ")
    for address in ("192.168.1.9", "::ffff:192.168.1.9", "64:ff9b::192.168.1.9", "10.0.0.7", "fd12::1"):
        assert allowed.permits_address("example.com", address)
    for address in ("192.168.2.1", "10.0.0.8", "127.0.0.1", "::1", "169.254.169.254"):
        assert not allowed.permits_address("example.com", address)
    assert allowed.permits_name("192.168.1.9")
    assert allowed.permits_name("nas.lan")
    assert allowed.permits_address("NAS.LAN", "127.0.0.1")
    assert not allowed.permits_name("other.lan")
    assert not allowed.permits_name("nas.lan.example.local")


def test_nothing_in_the_setting_means_public_addresses_alone() -> None:
    assert OutgoingAddresses.parse(" , ") == PUBLIC_ONLY


@pytest.mark.parametrize(
    "entry",
    ["192.168.1.5/24", "300.1.1.1", "10.0.0", "10", "0x7f.1", "http://h", "h/x", "*.lan", "a b", "é", "h:80"],
)
def test_what_is_neither_network_nor_host_is_refused_with_what_would_be(entry: str) -> None:
    with pytest.raises(
        InvalidInput, match=r"is neither a network such as 192\.168\.1\.0/24, nor an address, nor"
    ):
        OutgoingAddresses.parse(f"10.0.0.0/8, {entry}")


def test_a_setting_without_end_is_refused() -> None:
    with pytest.raises(InvalidInput, match="has 101 entries, at most 100"):
        OutgoingAddresses.parse("h.example," * 101)


def spellings(value: int) -> list[str]:
    """Ways to write an IPv4 address that resolvers take: in one to four parts, each in one of three bases."""
    found = []
    for lengths in ((32,), (8, 24), (8, 8, 16), (8, 8, 8, 8)):
        parts, left = [], value
        for bits in reversed(lengths):
            parts.append(left & ((1 << bits) - 1))
            left >>= bits
        forms = ("{}", "0x{:x}", "0X{:X}", "0{:o}", "0x0{:x}", "00{:o}")
        found += [".".join(form.format(part) for part in reversed(parts)) for form in forms]
    return found


def test_whatever_the_system_reads_as_an_address_is_judged_as_that_address() -> None:
    drawn, read = random.Random(5), 0
    for _ in range(300):
        value = drawn.getrandbits(32) if drawn.random() < 0.5 else 0x0A000000 | drawn.getrandbits(24)
        for host in spellings(value):
            with suppress(socket.gaierror):
                ((*_, where),) = socket.getaddrinfo(
                    host, 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
                )
                read += 1
                assert PUBLIC_ONLY.permits_name(host) == is_public(ip_address(where[0])), host
    assert read > 5000
