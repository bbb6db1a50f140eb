"""Channel ``telegram`` against the local Telegram: long texts, files, marks, retries, limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from atf.adapters.channels.telegram import TelegramChannel
from atf.adapters.channels.telegram_parts import escaped, parts_of, split
from atf.errors import ConfigurationError, PermanentFailure
from atf.notifications.channel import (
    ChannelThrottled,
    ChannelUnavailable,
    Letter,
    Recipient,
    RecipientMoved,
    RecipientThrottled,
)
from atf.notifications.message import Attachment
from atf.testing.telegram import TOKEN, Fault, LocalTelegram, TelegramLimits, local_telegram

LETTER = Letter(Recipient(2, "1"), "7:abc:1:telegram", "alert", "Alert breakout", "AAPL is above 150")
PNG = Attachment("chart.png", "image/png", b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + bytes((0, 0, 0, 9)) * 2)


@pytest.fixture
async def telegram() -> AsyncIterator[LocalTelegram]:
    async with local_telegram(limits=TelegramLimits.off()) as made:
        yield made


@pytest.fixture
async def channel(telegram: LocalTelegram) -> AsyncIterator[TelegramChannel]:
    made = TelegramChannel(TOKEN, base_url=telegram.url, pause=timedelta(0))
    yield made
    await made.close()


def to(telegram: LocalTelegram, **changes: Any) -> Letter:
    chat = telegram.private_chat()
    return replace(LETTER, recipient=Recipient(2, str(chat.chat_id)), **changes)


# --- texts ---


async def test_a_formatted_text_has_its_title_in_bold(telegram: LocalTelegram, channel: TelegramChannel) -> None:
    letter = to(telegram, title="A. b!", formatted="*AAPL* is above 1\\.5", text="AAPL is above 1.5")
    sent = await channel.send(letter)
    (call,) = telegram.accepted
    assert call.text == "A. b!\n\nAAPL is above 1.5"
    assert call.message is not None
    assert [(one["type"], one["offset"], one["length"]) for one in call.message.entities] == [
        ("bold", 0, 5),
        ("bold", 7, 4),
    ]
    assert call.values["link_preview_options"] == '{"is_disabled": true}'
    assert sent == str(call.message.message_id)


async def test_a_text_that_begins_with_its_title_does_not_get_it_twice(
    telegram: LocalTelegram, channel: TelegramChannel
) -> None:
    await channel.send(to(telegram, title="Alert", text="Alert\nx", formatted="*Alert*\nx"))
    assert [call.text for call in telegram.accepted] == ["Alert\nx"]


async def test_marks_that_do_not_parse_go_out_plain_and_are_told_once(
    telegram: LocalTelegram, channel: TelegramChannel, caplog: pytest.LogCaptureFixture
) -> None:
    letter = to(telegram, formatted="*AAPL is above 1.5", text="AAPL is above 1.5")
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            await channel.send(replace(letter, dedup_key=str(number)))
    assert [call.text for call in telegram.accepted] == ["Alert breakout\n\nAAPL is above 1.5"] * 3
    assert len([one for one in caplog.records if "without marks" in one.getMessage()]) == 1


async def test_escaped_text_arrives_as_it_is(telegram: LocalTelegram, channel: TelegramChannel) -> None:
    odd = "_*[]()~`>#+-=|{}.!\\ \\. <b> 🚀"
    await channel.send(to(telegram, title=odd, text=odd, formatted=escaped(odd)))
    assert telegram.accepted[0].text == f"{odd}\n\n{odd}" or telegram.accepted[0].text == odd


def test_texts_are_split_at_line_ends_then_spaces_then_anywhere() -> None:
    assert split("aaaa bbbb\ncccc dddd", 12) == ["aaaa bbbb", "cccc dddd"]
    assert split("aaaa bbbb cccc", 10) == ["aaaa bbbb", "cccc"]
    assert split("aaaaaaaaaaaa", 5) == ["aaaaa", "aaaaa", "aa"]
    assert split("aaaaa\n\n\n\n\n\n\nbbbbb", 5) == ["aaaaa", "bbbbb"]


@pytest.mark.parametrize("sign", ["🚀", "e\u0301", "👍🏽", "👨‍👩‍👧"])
def test_no_sign_is_cut_in_two(sign: str) -> None:
    pieces = split(sign * 5000)
    assert "".join(pieces) == sign * 5000
    assert all(piece.count(sign) * len(sign) == len(piece) for piece in pieces)
    assert all(len(piece.encode("utf-16-le")) <= 2 * 4096 for piece in pieces)


async def test_a_long_formatted_text_goes_out_plain_in_parts(
    telegram: LocalTelegram, channel: TelegramChannel
) -> None:
    lines = [f"line {number}: *value*" for number in range(600)]
    letter = to(telegram, text="\n".join(lines), formatted=escaped("\n".join(lines)))
    await channel.send(letter)
    assert "\n".join(call.text for call in telegram.accepted) == "Alert breakout\n\n" + letter.text
    assert len(telegram.accepted) == 3
    assert all("parse_mode" not in call.values for call in telegram.accepted)


async def test_escapes_do_not_make_a_text_too_long(telegram: LocalTelegram, channel: TelegramChannel) -> None:
    text = "." * 4000
    await channel.send(to(telegram, text=text, formatted=escaped(text)))
    assert [call.values["parse_mode"] for call in telegram.accepted] == ["MarkdownV2"]


@pytest.mark.parametrize(("title", "text"), [("", ""), (" ", "\n"), ("\x07", "\x00")])
async def test_what_says_nothing_is_given_up(
    telegram: LocalTelegram, channel: TelegramChannel, title: str, text: str
) -> None:
    with pytest.raises(PermanentFailure, match="says nothing"):
        await channel.send(to(telegram, title=title, text=text))
    assert telegram.requests.total() == 0


# --- taken up again ---


async def test_a_retry_goes_on_with_the_part_that_failed(
    telegram: LocalTelegram, channel: TelegramChannel
) -> None:
    letter = to(telegram, text="\n".join(f"line {number}" for number in range(1500)))
    parts = [part.text for part in parts_of(letter)]
    assert len(parts) > 3
    first = asyncio.create_task(channel.send(letter))
    await telegram.until(lambda: len(telegram.accepted) >= 1)
    telegram.misbehave(Fault.BROKEN)
    with pytest.raises(ChannelUnavailable):
        await first
    telegram.behave()
    await channel.send(letter)
    assert [call.text for call in telegram.accepted] == [part.strip() for part in parts]
    await channel.send(letter)
    assert len(telegram.accepted) == 2 * len(parts), "a letter that is done is forgotten"


async def test_of_very_many_letters_that_broke_off_the_oldest_are_forgotten(
    telegram: LocalTelegram, channel: TelegramChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atf.adapters.channels.telegram._MOST_BEGUN", 10)
    telegram.misbehave(Fault.BROKEN)
    letter = to(telegram)
    for number in range(30):
        with pytest.raises(ChannelUnavailable):
            await channel.send(replace(letter, dedup_key=str(number)))
    assert len(channel._begun._sent) == 10


async def test_parts_keep_the_pace_of_a_chat_and_of_a_group() -> None:
    async with local_telegram(limits=TelegramLimits(chat_burst=1, chat_per_second=10)) as telegram:
        channel = TelegramChannel(TOKEN, base_url=telegram.url, pause=timedelta(seconds=0.11))
        await channel.send(to(telegram, text="x" * 10_000))
        group = telegram.group()
        await channel.send(replace(LETTER, recipient=Recipient(2, str(group.chat_id)), text="x" * 5_000))
        await channel.close()
        times = [call.at for call in telegram.accepted if call.chat_id == group.chat_id]
        assert telegram.violations == []
    assert times[1] - times[0] >= 0.3


# --- files ---


async def test_a_file_has_the_text_for_its_caption_if_that_fits(
    telegram: LocalTelegram, channel: TelegramChannel
) -> None:
    await channel.send(to(telegram, attachments=(PNG,), formatted="*AAPL*", text="AAPL"))
    (call,) = telegram.accepted
    assert (call.method, call.text) == ("sendPhoto", "Alert breakout\n\nAAPL")
    assert call.message is not None
    assert call.message.entities


async def test_a_text_too_long_for_a_caption_follows_the_files(
    telegram: LocalTelegram, channel: TelegramChannel
) -> None:
    text = "long " * 300
    csv = Attachment("a.csv", "text/csv", b"a,b")
    await channel.send(to(telegram, attachments=(PNG, csv), text=text))
    assert [(call.method, call.text) for call in telegram.accepted] == [
        ("sendPhoto", "Alert breakout"),
        ("sendDocument", ""),
        ("sendMessage", f"Alert breakout\n\n{text}".strip()),
    ]


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG no picture", PNG.content + bytes(10 * 1024 * 1024)],
    ids=["refused as a photo", "too large for a photo"],
)
async def test_what_is_no_photo_goes_as_a_document(
    telegram: LocalTelegram, channel: TelegramChannel, content: bytes
) -> None:
    await channel.send(to(telegram, attachments=(replace(PNG, content=content),)))
    (call,) = telegram.accepted
    assert (call.method, call.text) == ("sendDocument", "Alert breakout\n\nAAPL is above 150")
    assert telegram.requests["sendPhoto"] == (len(content) < 1000)


async def test_a_file_that_telegram_does_not_take_costs_no_text(
    telegram: LocalTelegram, channel: TelegramChannel
) -> None:
    await channel.send(to(telegram, attachments=(replace(PNG, content=b""),)))
    (call,) = telegram.accepted
    assert (call.method, call.text) == (
        "sendMessage",
        "Alert breakout\n\nAAPL is above 150\n\n[chart.png could not be attached]",
    )


# --- answers ---


async def test_several_chats_refused_at_once_are_the_limit_of_the_bot(telegram: LocalTelegram) -> None:
    now = 0.0
    channel = TelegramChannel(TOKEN, base_url=telegram.url, monotonic=lambda: now)
    telegram.misbehave(Fault.THROTTLED, retry_after=4)
    found = []
    for at in (0.0, 0.4, 2.0, 2.1, 2.2):
        now = at
        with pytest.raises((RecipientThrottled, ChannelThrottled)) as caught:
            await channel.send(to(telegram))
        found.append(type(caught.value))
        assert getattr(caught.value, "retry_after_seconds", None) == 4
    await channel.close()
    assert found == [RecipientThrottled] * 4 + [ChannelThrottled]


async def test_a_group_that_moved_tells_where_to(telegram: LocalTelegram, channel: TelegramChannel) -> None:
    group = telegram.group()
    supergroup = await telegram.upgrade(group)
    with pytest.raises(RecipientMoved) as moved:
        await channel.send(replace(LETTER, recipient=Recipient(2, str(group.chat_id))))
    assert moved.value.address == str(supergroup.chat_id)
    await channel.send(replace(LETTER, recipient=Recipient(2, moved.value.address)))
    assert len(telegram.accepted) == 1


async def test_a_token_that_telegram_rejects_is_told_with_what_to_do(telegram: LocalTelegram) -> None:
    channel = TelegramChannel("123456:AnotherTokenOfNobody", base_url=telegram.url)
    with pytest.raises(ChannelUnavailable, match=r"rejects the bot's token .*set ATF_TELEGRAM_TOKEN"):
        await channel.send(to(telegram))
    await channel.close()


@pytest.mark.parametrize("token", ["", "secret", "12:", "1:a b", "1:a/../x", "1:a\n"])
def test_what_is_no_token_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        TelegramChannel(token)
    assert not token or token not in str(refused.value)


@pytest.mark.parametrize("base_url", ["", "api.telegram.org", "ftp://x", "http://", "http://x:y"])
def test_what_is_no_base_url_is_refused(base_url: str) -> None:
    with pytest.raises(ConfigurationError):
        TelegramChannel(TOKEN, base_url=base_url)
