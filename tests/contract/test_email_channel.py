"""Channel ``email`` against a mail server on this machine, with TLS of every kind and refusals at every step."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from atf.adapters.channels.email import EmailChannel
from atf.adapters.channels.smtp_connections import EmailSettings, SmtpSecurity
from atf.errors import ConfigurationError, PermanentFailure, TemporaryFailure
from atf.notifications.channel import ChannelUnavailable, Letter, Recipient, RecipientUnreachable
from atf.notifications.message import Attachment, Priority
from atf.testing.smtp import Encryption, LocalSmtp, Stage, local_smtp

PASSWORD = "a-pass-word"
LETTER = Letter(Recipient(2, "ann@example.com"), "7:abc:1:email", "alert", "Alert breakout", "AAPL is above 150")
PNG = Attachment("chart.png", "image/png", b"\x89PNG and more")


@asynccontextmanager
async def connected(server: LocalSmtp, **changes: Any) -> AsyncIterator[EmailChannel]:
    settings = EmailSettings(server.host, server.port, "atf@example.com", security=SmtpSecurity.NONE)
    channel = EmailChannel(replace(settings, **changes))
    try:
        yield channel
    finally:
        await channel.close()


# --- what arrives ---


async def test_the_headers_tell_machines_what_it_is() -> None:
    async with local_smtp() as server, connected(server, sender_name="Desk, Ünï") as channel:
        sent = await channel.send(replace(LETTER, priority=Priority.URGENT))
    (got,) = server.messages
    assert got.message["From"].addresses[0].display_name == "Desk, Ünï"
    assert (got.sender, got.recipients) == ("atf@example.com", ("ann@example.com",))
    assert got.message["To"] == "ann@example.com"
    assert got.message["Subject"] == "Alert breakout"
    assert got.message["Message-ID"] == sent
    assert got.message["Auto-Submitted"] == "auto-generated"
    assert got.message["X-ATF-Dedup-Key"] == "7:abc:1:email"
    assert got.message["Importance"] == "high"
    assert got.message["Date"].datetime is not None
    assert got.text == "AAPL is above 150"
    assert got.html == ""


async def test_the_same_letter_has_the_same_id_and_another_one_another() -> None:
    async with local_smtp() as server, connected(server) as channel:
        ids = [await channel.send(one) for one in (LETTER, LETTER, replace(LETTER, dedup_key="other"))]
    assert ids[0] == ids[1] != ids[2]


async def test_a_page_has_its_images_within_and_other_files_beside_it() -> None:
    files = (PNG, Attachment("b c.png", "image/png", b"two"), Attachment("trades.csv", "text/csv", b"a,b\r\n"))
    page = "<p>über <b>150</b></p><img src='cid:chart.png'>"
    async with local_smtp() as server, connected(server) as channel:
        await channel.send(replace(LETTER, formatted=page, attachments=files))
    (got,) = server.messages
    assert page in got.html
    assert got.html.count("cid:chart.png") == 1
    assert '<p><img src="cid:b_c.png" alt="b c.png"></p>\n</body>' in got.html
    images = [part for part in got.message.walk() if part.get_content_maintype() == "image"]
    assert [(part["Content-ID"], part.get_content_disposition(), part.get_content()) for part in images] == [
        ("<chart.png>", "inline", PNG.content),
        ("<b_c.png>", "inline", b"two"),
    ]
    (beside,) = got.message.iter_attachments()
    assert (beside.get_filename(), beside.get_payload(decode=True)) == ("trades.csv", b"a,b\r\n")


async def test_an_image_without_a_page_gets_one_that_says_the_text() -> None:
    async with local_smtp() as server, connected(server) as channel:
        await channel.send(replace(LETTER, text="5 < 6", attachments=(PNG, PNG)))
    (got,) = server.messages
    assert "5 &lt; 6</p>" in got.html
    assert "cid:chart.png" in got.html
    assert "cid:1-chart.png" in got.html


@pytest.mark.parametrize("field", ["title", "dedup_key", "name"])
async def test_no_text_makes_a_header(field: str) -> None:
    evil = "x\r\nBcc: eve@example.com\r\n\r\nbody\u2028Cc: eve@example.com\x85"
    texts: dict[str, Any] = {"attachments": (replace(PNG, name=evil),)} if field == "name" else {field: evil}
    letter = replace(LETTER, **texts)
    async with local_smtp() as server, connected(server) as channel:
        await channel.send(letter)
    (got,) = server.messages
    assert (got.message["Bcc"], got.message["Cc"], got.recipients) == (None, None, ("ann@example.com",))
    assert got.text == LETTER.text


@pytest.mark.parametrize("address", ["", "ann", "ann@", "a@b\r\nRCPT TO:<eve@c>", "a@b, eve@c", "a b@c", "<a@b>"])
async def test_what_is_no_address_is_given_up(address: str) -> None:
    async with local_smtp() as server, connected(server) as channel:
        with pytest.raises(RecipientUnreachable, match="is no e-mail address"):
            await channel.send(replace(LETTER, recipient=Recipient(2, address)))
    assert server.messages == []


# --- connections ---


@pytest.mark.parametrize("encryption", [Encryption.STARTTLS, Encryption.TLS])
async def test_a_server_whose_certificate_is_trusted_gets_password_and_message(encryption: Encryption) -> None:
    async with local_smtp(encryption, accounts={"atf": PASSWORD}) as server:
        security = SmtpSecurity(str(encryption))
        more = {"username": "atf", "password": PASSWORD, "ca_file": server.certificate, "security": security}
        async with connected(server, **more) as channel:
            await channel.send(LETTER)
    (got,) = server.messages
    assert got.is_encrypted
    assert got.user == more["username"]


@pytest.mark.parametrize("encryption", [Encryption.STARTTLS, Encryption.TLS])
async def test_a_certificate_of_nobody_is_not_trusted(encryption: Encryption) -> None:
    async with (
        local_smtp(encryption) as server,
        connected(server, security=SmtpSecurity(str(encryption))) as channel,
    ):
        with pytest.raises(ChannelUnavailable, match="shows a certificate that is not trusted"):
            await channel.send(LETTER)
    assert server.messages == []


async def test_what_must_be_encrypted_is_not_sent_in_clear() -> None:
    async with (
        local_smtp() as server,
        connected(server, security=SmtpSecurity.STARTTLS, username="atf", password=PASSWORD) as channel,
    ):
        with pytest.raises(ChannelUnavailable, match="STARTTLS"):
            await channel.send(LETTER)
    assert server.messages == []


def test_in_clear_goes_to_this_machine_alone_unless_it_is_allowed() -> None:
    for host in ("localhost", "127.0.0.1", "::1"):
        EmailSettings(host, 25, "a@b.example", security=SmtpSecurity.NONE)
    with pytest.raises(ConfigurationError, match="in clear"):
        EmailSettings("mail.example.com", 25, "a@b.example", security=SmtpSecurity.NONE)
    EmailSettings("mail.example.com", 25, "a@b.example", security=SmtpSecurity.NONE, allow_clear=True)


@pytest.mark.parametrize(
    "changes", [{"host": ""}, {"port": 0}, {"sender": "nobody"}, {"sender": "a@b\nc"}, {"ca_file": "missing.pem"}]
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        EmailChannel(EmailSettings(**{"host": "localhost", "port": 25, "sender": "a@b.example", **changes}))


async def test_a_connection_is_used_again() -> None:
    async with local_smtp() as server, connected(server) as channel:
        for _ in range(3):
            await channel.send(LETTER)
        assert (len(server.messages), server.connections) == (3, 1)


async def test_a_connection_that_the_server_has_closed_is_opened_anew() -> None:
    async with local_smtp() as server, connected(server) as channel:
        await channel.send(LETTER)
        server.drop_connections()
        await channel.send(LETTER)
        server.refuse(Stage.RSET, "421 too long idle", times=1)
        await channel.send(LETTER)
        assert (len(server.messages), server.connections) == (3, 3)


async def test_no_more_connections_than_lanes_are_opened() -> None:
    async with local_smtp() as server, connected(server) as channel:
        await asyncio.gather(*(channel.send(replace(LETTER, dedup_key=str(n))) for n in range(20)))
        assert (len(server.messages), server.connections) == (20, 2)


async def test_after_a_minute_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atf.adapters.channels.smtp_connections._KEPT_SECONDS", 0.01)
    async with local_smtp() as server, connected(server) as channel:
        await channel.send(LETTER)
        await server.until_nobody_is_connected()


# --- refusals ---


@pytest.mark.parametrize(
    ("stage", "answer", "kind", "seconds"),
    [
        (Stage.RCPT, "450 4.2.0 busy", TemporaryFailure, 300),
        (Stage.RCPT, "550 5.1.1 no such user", RecipientUnreachable, None),
        (Stage.RCPT, "421 going away", ChannelUnavailable, None),
        (Stage.RCPT, "530 5.7.0 sign in first", ChannelUnavailable, None),
        (Stage.DATA, "451 4.3.0 later", TemporaryFailure, 300),
        (Stage.DATA, "554 5.7.1 spam", PermanentFailure, None),
        (Stage.DATA, "421 going away", ChannelUnavailable, None),
        (Stage.MAIL, "451 later", TemporaryFailure, 300),
        (Stage.MAIL, "552 too large", PermanentFailure, None),
        (Stage.MAIL, "550 not your address", ChannelUnavailable, None),
        (Stage.MAIL, "421 going away", ChannelUnavailable, None),
    ],
)
async def test_each_refusal_says_whose_trouble_it_is(
    stage: Stage, answer: str, kind: type[Exception], seconds: float | None
) -> None:
    async with local_smtp() as server, connected(server) as channel:
        server.refuse(stage, answer, times=1)
        with pytest.raises(kind) as caught:
            await channel.send(LETTER)
        assert type(caught.value) is kind
        assert answer[:3] in str(caught.value)
        assert getattr(caught.value, "retry_after_seconds", None) == seconds
        await channel.send(LETTER)
        assert len(server.messages) == 1


async def test_who_greylists_takes_the_letter_the_second_time() -> None:
    async with local_smtp() as server, connected(server) as channel:
        server.greylists = True
        with pytest.raises(TemporaryFailure, match="greylisted"):
            await channel.send(LETTER)
        await channel.send(LETTER)
        assert (len(server.messages), server.connections) == (1, 1)


async def test_a_wrong_password_is_an_outage_that_says_what_to_do() -> None:
    async with local_smtp(Encryption.STARTTLS, accounts={"atf": "another"}) as server:
        more = {"username": "atf", "password": PASSWORD, "ca_file": server.certificate}
        async with connected(server, security=SmtpSecurity.STARTTLS, **more) as channel:
            with pytest.raises(ChannelUnavailable, match=r"refuses user name or password \(SMTP 535\)") as caught:
                await channel.send(LETTER)
    assert PASSWORD not in str(caught.value)


async def test_a_server_that_takes_it_and_hangs_up_gets_it_again_with_the_same_id() -> None:
    async with local_smtp() as server, connected(server) as channel:
        server.cuts_before_answer = True
        with pytest.raises(ChannelUnavailable, match="broke off"):
            await channel.send(LETTER)
        server.behave()
        await channel.send(LETTER)
    first, second = server.messages
    assert first.message["Message-ID"] == second.message["Message-ID"]
