"""Channel ``webhook`` and what must not be reached through it, against name servers that answer as they like."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.contract.test_webhook_faults import NOON, PATH, Answer, Server, letter, says, serving, silent

from atf.adapters.channels import webhook_request
from atf.adapters.channels.webhook import WebhookChannel
from atf.errors import PermanentFailure, TemporaryFailure
from atf.security.outgoing_address import REFUSAL, SETTING, OutgoingAddresses
from atf.testing.clocks import FakeClock

NAME = "hooks.example.com"


class Names:
    """A name server: each look-up of a host takes the next of its answers, the last one for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: dict[str, list[Sequence[str]]] = {}
        self.asked: list[str] = []
        self._real: Callable[..., Any] = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)

    def _getaddrinfo(self, host: str, port: int, *rest: Any, **more: Any) -> Any:
        if host not in self.answers:
            return self._real(host, port, *rest, **more)
        self.asked.append(host)
        answers = self.answers[host]
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [entry for address in found for entry in self._real(address, port, *rest, **more)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


async def send(url: str, allowed: str = "", seconds: float = 10) -> None:
    channel = WebhookChannel(
        FakeClock(NOON), timeout=timedelta(seconds=seconds), allowed=OutgoingAddresses.parse(allowed)
    )
    async with asyncio.timeout(30):
        await channel.send(letter(url))


async def refusal(url: str, allowed: str = "") -> str:
    with pytest.raises(PermanentFailure) as refused:
        await send(url, allowed)
    sentence = str(refused.value)
    assert sentence.endswith(f" is not asked: its host {REFUSAL}")
    assert SETTING in sentence
    assert "secret" not in sentence
    return sentence


@asynccontextmanager
async def serving_at(address: str, answer: Answer, port: int = 0) -> AsyncIterator[Server]:
    """A server on another address of this machine than the usual one."""
    made = Server(answer)
    listening = await asyncio.start_server(made.serve, address, port)
    made.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield made


@contextmanager
def connections() -> Iterator[list[Any]]:
    """All connections that anything tries to make in this process."""
    tried: list[Any] = []
    real = asyncio.SelectorEventLoop.sock_connect

    async def noted(self: Any, sock: socket.socket, address: Any) -> None:
        tried.append(address)
        await real(self, sock, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asyncio.SelectorEventLoop, "sock_connect", noted)
        yield tried


async def test_nothing_on_this_machine_is_asked_unless_the_settings_allow_it() -> None:
    async with serving(says("200 OK")) as server:
        with connections() as tried:
            assert (
                await refusal(server.url()) == f"http://127.0.0.1:{server.port} is not asked: its host {REFUSAL}"
            )
        assert (server.requests, tried) == ([], [])
        await send(server.url(), "127.0.0.0/8")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1", "0.0.0.0", "0", "localhost", "LocalHost"),
        *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"),
        *("10.0.0.1", "172.20.1.1", "192.168.1.1", "100.64.0.1", "169.254.169.254", "[fe80::1]", "[fd00::1]"),
        *("224.0.0.1", "255.255.255.255", "192.0.0.170", "198.18.0.1"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_spelling_of_an_address_that_is_not_public_is_connected_to(scheme: str, host: str) -> None:
    with connections() as tried:
        await refusal(f"{scheme}://{host}:9{PATH}")
    assert tried == []


@pytest.mark.parametrize(
    "host", ["0177.0.0.1", "127.0.0.1.", "localhost.", "127。0。0。1", "%3127.0.0.1", "[fe80::1%25lo]"]
)
async def test_what_only_some_readers_take_for_an_address_is_not_connected_to_either(host: str) -> None:
    with connections() as tried, pytest.raises((PermanentFailure, TemporaryFailure)):
        await send(f"http://{host}:9{PATH}")
    assert tried == []


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:10.0.0.1"])
async def test_a_public_name_that_leads_inside_is_not_followed(names: Names, address: str) -> None:
    names.answers[NAME] = [[address]]
    with connections() as tried:
        assert NAME in await refusal(f"http://{NAME}:9{PATH}")
    assert (names.asked, tried) == ([NAME], [])


async def test_a_name_whose_second_answer_leads_inside_is_asked_for_once(names: Names) -> None:
    """DNS rebinding: the address that was looked at is the one that is connected to."""
    async with serving_at("127.0.0.2", says("200 OK")) as inside, serving(says("200 OK")) as server:
        for port in (server.port, inside.port):
            names.answers[NAME] = [["127.0.0.1"], ["127.0.0.2"]]
            try:
                await send(f"http://{NAME}:{port}{PATH}", "127.0.0.1")
            except TemporaryFailure:
                assert port == inside.port
    assert (len(server.requests), inside.requests, names.asked) == (1, [], [NAME, NAME])


async def test_of_a_name_with_addresses_of_both_kinds_only_the_allowed_ones_are_tried(names: Names) -> None:
    async with serving_at("127.0.0.2", says("200 OK")) as inside:
        names.answers[NAME] = [["127.0.0.2", "127.0.0.3"]]
        async with serving_at("127.0.0.3", says("200 OK"), inside.port) as allowed:
            await send(f"http://{NAME}:{inside.port}{PATH}", "127.0.0.3")
    assert (inside.requests, len(allowed.requests)) == ([], 1)


async def test_an_address_that_does_not_answer_gives_way_to_the_next(names: Names) -> None:
    async with serving(says("200 OK")) as server:
        names.answers[NAME] = [["127.0.0.9", "127.0.0.1"]]
        await send(f"http://{NAME}:{server.port}{PATH}", "127.0.0.0/8")
    assert len(server.requests) == 1


async def test_a_host_of_the_settings_may_lead_anywhere_and_others_may_not(names: Names) -> None:
    names.answers |= {"nas.lan": [["127.0.0.1"]], "other.lan": [["127.0.0.1"]]}
    async with serving(says("200 OK")) as server:
        await send(f"http://NAS.lan:{server.port}{PATH}", "nas.lan")
        await refusal(f"http://other.lan:{server.port}{PATH}", "nas.lan")
    assert [request.headers["host"] for request in server.requests] == [f"nas.lan:{server.port}"]


async def test_a_name_that_nobody_knows_is_tried_again_later(
    monkeypatch: pytest.MonkeyPatch, names: Names
) -> None:
    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(TemporaryFailure, match=r"^http://hooks.example.com cannot be reached: no connection$"):
        await send(f"http://{NAME}{PATH}")


async def test_a_name_server_that_hangs_is_given_up_in_time(
    monkeypatch: pytest.MonkeyPatch, names: Names
) -> None:
    async def never(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    with pytest.raises(TemporaryFailure, match="gave no answer in time"):
        await send(f"http://{NAME}{PATH}", seconds=0.3)


async def test_a_redirect_inside_is_not_followed(names: Names) -> None:
    async with serving(says("200 OK")) as inside:
        answer = says("307 Temporary", f"Location: {inside.url()}")
        async with serving_at("127.0.0.2", answer) as server:
            with pytest.raises(PermanentFailure, match="answered with a redirect"):
                await send(f"http://127.0.0.2:{server.port}{PATH}", "127.0.0.2")
    assert inside.requests == []


# --- TLS stays with the name ---


async def test_the_certificate_is_checked_for_the_name_and_not_for_the_address(
    names: Names, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate, told = certificate_for(NAME, tmp_path), []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _, name, __: told.append(name)
    trusted = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(webhook_request, "_trusted", lambda: trusted)
    names.answers |= {NAME: [["127.0.0.1"]], "others.example.com": [["127.0.0.1"]]}
    async with serving(says("200 OK"), context) as server:
        await send(f"https://{NAME}:{server.port}{PATH}", "127.0.0.1")
        for host in ("others.example.com", "127.0.0.1"):
            with pytest.raises(TemporaryFailure, match="no connection"):
                await send(f"https://{host}:{server.port}{PATH}", "127.0.0.1")
    assert [request.headers["host"] for request in server.requests] == [f"{NAME}:{server.port}"]
    assert told[:2] == [NAME, "others.example.com"]


async def test_a_server_that_hangs_behind_an_allowed_name_is_given_up(names: Names) -> None:
    names.answers[NAME] = [["127.0.0.1"]]
    async with serving(silent) as server:
        with pytest.raises(TemporaryFailure, match="gave no answer in time"):
            await send(f"http://{NAME}:{server.port}{PATH}", "127.0.0.1", seconds=0.3)


def certificate_for(name: str, folder: Path) -> Path:
    """A certificate of a name with its key, which vouches for itself."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "both.pem"
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file
