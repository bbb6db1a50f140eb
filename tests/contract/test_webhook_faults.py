"""Channel ``webhook`` against a server on this machine that does whatever servers do."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from atf.adapters.channels import webhook_request
from atf.adapters.channels.webhook import WebhookChannel
from atf.adapters.channels.webhook_request import retry_after
from atf.errors import PermanentFailure, TemporaryFailure
from atf.logs import configure_logging
from atf.notifications.channel import Letter, Recipient
from atf.security.outgoing_address import OutgoingAddresses
from atf.testing.clocks import FakeClock

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
QUICK = timedelta(seconds=0.3)
PATH = "/path-secret?key=query-secret"
BODY = {"side": "buy", "trigger": {"alert_id": 7, "readings": {"close": None}}}

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Request:
    line: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """Reads each request, then gives the answer that the test has chosen."""

    answer: Answer
    reads: bool = True
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    requested: asyncio.Event = field(default_factory=asyncio.Event)
    broken_off: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.reads:
                await self._read(reader)
            await self.answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            self.broken_off.set()
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in head[1:] if line)
        headers = {name.lower(): value for name, value in pairs}
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests.append(Request(head[0], headers, body))
        self.requested.set()

    def url(self, scheme: str = "http", user: str = "") -> str:
        return f"{scheme}://{user}127.0.0.1:{self.port}{PATH}"


@asynccontextmanager
async def serving(
    answer: Answer, context: ssl.SSLContext | None = None, *, reads: bool = True
) -> AsyncIterator[Server]:
    made = Server(answer, reads)
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield made


def says(status: str, *headers: str, body: bytes = b"") -> Answer:
    """The answer of a server that behaves."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", "")
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()

    return answer


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()
    raise ConnectionResetError("the other side has gone")


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    connected = writer.get_extra_info("socket")
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def no_http(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example.com ESMTP\r\n")
    await writer.drain()


def letter(url: str) -> Letter:
    """An action of an alert."""
    return Letter(
        Recipient(user_id=2),
        dedup_key="7:abc:1:2:webhook",
        notification_type="alert_action",
        title="Action 2",
        text="request",
        payload={"alert_id": 7, "url": url, "late_at": None, "body": BODY},
    )


def channel(timeout: timedelta = timedelta(seconds=10)) -> WebhookChannel:
    return WebhookChannel(FakeClock(NOON), timeout=timeout, allowed=OutgoingAddresses.parse("127.0.0.1"))


async def failure(url: str, kind: type[Exception], patience: timedelta = timedelta(seconds=10)) -> Exception:
    """What sending fails with; no secret of the URL is in it."""
    async with asyncio.timeout(10):
        with pytest.raises(kind) as caught:
            await channel(patience).send(letter(url))
    assert "secret" not in str(caught.value)
    return caught.value


# --- accepted ---


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted", "204 No Content"])
async def test_the_trigger_is_posted_as_json_with_its_key(status: str) -> None:
    async with serving(says(status)) as server:
        assert await channel().send(letter(server.url(user="me:pass@"))) is None
    (request,) = server.requests
    assert request.line == f"POST {PATH} HTTP/1.1"
    assert json.loads(request.body) == BODY
    told = ("content-type", "idempotency-key", "accept-encoding", "authorization")
    assert [request.headers.get(name) for name in told] == [
        "application/json",
        "7:abc:1:2:webhook",
        "identity",
        "Basic bWU6cGFzcw==",
    ]
    assert request.headers["user-agent"].startswith("ATF/")


async def test_the_same_delivery_again_has_the_same_key() -> None:
    async with serving(says("200 OK")) as server:
        for _ in range(2):
            await channel().send(letter(server.url()))
    assert [one.headers["idempotency-key"] for one in server.requests] == ["7:abc:1:2:webhook"] * 2


async def test_of_an_acceptance_no_body_is_read() -> None:
    """One that never ends must not make a failure of what was accepted."""

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await writer.drain()

    async with serving(endless) as server, asyncio.timeout(10):
        await channel().send(letter(server.url()))
        await server.broken_off.wait()


async def test_what_is_late_is_not_sent() -> None:
    async with serving(says("200 OK")) as server:
        late = letter(server.url())
        late_at = (NOON - timedelta(seconds=1)).isoformat()
        with pytest.raises(PermanentFailure, match="when_late is skip"):
            await channel().send(replace(late, payload={**late.payload, "late_at": late_at}))
    assert server.requests == []


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    async with serving(says("200 OK")) as server:
        await channel().send(letter(server.url()))
    assert len(server.requests) == 1


# --- later ---


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Retry-After: 120", 120),
        ("Retry-After: Fri, 01 Jan 2100 00:00:00 GMT", 86_400),
        ("Retry-After: soon", None),
        ("X-Other: 1", None),
    ],
    ids=["seconds", "date", "nonsense", "none"],
)
async def test_who_asks_for_time_gets_it(status: str, header: str, seconds: float | None) -> None:
    async with serving(says(status, header)) as server:
        found = await failure(server.url(), TemporaryFailure)
    assert isinstance(found, TemporaryFailure)
    assert str(found) == f"http://127.0.0.1:{server.port} asks to come later (HTTP {status[:3]})"
    assert found.retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        (" 7 ", 7),
        ("9" * 400, 86_400),
        ("-5", None),
        ("1.5", None),
        ("²", None),
        ("", None),
        ("Mon, 01 Mar 2027 12:00:30 GMT", 30),
        ("Mon, 01 Mar 2027 12:00:30 -0000", 30),
        ("Mon, 01 Mar 2027 11:00:00 GMT", 0),
        ("Mon, 01 Mar 9999 11:00:00 GMT", 86_400),
        ("Mon, 99 Mar 2027 11:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": text}, NOON) == seconds


@pytest.mark.parametrize("status", ["500 Internal Server Error", "502 Bad Gateway", "599 ?"])
async def test_a_broken_server_is_asked_again(status: str) -> None:
    async with serving(says(status, body=b"secret" * 99)) as server:
        found = await failure(server.url(), TemporaryFailure)
    assert str(found) == f"http://127.0.0.1:{server.port} is not available (HTTP {status[:3]})"


async def test_no_answer_is_a_temporary_failure() -> None:
    async with serving(silent) as server:
        found = await failure(server.url(), TemporaryFailure, QUICK)
    assert str(found) == f"http://127.0.0.1:{server.port} gave no answer in time"


async def test_a_send_that_is_cut_off_by_the_service_leaves_no_connection() -> None:
    async with serving(silent) as server:
        sending = asyncio.create_task(channel().send(letter(server.url())))
        async with asyncio.timeout(30):
            await server.requested.wait()
            sending.cancel()
            await server.broken_off.wait()
        with pytest.raises(asyncio.CancelledError):
            await sending
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [reset, no_http], ids=["reset", "no http"])
async def test_a_connection_that_breaks_off_is_a_temporary_failure(answer: Answer) -> None:
    async with serving(answer) as server:
        found = await failure(server.url(), TemporaryFailure)
    assert str(found) == f"http://127.0.0.1:{server.port} cannot be reached: the connection broke off"


async def test_headers_without_end_are_a_temporary_failure() -> None:
    async def chatter(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-Header: " + b"x" * 10_000 + b"\r\n")
            await writer.drain()

    async with serving(chatter) as server:
        await failure(server.url(), TemporaryFailure)


async def test_a_server_that_is_not_there_is_a_temporary_failure() -> None:
    async with serving(silent) as server:
        port = server.port
    found = await failure(f"http://127.0.0.1:{port}{PATH}", TemporaryFailure)
    assert str(found) == f"http://127.0.0.1:{port} cannot be reached: no connection"


async def test_a_server_without_tls_is_a_temporary_failure() -> None:
    async with serving(no_http, reads=False) as server:
        found = await failure(server.url("https"), TemporaryFailure)
    assert str(found) == f"https://127.0.0.1:{server.port} cannot be reached: no connection"


async def test_a_handshake_that_hangs_is_given_up_and_its_connection_closed() -> None:
    async with serving(silent, reads=False) as server:
        found = await failure(server.url("https"), TemporaryFailure, QUICK)
        assert str(found).startswith(f"https://127.0.0.1:{server.port} gave no answer")
        await server.broken_off.wait()


async def test_a_certificate_of_nobody_is_not_trusted(tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(self_signed(tmp_path))
    async with serving(says("200 OK"), context) as server:
        found = await failure(server.url("https"), TemporaryFailure)
    assert str(found).endswith("cannot be reached: no connection")
    assert server.requests == []


# --- no ---


@pytest.mark.parametrize(
    "status", ["301 Moved", "302 Found", "304 Not Modified", "307 Temporary", "308 Permanent"]
)
async def test_a_redirect_is_not_followed(status: str) -> None:
    async with serving(says("200 OK")) as other, serving(says(status, f"Location: {other.url()}")) as server:
        found = await failure(server.url(), PermanentFailure)
    assert "answered with a redirect" in str(found)
    assert (len(server.requests), other.requests) == (1, [])


@pytest.mark.parametrize("status", ["400 Bad", "401 Who", "404 Not Found", "410 Gone", "422 No"])
async def test_a_refusal_is_final_and_tells_how_it_begins(status: str) -> None:
    body = b"\x00no such\r\n\thook \xff " + b"y" * 5000
    async with serving(says(status, body=body)) as server:
        found = str(await failure(server.url(), PermanentFailure))
    assert found.startswith(f"http://127.0.0.1:{server.port} refused it (HTTP {status[:3]}): no such hook")
    assert len(found) < 300
    assert found.isprintable()


async def test_a_refusal_with_an_endless_body_is_a_refusal_and_little_of_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhook_request, "_EXCERPT_SECONDS", 60.0)

    async def endless(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad\r\nContent-Encoding: gzip\r\n\r\n")
        while True:
            writer.write(b"x" * 0x10000)
            await writer.drain()

    async with serving(endless) as server:
        found = str(await failure(server.url(), PermanentFailure))
        await server.broken_off.wait()
    assert len(found) < 300


async def test_a_refusal_whose_words_do_not_come_is_a_refusal() -> None:
    async def stalled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad\r\nContent-Length: 9\r\n\r\n")
        await reader.read()

    async with serving(stalled) as server:
        found = await failure(server.url(), PermanentFailure, timedelta(minutes=1))
    assert str(found).endswith("refused it (HTTP 400)")


@pytest.mark.parametrize("url", ["", "ftp://h/x", "http://", "http://h:x/secret", 5, None])
async def test_what_is_no_url_is_given_up(url: Any) -> None:
    await failure(url, PermanentFailure)


# --- secrets ---


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that a process would log at the chattiest level."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    configure_logging("notifications", level="DEBUG", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_no_log_line_shows_a_password_or_the_path_of_an_url(log: io.StringIO) -> None:
    async with serving(says("200 OK")) as server, serving(reset) as broken:
        await channel().send(letter(server.url(user="me:word@")))
        with pytest.raises(TemporaryFailure):
            await channel().send(letter(broken.url(user="me:word@")))
    logging.getLogger("atf").warning("the log works")
    assert "the log works" in log.getvalue()
    assert not [word for word in ("secret", "word@", "bWU6") if word in log.getvalue()]


def self_signed(folder: Path) -> Path:
    """A certificate and its key that nobody has vouched for."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = folder / "both.pem"
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return file
