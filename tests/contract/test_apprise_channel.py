"""Channel ``apprise``: what a user's URL must not reach, and what is left behind."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from atf.adapters.channels.apprise import AppriseChannel
from atf.errors import ConfigurationError, PermanentFailure, TemporaryFailure
from atf.notifications.channel import Letter, Recipient
from atf.notifications.message import Attachment
from atf.security.outgoing_address import OutgoingAddresses
from atf.testing.apprise_target import local_apprise_target

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # by what Apprise loads

LOCAL = OutgoingAddresses.parse("127.0.0.1")


def letter(url: str) -> Letter:
    return Letter(Recipient(2, secret=url), "7:abc:1", "alert", "Alert", "AAPL is above 150")


async def refusal(url: str, allowed: OutgoingAddresses = LOCAL) -> str:
    channel = AppriseChannel(allowed=allowed)
    with pytest.raises(PermanentFailure) as refused:
        await channel.send(letter(url))
    await channel.close()
    return str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        *("syslog://", "dbus://", "kde://", "qt://", "glib://", "gio://", "gnome://", "windows://", "macosx://"),
        *("SysLog://", "blink1://", "fcm://project@key/a", "vapid://me@example.com/a"),
    ],
)
async def test_services_of_this_machine_are_refused(url: str) -> None:
    assert await refusal(url) == f"url: {url.partition(':')[0].lower()} reaches this machine itself, " + (
        "which is not allowed"
    )


@pytest.mark.parametrize("name", ["template", "Template", "keyfile", "attach", "+template", ":template"])
async def test_files_of_this_machine_are_refused(name: str) -> None:
    url = f"discord://12345678/abcdefghijklmnop/?x=1&{name}=/etc/passwd"
    assert "names a file of this machine" in await refusal(url)


@pytest.mark.parametrize(
    "url", ["", "json", "nosuch://a", "json://", "json://[::1", "file:///etc/passwd", "\x00"]
)
async def test_what_apprise_does_not_know_is_refused(url: str) -> None:
    assert await refusal(url) == "url: this is no URL that Apprise knows"


@pytest.mark.parametrize(
    "url",
    [
        *("json://127.0.0.1:{}/a", "xml://localhost:{}/a", "form://127.0.0.1:{}/a", "json://0x7f000001:{}"),
        *("gotify://127.0.0.1:{}/token", "ntfy://127.0.0.1:{}/topic", "matrix://u:p@127.0.0.1:{}/#room"),
        "mailto://a:b@example.com:{}?smtp=127.0.0.1",
    ],
)
async def test_the_network_of_this_machine_is_refused(url: str) -> None:
    came = []
    async with await asyncio.start_server(lambda *_: came.append(1), "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        said = await refusal(url.format(port), OutgoingAddresses())
    assert "is no public address" in said
    assert came == []


async def test_a_redirect_is_not_followed_whatever_the_url_says() -> None:
    async with local_apprise_target() as target:
        target.status, target.location = 307, "/elsewhere"
        channel = AppriseChannel(allowed=LOCAL)
        with pytest.raises(TemporaryFailure, match="did not take it"):
            await channel.send(letter(f"{target.url}?redirect=yes"))
        await channel.close()
    assert target.notes == []


async def test_what_a_service_raises_is_a_failure_that_does_not_show_it() -> None:
    channel = AppriseChannel(allowed=LOCAL)
    with (
        patch("apprise.plugins.custom_json.NotifyJSON.send", side_effect=KeyError("json://me:secret@x")),
        patch("apprise.Apprise.notify", side_effect=KeyError("json://me:secret@x")),
        pytest.raises(TemporaryFailure) as failed,
    ):
        await channel.send(letter("json://127.0.0.1:9"))
    await channel.close()
    assert str(failed.value) == "the service behind the json URL failed (KeyError)"
    assert failed.value.__cause__ is None


async def test_files_are_on_disk_only_while_they_are_sent_and_threads_end(tmp_path: Path) -> None:
    names = ("../../etc/evil.png", ".hidden", "")
    files = tuple(Attachment(name, "image/png", b"x") for name in names)
    with patch.object(tempfile, "tempdir", str(tmp_path)):
        async with local_apprise_target() as target:
            channel = AppriseChannel(allowed=LOCAL)
            await channel.send(replace(letter(target.url), attachments=files))
            target.is_silent = True
            cut_off = asyncio.create_task(channel.send(replace(letter(target.url), attachments=files)))
            target.requested.clear()
            await target.requested.wait()
            cut_off.cancel()
            assert list(tmp_path.iterdir())
            target.behave()
            await channel.close()
    assert set(target.notes[0].files) == {"_.._etc_evil.png", "hidden", "file"}
    assert list(tmp_path.iterdir()) == []
    assert not [one for one in threading.enumerate() if one.name.startswith("apprise")]


def test_without_the_package_a_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atf.adapters.channels.apprise.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"install atf\[apprise\]"):
        AppriseChannel()
