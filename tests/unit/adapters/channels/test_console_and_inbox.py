import io
from dataclasses import replace

import pytest

from atf.adapters.channels.console import ConsoleChannel
from atf.adapters.channels.inbox import InboxChannel
from atf.notifications.channel import Channel, Letter, Recipient

LETTER = Letter(
    Recipient(user_id=2),
    dedup_key="7:abc:1:console",
    notification_type="alert",
    title="Alert breakout",
    text="AAPL is above 150",
)


class FakeInbox:
    def __init__(self) -> None:
        self.keys: set[tuple[int, str]] = set()

    async def put_in_inbox(self, user_id: int, dedup_key: str) -> None:
        self.keys.add((user_id, dedup_key))


async def test_console_prints_one_line_with_the_key() -> None:
    stream = io.StringIO()
    assert await ConsoleChannel(stream).send(LETTER) is None
    assert stream.getvalue() == "[7:abc:1:console] Alert breakout: AAPL is above 150\n"


async def test_console_keeps_to_one_line_whatever_the_text_is() -> None:
    stream = io.StringIO()
    await ConsoleChannel(stream).send(replace(LETTER, title="Alert\r\nx", text="a\n\nb\tc\u2028d"))
    assert stream.getvalue() == "[7:abc:1:console] Alert x: a b c d\n"


async def test_no_text_steers_the_terminal() -> None:
    stream = io.StringIO()
    await ConsoleChannel(stream).send(replace(LETTER, text="\x1b[2Jgone\x9b\x07 عربي 🚀"))
    assert stream.getvalue() == "[7:abc:1:console] Alert breakout: \\x1b[2Jgone\\x9b\\x07 عربي 🚀\n"


async def test_console_writes_to_whatever_standard_output_is_now(capsys: pytest.CaptureFixture[str]) -> None:
    await ConsoleChannel().send(LETTER)
    assert capsys.readouterr().out.startswith("[7:abc:1:console]")


async def test_inbox_shows_a_delivery_once_however_often_it_is_sent() -> None:
    inbox = FakeInbox()
    channel = InboxChannel(inbox)
    assert [await channel.send(LETTER) for _ in range(2)] == ["7:abc:1:console"] * 2
    assert inbox.keys == {(2, "7:abc:1:console")}


def test_the_inbox_rings_nobody_and_a_line_on_the_console_may() -> None:
    channels: list[Channel] = [ConsoleChannel(), InboxChannel(FakeInbox())]
    assert [(channel.name, channel.disturbs) for channel in channels] == [("console", True), ("inbox", False)]


def test_only_the_inbox_may_be_recorded_in_groups() -> None:
    channels: list[Channel] = [ConsoleChannel(), InboxChannel(FakeInbox())]
    assert [(channel.name, channel.is_idempotent) for channel in channels] == [
        ("console", False),
        ("inbox", True),
    ]
